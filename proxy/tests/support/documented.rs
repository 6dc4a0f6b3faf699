//! What is answered is what the `OpenAPI` document says.

use http::{HeaderValue, Method, header};
use kite_api::validator::Validator;
use kite_gateway::openapi;
use serde_json::{Value, json};

use super::{Scene, gateway::request};

/// The schema for an answer of this media type, and what it refers to.
fn schema(document: &Value, path: &str, method: &str, status: &str, media: &str) -> Validator {
    let response = &document["paths"][path][method]["responses"][status];
    let mut schema = response["content"][media]["schema"].clone();
    assert!(schema.is_object(), "{method} {path} says nothing of {status} {media}");
    // References are from the document's root.
    let fields = schema.as_object_mut().unwrap();
    fields.insert(
        "components".to_owned(),
        json!({"schemas": document["components"]["schemas"]}),
    );
    Validator::new(&schema).unwrap()
}

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";
const TOOL: &str = "/api/v1/plugins/tools/{tool}";
const PLUGIN: &str = "/api/v1/plugins/{name}/{path}";

/// Path of the document, target, method and body; then status and media type.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    u16,
    &'static str,
);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("/healthz", "/healthz", "get", "", 200, JSON),
    ("/readyz", "/readyz", "get", "", 200, JSON),
    ("/openapi.json", "/openapi.json", "get", "", 200, JSON),
    ("/api/v1/plugins/", "/api/v1/plugins/", "get", "", 200, JSON),
    ("/api/v1/plugins/manifests", "/api/v1/plugins/manifests", "get", "", 200, JSON),
    ("/api/v1/plugins/tools", "/api/v1/plugins/tools", "get", "", 200, JSON),
    ("/api/v1/plugins/tools", "/api/v1/plugins/tools?plugin=A", "get", "", 400, PROBLEM),
    (TOOL, "/api/v1/plugins/tools/plugin_rogue_greet", "post", "{}", 200, JSON),
    (TOOL, "/api/v1/plugins/tools/plugin_rogue_halfway", "post", "{}", 200, JSON),
    (TOOL, "/api/v1/plugins/tools/plugin_rogue_greet", "post", "junk", 400, PROBLEM),
    (TOOL, "/api/v1/plugins/tools/plugin_rogue_strict", "post", "{}", 422, PROBLEM),
    (TOOL, "/api/v1/plugins/tools/plugin_rogue_fail", "post", "{}", 502, PROBLEM),
    (TOOL, "/api/v1/plugins/tools/plugin_rogue_shut", "post", "{}", 403, PROBLEM),
    (TOOL, "/api/v1/plugins/tools/plugin_rogue_busy", "post", "{}", 503, PROBLEM),
    (PLUGIN, "/api/v1/plugins/other/x", "get", "", 404, PROBLEM),
    (PLUGIN, "/api/v1/plugins/Other/x", "get", "", 400, PROBLEM),
    (PLUGIN, "/api/v1/plugins/rogue/bad-header", "get", "", 502, PROBLEM),
];

#[tokio::test]
async fn every_answer_of_the_gateways_own_fits_its_schema() {
    let (scene, document) = (Scene::new().await, openapi::document());
    for &(path, target, method, body, status, media) in ROWS {
        let mut request = request(Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(), "", body);
        *request.uri_mut() = target.parse().unwrap();
        let answer = scene.whole(request).await.unwrap();
        let what = format!("{method} {target}");
        assert_eq!(answer.status, status, "{what}");
        assert_eq!(
            answer.headers[header::CONTENT_TYPE],
            HeaderValue::from_static(media),
            "{what}"
        );
        assert!(answer.headers.contains_key("x-request-id"));
        let schema = schema(&document, path, method, &status.to_string(), media);
        assert_eq!(schema.check(&answer.json()), Ok(()), "{what}: {}", answer.json());
    }
}

#[test]
fn a_schema_holds_what_it_says() {
    let list = schema(
        &openapi::document(),
        "/api/v1/plugins/",
        "get",
        "200",
        "application/json",
    );
    let plugin = json!({"name": "a", "version": "1.0.0", "description": "", "state": "loaded"});
    assert_eq!(list.check(&json!([plugin])), Ok(()));
    for (key, value) in [("state", json!("Loaded")), ("error", Value::Null), ("name", json!(1))] {
        let mut spoilt = plugin.clone();
        spoilt[key] = value;
        assert!(list.check(&json!([spoilt])).is_err(), "{spoilt}");
    }
}
