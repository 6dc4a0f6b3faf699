//! What wakes a plugin's reconcile.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod, Secret, Service, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kite_api::labels;
use kube::{
    Api, Client,
    api::PartialObjectMeta,
    runtime::{
        Controller,
        controller::Config,
        reflector::{ObjectRef, Store},
        watcher,
    },
};

use super::object::Object;
use crate::Namespaces;

/// Changes that come together, as a Deployment's and its pods', are looked at once.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// The controller with all its watches. All but the plugins' own are of metadata only, and of labelled objects where
/// there are others, so that memory grows with the plugins and not with the cluster.
pub fn controller(client: &Client, namespaces: &Namespaces) -> Controller<Object> {
    let ours = watcher::Config::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::OPERATOR));
    let of_plugins = watcher::Config::default().labels(labels::PLUGIN);
    let plugins = namespaces.plugins.as_str();
    let controller = Controller::new(Api::<Object>::all(client.clone()), watcher::Config::default());
    let store = controller.store();
    controller
        // Unlimited: a plugin that is slow to answer then holds up no other.
        .with_config(Config::default().debounce(DEBOUNCE).concurrency(0))
        .owns(Api::<Deployment>::namespaced(client.clone(), plugins), ours.clone())
        .owns(Api::<Service>::namespaced(client.clone(), plugins), ours.clone())
        .owns(Api::<ServiceAccount>::namespaced(client.clone(), plugins), ours.clone())
        .owns(Api::<Secret>::namespaced(client.clone(), plugins), ours.clone())
        .owns(Api::<Role>::all(client.clone()), ours.clone())
        .owns(Api::<RoleBinding>::all(client.clone()), ours.clone())
        .owns(Api::<ClusterRole>::all(client.clone()), ours.clone())
        .owns(Api::<ClusterRoleBinding>::all(client.clone()), ours)
        .watches(
            Api::<PartialObjectMeta<Pod>>::namespaced(client.clone(), plugins),
            of_plugins,
            plugin_of,
        )
        .watches(
            Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
            watcher::Config::default(),
            move |namespace| naming(&store, namespace.metadata.name.as_deref().unwrap_or_default()),
        )
}

/// The plugin whose label the pod carries. A pod's owner is a `ReplicaSet`, which leads to no plugin.
fn plugin_of(pod: PartialObjectMeta<Pod>) -> Option<ObjectRef<Object>> {
    let name = pod.metadata.labels?.remove(labels::PLUGIN)?;
    Some(ObjectRef::new(&name))
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
