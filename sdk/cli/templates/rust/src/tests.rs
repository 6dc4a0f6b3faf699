//! The plugin as its callers meet it, behind the real protocol, without a cluster.

use kite_plugin_sdk::{
    axum::{Json, Router, http::StatusCode, routing::get},
    serde_json::{Value, json},
    testing::{self, Code},
};

use crate::MyPlugin;

#[tokio::test]
async fn hello_greets_the_caller() {
    let client = testing::start(MyPlugin).await;
    let answer = client.as_user("anna").get("/hello").await;
    assert_eq!(answer.json::<Value>(), json!({"message": "Hello, anna!"}));
}

#[tokio::test]
async fn the_tool_greets_by_name() {
    let client = testing::start(MyPlugin).await;
    let result = client
        .call_tool("hello", json!({"name": "Bob"}))
        .await
        .unwrap();
    assert_eq!(result.text, "Hello, Bob!");
    let refused = client.call_tool("hello", json!({})).await.unwrap_err();
    assert_eq!(refused.code, Code::InvalidArgument);
}

#[tokio::test]
async fn the_setting_changes_the_greeting() {
    let settings = json!({"greeting": "Ahoy"});
    let client = testing::of(MyPlugin).settings(settings).start().await;
    let answer = client.as_user("anna").get("/hello").await;
    assert_eq!(answer.json::<Value>(), json!({"message": "Ahoy, anna!"}));
    client
        .apply_settings(json!({"greeting": 7}))
        .await
        .unwrap_err();
    let result = client
        .call_tool("hello", json!({"name": "Bob"}))
        .await
        .unwrap();
    assert_eq!(
        result.text, "Ahoy, Bob!",
        "refused settings leave those of before"
    );
}

/// An API server with two pods in the plugins' namespace.
fn kubernetes() -> Router {
    let pod = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}});
    let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod("a"), pod("b")]});
    Router::new().route(
        "/api/v1/namespaces/kite-plugins/pods",
        get(async || Json(list)),
    )
}

#[tokio::test]
async fn pods_are_listed() {
    let client = testing::of(MyPlugin).kubernetes(kubernetes()).start().await;
    assert_eq!(
        client.get("/pods").await.json::<Value>(),
        json!({"pods": ["a", "b"]})
    );
}

#[tokio::test]
async fn pods_that_cannot_be_listed_are_an_error() {
    let client = testing::of(MyPlugin)
        .kubernetes(Router::new())
        .start()
        .await;
    assert_eq!(client.get("/pods").await.status, StatusCode::BAD_GATEWAY);
}
