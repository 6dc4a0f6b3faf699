//! What stands as it was applied, and so is not applied again; and what there is of a plugin, and so is not listed again. A server-side apply
//! that changes nothing is still a write to whoever counts, limits or audits them, and for a list by a label the API server goes through all
//! objects of the kind.

use std::{
    borrow::Cow,
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use kite_api::labels;
use kube::{
    Resource,
    api::{ObjectMeta, PartialObjectMeta},
    runtime::watcher::Event,
};
use serde::Serialize;

use super::{RESYNC, owned};

/// What was applied last of each object, and what the watches have brought of it since.
#[derive(Debug, Default)]
pub struct Steady {
    kinds: Mutex<HashMap<Cow<'static, str>, Kind>>,
    hasher: RandomState,
}

/// An object's namespace, if it has one, and name.
pub type Key = (Option<String>, String);

/// What is known of the objects of a kind.
#[derive(Debug, Default)]
struct Kind {
    /// When all there are were listed by the watch.
    synced: Option<Instant>,
    /// When the watch began to list them.
    listing: Option<Instant>,
    /// By namespace and name.
    objects: HashMap<Key, Entry>,
    /// When those of a plugin were listed by themselves.
    listed: HashMap<String, Instant>,
}

#[derive(Debug, Default)]
struct Entry {
    /// The plugin whose label it carries.
    plugin: Option<String>,
    /// Whether it is there, as far as is known.
    exists: bool,
    /// As the watch has brought it last.
    seen: Option<State>,
    applied: Option<AsApplied>,
}

/// Something that changes when anything of an object does. Its generation does not do: an apply can change what that leaves out, and of
/// some kinds whoever makes an object may give it any.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct State {
    pub(super) uid: Option<String>,
    pub(super) version: Option<String>,
}

/// An object that carries a plugin's label.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Left {
    pub kind: Cow<'static, str>,
    pub key: Key,
    pub plugin: String,
    pub state: State,
}

#[derive(Clone, Debug)]
struct AsApplied {
    /// What was applied.
    desired: u64,
    /// What came of it.
    state: State,
    /// When that was last seen in the object itself.
    at: Instant,
}

/// What is known of an object that is to be as desired.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is.
    Stands,
    /// It may be: it has to be read.
    MayStand,
    /// It is not, or is not there.
    Differs,
}

impl Steady {
    /// Takes in what a watch has brought. It has to have been taken in before a plugin is woken by it.
    pub fn take_in<K: Resource<DynamicType = ()>>(&self, event: &Event<PartialObjectMeta<K>>, now: Instant) {
        let mut kinds = self.lock();
        let kind = kinds.entry(K::kind(&())).or_default();
        match event {
            // What has gone meanwhile is not told.
            Event::Init => {
                (kind.synced, kind.listing) = (None, Some(now));
                kind.objects.values_mut().for_each(|entry| entry.seen = None);
            }
            Event::InitDone => {
                let since = kind.listing.take();
                // What was applied meanwhile may not be in the list.
                let is_newer = |entry: &Entry| entry.applied.as_ref().map(|applied| applied.at) >= since;
                kind.objects.retain(|_, entry| entry.seen.is_some() || is_newer(entry));
                kind.synced = Some(now);
            }
            Event::InitApply(object) | Event::Apply(object) => {
                let entry = kind.objects.entry(key(&object.metadata)).or_default();
                entry.is_there(&object.metadata);
                entry.seen = Some(state(&object.metadata));
            }
            Event::Delete(object) => kind.has_gone(&object.metadata),
        }
    }

    /// Namespace, if it has one, and name of every `K` that carries the plugin's label, as the watch has brought them and as they were applied
    /// here since. Nothing where that does not tell: not all were listed yet, or not for long, and an event may have been lost.
    pub fn of_plugin<K: Resource<DynamicType = ()>>(&self, plugin: &str, now: Instant) -> Option<Vec<Key>> {
        let kinds = self.lock();
        let kind = kinds.get(&K::kind(&()))?;
        let last = kind.listed.get(plugin).copied().max(Some(kind.synced?))?;
        if now.duration_since(last) >= RESYNC {
            return None;
        }
        let of_it = |entry: &Entry| entry.exists && entry.plugin.as_deref() == Some(plugin);
        let found = kind.objects.iter().filter(|(_, entry)| of_it(entry));
        Some(found.map(|(key, _)| key.clone()).collect())
    }

    /// Every object, as the watches have brought it last, that carries the label of a plugin of which none `exists`.
    pub fn of_none(&self, exists: impl Fn(&str) -> bool) -> Vec<Left> {
        let kinds = self.lock();
        let mut found = Vec::new();
        for (kind, known) in kinds.iter() {
            let left = known.objects.iter().filter_map(|(key, entry)| {
                let (plugin, state) = entry.plugin.as_deref().zip(entry.seen.as_ref())?;
                (!exists(plugin)).then(|| Left {
                    kind: kind.clone(),
                    key: key.clone(),
                    plugin: plugin.to_owned(),
                    state: state.clone(),
                })
            });
            found.extend(left);
        }
        found
    }

    /// Remembers that every `K` of the plugin was listed by itself, and which were `found`.
    pub fn listed<K: Resource<DynamicType = ()>>(&self, plugin: &str, found: &[ObjectMeta], now: Instant) {
        let mut kinds = self.lock();
        let kind = kinds.entry(K::kind(&())).or_default();
        for meta in found {
            kind.objects.entry(key(meta)).or_default().is_there(meta);
        }
        kind.listed.insert(plugin.to_owned(), now);
    }

    /// Forgets what was listed of plugins that are no more.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        for kind in self.lock().values_mut() {
            kind.listed.retain(|plugin, _| exists(plugin));
        }
    }

    /// Whether the object is as `desired`, as far as what was seen of it tells. What was not read for long is to be read: an event
    /// may have been lost.
    pub fn judge<K>(&self, desired: &K, now: Instant) -> Verdict
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let hash = self.hash(desired);
        let kinds = self.lock();
        let Some(kind) = kinds.get(&K::kind(&())) else {
            return Verdict::MayStand;
        };
        let Some(entry) = kind.objects.get(&key(desired.meta())) else {
            return if kind.synced.is_some() {
                Verdict::Differs
            } else {
                Verdict::MayStand
            };
        };
        match &entry.applied {
            Some(applied) if hash != Some(applied.desired) => Verdict::Differs,
            Some(applied) if entry.seen.as_ref() == Some(&applied.state) && now.duration_since(applied.at) < RESYNC => {
                Verdict::Stands
            }
            _ => Verdict::MayStand,
        }
    }

    /// Whether the object, which has just been read, is as `desired`.
    pub fn is_as_desired<K>(&self, there: &K, desired: &K, now: Instant) -> bool
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let is_unchanged = self
            .applied(desired)
            .is_some_and(|applied| Some(applied.desired) == self.hash(desired) && applied.state == state(there.meta()));
        let is = is_unchanged || owned::is_as_applied(there, desired, labels::OPERATOR);
        if is {
            self.applied_as(there, desired, now);
        }
        is
    }

    /// Remembers that applying `desired` has given `result`.
    pub fn applied_as<K>(&self, result: &K, desired: &K, now: Instant)
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        let Some(hash) = self.hash(desired) else { return };
        let applied = AsApplied {
            desired: hash,
            state: state(result.meta()),
            at: now,
        };
        let mut kinds = self.lock();
        let kind = kinds.entry(K::kind(&())).or_default();
        let entry = kind.objects.entry(key(desired.meta())).or_default();
        entry.is_there(desired.meta());
        entry.applied = Some(applied);
    }

    /// Remembers that the object may be there, and be another than before: nobody has said what has come of applying it.
    pub fn may_be_there<K: Resource<DynamicType = ()>>(&self, desired: &K) {
        let mut kinds = self.lock();
        let kind = kinds.entry(K::kind(&())).or_default();
        let entry = kind.objects.entry(key(desired.meta())).or_default();
        entry.is_there(desired.meta());
        entry.applied = None;
    }

    /// The object as the watch has brought it last.
    pub fn seen<K: Resource<DynamicType = ()>>(&self, namespace: Option<&str>, name: &str) -> Option<State> {
        let key = (namespace.map(str::to_owned), name.to_owned());
        self.lock().get(&K::kind(&()))?.objects.get(&key)?.seen.clone()
    }

    /// Forgets what was applied of an object that was asked to be deleted, and that it is there if it `is_gone`. What the watch brings of it may
    /// be late.
    pub fn deleted<K: Resource<DynamicType = ()>>(&self, namespace: Option<&str>, name: &str, is_gone: bool) {
        let key = (namespace.map(str::to_owned), name.to_owned());
        let mut kinds = self.lock();
        let entry = kinds.get_mut(&K::kind(&())).and_then(|kind| kind.objects.get_mut(&key));
        if let Some(entry) = entry {
            entry.applied = None;
            entry.exists &= !is_gone;
        }
    }

    fn applied<K: Resource<DynamicType = ()>>(&self, desired: &K) -> Option<AsApplied> {
        let kinds = self.lock();
        let kind = kinds.get(&K::kind(&()))?;
        kind.objects.get(&key(desired.meta()))?.applied.clone()
    }

    /// A number that stands for the object's content, for this process alone.
    fn hash(&self, object: &impl Serialize) -> Option<u64> {
        let bytes = serde_json::to_vec(object).ok()?;
        Some(self.hasher.hash_one(bytes))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Cow<'static, str>, Kind>> {
        // An entry is replaced as a whole.
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    /// What was made anew under the same name since is there all the same: the watch tells of it next.
    fn has_gone(&mut self, meta: &ObjectMeta) {
        let key = key(meta);
        let is_another = |entry: &Entry| {
            entry
                .applied
                .as_ref()
                .is_some_and(|applied| applied.state.uid != meta.uid)
        };
        match self.objects.get_mut(&key) {
            Some(entry) if is_another(entry) => entry.seen = None,
            _ => _ = self.objects.remove(&key),
        }
    }
}

impl Entry {
    fn is_there(&mut self, meta: &ObjectMeta) {
        let labels = meta.labels.as_ref();
        self.plugin = labels.and_then(|labels| labels.get(labels::PLUGIN)).cloned();
        self.exists = true;
    }
}

fn state(meta: &ObjectMeta) -> State {
    State {
        uid: meta.uid.clone(),
        version: meta.resource_version.clone(),
    }
}

/// Where the object is.
pub(super) fn key(meta: &ObjectMeta) -> Key {
    (meta.namespace.clone(), meta.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests;
