//! What wakes a plugin's reconcile.

use std::sync::Arc;

use futures::{Stream, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod, Secret, Service, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kite_api::{KitePlugin, labels};
use kube::{
    Api, Client, Resource,
    api::PartialObjectMeta,
    runtime::{
        Controller, WatchStreamExt,
        controller::Config,
        reflector::{self, ObjectRef, Store},
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{
    events,
    object::Object,
    relations::{Consequences, Relations},
};
use crate::Namespaces;

/// The controller with all its watches. Of all objects but the plugins only metadata is kept, and only labelled ones are
/// watched where there are others, so that memory grows with the plugins and not with the cluster.
pub fn controller(client: &Client, namespaces: &Namespaces, relations: &Arc<Relations>) -> Controller<Object> {
    let ours = watcher::Config::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::OPERATOR));
    let of_plugins = watcher::Config::default().labels(labels::PLUGIN);
    let plugins = namespaces.plugins.as_str();
    let (store, objects, woken) = plugins_and_woken(client, relations);
    Controller::for_stream(objects, store.clone())
        .reconcile_on(woken)
        // Unlimited: a plugin that is slow to answer then holds up no other. No debounce: each event would put it off,
        // so that a plugin that keeps changing its pods could put off what is to happen to it for ever.
        .with_config(Config::default().concurrency(0))
        .watches(
            Api::<PartialObjectMeta<Deployment>>::namespaced(client.clone(), plugins),
            ours.clone(),
            plugins_of,
        )
        .watches(
            Api::<PartialObjectMeta<Service>>::namespaced(client.clone(), plugins),
            ours.clone(),
            plugins_of,
        )
        .watches(
            Api::<PartialObjectMeta<ServiceAccount>>::namespaced(client.clone(), plugins),
            ours.clone(),
            plugins_of,
        )
        .watches(
            Api::<PartialObjectMeta<Secret>>::namespaced(client.clone(), plugins),
            ours.clone(),
            plugins_of,
        )
        .watches(
            Api::<PartialObjectMeta<Role>>::all(client.clone()),
            ours.clone(),
            plugins_of,
        )
        .watches(
            Api::<PartialObjectMeta<RoleBinding>>::all(client.clone()),
            ours.clone(),
            plugins_of,
        )
        .watches(
            Api::<PartialObjectMeta<ClusterRole>>::all(client.clone()),
            ours.clone(),
            plugins_of,
        )
        .watches(
            Api::<PartialObjectMeta<ClusterRoleBinding>>::all(client.clone()),
            ours,
            plugins_of,
        )
        .watches(
            Api::<PartialObjectMeta<Pod>>::namespaced(client.clone(), plugins),
            of_plugins,
            plugins_of,
        )
        .watches(
            Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
            watcher::Config::default(),
            move |namespace| naming(&store, namespace.metadata.name.as_deref().unwrap_or_default()),
        )
}

/// The plugins as the watch brings them, and those that are to be looked at again because another one has changed.
fn plugins_and_woken(
    client: &Client,
    relations: &Arc<Relations>,
) -> (
    Store<Object>,
    impl Stream<Item = Result<Object, watcher::Error>> + Send + use<>,
    impl Stream<Item = ObjectRef<Object>> + Send + use<>,
) {
    let (store, writer) = reflector::store();
    let (wake, woken) = mpsc::unbounded_channel();
    let relations = Arc::clone(relations);
    let client = client.clone();
    let objects = watcher(Api::<Object>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        // Behind the store, so that a plugin that is woken finds what woke it.
        .inspect_ok(move |event| {
            let Consequences { woken, bereft } = relations.take_in(event);
            for name in woken {
                // Nobody listens only when the controller has ended.
                let _ = wake.send(ObjectRef::new(name.as_str()));
            }
            if let (Event::Delete(object), Some(notice)) = (event, events::gone(&bereft)) {
                let (client, object) = (client.clone(), object.clone());
                tokio::spawn(async move { events::publish(&client, &object, [notice]).await });
            }
        })
        .applied_objects();
    (store, objects, UnboundedReceiverStream::new(woken))
}

/// The plugins that own the object, and the one whose label it carries: a pod's owner is a `ReplicaSet`, which leads to no
/// plugin. They are named without the object's namespace, as they have none themselves: a reference with one would be
/// another, and reconciled beside the first.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the controller hands over what it has read"
)]
fn plugins_of<K>(object: PartialObjectMeta<K>) -> Vec<ObjectRef<Object>> {
    let owners = object.metadata.owner_references.iter().flatten();
    let owners = owners
        .filter(|owner| owner.kind == KitePlugin::kind(&()) && owner.api_version == KitePlugin::api_version(&()))
        .map(|owner| owner.name.as_str());
    let labels = object.metadata.labels.iter();
    let labelled = labels
        .filter_map(|labels| labels.get(labels::PLUGIN))
        .map(String::as_str);
    owners.chain(labelled).map(ObjectRef::new).collect()
}

/// The plugins that are granted something in `namespace`.
fn naming(plugins: &Store<Object>, namespace: &str) -> Vec<ObjectRef<Object>> {
    let names = |object: &Object| {
        let permissions = object
            .0
            .as_ref()
            .map(|plugin| plugin.spec.permissions.as_slice())
            .unwrap_or_default();
        permissions
            .iter()
            .flat_map(|permission| permission.namespaces.iter().flatten())
            .any(|name| name == namespace)
    };
    plugins
        .state()
        .iter()
        .filter(|object| names(object))
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn woken(metadata: &Value) -> Vec<ObjectRef<Object>> {
        let object: PartialObjectMeta<Role> = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        plugins_of(object)
    }

    #[test]
    fn an_object_in_a_namespace_wakes_the_one_plugin_that_has_none() {
        let hello = ObjectRef::new("hello");
        let by = |kind: &str| json!([{"apiVersion": "kite.dev/v1alpha1", "kind": kind, "name": "hello", "uid": "u"}]);
        let owned = json!({"namespace": "shop", "ownerReferences": by("KitePlugin")});
        assert_eq!(woken(&owned), std::slice::from_ref(&hello));
        let labelled = json!({
            "namespace": "shop", "labels": {"kite.dev/plugin": "hello"}, "ownerReferences": by("ReplicaSet"),
        });
        assert_eq!(woken(&labelled), [hello]);
        assert_eq!(woken(&json!({"namespace": "shop"})), []);
    }
}
