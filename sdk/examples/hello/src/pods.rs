//! Pods, read from the API server with the ServiceAccount that Kubernetes gives the plugin.

use k8s_openapi::api::core::v1::Pod;
use kite_plugin_sdk::kube::{self, Api, Client, api::ListParams};

/// Pods that are asked for at once.
const PAGE: u32 = 500;

/// Pods could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to list the pods of the namespace {namespace}")]
pub(crate) struct PodsError {
    namespace: String,
    pub(crate) source: kube::Error,
}

/// The names of the pods in `namespace`.
pub(crate) async fn names(kube: Client, namespace: &str) -> Result<Vec<String>, PodsError> {
    let api: Api<Pod> = Api::namespaced(kube, namespace);
    let mut names = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let listed = api.list_metadata(&page).await;
        let pods = listed.map_err(|source| PodsError {
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
