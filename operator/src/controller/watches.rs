//! What wakes a plugin's reconcile.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{Stream, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::{Namespace, Pod, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kite_api::{KitePlugin, labels};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, PartialObjectMeta},
    runtime::{
        Controller, WatchStreamExt,
        controller::Config,
        reflector::{self, ObjectRef, Store},
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{
    events,
    object::{self, Object},
    orphans::Orphans,
    relations::{Consequences, Relations},
    steady::Steady,
    turns::Turns,
};
use crate::{Options, backoff, metrics::Queue};

/// Wakes plugins for a reason that no watch brings.
#[derive(Clone, Debug)]
pub struct Waker {
    wake: UnboundedSender<ObjectRef<Object>>,
    queue: Queue,
}

impl Waker {
    /// One that tells `queue` of whom it wakes.
    pub fn new(wake: UnboundedSender<ObjectRef<Object>>, queue: &Queue) -> Self {
        Self {
            wake,
            queue: queue.clone(),
        }
    }

    /// The plugin is to be looked at.
    pub fn wake(&self, plugin: &str) {
        self.queue.woken(plugin);
        // Nobody listens only when the controller has ended.
        let _ = self.wake.send(ObjectRef::new(plugin));
    }
}

/// Whether a plugin was deleted since somebody asked.
#[derive(Debug, Default)]
pub struct Deletions(AtomicBool);

impl Deletions {
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn taken(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

/// What takes in each event before a plugin is woken by it.
#[derive(Clone, Default)]
pub struct Minds {
    pub relations: Arc<Relations>,
    pub steady: Arc<Steady>,
    pub deletions: Arc<Deletions>,
    pub orphans: Arc<Orphans>,
    pub turns: Arc<Turns>,
}

/// The controller with all its watches. Of all objects but the plugins only metadata is kept, and only labelled ones are
/// watched where there are others, so that memory grows with the plugins and not with the cluster.
pub fn controller(
    client: &Client,
    options: &Options,
    minds: Minds,
    (waker, woken): (&Waker, UnboundedReceiver<ObjectRef<Object>>),
) -> Controller<Object> {
    let queue = &waker.queue;
    let everything = options.watching();
    let ours = ours(options);
    let of_plugins = options.watching().labels(labels::PLUGIN);
    let plugins = options.namespaces.plugins.as_str();
    let (steady, orphans) = (Arc::clone(&minds.steady), Arc::clone(&minds.orphans));
    let (store, objects) = all_plugins(client, everything.clone(), minds, waker);
    let named = queue.clone();
    let everyone = Everyone {
        plugins: store.clone(),
        waker: waker.clone(),
        steady,
        orphans,
    };
    let controller = Controller::for_stream(objects, store.clone())
        .reconcile_on(UnboundedReceiverStream::new(woken))
        // Unlimited: a plugin that is slow to answer then holds up no other. No debounce: each event would put it off,
        // so that a plugin that keeps changing its pods could put off what is to happen to it for ever.
        .with_config(Config::default().concurrency(0))
        // Each watch waits by itself when it is interrupted. One wait for all would grow with each of them, and all are at once.
        .trigger_backoff(NoWait)
        .watches_stream(
            touched(
                Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
                everything,
                &everyone,
                |_| {},
            ),
            move |namespace| {
                let namespace = namespace.metadata.name.as_deref().unwrap_or_default();
                noted(&named, naming(&store, namespace))
            },
        );
    let controller = with_grants(controller, client, &ours, &everyone);
    let pods = Api::<PartialObjectMeta<Pod>>::namespaced(client.clone(), plugins);
    let controller = controller.watches_stream(touched(pods, of_plugins, &everyone, |_| {}), waking(queue));
    with_what_runs(controller, client, options, &everyone)
}

/// The controller that watches roles and bindings, too.
fn with_grants(
    controller: Controller<Object>,
    client: &Client,
    ours: &watcher::Config,
    everyone: &Everyone,
) -> Controller<Object> {
    let roles = Api::<PartialObjectMeta<Role>>::all(client.clone());
    let controller = with(controller, roles, ours.clone(), everyone);
    let bindings = Api::<PartialObjectMeta<RoleBinding>>::all(client.clone());
    let controller = with(controller, bindings, ours.clone(), everyone);
    let roles = Api::<PartialObjectMeta<ClusterRole>>::all(client.clone());
    let controller = with(controller, roles, ours.clone(), everyone);
    let bindings = Api::<PartialObjectMeta<ClusterRoleBinding>>::all(client.clone());
    with(controller, bindings, ours.clone(), everyone)
}

/// The controller that watches what a plugin runs with in the plugins' namespace, too.
fn with_what_runs(
    controller: Controller<Object>,
    client: &Client,
    options: &Options,
    everyone: &Everyone,
) -> Controller<Object> {
    let ours = ours(options);
    let of_plugins = options.watching().labels(labels::PLUGIN);
    let plugins = options.namespaces.plugins.as_str();
    let deployments = Api::<PartialObjectMeta<Deployment>>::namespaced(client.clone(), plugins);
    let controller = with(controller, deployments, ours.clone(), everyone);
    let services = Api::<PartialObjectMeta<Service>>::namespaced(client.clone(), plugins);
    let controller = with(controller, services, ours.clone(), everyone);
    let records = Api::<PartialObjectMeta<ControllerRevision>>::namespaced(client.clone(), plugins);
    let controller = with(controller, records, ours.clone(), everyone);
    let accounts = Api::<PartialObjectMeta<ServiceAccount>>::namespaced(client.clone(), plugins);
    let controller = with(controller, accounts, ours.clone(), everyone);
    let policies = Api::<PartialObjectMeta<NetworkPolicy>>::namespaced(client.clone(), plugins);
    let controller = with(controller, policies, ours.clone(), everyone);
    let budgets = Api::<PartialObjectMeta<PodDisruptionBudget>>::namespaced(client.clone(), plugins);
    let controller = with(controller, budgets, ours, everyone);
    // Those that plugins name, too.
    let secrets = Api::<PartialObjectMeta<Secret>>::namespaced(client.clone(), plugins);
    with(controller, secrets, of_plugins, everyone)
}

/// The controller that watches these objects, too, each of which wakes its plugins, and which are made by the operator.
fn with<K>(
    controller: Controller<Object>,
    api: Api<PartialObjectMeta<K>>,
    watching: watcher::Config,
    everyone: &Everyone,
) -> Controller<Object>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    let (steady, orphans) = (Arc::clone(&everyone.steady), Arc::clone(&everyone.orphans));
    let touched = touched(api, watching, everyone, move |event| {
        steady.take_in(event, Instant::now());
        orphans.take_in(event);
    });
    controller.watches_stream(touched, waking(&everyone.waker.queue))
}

/// How what the operator has made is watched.
fn ours(options: &Options) -> watcher::Config {
    let label = format!("{}={}", labels::MANAGED_BY, labels::OPERATOR);
    options.watching().labels(&label)
}

/// The objects that change, as a watch of its own brings them. `note` takes in each event before it wakes anybody.
fn touched<K, N>(
    api: Api<PartialObjectMeta<K>>,
    watching: watcher::Config,
    everyone: &Everyone,
    note: N,
) -> impl Stream<Item = Result<PartialObjectMeta<K>, watcher::Error>> + Send + use<K, N>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + 'static,
    N: FnMut(&Event<PartialObjectMeta<K>>) + Send,
{
    watcher(api, watching)
        .backoff(backoff::of_watches())
        .inspect_ok(note)
        .inspect_ok(everyone.woken_by_lists())
        .touched_objects()
}

/// All plugins.
#[derive(Clone)]
struct Everyone {
    plugins: Store<Object>,
    waker: Waker,
    steady: Arc<Steady>,
    orphans: Arc<Orphans>,
}

impl Everyone {
    /// Wakes all when a watch has begun anew with a list: nobody tells what has gone meanwhile.
    fn woken_by_lists<K>(&self) -> impl FnMut(&Event<K>) + Send + use<K> {
        let everyone = self.clone();
        let mut lists = 0_u64;
        move |event| match event {
            Event::Init => lists += 1,
            // The first list is read when the plugins are, all of which are looked at then. It may have been broken off.
            Event::InitDone if lists > 1 => everyone.wake(),
            Event::InitDone | Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {}
        }
    }

    fn wake(&self) {
        for plugin in self.plugins.state() {
            self.waker.wake(object::name(&plugin));
        }
    }
}

/// The next is waited for at once.
struct NoWait;

impl Iterator for NoWait {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

impl Backoff for NoWait {
    fn reset(&mut self) {}
}

/// The plugins as the watch brings them. Those that are to be looked at again because another one has changed are woken.
fn all_plugins(
    client: &Client,
    watching: watcher::Config,
    minds: Minds,
    waker: &Waker,
) -> (
    Store<Object>,
    impl Stream<Item = Result<Object, watcher::Error>> + Send + use<>,
) {
    let (store, writer) = reflector::store();
    let Minds {
        relations,
        deletions,
        turns,
        ..
    } = minds;
    let client = client.clone();
    let (waker, own) = (waker.clone(), waker.queue.clone());
    let kind = ApiResource::erase::<KitePlugin>(&());
    let objects = watcher(Api::<DynamicObject>::all_with(client.clone(), &kind), watching)
        .backoff(backoff::of_watches())
        .map_ok(object::understood_in)
        // Nobody asks who wrote what, and it is as long as all the rest.
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        // Behind the store, so that a plugin that is woken finds what woke it.
        .inspect_ok(move |event| {
            if matches!(event, Event::Delete(_) | Event::InitDone) {
                deletions.note();
            }
            let Consequences { woken, bereft } = relations.take_in(event);
            for name in woken {
                waker.wake(name.as_str());
            }
            if let (Event::Delete(object), Some(notice)) = (event, events::gone(&bereft)) {
                let (client, object) = (client.clone(), object.clone());
                tokio::spawn(async move { events::publish(&client, &object, [notice]).await });
            }
        })
        .applied_objects()
        .inspect_ok(move |object| {
            own.woken(object::name(object));
            turns.take_in(object);
        });
    (store, objects)
}

/// Wakes the plugins of an object.
fn waking<K>(queue: &Queue) -> impl Fn(PartialObjectMeta<K>) -> Vec<ObjectRef<Object>> + Send + Sync + use<K> {
    let queue = queue.clone();
    move |object| noted(&queue, plugins_of(object))
}

/// The same plugins, which from now on wait.
fn noted(queue: &Queue, plugins: Vec<ObjectRef<Object>>) -> Vec<ObjectRef<Object>> {
    for plugin in &plugins {
        queue.woken(&plugin.name);
    }
    plugins
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
