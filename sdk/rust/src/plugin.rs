//! What an author implements.

use axum::Router;
use prometheus_client::registry::Registry;

use crate::{ApplySettings, ClusterEvents, Middleware, ResourceType, Shutdown, Tool, WebFiles};

/// A plugin. Only [`manifest`](Plugin::manifest) must be given; whatever else is not given is not offered.
///
/// Each method is asked once, when the plugin starts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no plugin",
    label = "not a plugin",
    note = "write `impl Plugin for {Self}`, with the method `manifest` at least"
)]
pub trait Plugin: Send + Sync + 'static {
    /// The text of the author's `plugin.yaml`, usually `include_str!("../plugin.yaml")`. The version that the plugin
    /// says it has comes from here, so that the two cannot differ.
    fn manifest(&self) -> &str;

    /// The plugin's HTTP routes. A request to `/api/v1/plugins/<name>/hello` comes in as `/hello`.
    ///
    /// Handlers find the caller by the extractor [`Caller`](crate::Caller), and the request's id by
    /// [`RequestId`](crate::RequestId). A handler that panics answers 500 to that request alone; one whose caller goes
    /// away, or whose time is up, is dropped at its next `.await`.
    fn routes(&self) -> Router {
        Router::new()
    }

    /// The plugin's tools, for people and models.
    fn tools(&self) -> Vec<Tool> {
        Vec::new()
    }

    /// The types of objects that the plugin serves.
    fn resource_types(&self) -> Vec<ResourceType> {
        Vec::new()
    }

    /// The files of the plugin's pages, for browsers.
    fn web_files(&self) -> WebFiles {
        WebFiles::default()
    }

    /// Who is asked about requests to plugins before they go on, if anybody is: see [`Middleware`].
    fn middleware(&self) -> Option<Middleware> {
        None
    }

    /// How the plugin takes its settings, if it has any.
    fn apply_settings(&self) -> Option<ApplySettings> {
        None
    }

    /// Who is told that a cluster was added, changed or removed, if anybody is.
    fn on_cluster_event(&self) -> Option<ClusterEvents> {
        None
    }

    /// Registers figures of the plugin's own, for Prometheus. They are told on the health port, in plain text to whoever may
    /// reach it, beside the SDK's, whose names begin with `kite_plugin_`.
    fn metrics(&self, _registry: &mut Registry) {}

    /// What releases what the plugin holds at its end, if there is anything.
    fn shutdown(&self) -> Option<Shutdown> {
        None
    }
}
