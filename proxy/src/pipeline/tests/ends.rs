//! Each way in which a request ends before a plugin has it, and which of several comes first.

use futures::stream;
use http_body::Frame;
use http_body_util::StreamBody;

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

/// What a request to hello says of the revision, as whom; then status and problem.
#[rustfmt::skip]
pub(super) const PINNED: &[(&str, &str, &str, u16, &str)] = &[
    // Its syntax comes before the right.
    ("/api/v1/plugins/hello/x", "seven", "stranger", 400, "invalid-revision"),
    ("/api/v1/plugins/tools/plugin_hello_greet", "0", "stranger", 400, "invalid-revision"),
    // The right before which there are.
    ("/api/v1/plugins/hello/x", "6", "stranger", 403, "forbidden"),
    ("/api/v1/plugins/hello/x", "6", "user", 409, "revision-gone"),
    // It drained until long ago, whatever still stands in the status.
    ("/api/v1/plugins/hello/x", "4", "user", 409, "revision-gone"),
    ("/api/v1/plugins/hello/x", "8", "user", 409, "revision-gone"),
    ("/api/v1/plugins/tools/plugin_hello_greet", "6", "user", 409, "revision-gone"),
    ("/api/v1/plugins/off/x", "7", "admin", 503, "not-loaded"),
    ("/api/v1/plugins/young/x", "5", "admin", 503, "not-loaded"),
    // The one that takes the traffic, and one that drains, each with what it requires.
    ("/api/v1/plugins/hello/costs/pay", "7", "user", 403, "caller-lacks-right"),
    ("/api/v1/plugins/hello/costs/pay", "5", "user", 503, "no-endpoint"),
    ("/api/v1/plugins/tools/plugin_hello_nodes", "7", "admin", 403, "plugin-lacks-right"),
    ("/api/v1/plugins/tools/plugin_hello_nodes", "5", "admin", 503, "no-endpoint"),
];

#[tokio::test]
async fn a_request_for_a_revision_goes_to_that_one_or_nowhere() {
    let asking = asking(Some(table()));
    for &(path, revision, token, status, slug) in PINNED {
        let mut request = request("POST", path, token, "{}");
        request
            .headers_mut()
            .insert("x-kite-revision", HeaderValue::from_static(revision));
        let seen = asking.send(request).await;
        assert_eq!(
            (seen.status, seen.slug()),
            (status, slug),
            "{path} for {revision} as {token}"
        );
        let told = seen.headers.get("x-kite-revision").map(HeaderValue::as_bytes);
        let is_served = matches!(slug, "caller-lacks-right" | "plugin-lacks-right" | "no-endpoint");
        assert_eq!(told, is_served.then_some(revision.as_bytes()), "{path} for {revision}");
    }
}

#[tokio::test]
async fn a_revision_that_the_table_does_not_know_yet_is_asked_for_at_the_source() {
    let name = PluginName::parse("hello").unwrap();
    let mut newer = table().remove(&name).unwrap();
    newer.active.as_mut().unwrap().number = 8;
    let mut asking = asking(Some(table()));
    asking.gateway.directory.read = Some(Arc::new(newer));
    for (revision, status, slug) in [
        ("8", 503, "no-endpoint"),
        ("9", 409, "revision-gone"),
        ("6", 409, "revision-gone"),
    ] {
        let mut request = request("GET", "/api/v1/plugins/hello/x", "user", "");
        request
            .headers_mut()
            .insert("x-kite-revision", HeaderValue::from_static(revision));
        let seen = asking.send(request).await;
        assert_eq!((seen.status, seen.slug()), (status, slug), "{revision}");
    }
    assert_eq!(
        asking.gateway.directory.reads.load(Ordering::Relaxed),
        2,
        "not for one that is older"
    );
}

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

#[tokio::test]
async fn a_body_that_breaks_off_ends_its_request() {
    let gone: Result<Frame<Bytes>, BoxError> = Err("the caller is gone".into());
    let mut request = request("POST", "/api/v1/plugins/tools/plugin_hello_greet", "user", "");
    *request.body_mut() = StreamBody::new(stream::iter([gone])).boxed_unsync();
    let seen = asking(Some(table())).send(request).await;
    assert_eq!((seen.status, seen.slug()), (400, "broken-body"));
}

#[tokio::test]
async fn a_refusal_says_which_side_lacks_which_right() {
    let asking = asking(Some(table()));
    let nodes = "the plugin was not granted the right to list nodes in the whole cluster";
    let pods = "you lack the right to list pods in namespace pay";
    for (method, path, token, body, expected) in [
        ("GET", "/api/v1/plugins/hello/nodes/a", "admin", "", nodes),
        ("POST", "/api/v1/plugins/tools/plugin_hello_nodes", "admin", "{}", nodes),
        ("GET", "/api/v1/plugins/hello/costs/pay", "user", "", pods),
        (
            "POST",
            "/api/v1/plugins/tools/plugin_hello_costs",
            "user",
            r#"{"arguments": {"namespace": "pay"}}"#,
            pods,
        ),
    ] {
        let seen = asking.ask(method, path, token, body).await;
        let detail = seen.body["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{method} {path}: {detail}");
    }
}
