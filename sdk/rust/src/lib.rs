//! What the author of a plugin links: a [`Plugin`] with its routes, tools and types of objects, and [`serve`], which does the rest.
//!
//! ```
//! use kite_plugin_sdk::{
//!     Caller, Object, ObjectKey, Plugin, ResourceContext, ResourceError, ResourceType, ResourceVerb, Resources,
//!     ServeError, Structured, Tool, ToolContext, ToolError,
//!     axum::{Router, routing::get},
//! };
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! # const MANIFEST: &str =
//! #     "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: costs}, spec: {version: 0.1.0, image: costs}}";
//! # macro_rules! include_str { ($file:literal) => { MANIFEST } }
//! /// What something costs.
//! #[derive(Deserialize, JsonSchema, Serialize)]
//! struct Cost { euros: u32 }
//!
//! struct Costs;
//! impl Resources for Costs {
//!     type Fields = Cost;
//!     const NAME: &'static str = "cost-reports";
//!     const DESCRIPTION: &'static str = "What each namespace costs.";
//!     const VERBS: &'static [ResourceVerb] = &[ResourceVerb::Get];
//!     async fn get(&self, _: &ResourceContext, key: &ObjectKey) -> Result<Object<Cost>, ResourceError> {
//!         Ok(Object::of(key, Cost { euros: 7 }))
//!     }
//! }
//!
//! async fn double(_: ToolContext, cost: Cost) -> Result<Structured<Cost>, ToolError> {
//!     Ok(Structured::new(Cost { euros: 2 * cost.euros }))
//! }
//!
//! impl Plugin for Costs {
//!     fn manifest(&self) -> &str { include_str!("../plugin.yaml") }
//!     fn routes(&self) -> Router {
//!         Router::new().route("/hello", get(|caller: Caller| async move { format!("Hello, {}!", caller.name) }))
//!     }
//!     fn tools(&self) -> Vec<Tool> { vec![Tool::new("double", "Doubles a cost.", double).read_only()] }
//!     fn resource_types(&self) -> Vec<ResourceType> { vec![ResourceType::new(Costs)] }
//! }
//!
//! # #[cfg(any())]
//! #[tokio::main]
//! async fn main() -> Result<(), ServeError> { kite_plugin_sdk::serve(Costs).await }
//! # #[tokio::main]
//! # async fn main() {
//! #     let client = kite_plugin_sdk::testing::start(Costs).await;
//! #     assert_eq!(client.get("/hello").await.text(), "Hello, tester!");
//! #     let doubled = client.call_tool("double", serde_json::json!({"euros": 4})).await.unwrap();
//! #     assert_eq!(doubled.structured["euros"], 8);
//! #     assert_eq!(client.object("cost-reports", "shop", "a").await.unwrap()["euros"], 7);
//! # }
//! ```
//!
//! # What a plugin has to work with
//!
//! | in a route | in a tool or a type of objects | what it is |
//! |---|---|---|
//! | [`Caller`] | [`caller`](ToolContext::caller) | who calls |
//! | [`RequestId`] | [`request_id`](ToolContext::request_id) | what names the call in every log |
//! | [`Cluster`] | [`cluster`](ToolContext::cluster) | the cluster that the call is about |
//! | [`Settings`] | [`settings`](ToolContext::settings) | the plugin's settings, which [`Plugin::apply_settings`] reads |
//! | [`KubeClient`] | [`kube`](ToolContext::kube) | a client for the API server, with the plugin's own rights |
//! | [`Kite`] | [`kite`](ToolContext::kite) | all of the plugin's own, for tasks that outlive a call, and [other plugins](Kite::plugin) |
//!
//! Lines that are logged by [`tracing`] while a call is handled carry its request id; a task that is spawned must be given the span, by
//! `tracing::Instrument`.
//!
//! # What it speaks in
//!
//! The SDK's signatures have types of these libraries, and it re-exports the versions that they are of. A newer major version of one
//! of them is a newer major version of the SDK.
//!
//! | library | version | for |
//! |---|---|---|
//! | [`axum`] | 0.8 | routes |
//! | [`kube`] | 5.0 | the client for the API server, label selectors |
//! | [`schemars`] | 1.2 | schemas of arguments, answers and objects |
//! | [`serde`], [`serde_json`] | 1 | the same, read and written |
//! | [`prometheus_client`] | 0.25 | figures |
//! | [`rust_embed`] | 8.13 | web files |
//! | [`tokio`] | 1.54 | the runtime |
//! | [`tracing`] | 0.1 | logs |
//! | tonic | 0.14 | the protocol itself; only what `testing` says of it is public |
//!
//! With the feature `testing` there is `kite_plugin_sdk::testing`, which runs a plugin in its author's own tests.

#![deny(missing_docs)]

mod caller;
mod definitions;
mod hooks;
mod kite;
mod manifest;
mod metrics;
mod middleware;
mod plugin;
mod resource;
mod schema;
mod server;
mod service;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod tool;
mod web_files;
mod web_socket;

// So that an author's code has the very versions that the SDK speaks in its signatures.
pub use axum;
pub use caller::{Caller, NoCaller, RequestId};
pub use definitions::{DefinitionError, FilesError, ToolsError, TypesError};
pub use hooks::{ApplySettings, ClusterChange, ClusterEvent, ClusterEvents, SettingsFields, Shutdown};
pub use kite::{CallError, Cluster, Kite, KubeClient, KubeClientError, NoSettings, NotServed, OtherPlugin, Settings};
pub use kite_api::validator::ValidatorError;
pub use kite_api::{PluginName, name::NameError};
pub use kite_proto::web_socket::{FrameError, Message};
pub use kube;
pub use manifest::ManifestError;
pub use middleware::{Intercepted, Middleware, Verdict};
pub use plugin::Plugin;
pub use prometheus_client;
pub use resource::{
    ListQuery, Metadata, Object, ObjectKey, Page, Patch, ResourceContext, ResourceError, ResourceFields, ResourceType,
    ResourceVerb, Resources,
};
pub use rust_embed;
pub use schemars;
pub use serde;
pub use serde_json;
#[cfg(feature = "in-memory")]
#[doc(hidden)]
pub use server::in_memory;
pub use server::{Certificates, Config, Panicked, ServeError, TlsError, serve, serve_with};
pub use tokio;
pub use tool::{Refused, Structured, Tool, ToolAnswer, ToolArguments, ToolContext, ToolError};
pub use tower::BoxError;
pub use tracing;
pub use web_files::WebFiles;
pub use web_socket::{NoWebSocket, WebSocket, WebSocketError, WebSocketReceiver, WebSocketSender, WebSocketUpgrade};
