//! The routes: below `/api/v1/plugins/hello` at the gateway.

use kite_plugin_sdk::{
    Caller, Kite, KubeClient, Message, WebSocket, WebSocketUpgrade,
    axum::{
        Json, Router,
        body::Body,
        http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
        response::{IntoResponse, Response},
        routing::{get, post},
    },
    kube,
    tracing::{info, warn},
};
use serde_json::{Value, json};

use crate::{
    pods::{self, PodsError},
    told,
};

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/hello", get(hello))
        .route("/pods", get(own_pods))
        .route("/echo", post(echo))
        .route("/socket", get(socket))
}

/// Greets whoever asks.
async fn hello(caller: Caller, kite: Kite) -> Json<Value> {
    Json(json!({"message": told::greet(&kite, &caller.name)}))
}

/// The pods of the plugin's own namespace.
async fn own_pods(KubeClient(kube): KubeClient) -> Result<Json<Value>, PodsError> {
    let namespace = kube.default_namespace().to_owned();
    let names = pods::names(kube, &namespace).await?;
    Ok(Json(json!({"namespace": namespace, "pods": names})))
}

/// Answers the body as it comes, without waiting for its end.
async fn echo(headers: HeaderMap, body: Body) -> Response {
    // With the id of the request, as every line.
    info!("echoes");
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
        let (status, error) = match &self.source {
            kube::Error::Api(refusal) if refusal.code == 403 => {
                (StatusCode::FORBIDDEN, format!("{self}: {}", refusal.message))
            }
            _ => (StatusCode::BAD_GATEWAY, self.to_string()),
        };
        (status, Json(json!({"error": error}))).into_response()
    }
}
