//! Pods, read from the API server with the ServiceAccount that Kubernetes gives the plugin.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kite_plugin_sdk::kube::{self, Api, Client, Config, api::ListParams, config::InClusterError};
use tokio::sync::OnceCell;

/// Pods that are asked for at once.
const PAGE: u32 = 500;

/// Why pods could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PodsError {
    #[error("failed to find the ServiceAccount's token: the plugin has no permissions, or does not run in a cluster")]
    Token(#[source] InClusterError),
    #[error("failed to make a client for the API server")]
    Client(#[source] kube::Error),
    #[error("failed to list the pods of the namespace {namespace}")]
    List { namespace: String, source: kube::Error },
}

/// A view of the cluster's pods. The client is made when it is first wanted, and shared.
#[derive(Clone, Default)]
pub(crate) struct Pods(Arc<OnceCell<Client>>);

impl Pods {
    /// The plugin's own namespace, and the names of the pods in it.
    pub(crate) async fn own(&self) -> Result<(String, Vec<String>), PodsError> {
        let namespace = self.client().await?.default_namespace().to_owned();
        let names = self.names(&namespace).await?;
        Ok((namespace, names))
    }

    /// The names of the pods in `namespace`.
    pub(crate) async fn names(&self, namespace: &str) -> Result<Vec<String>, PodsError> {
        let api: Api<Pod> = Api::namespaced(self.client().await?.clone(), namespace);
        let mut names = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let listed = api.list_metadata(&page).await;
            let pods = listed.map_err(|source| PodsError::List {
                namespace: namespace.to_owned(),
                source,
            })?;
            names.extend(pods.items.iter().map(kube::ResourceExt::name_any));
            match pods.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(names),
            }
        }
    }

    async fn client(&self) -> Result<&Client, PodsError> {
        let connect =
            async || Client::try_from(Config::incluster().map_err(PodsError::Token)?).map_err(PodsError::Client);
        self.0.get_or_try_init(connect).await
    }
}
