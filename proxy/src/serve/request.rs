//! What of a request hyper takes that somebody before or behind the gateway could read in another way.

use http::{HeaderValue, Request, Response, Version, header, uri::Authority};

use super::limits::MAX_FIELDS;
use crate::{
    pipeline::ResponseBody,
    problem::Refusal,
    request_id::{self, RequestId},
};

/// Why a request is not looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    #[error("failed to find at most {MAX_FIELDS} header fields")]
    Fields,
    #[error("failed to find chunked as the only transfer coding")]
    Coding,
    #[error("failed to find a Host")]
    NoHost,
    #[error("failed to find one Host only")]
    Hosts,
    #[error("failed to read the Host")]
    Host,
}

/// Whether everybody reads the request's head alike. That its body has one length, hyper sees to.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), RequestError> {
    let headers = request.headers();
    if headers.len() > MAX_FIELDS {
        return Err(RequestError::Fields);
    }
    // Hyper looks at the last coding of the last field (RFC 9112, section 6.1), others at the first or at any.
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some_and(|coding| !is_chunked(coding)) || codings.next().is_some() {
        return Err(RequestError::Coding);
    }
    check_host(request)
}

/// There is one host (RFC 9112, section 3.2; RFC 9113, section 8.3.1), by which a browser's origin is judged.
fn check_host<B>(request: &Request<B>) -> Result<(), RequestError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(RequestError::Hosts);
    }
    let host = host.map(|host| Authority::try_from(host.as_bytes()).map_err(|_| RequestError::Host));
    let host = host.transpose()?;
    match (request.uri().authority(), &host) {
        (Some(given), Some(host)) if given != host => Err(RequestError::Hosts),
        (None, None) if request.version() > Version::HTTP_10 => Err(RequestError::NoHost),
        (Some(named), _) | (None, Some(named)) if named.as_str().contains('@') => Err(RequestError::Host),
        _ => Ok(()),
    }
}

/// The answer to a request that is not looked at. Over HTTP/1.1 nobody knows where the next begins.
pub(super) fn refuse<B>(request: &Request<B>, error: RequestError) -> Response<ResponseBody> {
    let id = RequestId::of(request.headers());
    let mut response = Refusal::Request(error).answer(&id);
    response.headers_mut().insert(request_id::HEADER, id.header());
    if request.version() < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(version: Version, uri: &str, fields: &[(&str, &str)]) -> Result<(), RequestError> {
        let mut request = Request::builder().version(version).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap())
    }

    #[test]
    fn a_request_has_one_host() {
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        for (version, uri, hosts, expected) in [
            (one, "/", vec!["a"], Ok(())),
            (one, "/", vec!["a:8443"], Ok(())),
            (one, "/", vec!["[::1]:8443"], Ok(())),
            (one, "/", vec![], Err(RequestError::NoHost)),
            (one, "/", vec![""], Err(RequestError::Host)),
            (one, "/", vec!["a b"], Err(RequestError::Host)),
            (one, "/", vec!["a/b"], Err(RequestError::Host)),
            (one, "/", vec!["u@a"], Err(RequestError::Host)),
            (one, "/", vec!["a", "a"], Err(RequestError::Hosts)),
            (one, "https://a/", vec!["A"], Ok(())),
            (one, "https://a/", vec!["b"], Err(RequestError::Hosts)),
            (Version::HTTP_10, "/", vec![], Ok(())),
            (Version::HTTP_10, "/", vec!["a", "b"], Err(RequestError::Hosts)),
            (two, "https://a/", vec![], Ok(())),
            (two, "https://a/", vec!["a"], Ok(())),
            (two, "https://a/", vec!["b"], Err(RequestError::Hosts)),
            (two, "https://u@a/", vec![], Err(RequestError::Host)),
            (two, "/", vec![], Err(RequestError::NoHost)),
        ] {
            let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            assert_eq!(checked(version, uri, &fields), expected, "{version:?} {uri} {hosts:?}");
        }
    }

    #[test]
    fn a_body_comes_in_chunks_or_with_a_length() {
        for (codings, expected) in [
            (vec![], Ok(())),
            (vec!["chunked"], Ok(())),
            (vec!["Chunked"], Ok(())),
            (vec!["chunked", "chunked"], Err(RequestError::Coding)),
            (vec!["identity", "chunked"], Err(RequestError::Coding)),
            (vec!["gzip, chunked"], Err(RequestError::Coding)),
            (vec!["chunked,"], Err(RequestError::Coding)),
            (vec!["\"chunked\""], Err(RequestError::Coding)),
        ] {
            let fields = codings.iter().map(|coding| ("transfer-encoding", *coding));
            let fields: Vec<_> = fields.chain([("host", "a")]).collect();
            assert_eq!(checked(Version::HTTP_11, "/", &fields), expected, "{codings:?}");
        }
    }

    #[test]
    fn fields_are_counted_in_every_version() {
        for (extra, expected) in [(MAX_FIELDS, Ok(())), (MAX_FIELDS + 1, Err(RequestError::Fields))] {
            let fields: Vec<_> = std::iter::repeat_n(("cookie", "a=b"), extra).collect();
            assert_eq!(checked(Version::HTTP_2, "https://a/", &fields), expected);
        }
    }

    #[test]
    fn who_is_refused_is_told_why_and_not_listened_to() {
        let mut request = Request::new(());
        let refused = refuse(&request, RequestError::NoHost);
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["connection"]),
            (400, &"close".parse().unwrap())
        );
        *request.version_mut() = Version::HTTP_2;
        let refused = refuse(&request, RequestError::Fields);
        assert_eq!(
            (refused.status().as_u16(), refused.headers().get("connection")),
            (431, None)
        );
    }
}
