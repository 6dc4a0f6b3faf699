//! Which rights requests need, and which of them are refused for being readable in two ways.

use bytes::Bytes;
use http::{Method, Request};
use kite_api::{KitePluginSpec, RevisionSpec};
use serde_json::{Value, json};

use super::*;
use crate::directory::Guards;

const LIMIT: Duration = Duration::from_secs(10);

fn guards(spec: &Value) -> Guards {
    let mut all = json!({"version": "1.0.0", "image": "a"});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let spec: KitePluginSpec = serde_json::from_value(all).unwrap();
    Guards::of(&RevisionSpec::of(&spec), &spec.permissions, "kite-plugins")
}

/// A route that takes its namespace from `source`.
fn route(path: &str, source: &Value) -> Guards {
    guards(&json!({"routes": [{"path": path, "requires": [{"resource": "pods", "namespace": source}]}]}))
}

fn body(text: &str) -> RequestBody {
    Full::new(Bytes::copy_from_slice(text.as_bytes()))
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// What the request needs, in words; or why it is refused.
async fn needed(guards: &Guards, target: &str, content_type: Option<&str>, text: &str) -> Result<Vec<String>, String> {
    let mut request = Request::new(body(text));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.parse().unwrap();
    if let Some(content_type) = content_type {
        let value = http::HeaderValue::from_str(content_type).unwrap();
        request.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    let path = request.uri().path().to_owned();
    let matched = guards.routes(&path);
    let (rights, request) = of_route(&matched, &[Verb::Create], request, LIMIT)
        .await
        .map_err(|error| error.to_string())?;
    let passed = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(passed, text, "the body is passed on as it came");
    Ok(rights.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn a_namespace_in_the_path_is_asked_about() {
    let guards = route("/namespaces/{ns}/pods", &json!({"path": "ns"}));
    let found = needed(&guards, "/namespaces/shop/pods", None, "").await;
    assert_eq!(found.unwrap(), ["create pods in namespace shop"]);
    let odd = needed(&guards, "/namespaces/Shop/pods", None, "").await;
    assert_eq!(odd.unwrap_err(), "\"Shop\" is not the name of a namespace");
    let encoded = needed(&guards, "/namespaces/a%20b/pods", None, "").await;
    assert_eq!(encoded.unwrap_err(), "\"a b\" is not the name of a namespace");
}

#[tokio::test]
async fn a_namespace_in_the_query_is_asked_about_if_all_read_it_alike() {
    let guards = route("/costs", &json!({"query": "namespace"}));
    let cluster = "create pods in the whole cluster";
    for (query, found) in [
        ("", Ok(cluster)),
        ("?", Ok(cluster)),
        ("?namespace", Ok(cluster)),
        ("?namespace=", Ok(cluster)),
        ("?namespac=shop&namespaces=shop", Ok(cluster)),
        // A reader to whom case is nothing would take it; it asks for more than that reader needs.
        ("?Namespace=shop", Ok(cluster)),
        ("?namespace[]=shop", Ok(cluster)),
        ("?namespace=shop", Ok("create pods in namespace shop")),
        ("?a=1&namespace=shop&b", Ok("create pods in namespace shop")),
        ("?n%61mespace=sh%6Fp", Ok("create pods in namespace shop")),
        (
            "?namespace=shop&namespace=pay",
            Err("the query parameter namespace is given more than once"),
        ),
        (
            "?namespace=shop&namespace=shop",
            Err("the query parameter namespace is given more than once"),
        ),
        (
            "?namespace=shop&NAMESPACE=pay",
            Err("the query parameter namespace is given more than once"),
        ),
        (
            "?namespace=shop&n%61mespace=pay",
            Err("the query parameter namespace is given more than once"),
        ),
        (
            "?namespace=shop&namespace[0]=pay",
            Err("the query parameter namespace is given more than once"),
        ),
        (
            "?namespace=shop&[namespace]=pay",
            Err("the query parameter namespace is given more than once"),
        ),
        (
            "?namespace=shop;namespace=pay",
            Err("the query is not percent-encoded UTF-8, with & between its parameters"),
        ),
        (
            "?namespace=shop%00",
            Err("the query is not percent-encoded UTF-8, with & between its parameters"),
        ),
        (
            "?namespace=%ff",
            Err("the query is not percent-encoded UTF-8, with & between its parameters"),
        ),
        (
            "?namespace=shop%2",
            Err("the query is not percent-encoded UTF-8, with & between its parameters"),
        ),
        ("?namespace=+shop", Err("\" shop\" is not the name of a namespace")),
        ("?namespace=*", Err("\"*\" is not the name of a namespace")),
    ] {
        let seen = needed(&guards, &format!("/costs{query}"), None, "").await;
        let found = found.map(|text| vec![text.to_owned()]).map_err(ToOwned::to_owned);
        assert_eq!(seen, found, "{query}");
    }
}

#[tokio::test]
async fn a_form_beside_the_query_is_refused() {
    let guards = route("/costs", &json!({"query": "namespace"}));
    for form in ["application/x-www-form-urlencoded", "Multipart/Form-Data; boundary=a"] {
        let refused = needed(&guards, "/costs?namespace=shop", Some(form), "namespace=pay").await;
        assert!(
            refused.unwrap_err().contains("a form could say something else"),
            "{form}"
        );
    }
    let json = needed(&guards, "/costs?namespace=shop", Some("application/json"), "{}").await;
    assert_eq!(json.unwrap(), ["create pods in namespace shop"]);
}

#[tokio::test]
async fn a_key_that_others_read_as_another_is_refused() {
    let guards = route("/backups", &json!({"body": "/metadata/namespace"}));
    for body in [
        r#"{"metadata": {"namespace": "shop", "Namespace": "pay"}}"#,
        r#"{"metadata": {"namespace": "shop"}, "metaData": {}}"#,
        "{\"metadata\": {\"namespace\": \"shop\", \"name\u{17f}pace\": \"pay\"}}",
    ] {
        let refused = needed(&guards, "/backups", Some("application/json"), body).await;
        assert!(refused.unwrap_err().contains("differs in case only"), "{body}");
    }
    // Alone it is none to the gateway, which asks for more than its reader needs.
    let alone = r#"{"metadata": {"Namespace": "shop"}}"#;
    let wide = needed(&guards, "/backups", Some("application/json"), alone).await;
    assert_eq!(wide.unwrap(), ["create pods in the whole cluster"]);
}

#[tokio::test]
async fn a_namespace_in_the_body_is_asked_about_if_all_read_it_alike() {
    let guards = route("/backups", &json!({"body": "/metadata/namespace"}));
    let json = Some("application/json");
    let shop = r#"{"metadata": {"namespace": "shop"}}"#;
    let large = format!(r#"{{"a": "{}"}}"#, "a".repeat(MAX_BODY));
    let media = "this route reads the body before it passes it on: send application/json, and no content encoding";
    for (content_type, text, found) in [
        (json, shop, Ok("create pods in namespace shop")),
        (
            Some("application/merge-patch+json; charset=\"utf-8\""),
            shop,
            Ok("create pods in namespace shop"),
        ),
        (None, "", Ok("create pods in the whole cluster")),
        (json, "{}", Ok("create pods in the whole cluster")),
        (
            json,
            r#"{"metadata": {"namespace": null}}"#,
            Ok("create pods in the whole cluster"),
        ),
        (
            json,
            r#"{"metadata": {"namespace": ""}}"#,
            Ok("create pods in the whole cluster"),
        ),
        (
            json,
            r#"{"metadata": {"namespace": 1}}"#,
            Err("the value at /metadata/namespace is no text"),
        ),
        (
            json,
            r#"{"metadata": {"namespace": ["shop"]}}"#,
            Err("the value at /metadata/namespace is no text"),
        ),
        (
            json,
            r#"{"metadata": {"namespace": "../x"}}"#,
            Err("\"../x\" is not the name of a namespace"),
        ),
        (
            json,
            r#"{"metadata": {"namespace": "shop", "namespace": "pay"}}"#,
            Err("failed to parse the body"),
        ),
        (
            json,
            r#"{"metadata": {"namespace": "shop"}} {}"#,
            Err("failed to parse the body"),
        ),
        (json, "namespace=shop", Err("failed to parse the body")),
        (json, &large, Err("the body has more than 65536 bytes")),
        (None, shop, Err(media)),
        (Some("text/plain"), shop, Err(media)),
        (Some("application/json; charset=utf-16"), shop, Err(media)),
        (Some("application/x-www-form-urlencoded"), "metadata=1", Err(media)),
    ] {
        let seen = needed(&guards, "/backups", content_type, text).await;
        let found = found.map(|text| vec![text.to_owned()]).map_err(ToOwned::to_owned);
        assert_eq!(seen, found, "{content_type:?} {text:.80}");
    }
}

#[tokio::test]
async fn several_requirements_and_readings_are_asked_about_together() {
    let guards = guards(&json!({"routes": [
        {"path": "/a/{x}", "requires": [{"resource": "secrets", "verb": "get", "name": {"path": "x"}}]},
        {"path": "/a/{x}/**", "requires": [{"group": "apps", "resource": "deployments", "namespace": {"query": "ns"}}]},
        {"path": "/free"},
    ]}));
    let found = needed(&guards, "/a/b/?ns=shop", None, "").await.unwrap();
    assert_eq!(
        found,
        [
            "get secrets \"b\" in the whole cluster",
            "create deployments.apps in namespace shop"
        ]
    );
    assert!(needed(&guards, "/free", None, "").await.unwrap().is_empty());
    assert!(needed(&guards, "/elsewhere", None, "").await.unwrap().is_empty());
    assert!(needed(&guards, "/a/b%2Cc", None, "").await.is_err());
}

#[test]
fn a_tools_arguments_name_what_is_asked_about() {
    let requirements: Vec<ToolRequirement> = serde_json::from_value(json!([
        {"resource": "pods", "verb": "list", "namespace": {"argument": "/where/namespace"}, "name": {"argument": "/pod"}},
        {"resource": "nodes", "verb": "get"},
    ]))
    .unwrap();
    let found = |arguments: &str| {
        let rights = of_tool(&requirements, arguments.as_bytes()).map_err(|error| error.to_string())?;
        Ok::<_, String>(rights.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(
        found(r#"{"where": {"namespace": "shop"}, "pod": "a"}"#).unwrap(),
        ["get nodes in the whole cluster", "list pods \"a\" in namespace shop"]
    );
    assert_eq!(
        found("{}").unwrap(),
        ["get nodes in the whole cluster", "list pods in the whole cluster"]
    );
    assert_eq!(found(r#"{"pod": {}}"#).unwrap_err(), "the value at /pod is no text");
    assert_eq!(
        found(r#"{"pod": "a/b"}"#).unwrap_err(),
        "\"a/b\" is not the name of an object"
    );
}
