//! Each way in which a request ends before a plugin has it, and which of several comes first.

use super::*;

/// Method, path, token, body; then status and problem.
pub(super) type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    u16,
    &'static str,
);

#[rustfmt::skip]
pub(super) const ENDS: &[Row] = &[
    // The path comes before the caller.
    ("GET", "/api/v1/plugins/hello/%2e%2e/x", "", "", 400, "ambiguous-path"),
    ("GET", "/api/v1//plugins/", "", "", 400, "ambiguous-path"),
    ("GET", "/api/v1/plugins/hello%2fx", "admin", "", 400, "ambiguous-path"),
    // The caller comes before names, routes and methods.
    ("GET", "/api/v1/plugins/", "", "", 401, "unauthenticated"),
    ("GET", "/api/v1/plugins/", "junk", "", 401, "unauthenticated"),
    ("GET", "/api/v1/plugins/Bad_Name/", "", "", 401, "unauthenticated"),
    ("GET", "/api/v1/plugins/events", "", "", 401, "unauthenticated"),
    ("TRACE", "/api/v1/plugins/hello/", "", "", 401, "unauthenticated"),
    ("GET", "/api/v1/plugins/hello/", "down", "", 503, "authentication-unavailable"),
    ("GET", "/api/v1/plugins/events", "stranger", "", 404, "no-such-route"),
    ("GET", "/api/v1/plugins/hello/static/x", "stranger", "", 404, "no-such-route"),
    ("GET", "/api/v1/clusters", "admin", "", 404, "no-such-route"),
    ("POST", "/api/v1/plugins/", "admin", "", 405, "method-not-allowed"),
    ("GET", "/api/v1/plugins/tools/plugin_hello_greet", "admin", "", 405, "method-not-allowed"),
    ("TRACE", "/api/v1/plugins/hello/", "admin", "", 405, "method-not-allowed"),
    ("CONNECT", "/api/v1/plugins/hello/", "admin", "", 405, "method-not-allowed"),
    // The name comes before the right, and needs none.
    ("GET", "/api/v1/plugins/Bad_Name/", "stranger", "", 400, "invalid-name"),
    ("POST", "/api/v1/plugins/tools/greet", "stranger", "{}", 400, "invalid-name"),
    ("POST", "/api/v1/plugins/tools/plugin_hello", "admin", "{}", 400, "invalid-name"),
    // The right comes before existence.
    ("GET", "/api/v1/plugins/hello/", "stranger", "", 403, "forbidden"),
    ("GET", "/api/v1/plugins/unknown/", "stranger", "", 403, "forbidden"),
    ("GET", "/api/v1/plugins/off/", "user", "", 403, "forbidden"),
    ("GET", "/api/v1/plugins/hello/", "viewer", "", 403, "forbidden"),
    ("GET", "/api/v1/plugins/hello/", "unchecked", "", 503, "authorization-unavailable"),
    ("GET", "/api/v1/plugins/", "unchecked", "", 503, "authorization-unavailable"),
    ("POST", "/api/v1/plugins/tools/plugin_hello_greet", "stranger", "", 403, "forbidden"),
    ("POST", "/api/v1/plugins/tools/plugin_unknown_greet", "stranger", "", 403, "forbidden"),
    // Existence, then whether it takes traffic.
    ("GET", "/api/v1/plugins/unknown/", "admin", "", 404, "no-such-plugin"),
    ("POST", "/api/v1/plugins/tools/plugin_unknown_greet", "admin", "junk", 404, "no-such-plugin"),
    ("GET", "/api/v1/plugins/off/", "admin", "", 503, "not-loaded"),
    ("GET", "/api/v1/plugins/young/", "admin", "", 503, "not-loaded"),
    ("POST", "/api/v1/plugins/tools/plugin_off_greet", "admin", "junk", 503, "not-loaded"),
    ("POST", "/api/v1/plugins/tools/plugin_hello_other", "admin", "junk", 404, "no-such-tool"),
    // What the plugin requires of its callers: what cannot be read in one way, then the plugin's own grant, then the caller's.
    ("GET", "/api/v1/plugins/hello/costs/SHOP", "user", "", 400, "invalid-parameter"),
    ("GET", "/api/v1/plugins/hello/sum?namespace=shop&namespace=pay", "user", "", 400, "ambiguous-query"),
    ("POST", "/api/v1/plugins/hello/backups", "user", "{}", 415, "unsupported-media-type"),
    ("GET", "/api/v1/plugins/hello/sum", "admin", "", 403, "plugin-lacks-right"),
    ("GET", "/api/v1/plugins/hello/sum?namespace=kube-system", "admin", "", 403, "plugin-lacks-right"),
    ("GET", "/api/v1/plugins/hello/nodes/a", "admin", "", 403, "plugin-lacks-right"),
    ("GET", "/api/v1/plugins/hello/nodes/", "admin", "", 403, "plugin-lacks-right"),
    ("GET", "/api/v1/plugins/hello/costs/pay", "user", "", 403, "caller-lacks-right"),
    ("GET", "/api/v1/plugins/hello/costs/pay/", "user", "", 403, "caller-lacks-right"),
    ("GET", "/api/v1/plugins/hello/c%6fsts/p%61y", "user", "", 403, "caller-lacks-right"),
    ("GET", "/api/v1/plugins/hello/costs;x/pay;y", "user", "", 403, "caller-lacks-right"),
    ("GET", "/api/v1/plugins/hello/costs/shop", "unsure", "", 503, "authorization-unavailable"),
    ("GET", "/api/v1/plugins/hello/costs/shop", "user", "", 503, "no-endpoint"),
    ("GET", "/api/v1/plugins/hello/costs/pay", "admin", "", 503, "no-endpoint"),
    ("GET", "/api/v1/plugins/hello/costs/pay/x", "user", "", 503, "no-endpoint"),
    ("POST", "/api/v1/plugins/tools/plugin_hello_nodes", "admin", "{}", 403, "plugin-lacks-right"),
    ("POST", "/api/v1/plugins/tools/plugin_hello_costs", "admin", "{}", 403, "plugin-lacks-right"),
    ("POST", "/api/v1/plugins/tools/plugin_hello_costs", "user", r#"{"arguments": {"namespace": "pay"}}"#, 403, "caller-lacks-right"),
    ("POST", "/api/v1/plugins/tools/plugin_hello_costs", "user", r#"{"arguments": {"namespace": 1}}"#, 400, "invalid-parameter"),
    ("POST", "/api/v1/plugins/tools/plugin_hello_costs", "user", r#"{"arguments": {"namespace": "shop"}}"#, 503, "no-endpoint"),
    // Which cluster is meant: what can be read in two ways before the right, and which there are after it.
    ("GET", "/api/v1/plugins/hello/x?x-cluster-name=a&x-cluster-name=a", "stranger", "", 400, "ambiguous-cluster"),
    ("GET", "/api/v1/plugins/hello/x?x-cluster-name=a", "stranger", "", 403, "forbidden"),
    ("GET", "/api/v1/plugins/hello/x?x-cluster-name=a", "user", "", 404, "no-such-cluster"),
    ("GET", "/api/v1/plugins/unknown/x?x-cluster-name=a", "admin", "", 404, "no-such-cluster"),
    ("GET", "/api/v1/plugins/hello/x?x-cluster-name=home", "user", "", 503, "no-endpoint"),
    ("POST", "/api/v1/plugins/tools/plugin_hello_greet?x-cluster-name=a&x-cluster-name=a", "stranger", "{}", 400, "ambiguous-cluster"),
    ("POST", "/api/v1/plugins/tools/plugin_hello_greet?x-cluster-name=a", "stranger", "{}", 403, "forbidden"),
    ("POST", "/api/v1/plugins/tools/plugin_hello_greet?x-cluster-name=a", "user", "{}", 404, "no-such-cluster"),
    // What the object's limits bound, after what its callers have to hold.
    ("GET", "/api/v1/plugins/full/nodes/a", "admin", "", 403, "plugin-lacks-right"),
    ("POST", "/api/v1/plugins/full/x", "admin", "four", 413, "body-too-large"),
    ("POST", "/api/v1/plugins/full/x", "admin", "for", 503, "plugin-busy"),
    ("POST", "/api/v1/plugins/tools/plugin_full_greet", "admin", "junk", 503, "plugin-busy"),
    ("POST", "/api/v1/plugins/tools/plugin_full_greet", "admin", "{}", 503, "plugin-busy"),
    // The body comes last.
    ("POST", "/api/v1/plugins/tools/plugin_hello_greet", "user", "junk", 400, "invalid-body"),
    ("POST", "/api/v1/plugins/tools/plugin_hello_greet", "user", "{}", 503, "no-endpoint"),
    ("GET", "/api/v1/plugins/hello/x", "user", "", 503, "no-endpoint"),
    // Outside of /api/.
    ("GET", "/metrics", "", "", 401, "unauthenticated"),
    ("GET", "/metrics", "user", "", 403, "forbidden"),
    ("GET", "/metrics", "unchecked", "", 503, "authorization-unavailable"),
    ("POST", "/metrics", "admin", "", 405, "method-not-allowed"),
    ("GET", "/", "", "", 404, "no-such-route"),
    ("GET", "/mcp", "admin", "", 404, "no-such-route"),
    ("POST", "/healthz", "", "", 405, "method-not-allowed"),
    ("POST", "/openapi.json", "", "", 405, "method-not-allowed"),
    ("GET", "/openapi.json/", "", "", 404, "no-such-route"),
];

#[tokio::test]
async fn each_request_ends_at_the_first_check_that_it_fails() {
    let asking = asking(Some(table()));
    for &(method, path, token, body, status, slug) in ENDS {
        let seen = asking.ask(method, path, token, body).await;
        assert_eq!(
            (seen.status, seen.slug()),
            (status, slug),
            "{method} {path} as {token:?}"
        );
        assert_eq!(seen.headers["content-type"], "application/problem+json");
        assert_eq!(seen.body["requestId"].as_str().unwrap(), seen.headers["x-request-id"]);
        assert_eq!(seen.body["error"], seen.body["detail"]);
        assert_eq!(seen.headers.contains_key("www-authenticate"), status == 401);
        assert_eq!(seen.headers.contains_key("retry-after"), status == 503);
        assert_eq!(seen.headers.contains_key("allow"), status == 405);
    }
}
