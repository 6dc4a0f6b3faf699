//! Whether a request comes from the dashboard's own pages, where a browser adds the caller's credential to whatever any page asks.

use std::str::FromStr;

use http::{HeaderMap, HeaderName, Method, Uri, header, uri::Scheme};

use super::{arrival::Way, tool};

/// What a browser says of the page that asks (Fetch Metadata, section 2.4). No page can change it.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SAME: &[u8] = b"same-origin";

/// Scheme, host and port (RFC 6454), in one spelling.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebOrigin(String);

/// Why a text is no origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("failed to find an origin like https://kite.example")]
pub struct OriginError;

/// Why a request is not known to come from the dashboard's own pages.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CrossSite {
    #[error("the request does not say from which page it comes: it has neither Sec-Fetch-Site nor Origin")]
    Silent,
    #[error("the request comes from a page of another origin, or from none: Sec-Fetch-Site is not same-origin")]
    Site,
    #[error("the request comes from a page of another origin: Origin is not one of the dashboard")]
    Origin,
}

/// What of a request decides.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
}

/// Whether the request may be answered, by how its caller is known.
pub fn check(asked: Asked<'_>, way: &Way, own: &[WebOrigin]) -> Result<(), CrossSite> {
    if !asked.matters() {
        return Ok(());
    }
    match way {
        // Written for this request, by somebody who knows it.
        Way::Bearer(_) => Ok(()),
        Way::Session(_) => prove(asked, own),
        // Browsers add these too, but whoever else has them does not say from where they come.
        Way::Certificate { .. } | Way::Proxy => match prove(asked, own) {
            Ok(()) | Err(CrossSite::Silent) => Ok(()),
            Err(error) => Err(error),
        },
    }
}

/// Whether the request shows that it comes from the dashboard's own pages.
pub fn prove(asked: Asked<'_>, own: &[WebOrigin]) -> Result<(), CrossSite> {
    let mut site = asked.headers.get_all(SITE).iter();
    match (site.next(), site.next()) {
        (None, _) => {}
        (Some(site), None) if site.as_bytes() == SAME => return Ok(()),
        _ => return Err(CrossSite::Site),
    }
    let mut origins = asked.headers.get_all(header::ORIGIN).iter();
    let origin = match (origins.next(), origins.next()) {
        (None, _) => return Err(CrossSite::Silent),
        (Some(origin), None) => origin.to_str().ok().and_then(|text| text.parse::<WebOrigin>().ok()),
        _ => None,
    };
    let origin = origin.ok_or(CrossSite::Origin)?;
    if own.contains(&origin) || asked.origin().is_some_and(|own| own == origin) {
        Ok(())
    } else {
        Err(CrossSite::Origin)
    }
}

impl Asked<'_> {
    /// Whether something is changed, or a page of another origin could read the answer, by what is asked.
    fn matters(&self) -> bool {
        let reads = matches!(*self.method, Method::GET | Method::HEAD | Method::OPTIONS);
        !reads || self.headers.contains_key(header::UPGRADE) || tool::are_accepted(self.headers)
    }

    /// The origin that the request was sent to, if it says one.
    fn origin(&self) -> Option<WebOrigin> {
        let mut hosts = self.headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (None, _) => None,
            (Some(host), None) => Some(of_host(host.to_str().ok()?)?),
            _ => return None,
        };
        let authority = match self.uri.authority() {
            Some(authority) => Some(of_host(authority.as_str())?),
            None => None,
        };
        match (authority, host) {
            (Some(authority), Some(host)) if authority != host => None,
            (authority, host) => authority.or(host),
        }
    }
}

/// The origin of a host that is spoken to by HTTPS.
fn of_host(host: &str) -> Option<WebOrigin> {
    format!("https://{host}").parse().ok()
}

impl FromStr for WebOrigin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let uri: Uri = text.parse().map_err(|_| OriginError)?;
        let (scheme, authority) = uri.scheme().zip(uri.authority()).ok_or(OriginError)?;
        let default = match scheme {
            it if *it == Scheme::HTTPS => 443,
            it if *it == Scheme::HTTP => 80,
            _ => return Err(OriginError),
        };
        let (host, port) = (authority.host(), authority.port_u16());
        let is_whole = match port {
            Some(_) => authority.as_str().len() > host.len(),
            None => authority.as_str() == host,
        };
        if host.is_empty() || !is_whole || authority.as_str().contains('@') || !matches!(uri.path(), "" | "/") {
            return Err(OriginError);
        }
        if uri.query().is_some() || text.ends_with('/') {
            return Err(OriginError);
        }
        let host = host.to_ascii_lowercase();
        Ok(Self(format!("{scheme}://{host}:{}", port.unwrap_or(default))))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::{moment::Moment, pipeline::authenticate::BearerToken, session::Session};

    const OWN: (&str, &str) = ("origin", "https://kite.example");

    fn asked(method: &str, uri: &str, fields: &[(&str, &str)]) -> (Method, Uri, HeaderMap) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        (method.parse().unwrap(), uri.parse().unwrap(), headers)
    }

    fn checked(method: &str, uri: &str, fields: &[(&str, &str)], way: &Way) -> Result<(), CrossSite> {
        let (method, uri, headers) = asked(method, uri, fields);
        let asked = Asked {
            method: &method,
            uri: &uri,
            headers: &headers,
        };
        check(asked, way, &["https://public.example".parse().unwrap()])
    }

    fn session() -> Way {
        Way::Session(Session::for_test(BearerToken::parse("t").unwrap()))
    }

    /// Header fields, and what becomes of them.
    type Case<'a> = (&'a [(&'a str, &'a str)], Result<(), CrossSite>);

    #[test]
    fn a_session_changes_nothing_without_proof_of_its_page() {
        let host = ("host", "kite.example");
        let cases: [Case<'_>; 20] = [
            (&[host], Err(CrossSite::Silent)),
            (&[host, ("sec-fetch-site", "same-origin")], Ok(())),
            (&[host, ("sec-fetch-site", "same-origin"), ("origin", "null")], Ok(())),
            (&[host, ("sec-fetch-site", "same-site")], Err(CrossSite::Site)),
            (&[host, ("sec-fetch-site", "cross-site"), OWN], Err(CrossSite::Site)),
            (&[host, ("sec-fetch-site", "none")], Err(CrossSite::Site)),
            (&[host, ("sec-fetch-site", "")], Err(CrossSite::Site)),
            (
                &[
                    host,
                    ("sec-fetch-site", "same-origin"),
                    ("sec-fetch-site", "same-origin"),
                ],
                Err(CrossSite::Site),
            ),
            (&[host, OWN], Ok(())),
            (&[("host", "KITE.example:443"), OWN], Ok(())),
            (&[host, ("origin", "https://public.example")], Ok(())),
            (&[OWN], Err(CrossSite::Origin)),
            (&[host, host, OWN], Err(CrossSite::Origin)),
            (&[host, OWN, OWN], Err(CrossSite::Origin)),
            (&[host, ("origin", "null")], Err(CrossSite::Origin)),
            (&[host, ("origin", "http://kite.example")], Err(CrossSite::Origin)),
            (&[host, ("origin", "https://kite.example:8443")], Err(CrossSite::Origin)),
            (&[host, ("origin", "https://kite.example.evil")], Err(CrossSite::Origin)),
            (&[host, ("origin", "https://kite.example@evil")], Err(CrossSite::Origin)),
            (&[host, ("origin", "https://kite.example/x")], Err(CrossSite::Origin)),
        ];
        for (fields, expected) in cases {
            for method in ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
                assert_eq!(
                    checked(method, "/x", fields, &session()),
                    expected,
                    "{method} {fields:?}"
                );
            }
            assert_eq!(checked("GET", "/x", fields, &session()), Ok(()), "{fields:?}");
            for asks in [("upgrade", "websocket"), ("accept", "text/event-stream")] {
                let fields = [fields, &[asks]].concat();
                assert_eq!(checked("GET", "/x", &fields, &session()), expected, "{fields:?}");
            }
        }
    }

    #[test]
    fn over_http_2_the_host_is_the_authority() {
        let evil = ("host", "evil.example");
        assert_eq!(checked("POST", "https://kite.example/x", &[OWN], &session()), Ok(()));
        assert_eq!(
            checked("POST", "https://kite.example/x", &[OWN, evil], &session()),
            Err(CrossSite::Origin)
        );
    }

    #[test]
    fn whoever_is_known_by_a_connection_is_refused_only_what_another_page_asks() {
        let until = Moment::NEVER;
        for way in [Way::Certificate { until }, Way::Proxy] {
            assert_eq!(checked("POST", "/x", &[], &way), Ok(()));
            assert_eq!(
                checked("POST", "/x", &[("sec-fetch-site", "cross-site")], &way),
                Err(CrossSite::Site)
            );
            let evil = ("origin", "https://evil.example");
            assert_eq!(checked("POST", "/x", &[evil], &way), Err(CrossSite::Origin));
        }
    }

    #[test]
    fn a_token_that_was_sent_needs_no_proof() {
        let way = Way::Bearer(BearerToken::parse("t").unwrap());
        let evil = ("sec-fetch-site", "cross-site");
        assert_eq!(checked("POST", "/x", &[evil], &way), Ok(()));
    }

    #[test]
    fn an_origin_has_one_spelling_and_nothing_more_than_an_origin() {
        let of = |text: &str| text.parse::<WebOrigin>();
        assert_eq!(of("https://kite.example"), of("https://KITE.example:443"));
        assert_eq!(of("http://[2001:db8::1]"), of("http://[2001:DB8::1]:80"));
        assert_ne!(of("https://kite.example"), of("https://kite.example:80"));
        for text in [
            "",
            "null",
            "kite.example",
            "//kite.example",
            "ftp://kite.example",
            "https://",
            "https://kite.example/",
            "https://kite.example/x",
            "https://kite.example?x",
            "https://kite.example:",
            "https://kite.example:x",
            "https://u@kite.example",
        ] {
            assert_eq!(of(text), Err(OriginError), "{text}");
        }
    }
}
