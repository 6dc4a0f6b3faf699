//! What is asked of `KitePlugin` objects and pods as they come from the API server.

use k8s_openapi::api::core::v1::Pod;
use kite_api::KitePlugin;
use kube::{Resource, core::DeserializeGuard};

/// A `KitePlugin`, or what can be said of one that this operator does not understand. One broken object must not stop
/// the watch that all others depend on.
pub type Object = DeserializeGuard<KitePlugin>;

/// On a pod: the hash of the template that it was made from, by which it is told from the pods of an earlier one.
pub const TEMPLATE: &str = "kite.dev/template";

/// The object's name; the API server gives every object one.
pub fn name(object: &Object) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

/// The generation that a status would speak of.
pub fn generation(object: &Object) -> Option<i64> {
    object.meta().generation
}

/// Whether somebody deleted it and its dependents are still going.
pub fn is_being_deleted(object: &Object) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// Whether a pod of the plugin has said what it is since the plugin was last enabled.
pub fn has_started(object: &Object) -> bool {
    let status = object.0.as_ref().ok().and_then(|plugin| plugin.status.as_ref());
    let mut revisions = status.into_iter().flat_map(|status| &status.revisions);
    revisions.any(|revision| revision.definitions_hash.is_some())
}

/// Those of `pods` that were made from the template with this hash and are not on their way out.
pub fn of_template(mut pods: Vec<Pod>, template: &str) -> Vec<Pod> {
    pods.retain(|pod| {
        let made_from = pod
            .metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(TEMPLATE));
        made_from.is_some_and(|hash| hash == template) && pod.metadata.deletion_timestamp.is_none()
    });
    pods
}

/// Whether the kubelet says that the pod can be used.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_is_not_understood_keeps_its_name() {
        let object: Object = serde_json::from_value(serde_json::json!({
            "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin",
            "metadata": {"name": "hello", "generation": 3}, "spec": {"version": 7},
        }))
        .unwrap();
        assert!(object.0.is_err());
        assert_eq!((name(&object), generation(&object)), ("hello", Some(3)));
    }
}
