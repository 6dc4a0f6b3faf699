//! Which header fields pass between caller and plugin. All others are dropped.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use kite_proto::Header;

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

/// Of the caller's: credentials; what the gateway has dealt with itself (expectation, trailer announcement, id, and
/// host, which names the gateway and not the plugin and has another form in each version of HTTP); and everything by
/// which somebody could claim to be somebody else, because a caller's identity travels in `CallContext` alone.
const FROM_CALLER: [&str; 8] = [
    "authorization",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "trailer",
    "x-real-ip",
    "x-request-id",
];
const FROM_CALLER_PREFIXES: [&str; 5] = ["impersonate-", "proxy-", "x-forwarded-", "x-kite-", "x-remote-"];

/// Of a plugin's: whatever browsers apply to the whole origin, which is the dashboard's and not the plugin's. Without
/// `access-control-*` no other origin reads a plugin's answers: that is the dashboard's to allow.
const FROM_PLUGIN: [&str; 16] = [
    "alt-svc",
    "clear-site-data",
    "content-security-policy",
    "content-security-policy-report-only",
    "nel",
    "public-key-pins",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "www-authenticate",
    "x-content-type-options",
    "x-request-id",
];
const FROM_PLUGIN_PREFIXES: [&str; 3] = ["access-control-", "proxy-", "x-kite-"];

/// A plugin's field that no HTTP message can carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("failed to read a header field")]
pub struct InvalidHeader;

/// The fields of a caller's message that go to the plugin, repeated ones repeated.
pub fn to_plugin(headers: &HeaderMap) -> Vec<Header> {
    let connection = named_by_connection(headers);
    headers
        .iter()
        .filter(|(name, _)| {
            let name = plain(name.as_str());
            !is_hop_by_hop(&name, &connection)
                && !FROM_CALLER.contains(&name.as_str())
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
    let mut headers = HeaderMap::with_capacity(given.len() + 3);
    for Header { name, value } in given {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| InvalidHeader)?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| InvalidHeader)?;
        headers.try_append(name, value).map_err(|_| InvalidHeader)?;
    }
    let connection = named_by_connection(&headers);
    let dropped: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = plain(name.as_str());
            is_hop_by_hop(&name, &connection)
                || FROM_PLUGIN.contains(&name.as_str())
                || FROM_PLUGIN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
        .cloned()
        .collect();
    for name in dropped {
        headers.remove(name);
    }
    Ok(headers)
}

/// Keeps what a plugin answers from acting in the dashboard's origin.
pub fn confine(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// A name as those see it who take underscores for hyphens.
fn plain(name: &str) -> String {
    name.replace('_', "-")
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
    names.map(|name| plain(&name.trim().to_ascii_lowercase())).collect()
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
    fn neither_credentials_nor_identity_nor_hops_reach_the_plugin() {
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
            "refresh",
            "www-authenticate",
            "x-request-id",
            "keep-alive",
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
                Err(InvalidHeader),
                "{name:?}: {value:?}"
            );
        }
    }

    #[test]
    fn a_plugins_answer_is_confined() {
        let mut headers = HeaderMap::new();
        confine(&mut headers);
        assert_eq!(headers.get("content-security-policy").unwrap(), "sandbox");
        assert_eq!(headers.get("x-content-type-options").unwrap(), "nosniff");
    }
}
