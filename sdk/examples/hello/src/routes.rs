//! The routes: below `/api/v1/plugins/hello` at the gateway.

use kite_plugin_sdk::{
    Caller, Message, WebSocket, WebSocketUpgrade,
    axum::{
        Json, Router,
        body::Body,
        extract::State,
        http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
        response::{IntoResponse, Response},
        routing::{get, post},
    },
    kube,
    tracing::warn,
};
use serde_json::{Value, json};

use crate::pods::{Pods, PodsError};

pub(crate) fn routes(pods: Pods) -> Router {
    Router::new()
        .route("/hello", get(hello))
        .route("/pods", get(own_pods))
        .route("/echo", post(echo))
        .route("/socket", get(socket))
        .with_state(pods)
}

/// Greets whoever asks.
async fn hello(caller: Caller) -> Json<Value> {
    Json(json!({"message": format!("Hello, {}!", caller.name)}))
}

/// The pods of the plugin's own namespace.
async fn own_pods(State(pods): State<Pods>) -> Result<Json<Value>, PodsError> {
    let (namespace, names) = pods.own().await?;
    Ok(Json(json!({"namespace": namespace, "pods": names})))
}

/// Answers the body as it comes, without waiting for its end.
async fn echo(headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    if let Some(kind) = headers.get(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, kind.clone());
    }
    response
}

/// A WebSocket on which messages come back as they went.
async fn socket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo_messages)
}

async fn echo_messages(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let echoed = match message {
            Message::Text(_) | Message::Binary(_) => socket.send(message).await,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(()),
        };
        if echoed.is_err() {
            return;
        }
    }
}

impl IntoResponse for PodsError {
    fn into_response(self) -> Response {
        warn!(error = &self as &dyn std::error::Error, "failed to read pods");
        let (status, error) = match &self {
            Self::List {
                source: kube::Error::Api(refusal),
                ..
            } if refusal.code == 403 => (StatusCode::FORBIDDEN, format!("{self}: {}", refusal.message)),
            Self::List { .. } | Self::Token(_) | Self::Client(_) => (StatusCode::BAD_GATEWAY, self.to_string()),
        };
        (status, Json(json!({"error": error}))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use kite_plugin_sdk::axum::{body::to_bytes, http::Request};
    use tower::ServiceExt as _;

    use super::*;

    async fn answer(request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
        let (parts, body) = routes(Pods::default()).oneshot(request).await.unwrap().into_parts();
        (
            parts.status,
            parts.headers,
            to_bytes(body, 1024).await.unwrap().to_vec(),
        )
    }

    #[tokio::test]
    async fn hello_greets_the_caller() {
        let caller = Caller {
            name: "anna".to_owned(),
            ..Caller::default()
        };
        let request = Request::get("/hello").extension(caller).body(Body::empty()).unwrap();
        assert_eq!(answer(request).await.2, br#"{"message":"Hello, anna!"}"#);
    }

    #[tokio::test]
    async fn echo_answers_body_and_content_type() {
        let request = Request::post("/echo")
            .header(CONTENT_TYPE, "text/x")
            .body(Body::from("abc"))
            .unwrap();
        let (status, headers, body) = answer(request).await;
        assert_eq!(
            (status, headers[CONTENT_TYPE].as_bytes(), body.as_slice()),
            (StatusCode::OK, b"text/x".as_slice(), b"abc".as_slice())
        );
    }

    #[tokio::test]
    async fn a_socket_is_a_web_socket_only() {
        let (status, _, _) = answer(Request::get("/socket").body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::UPGRADE_REQUIRED);
    }

    #[tokio::test]
    async fn without_a_cluster_pods_are_an_error_that_says_so() {
        let (status, _, body) = answer(Request::get("/pods").body(Body::empty()).unwrap()).await;
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status, StatusCode::BAD_GATEWAY);
        assert!(body["error"].as_str().unwrap().contains("ServiceAccount"), "{body}");
    }
}
