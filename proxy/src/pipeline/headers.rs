//! Which header fields pass between caller and plugin. All others are dropped.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use kite_proto::{Header, MAX_FIELDS};

/// Fields about one connection, not about the message (RFC 9110, section 7.6.1), and those that stand for them in
/// older clients.
const HOP_BY_HOP: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Of the caller's: credentials; what the gateway has dealt with itself (expectation, trailer announcement, id, trace, and
/// host, which names the gateway and not the plugin and has another form in each version of HTTP; the cluster, which travels in
/// `CallContext` too); everything by which
/// somebody could claim to be somebody else, because a caller's identity travels in `CallContext` alone; and what
/// frameworks take for the method or the path instead of those that were authorized.
const FROM_CALLER: [&str; 16] = [
    "authorization",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "traceparent",
    "tracestate",
    "trailer",
    "x-cluster-name",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
];
const FROM_CALLER_PREFIXES: [&str; 5] = ["impersonate-", "proxy-", "x-forwarded-", "x-kite-", "x-remote-"];

/// Of a plugin's: whatever browsers apply to the whole origin, which is the dashboard's and not the plugin's. Without
/// `access-control-*` no other origin reads a plugin's answers: that is the dashboard's to allow. And what only caches
/// between caller and gateway obey, whatever `Cache-Control` says.
const FROM_PLUGIN: [&str; 23] = [
    "accept-ch",
    "activate-storage-access",
    "alt-svc",
    "cdn-cache-control",
    "clear-site-data",
    "content-security-policy",
    "content-security-policy-report-only",
    "critical-ch",
    "nel",
    "origin-agent-cluster",
    "public-key-pins",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "set-login",
    "strict-transport-security",
    "surrogate-control",
    "www-authenticate",
    "x-content-type-options",
    "x-request-id",
];
const FROM_PLUGIN_PREFIXES: [&str; 3] = ["access-control-", "proxy-", "x-kite-"];

/// Why a plugin's header fields are no part of an HTTP message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidHeader {
    #[error("failed to read a header field")]
    Field,
    #[error("failed to find at most {MAX_FIELDS} header fields")]
    TooMany,
}

/// The fields of a caller's message that go to the plugin, repeated ones repeated.
pub fn to_plugin(headers: &HeaderMap) -> Vec<Header> {
    let connection = named_by_connection(headers);
    headers
        .iter()
        .filter(|(name, _)| {
            let name = plain(name.as_str());
            !is_hop_by_hop(&name, &connection)
                && !FROM_CALLER.contains(&&*name)
                && !FROM_CALLER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
        .map(|(name, value)| Header {
            name: name.as_str().to_owned(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        })
        .collect()
}

/// The fields of a plugin's message that go to the caller, repeated ones repeated.
pub fn to_caller(given: Vec<Header>) -> Result<HeaderMap, InvalidHeader> {
    if given.len() > MAX_FIELDS {
        return Err(InvalidHeader::TooMany);
    }
    let mut headers = HeaderMap::new();
    for Header { name, value } in given {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| InvalidHeader::Field)?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| InvalidHeader::Field)?;
        headers.try_append(name, value).map_err(|_| InvalidHeader::Field)?;
    }
    let connection = named_by_connection(&headers);
    let dropped: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = plain(name.as_str());
            is_hop_by_hop(&name, &connection)
                || FROM_PLUGIN.contains(&&*name)
                || FROM_PLUGIN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
        .cloned()
        .collect();
    for name in dropped {
        headers.remove(name);
    }
    Ok(headers)
}

/// Keeps what a plugin answers from acting in the dashboard's origin, and from being given to another caller.
pub fn confine(headers: &mut HeaderMap) {
    headers.append(header::VARY, HeaderValue::from_static("authorization, cookie"));
    if let Some(private) = kept_private(headers) {
        headers.insert(header::CACHE_CONTROL, private);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// The `Cache-Control` instead of one that lets a shared cache keep the answer (RFC 9111, section 3.5). It must not keep any: of an answer
/// to a session's cookie, or to a certificate, no cache knows by itself that it is for one caller.
fn kept_private(headers: &HeaderMap) -> Option<HeaderValue> {
    // As most answers have it.
    if !headers.contains_key(header::CACHE_CONTROL) {
        return Some(HeaderValue::from_static("private"));
    }
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    let text: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let all = text.iter().flat_map(|text| text.split(',')).map(str::trim);
    let all: Vec<_> = all.filter(|one| !one.is_empty()).collect();
    let is = |directive: &str, names: &[&str]| {
        let name = directive.split('=').next().unwrap_or_default().trim();
        names.iter().any(|one| name.eq_ignore_ascii_case(one))
    };
    // One with names of fields is about these fields alone.
    let is_private = |one: &&str| is(one, &["private", "no-store"]) && !one.contains('=');
    let is_shared = |one: &&str| is(one, &["public", "s-maxage", "must-revalidate"]);
    if all.iter().any(is_private) && !all.iter().any(is_shared) {
        return None;
    }
    let kept = all
        .into_iter()
        .filter(|one| !is(one, &["public", "s-maxage", "private"]));
    let private: Vec<_> = std::iter::once("private").chain(kept).collect();
    // What cannot be written anew is not to be kept anywhere.
    Some(HeaderValue::try_from(private.join(", ")).unwrap_or(HeaderValue::from_static("no-store")))
}

/// A name as those see it who take underscores for hyphens.
fn plain(name: &str) -> Cow<'_, str> {
    if name.contains('_') {
        Cow::Owned(name.replace('_', "-"))
    } else {
        Cow::Borrowed(name)
    }
}

fn is_hop_by_hop(name: &str, connection: &[String]) -> bool {
    HOP_BY_HOP.contains(&name) || connection.iter().any(|named| named == name)
}

/// The fields that a `Connection` field says are about this connection alone.
fn named_by_connection(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter();
    let names = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    names
        .map(|name| plain(&name.trim().to_ascii_lowercase()).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> Header {
        Header {
            name: name.to_owned(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        }
    }

    fn passes_to_plugin(name: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close, X-Named"));
        headers.insert(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_static("x"),
        );
        !to_plugin(&headers).is_empty()
    }

    fn passes_to_caller(name: &str) -> bool {
        let headers = to_caller(vec![field("connection", "X-Named"), field(name, "x")]).unwrap();
        !headers.is_empty()
    }

    #[test]
    fn identity_headers_credentials_and_hops_never_reach_the_plugin() {
        for name in [
            "Authorization",
            "Cookie",
            "Proxy-Authorization",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "X-Named",
            "x_named",
            "X-Kite-User",
            "x_kite_user",
            "X-Kite-Revision",
            "X-Remote-User",
            "x_remote_group",
            "Impersonate-User",
            "impersonate_uid",
            "Forwarded",
            "X-Forwarded-For",
            "x_forwarded_host",
            "X-Real-Ip",
            "Host",
            "traceparent",
            "tracestate",
            "X-HTTP-Method-Override",
            "x_http_method_override",
            "X-HTTP-Method",
            "X-Method-Override",
            "X-Original-URL",
            "X-Rewrite-URL",
        ] {
            assert!(!passes_to_plugin(name), "{name}");
        }
        for name in [
            "Accept",
            "Content-Type",
            "Content-Length",
            "Origin",
            "X-Custom",
            "x_custom",
            "Range",
        ] {
            assert!(passes_to_plugin(name), "{name}");
        }
    }

    #[test]
    fn nothing_that_acts_on_the_origin_reaches_the_caller() {
        for name in [
            "set-cookie",
            "Set-Cookie",
            "transfer-encoding",
            "x-named",
            "access-control-allow-origin",
            "x-kite-anything",
            "content-security-policy",
            "clear-site-data",
            "service-worker-allowed",
            "refresh",
            "www-authenticate",
            "x-request-id",
            "keep-alive",
            "accept-ch",
            "critical-ch",
            "set-login",
            "origin-agent-cluster",
            "activate-storage-access",
            "cdn-cache-control",
            "surrogate-control",
        ] {
            assert!(!passes_to_caller(name), "{name}");
        }
        for name in [
            "content-type",
            "content-length",
            "etag",
            "cache-control",
            "trailer",
            "x-custom",
        ] {
            assert!(passes_to_caller(name), "{name}");
        }
    }

    #[test]
    fn what_is_there_twice_stays_twice() {
        let headers = to_caller(vec![field("x-a", "1"), field("x-a", "2")]).unwrap();
        assert_eq!(headers.get_all("x-a").iter().count(), 2);
        assert_eq!(to_plugin(&headers), [field("x-a", "1"), field("x-a", "2")]);
    }

    #[test]
    fn a_field_that_http_cannot_carry_is_refused() {
        for (name, value) in [("a b", "x"), ("", "x"), ("a:", "x"), ("a", "x\r\ny: z"), ("a", "\0")] {
            assert_eq!(
                to_caller(vec![field(name, value)]),
                Err(InvalidHeader::Field),
                "{name:?}: {value:?}"
            );
        }
    }

    #[test]
    fn too_many_fields_are_refused() {
        let fields = |number| vec![field("x-a", "1"); number];
        assert!(to_caller(fields(MAX_FIELDS)).is_ok());
        for number in [MAX_FIELDS + 1, 40_000] {
            assert_eq!(to_caller(fields(number)), Err(InvalidHeader::TooMany));
        }
    }

    #[test]
    fn cross_user_cache_no_answer_is_kept_for_another_caller() {
        for (given, kept) in [
            (vec![], Some("private")),
            (vec![""], Some("private")),
            (vec!["no-store"], Some("no-store")),
            (vec!["private, max-age=60"], Some("private, max-age=60")),
            (vec!["max-age=60"], Some("private, max-age=60")),
            (vec!["private=\"x-a\", max-age=60"], Some("private, max-age=60")),
            (vec!["Public, max-age=60"], Some("private, max-age=60")),
            (vec!["max-age=60", "S-MaxAge = 9"], Some("private, max-age=60")),
            (vec!["must-revalidate"], Some("private, must-revalidate")),
            (vec!["private, public"], Some("private")),
            (vec!["no-store, public"], Some("private, no-store")),
        ] {
            let mut headers = HeaderMap::new();
            for value in &given {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static(value));
            }
            confine(&mut headers);
            let seen: Vec<_> = headers.get_all(header::CACHE_CONTROL).iter().collect();
            assert_eq!(seen, Vec::from_iter(kept), "{given:?}");
        }
    }

    #[test]
    fn an_answer_varies_by_the_callers_credential_too() {
        let mut headers = to_caller(vec![field("vary", "accept")]).unwrap();
        confine(&mut headers);
        let seen: Vec<_> = headers.get_all(header::VARY).iter().collect();
        assert_eq!(seen, ["accept", "authorization, cookie"]);
    }

    #[test]
    fn plugin_html_a_plugins_answer_is_confined() {
        let mut headers = HeaderMap::new();
        confine(&mut headers);
        assert_eq!(headers.get("content-security-policy").unwrap(), "sandbox");
        assert_eq!(headers.get("x-content-type-options").unwrap(), "nosniff");
    }
}
