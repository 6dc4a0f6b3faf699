//! All types of problems, for those who want to know beforehand what there is.

use http::StatusCode as S;

/// Status, last part of the type, and title of each, sorted.
#[rustfmt::skip]
pub const KNOWN: &[(S, &str, &str)] = &[
    (S::BAD_REQUEST, "ambiguous-cluster", "The cluster can be read in more than one way"),
    (S::BAD_REQUEST, "ambiguous-path", "The path can be read in more than one way"),
    (S::BAD_REQUEST, "ambiguous-query", "The query can be read in more than one way"),
    (S::BAD_REQUEST, "broken-body", "The body broke off"),
    (S::BAD_REQUEST, "invalid-body", "The body is malformed"),
    (S::BAD_REQUEST, "invalid-handshake", "The WebSocket handshake is malformed"),
    (S::BAD_REQUEST, "invalid-name", "The name is malformed"),
    (S::BAD_REQUEST, "invalid-parameter", "A parameter is malformed"),
    (S::BAD_REQUEST, "invalid-request", "The request can be read in more than one way"),
    (S::BAD_REQUEST, "invalid-revision", "The revision is not a number, or there are several"),
    (S::BAD_REQUEST, "list-too-large", "The list is too large"),
    (S::UNAUTHORIZED, "unauthenticated", "The caller is not known"),
    (S::FORBIDDEN, "caller-lacks-right", "The caller lacks a right that the plugin requires"),
    (S::FORBIDDEN, "cross-site", "The request does not come from the dashboard"),
    (S::FORBIDDEN, "forbidden", "The caller may not do this"),
    (S::FORBIDDEN, "plugin-lacks-right", "The plugin was not granted a right that it requires"),
    (S::FORBIDDEN, "tool-forbidden", "The plugin refuses the caller"),
    (S::NOT_FOUND, "no-such-cluster", "There is no such cluster"),
    (S::NOT_FOUND, "no-such-plugin", "There is no such plugin"),
    (S::NOT_FOUND, "no-such-route", "There is no such route"),
    (S::NOT_FOUND, "no-such-tool", "There is no such tool"),
    (S::METHOD_NOT_ALLOWED, "method-not-allowed", "The route does not take this method"),
    (S::REQUEST_TIMEOUT, "body-timeout", "The body did not come in time"),
    (S::CONFLICT, "no-session", "There is no session to end"),
    (S::CONFLICT, "revision-gone", "The revision takes no requests any longer"),
    (S::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
    (S::PAYLOAD_TOO_LARGE, "token-too-large", "The token is too large for a session"),
    (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is not JSON"),
    (S::UNPROCESSABLE_ENTITY, "arguments-refused", "The tool refuses the arguments"),
    (S::UPGRADE_REQUIRED, "websocket-version", "The version of WebSocket is another"),
    (S::TOO_MANY_REQUESTS, "too-many-attempts", "Too many tokens were refused"),
    (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "too-many-fields", "The request has too many header fields"),
    (S::INTERNAL_SERVER_ERROR, "audit-failed", "The operation was made and not recorded"),
    (S::NOT_IMPLEMENTED, "upgrade-unsupported", "The connection cannot be upgraded"),
    (S::BAD_GATEWAY, "plugin-answer-invalid", "The plugin's answer is not valid"),
    (S::BAD_GATEWAY, "plugin-failed", "The plugin failed"),
    (S::BAD_GATEWAY, "tool-failed", "The tool failed"),
    (S::SERVICE_UNAVAILABLE, "audit-unavailable", "The operation could not be recorded"),
    (S::SERVICE_UNAVAILABLE, "authentication-unavailable", "The caller could not be checked"),
    (S::SERVICE_UNAVAILABLE, "authorization-unavailable", "The caller's rights could not be checked"),
    (S::SERVICE_UNAVAILABLE, "no-endpoint", "No pod of the plugin can be reached"),
    (S::SERVICE_UNAVAILABLE, "not-loaded", "The plugin is not loaded"),
    (S::SERVICE_UNAVAILABLE, "not-ready", "The gateway is not ready"),
    (S::SERVICE_UNAVAILABLE, "plugin-busy", "The plugin is busy"),
    (S::SERVICE_UNAVAILABLE, "sessions-unavailable", "The session could not be begun, checked or ended"),
    (S::GATEWAY_TIMEOUT, "plugin-timeout", "The plugin did not answer in time"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each `Status, "slug", "title"` in `source`.
    fn told(source: &str) -> BTreeSet<(String, String, String)> {
        let pieces: Vec<&str> = source.split('"').collect();
        let rows = pieces.windows(4).filter_map(|window| {
            let [before, slug, between, title] = window else {
                return None;
            };
            let status = before.trim_end().strip_suffix(',')?.rsplit("::").next()?;
            let is_status = !status.is_empty() && status.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
            let is_row = is_status && between.trim() == ",";
            is_row.then(|| (status.to_owned(), (*slug).to_owned(), (*title).to_owned()))
        });
        rows.collect()
    }

    #[test]
    fn every_type_that_the_table_of_refusals_has_is_known() {
        let known = told(include_str!("known.rs").split("#[cfg(test)]").next().unwrap());
        assert_eq!(told(include_str!("kind.rs")), known);
        assert_eq!(known.len(), KNOWN.len());
        assert!(KNOWN.is_sorted_by_key(|(status, slug, _)| (status.as_u16(), *slug)));
    }
}
