//! What is left of a plugin that is gone, and would keep its rights, its pods and its certificate for ever: what nobody owns, because the plugin
//! was deleted without it (`kubectl delete --cascade=orphan`), and what the garbage collector has left.

mod uncollected;

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, Deployment},
        core::v1::{Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kite_api::{KitePlugin, PluginName, error_chain, labels, object_names};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DeleteParams, DynamicObject, ObjectMeta, PartialObjectMeta, Preconditions},
    runtime::{
        reflector::{ObjectRef, Store},
        watcher::Event,
    },
};

use self::uncollected::Uncollected;
use super::{
    gather::by_name,
    object::Object,
    steady::{Key, Left, State, Steady, key},
};
use crate::backoff::Failure;

/// How often it is looked whether there are any. That asks nobody as long as there are none.
const EVERY: Duration = Duration::from_secs(2);

/// The kinds of what is made for a plugin, in the order in which it goes: rights before all else, and with the account the tokens of what still
/// runs; then what runs; the record last, so that nothing is left of which nobody knows.
fn order() -> [ApiResource; 11] {
    [
        ApiResource::erase::<ClusterRoleBinding>(&()),
        ApiResource::erase::<RoleBinding>(&()),
        ApiResource::erase::<ClusterRole>(&()),
        ApiResource::erase::<Role>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<ControllerRevision>(&()),
    ]
}

/// An object's kind, and where it is.
type Place = (Cow<'static, str>, Key);

/// What is to go of all that was made for plugins, if they are gone: what nobody owns, as the watches have brought it last, and what the garbage
/// collector has left. Usually that is nothing.
#[derive(Debug, Default)]
pub struct Orphans(Mutex<HashMap<Place, Orphan>>);

#[derive(Clone, Debug)]
struct Orphan {
    resource: ApiResource,
    /// The one for which it was made. It may exist.
    plugin: PluginName,
    /// The uid of the plugin that owned it, where it is the garbage collector that has left it.
    left_by: Option<String>,
    /// Only as it was seen is it deleted: by then it may be another, or have an owner again.
    as_seen: Preconditions,
    /// It could not be deleted.
    failure: Option<Failure<()>>,
}

impl Orphans {
    /// Takes in what a watch has brought.
    pub fn take_in<K: Resource<DynamicType = ()>>(&self, event: &Event<PartialObjectMeta<K>>) {
        let kind = K::kind(&());
        let mut found = self.lock();
        match event {
            // Those that are still there come anew.
            Event::Init => found.retain(|place, orphan| place.0 != kind || orphan.left_by.is_some()),
            Event::InitDone => {}
            Event::InitApply(object) | Event::Apply(object) => {
                let place = (kind, key(&object.metadata));
                let known = found.get(&place);
                let orphan = Orphan::of::<K>(&object.metadata).or_else(|| known?.anew(&object.metadata));
                match orphan {
                    Some(orphan) => put(&mut found, place, orphan),
                    None => _ = found.remove(&place),
                }
            }
            Event::Delete(object) => _ = found.remove(&(kind, key(&object.metadata))),
        }
    }

    /// Deletes those whose plugin does not exist, for as long as it is let.
    pub async fn keep(&self, client: &Client, plugins: &Store<Object>, steady: &Steady) {
        if plugins.wait_until_ready().await.is_err() {
            return;
        }
        let mut uncollected = Uncollected::default();
        loop {
            tokio::time::sleep(EVERY).await;
            if uncollected.is_due(Instant::now()) {
                let places = self.to_take_up(steady.of_none(exists(plugins)));
                self.take_up(uncollected.of(places), &mut uncollected, client).await;
                uncollected.looked(Instant::now());
            }
            self.sweep(client, plugins).await;
        }
    }

    /// What the operator has made of that, and is not taken in already.
    fn to_take_up(&self, there: Vec<Left>) -> HashMap<Place, State> {
        let found = self.lock();
        let ours = there.into_iter().filter(|left| {
            PluginName::parse(&left.plugin).is_ok_and(|plugin| is_called(&left.kind, &left.key.1, &plugin))
        });
        let places = ours.map(|left| ((left.kind, left.key), left.state));
        places.filter(|(place, _)| !found.contains_key(place)).collect()
    }

    /// Takes in what the garbage collector has left, as it is now. Where that cannot be asked, the rest waits as well.
    async fn take_up(&self, left: Vec<(Place, State)>, uncollected: &mut Uncollected, client: &Client) {
        for (place, state) in left {
            let (kind, (namespace, name)) = &place;
            let Some(resource) = order().into_iter().find(|resource| resource.kind == *kind) else {
                continue;
            };
            let api = api(client, &resource, namespace.as_deref());
            match api.list_metadata(&by_name(name)).await {
                Ok(list) => {
                    let object = list.items.first();
                    match object.and_then(|object| Orphan::uncollected(resource, &object.metadata)) {
                        Some(orphan) => put(&mut self.lock(), place, orphan),
                        None => uncollected.stays(place, state),
                    }
                }
                Err(error) => {
                    return tracing::warn!(
                        kind = kind.as_ref(),
                        namespace,
                        name,
                        error = error_chain(&error),
                        "its plugin is gone, and it could not be read"
                    );
                }
            }
        }
    }

    /// Deletes those that are due.
    async fn sweep(&self, client: &Client, plugins: &Store<Object>) {
        let orphans = self.of_none(exists(plugins), Instant::now());
        let plugins = orphans.iter().map(|(_, orphan)| orphan.plugin.clone()).collect();
        let gone = match gone(client, plugins).await {
            Ok(gone) => gone,
            Err(error) => {
                tracing::warn!(
                    error = error_chain(&error),
                    "it is not known whether the plugins exist for which objects were made that are left"
                );
                let now = Instant::now();
                for (place, orphan) in &orphans {
                    self.failed(place, orphan, now);
                }
                return;
            }
        };
        for (place, orphan) in &orphans {
            if gone.contains(&orphan.plugin) {
                self.delete(place, orphan, client).await;
            }
        }
    }

    /// Those whose plugin does not exist and that are due, in the order in which they go.
    fn of_none(&self, exists: impl Fn(&str) -> bool, now: Instant) -> Vec<(Place, Orphan)> {
        let found = self.lock();
        let mut of_none: Vec<(Place, Orphan)> = found
            .iter()
            .filter(|(_, orphan)| orphan.failure.as_ref().is_none_or(|failure| failure.is_due(now)))
            .filter(|(_, orphan)| !exists(orphan.plugin.as_str()))
            .map(|(place, orphan)| (place.clone(), orphan.clone()))
            .collect();
        of_none.sort_by_cached_key(|(place, _)| rank(&place.0));
        of_none
    }

    /// Deletes one.
    async fn delete(&self, place: &Place, orphan: &Orphan, client: &Client) {
        let (kind, (namespace, name)) = place;
        let kind: &str = kind;
        let namespace = namespace.as_deref();
        let api = api(client, &orphan.resource, namespace);
        let params = DeleteParams {
            preconditions: Some(orphan.as_seen.clone()),
            ..DeleteParams::background()
        };
        match api.delete(name, &params).await {
            Ok(_) => tracing::warn!(
                kind,
                namespace,
                name,
                plugin = orphan.plugin.as_str(),
                "deleted: its plugin is gone"
            ),
            // It has gone by itself.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => {
                tracing::warn!(
                    kind,
                    namespace,
                    name,
                    plugin = orphan.plugin.as_str(),
                    error = error_chain(&error),
                    "its plugin is gone, and it could not be deleted"
                );
                return self.failed(place, orphan, Instant::now());
            }
        }
        self.settled(place, orphan);
    }

    /// It is tried again later. If it is another by then than was seen, the watch brings that.
    fn failed(&self, place: &Place, orphan: &Orphan, now: Instant) {
        let mut found = self.lock();
        if let Some(known) = found.get_mut(place).filter(|known| known.as_seen == orphan.as_seen) {
            known.failure = Some(Failure::after(known.failure.as_ref(), (), now));
        }
    }

    /// Forgets what was dealt with, and not what the watch has brought since.
    fn settled(&self, place: &Place, orphan: &Orphan) {
        let mut found = self.lock();
        if found.get(place).is_some_and(|now| now.as_seen == orphan.as_seen) {
            found.remove(place);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Orphan>> {
        // An entry is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Orphan {
    /// The object as one that nobody owns, if it is that.
    fn of<K: Resource<DynamicType = ()>>(meta: &ObjectMeta) -> Option<Self> {
        let plugin = bereft_of(&K::kind(&()), meta)?;
        Some(Self::for_plugin(plugin, None, ApiResource::erase::<K>(&()), meta))
    }

    /// The object as one that a plugin owns and no other does, if it is that.
    fn uncollected(resource: ApiResource, meta: &ObjectMeta) -> Option<Self> {
        let plugin = made_for(&resource.kind, meta)?;
        let mut plugins = owners(meta).filter(|owner| owner.kind == KitePlugin::kind(&()));
        let owner = plugins.next().filter(|owner| owner.name == plugin.as_str())?;
        let is_of_it_alone = plugins.all(|other| other.name == owner.name);
        is_of_it_alone.then(|| Self::for_plugin(plugin, Some(owner.uid.clone()), resource, meta))
    }

    /// The same, as it is now, if the collector has still left it.
    fn anew(&self, meta: &ObjectMeta) -> Option<Self> {
        let now = Self::uncollected(self.resource.clone(), meta)?;
        (self.left_by.is_some() && now.left_by == self.left_by).then_some(now)
    }

    fn for_plugin(plugin: PluginName, left_by: Option<String>, resource: ApiResource, meta: &ObjectMeta) -> Self {
        Self {
            resource,
            plugin,
            left_by,
            as_seen: Preconditions {
                resource_version: meta.resource_version.clone(),
                uid: meta.uid.clone(),
            },
            failure: None,
        }
    }
}

/// Whether there is a plugin of this name, as the watch has brought it last.
fn exists(plugins: &Store<Object>) -> impl Fn(&str) -> bool {
    |plugin| plugins.get(&ObjectRef::new(plugin)).is_some()
}

/// Puts it in its place. One that changes all the time is not tried more often for that.
fn put(found: &mut HashMap<Place, Orphan>, place: Place, mut orphan: Orphan) {
    let known = found.get(&place);
    let known = known.filter(|known| known.as_seen.uid == orphan.as_seen.uid);
    orphan.failure = known.and_then(|known| known.failure.clone());
    found.insert(place, orphan);
}

fn api(client: &Client, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

/// The plugin for which the operator made the object, if no plugin owns it and it is not on its way out already.
fn bereft_of(kind: &str, meta: &ObjectMeta) -> Option<PluginName> {
    let plugin = made_for(kind, meta)?;
    // That of a plugin which is gone is the garbage collector's at first.
    let is_owned = owners(meta).any(|owner| owner.kind == KitePlugin::kind(&()));
    (!is_owned).then_some(plugin)
}

/// The plugin for which the operator made the object, if it is not on its way out already.
fn made_for(kind: &str, meta: &ObjectMeta) -> Option<PluginName> {
    let labels = meta.labels.as_ref()?;
    let plugin = PluginName::parse(labels.get(labels::PLUGIN)?).ok()?;
    let is_labelled = labels.get(labels::MANAGED_BY).is_some_and(|by| by == labels::OPERATOR);
    // Somebody else's object that was given the labels is not ours to delete.
    let is_ours = is_labelled && is_called(kind, meta.name.as_deref()?, &plugin);
    (is_ours && meta.deletion_timestamp.is_none()).then_some(plugin)
}

fn owners(meta: &ObjectMeta) -> impl Iterator<Item = &OwnerReference> {
    meta.owner_references.iter().flatten()
}

/// Whether the operator calls objects of this kind so that it makes for the plugin.
fn is_called(kind: &str, name: &str, plugin: &PluginName) -> bool {
    match kind {
        "ServiceAccount" | "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" | "NetworkPolicy" => {
            name == object_names::base(plugin)
        }
        "Secret" => name == object_names::certificate(plugin),
        "Deployment" | "Service" | "PodDisruptionBudget" | "ControllerRevision" => {
            let number = name.rsplit_once('-').and_then(|(_, number)| number.parse::<i64>().ok());
            number.is_some_and(|number| name == object_names::revision(plugin, number))
        }
        _ => false,
    }
}

/// When objects of this kind go.
fn rank(kind: &str) -> usize {
    let order = order();
    let place = order.iter().position(|resource| resource.kind == kind);
    place.unwrap_or(order.len())
}

/// Those of the `plugins` that do not exist: what the watch says may be of a moment ago.
async fn gone(client: &Client, plugins: BTreeSet<PluginName>) -> Result<BTreeSet<PluginName>, kube::Error> {
    let api: Api<KitePlugin> = Api::all(client.clone());
    let mut gone = BTreeSet::new();
    for plugin in plugins {
        if api.get_metadata_opt(plugin.as_str()).await?.is_none() {
            gone.insert(plugin);
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests;
