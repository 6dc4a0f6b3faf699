//! The plugin's own client for the API server.

use std::{fmt, ops::Deref};

use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use kite_api::error_chain;
use kube::{Client, Config, config::InClusterError};
use tokio::sync::OnceCell;

use super::{Kite, NotServed};

/// Why there is no client for the API server.
#[derive(Debug, thiserror::Error)]
pub enum KubeClientError {
    /// The pod has no token, or there is no pod.
    #[error(
        "failed to find the token of the plugin's ServiceAccount: name what it may do in spec.permissions of its plugin.yaml, and run it in a cluster"
    )]
    Token(#[source] InClusterError),
    /// What is mounted is no good.
    #[error("failed to make a client for the API server")]
    Client(#[source] kube::Error),
    /// The request did not come through the SDK.
    #[error(transparent)]
    NotServed(#[from] NotServed),
}

impl IntoResponse for KubeClientError {
    fn into_response(self) -> Response {
        tracing::error!(
            error = error_chain(&self),
            "the plugin has no client for the API server"
        );
        (StatusCode::BAD_GATEWAY, self.to_string()).into_response()
    }
}

/// A client for the API server, as an extractor of routes: with the rights of the plugin's own ServiceAccount, whoever calls.
#[derive(Clone)]
pub struct KubeClient(pub Client);

impl Deref for KubeClient {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl fmt::Debug for KubeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KubeClient")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for KubeClient {
    type Rejection = KubeClientError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, KubeClientError> {
        let kite = <Kite as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        kite.kube().await.map(Self)
    }
}

/// Where the client comes from. It is made once; an attempt that fails is made again when it is next wanted.
#[derive(Default)]
pub(crate) struct Source(OnceCell<Client>);

impl Source {
    /// This client, and not that of the pod.
    pub(crate) fn given(client: Client) -> Self {
        Self(OnceCell::new_with(Some(client)))
    }

    pub(super) async fn client(&self) -> Result<Client, KubeClientError> {
        let connect = async || {
            let config = Config::incluster().map_err(KubeClientError::Token)?;
            Client::try_from(config).map_err(KubeClientError::Client)
        };
        self.0.get_or_try_init(connect).await.cloned()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.0.initialized()).finish()
    }
}
