//! The plugin as its callers meet it, behind the real protocol.

use kite_plugin_sdk::{
    ClusterChange,
    axum::{
        Json, Router,
        body::Bytes,
        extract::Path,
        http::{Method, Request, StatusCode, header::CONTENT_TYPE},
        response::{IntoResponse as _, Response},
        routing::get,
    },
    testing::{self, Code},
};
use serde_json::{Value, json};

use crate::Hello;

/// An API server with two pods in the plugins' namespace; those of others may not be read.
fn kubernetes() -> Router {
    let pods = async |Path(namespace): Path<String>| -> Response {
        if namespace != "kite-plugins" {
            let refusal = json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "pods is forbidden"});
            return (StatusCode::FORBIDDEN, Json(refusal)).into_response();
        }
        let pod = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}});
        let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod("a"), pod("b")]});
        Json(list).into_response()
    };
    Router::new().route("/api/v1/namespaces/{namespace}/pods", get(pods))
}

#[tokio::test]
async fn hello_greets_the_caller() {
    let client = testing::start(Hello).await;
    let answer = client.as_user("anna").get("/hello").await;
    assert_eq!(answer.json::<Value>(), json!({"message": "Hello, anna!"}));
    assert_eq!(client.as_host().get("/hello").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn hello_greets_as_it_is_told() {
    let client = testing::start(Hello).await;
    let greeted = async || client.as_user("anna").get("/hello").await.json::<Value>()["message"].clone();
    client
        .apply_settings(json!({"greeting": "Hi", "from": "us"}))
        .await
        .unwrap();
    assert_eq!(greeted().await, "Hi, anna! From us.");
    let refusal = client.apply_settings(json!({"greeting": "Hi,"})).await.unwrap_err();
    assert!(refusal.contains("comma"), "{refusal}");
    assert_eq!(greeted().await, "Hi, anna! From us.", "the settings before go on");
    client.cluster_event(ClusterChange::Added, "home").await.unwrap();
    client.stop().await.unwrap();
}

#[tokio::test]
async fn echo_answers_body_and_content_type() {
    let client = testing::start(Hello).await;
    let large = Bytes::from(vec![7; 200_000]);
    let mut request = Request::new(large.clone());
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(CONTENT_TYPE, "text/x".parse().unwrap());
    let answer = client.request("/echo", request).await;
    assert_eq!(
        (answer.status, answer.headers[CONTENT_TYPE].as_bytes()),
        (StatusCode::OK, &b"text/x"[..])
    );
    assert_eq!(answer.body, large);
}

#[tokio::test]
async fn pods_are_read_with_the_plugins_own_rights() {
    let client = testing::of(Hello).kubernetes(kubernetes()).start().await;
    let answer = client.get("/pods").await;
    assert_eq!(
        answer.json::<Value>(),
        json!({"namespace": "kite-plugins", "pods": ["a", "b"]})
    );

    let count = async |namespace: &str| {
        client
            .call_tool("count_pods", json!({"namespace": namespace}))
            .await
            .unwrap()
    };
    let counted = count("kite-plugins").await;
    assert_eq!(
        (counted.text.as_str(), counted.structured),
        ("2 pods in the namespace kite-plugins", json!({"pods": 2}))
    );
    let refused = count("kube-system").await;
    assert!(
        refused.is_error && refused.text.contains("pods is forbidden"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn without_a_cluster_pods_are_an_error_that_says_so() {
    let answer = testing::start(Hello).await.get("/pods").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(answer.text().contains("ServiceAccount"), "{}", answer.text());
}

#[tokio::test]
async fn the_tool_greets_and_refuses_what_is_no_name() {
    let client = testing::start(Hello).await;
    assert_eq!(
        client.call_tool("hello", json!({"name": "Bob"})).await.unwrap().text,
        "Hello, Bob!"
    );
    let refused = client.call_tool("hello", json!({"name": 7})).await.unwrap_err();
    assert_eq!(refused.code, Code::InvalidArgument);
}

#[tokio::test]
async fn notes_are_made_listed_and_removed() {
    let client = testing::start(Hello).await;
    let note = json!({"metadata": {"name": "a", "namespace": "shop"}, "text": "milk"});
    assert_eq!(client.create("notes", "shop", &note).await.unwrap(), note);
    assert_eq!(
        client.create("notes", "shop", &note).await.unwrap_err().code,
        Code::AlreadyExists
    );
    assert_eq!(client.object("notes", "shop", "a").await.unwrap(), note);
    assert_eq!(client.list("notes", "").await.unwrap(), std::slice::from_ref(&note));
    assert_eq!(client.list("notes", "pay").await.unwrap(), [] as [Value; 0]);
    client.delete("notes", "shop", "a").await.unwrap();
    assert_eq!(
        client.object("notes", "shop", "a").await.unwrap_err().code,
        Code::NotFound
    );

    let empty = json!({"metadata": {"name": "b"}, "text": ""});
    let refused = client.create("notes", "shop", &empty).await.unwrap_err();
    assert_eq!(refused.code, Code::InvalidArgument);
    client.stop().await.unwrap();
}

#[tokio::test]
async fn a_socket_is_a_web_socket_only() {
    let client = testing::start(Hello).await;
    assert_eq!(client.get("/socket").await.status, StatusCode::UPGRADE_REQUIRED);
}
