//! What hello's pods write of what they were told.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::LogParams};
use serde_json::{Value, json};

use super::{PLUGINS, Scope, eventually};

/// Lines that a pod of hello has written with these words.
pub async fn lines(scope: &Scope, pod: &str, words: &str) -> Vec<Value> {
    let pods: Api<Pod> = Api::namespaced(scope.client.clone(), PLUGINS);
    let log = pods.logs(pod, &LogParams::default()).await.unwrap_or_default();
    let lines = log.lines().filter(|line| line.contains(words));
    lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Waits until the pod was told just this of the cluster, in this order. What comes twice in a row is told once.
pub async fn told(scope: &Scope, pod: &str, cluster: &str, changes: &[&str], limit: Duration) {
    eventually(&format!("{cluster}: {changes:?}"), limit, async || {
        let lines = lines(scope, pod, "a cluster has changed").await;
        let field = |line: &Value, name: &str| line.pointer(&format!("/fields/{name}"))?.as_str().map(str::to_owned);
        let of_it = lines
            .iter()
            .filter(|line| field(line, "cluster").as_deref() == Some(cluster));
        let mut seen: Vec<String> = of_it.filter_map(|line| field(line, "change")).collect();
        seen.dedup();
        if seen == changes {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await;
}

/// A kubeconfig of a cluster at this address.
pub fn kubeconfig_of(server: &str) -> String {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": server}}],
        "users": [{"name": "a", "user": {"token": "none"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    });
    config.to_string()
}
