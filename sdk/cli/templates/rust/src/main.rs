//! The plugin: what it offers, and what each call does.

#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::Pod;
use kite_plugin_sdk::{
    ApplySettings, Caller, Kite, KubeClient, Plugin, ServeError, Tool, ToolContext, ToolError,
    axum::{Json, Router, http::StatusCode, routing::get},
    kube::{Api, ResourceExt, api::ListParams},
    tracing,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

struct MyPlugin;

impl Plugin for MyPlugin {
    fn manifest(&self) -> &str {
        include_str!("../plugin.yaml")
    }

    fn routes(&self) -> Router {
        Router::new()
            .route("/hello", get(hello))
            .route("/pods", get(pods))
    }

    fn tools(&self) -> Vec<Tool> {
        vec![Tool::new("hello", "Greets somebody by name.", hello_tool).read_only()]
    }

    fn apply_settings(&self) -> Option<ApplySettings> {
        Some(ApplySettings::of::<Settings>())
    }
}

/// The settings, as `spec.settingsSchema` in plugin.yaml has them.
#[derive(Deserialize)]
#[serde(default)]
struct Settings {
    greeting: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            greeting: "Hello".to_owned(),
        }
    }
}

/// Greets as the settings say, and by the defaults until there are any.
fn greet(kite: &Kite, name: &str) -> String {
    match kite.settings::<Settings>() {
        Ok(settings) => format!("{}, {name}!", settings.greeting),
        Err(_) => format!("{}, {name}!", Settings::default().greeting),
    }
}

#[derive(Serialize)]
struct Greeting {
    message: String,
}

/// `GET /hello` greets whoever asks.
async fn hello(caller: Caller, kite: Kite) -> Json<Greeting> {
    let message = greet(&kite, &caller.name);
    Json(Greeting { message })
}

/// Whom to greet. People and models read what stands here.
#[derive(Deserialize, JsonSchema)]
struct Hello {
    /// The name to greet.
    name: String,
}

/// The tool `hello` greets whoever is named.
async fn hello_tool(context: ToolContext, Hello { name }: Hello) -> Result<String, ToolError> {
    Ok(greet(context.kite(), &name))
}

#[derive(Serialize)]
struct Pods {
    pods: Vec<String>,
}

/// `GET /pods` lists the pods that plugin.yaml's permissions let the plugin see: those of its own namespace.
async fn pods(KubeClient(kube): KubeClient) -> Result<Json<Pods>, (StatusCode, &'static str)> {
    let pods: Api<Pod> = Api::default_namespaced(kube);
    match pods.list_metadata(&ListParams::default().limit(500)).await {
        Ok(list) => Ok(Json(Pods {
            pods: list.iter().map(ResourceExt::name_any).collect(),
        })),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "failed to list pods"
            );
            Err((StatusCode::BAD_GATEWAY, "failed to list pods"))
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    kite_plugin_sdk::serve(MyPlugin).await
}
