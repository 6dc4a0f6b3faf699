//! What the author of a plugin links: a [`Plugin`] with its routes and tools, and [`serve`], which does the rest.
//!
//! ```no_run
//! use kite_plugin_sdk::{
//!     Caller, Plugin, ServeError, Tool, ToolContext, ToolError,
//!     axum::{Json, Router, routing::get},
//!     schemars::JsonSchema,
//!     serde::Deserialize,
//!     serde_json::{Value, json},
//! };
//!
//! struct Greeter;
//!
//! /// Whom to greet.
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(crate = "kite_plugin_sdk::serde")]
//! #[schemars(crate = "kite_plugin_sdk::schemars")]
//! struct Greet {
//!     /// The name to greet.
//!     name: String,
//! }
//!
//! impl Plugin for Greeter {
//!     fn manifest(&self) -> &str {
//!         // In a plugin of its own: include_str!("../plugin.yaml")
//!         "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: greeter}, spec: {version: 0.1.0, image: greeter}}"
//!     }
//!
//!     fn routes(&self) -> Router {
//!         Router::new().route("/hello", get(hello))
//!     }
//!
//!     fn tools(&self) -> Vec<Tool> {
//!         vec![Tool::new("greet", "Greets somebody", greet)]
//!     }
//! }
//!
//! async fn hello(caller: Caller) -> Json<Value> {
//!     Json(json!({"message": format!("Hello, {}!", caller.name)}))
//! }
//!
//! async fn greet(_: ToolContext, arguments: Greet) -> Result<String, ToolError> {
//!     Ok(format!("Hello, {}!", arguments.name))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), ServeError> {
//!     kite_plugin_sdk::serve(Greeter).await
//! }
//! ```

mod caller;
mod definitions;
mod manifest;
mod plugin;
mod server;
mod service;
mod telemetry;
mod tool;
mod web_socket;

// So that an author's code has the very versions that the SDK speaks in its signatures.
pub use axum;
pub use caller::{Caller, NoCaller, RequestId};
pub use definitions::DefinitionError;
pub use kite_api::{PluginName, name::NameError};
pub use kite_proto::web_socket::{FrameError, Message};
pub use kube;
pub use manifest::ManifestError;
pub use plugin::Plugin;
pub use schemars;
pub use serde;
pub use serde_json;
pub use server::{Config, ServeError, serve, serve_with};
pub use tokio;
pub use tool::{Tool, ToolContext, ToolError, ToolOutput};
pub use tracing;
pub use web_socket::{NoWebSocket, WebSocket, WebSocketError, WebSocketReceiver, WebSocketSender, WebSocketUpgrade};
