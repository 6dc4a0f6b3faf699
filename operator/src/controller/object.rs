//! What is asked of `KitePlugin` objects and pods as they come from the API server.

use k8s_openapi::api::core::v1::Pod;
use kite_api::{KitePlugin, KitePluginStatus, RevisionState, labels};
use kube::{
    Resource,
    api::DynamicObject,
    core::{DeserializeGuard, error_boundary::InvalidObject},
    runtime::watcher::Event,
};

/// A `KitePlugin`, or what can be said of one that this operator does not understand. One broken object must not stop
/// the watch that all others depend on.
pub type Object = DeserializeGuard<KitePlugin>;

/// What this operator understands of an object: of a status in another version's words the rest.
pub fn understood(object: DynamicObject) -> Object {
    let plugin = serde_json::to_value(&object).and_then(|object| kite_api::understood::plugin(&object));
    DeserializeGuard(plugin.map_err(|error| InvalidObject {
        error: error.to_string(),
        metadata: object.metadata,
    }))
}

/// The same of each object of an event.
pub fn understood_in(event: Event<DynamicObject>) -> Event<Object> {
    match event {
        Event::Apply(object) => Event::Apply(understood(object)),
        Event::InitApply(object) => Event::InitApply(understood(object)),
        Event::Delete(object) => Event::Delete(understood(object)),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}

/// An object as it was wanted at one time. Another one that has its name has another uid, and may be of the same generation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Version {
    pub uid: Option<String>,
    pub generation: Option<i64>,
}

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

/// Which object it is, and of which generation.
pub fn version(object: &Object) -> Version {
    Version {
        uid: object.meta().uid.clone(),
        generation: generation(object),
    }
}

/// Whether somebody deleted it and its dependents are still going.
pub fn is_being_deleted(object: &Object) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// Whether a pod of the plugin has said what it is since the plugin was last enabled.
pub fn has_started(status: &KitePluginStatus) -> bool {
    let mut revisions = status.revisions.iter();
    revisions.any(|revision| revision.definitions_hash.is_some() && revision.state != RevisionState::Stopped)
}

/// Those of `pods` that are of the revision.
pub fn of_revision(pods: &[Pod], number: i64) -> Vec<Pod> {
    let number = number.to_string();
    let is_of = |pod: &&Pod| {
        let labels = pod.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(labels::REVISION)) == Some(&number)
    };
    pods.iter().filter(is_of).cloned().collect()
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

/// Digest of the image that the pod runs, as the kubelet says.
pub fn digest(pod: &Pod) -> Option<String> {
    let mut containers = pod.status.as_ref()?.container_statuses.iter().flatten();
    containers.find_map(|container| digest_of(&container.image_id))
}

/// The digest in an image's id, which is a reference by digest, or the digest of a local image alone.
fn digest_of(image_id: &str) -> Option<String> {
    let digest = image_id.rsplit('@').next()?;
    let hex = digest.strip_prefix("sha256:")?;
    let is_digest = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| digest.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(spec: &Value, status: &Value) -> Object {
        let object = json!({
            "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin",
            "metadata": {"name": "hello", "generation": 3}, "spec": spec, "status": status,
        });
        understood(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn an_object_that_is_not_understood_keeps_its_name_and_says_what_is_not() {
        let object = read(&json!({"version": 7}), &json!({}));
        assert_eq!((name(&object), generation(&object)), ("hello", Some(3)));
        let error = object.0.unwrap_err().to_string();
        assert!(error.contains("invalid type: integer `7`"), "{error}");
    }

    #[test]
    fn of_a_status_in_another_version_s_words_the_rest_is_understood() {
        let good = json!({"version": "1.0.0", "image": "a"});
        let status = |status: &Value| read(&good, status).0.unwrap().status;
        assert_eq!(
            status(&json!({"phase": "Loaded"})).unwrap().phase,
            Some(kite_api::Phase::Loaded)
        );
        let other = status(&json!({"phase": "Evolving", "activeRevision": 1})).unwrap();
        assert_eq!((other.phase, other.active_revision), (None, Some(1)));
    }

    #[test]
    fn the_digest_is_what_the_kubelet_says() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for id in [
            digest.clone(),
            format!("registry.example:5000/hello@{digest}"),
            format!("docker-pullable://registry.example/hello@{digest}"),
        ] {
            assert_eq!(digest_of(&id), Some(digest.clone()), "{id}");
        }
        for id in ["", "registry.example/hello:1", "sha256:abc", "hello@sha256:xyz"] {
            assert_eq!(digest_of(id), None, "{id}");
        }
    }
}
