//! The routes: below `/api/v1/plugins/hello` at the gateway.

use kite_plugin_sdk::{
    Caller, KubeClient,
    axum::{
        Json, Router,
        body::Body,
        http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
        response::{IntoResponse, Response},
        routing::{get, post},
    },
    kube,
    tracing::warn,
};
use serde_json::{Value, json};

use crate::pods::{self, PodsError};

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/hello", get(hello))
        .route("/pods", get(own_pods))
        .route("/echo", post(echo))
}

/// Greets whoever asks.
async fn hello(caller: Caller) -> Json<Value> {
    Json(json!({"message": format!("Hello, {}!", caller.name)}))
}

/// The pods of the plugin's own namespace.
async fn own_pods(KubeClient(kube): KubeClient) -> Result<Json<Value>, PodsError> {
    let namespace = kube.default_namespace().to_owned();
    let names = pods::names(kube, &namespace).await?;
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
