//! What the SDK holds for a plugin while it runs: its settings, and its client for the cluster.

mod cluster;
mod kubernetes;
mod plugins;
mod settings;

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
pub use cluster::Cluster;
pub(crate) use kubernetes::Source;
pub use kubernetes::{KubeClient, KubeClientError};
pub(crate) use plugins::Gateway;
pub use plugins::{CallError, OtherPlugin};
pub(crate) use settings::Current;
pub use settings::{NoSettings, Settings};

use crate::metrics::Metrics;

/// What the SDK holds for a plugin while it runs. It is cheap to clone, and good for tasks of the plugin's own too.
///
/// Hooks get it as an argument, tools have it in their [`ToolContext`](crate::ToolContext), routes take it as an extractor.
#[derive(Clone, Debug, Default)]
pub struct Kite(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    settings: Current,
    kubernetes: Source,
    gateway: Gateway,
    metrics: Metrics,
}

impl Kite {
    pub(crate) fn new(kubernetes: Source, gateway: Gateway) -> Self {
        Self(Arc::new(Inner {
            kubernetes,
            gateway,
            ..Inner::default()
        }))
    }

    /// The settings that were accepted last. They are an error until the operator has sent the first.
    pub fn settings<T: Send + Sync + 'static>(&self) -> Result<Settings<T>, NoSettings> {
        self.0.settings.get()
    }

    /// A client for the API server, with the rights of the plugin's own ServiceAccount: what `spec.permissions` grants, whoever
    /// the caller is. It is made when it is first wanted, and then shared.
    pub async fn kube(&self) -> Result<kube::Client, KubeClientError> {
        self.0.kubernetes.client().await
    }

    /// Another plugin, which `spec.calls` of this one's object names.
    pub fn plugin(&self, name: impl Into<String>) -> OtherPlugin {
        OtherPlugin::new(self.clone(), name.into())
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn current(&self) -> &Current {
        &self.0.settings
    }
}

/// The SDK does not serve this request: a router of the author's own is called by itself, in a test perhaps.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this request did not come through the SDK: serve the plugin, in a test by kite_plugin_sdk::testing")]
pub struct NotServed;

impl IntoResponse for NotServed {
    fn into_response(self) -> Response {
        tracing::error!("{self}");
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Kite {
    type Rejection = NotServed;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotServed> {
        parts.extensions.get::<Self>().cloned().ok_or(NotServed)
    }
}

impl<S: Sync> axum::extract::OptionalFromRequestParts<S> for Kite {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
