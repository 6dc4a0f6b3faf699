//! What operators have written of a plugin, and what they were told of it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use http::{Method, StatusCode};
use serde_json::Value;

use super::target::Target;

/// What a write did.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Effect {
    Made,
    Changed,
    Deleted,
}

impl Effect {
    /// `None`: nothing. A patch of what stands already so changes nothing, which the object as it was `before` tells: not by its version, as
    /// somebody else may have written its status in between.
    pub(crate) fn of(
        method: &Method,
        status: StatusCode,
        target: &Target,
        before: Option<&Value>,
        answer: &Value,
    ) -> Option<Self> {
        if status == StatusCode::CREATED {
            return Some(Self::Made);
        }
        if !status.is_success() {
            return None;
        }
        if *method == Method::DELETE {
            return Some(Self::Deleted);
        }
        let is_told = target.subresource.is_some() && before.and_then(|it| it.get("status")) != answer.get("status");
        let is_changed = before.map(stated) != Some(stated(answer));
        (is_changed || is_told).then_some(Self::Changed)
    }
}

/// What of an object only those write who state what it is to be.
fn stated(object: &Value) -> Value {
    let mut stated = object.clone();
    if let Some(fields) = stated.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = stated.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
        metadata.remove("managedFields");
    }
    stated
}

/// A write that had an effect.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Act {
    pub(crate) effect: Effect,
    pub(crate) resource: String,
    pub(crate) name: String,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.effect, self.resource, self.name)
    }
}

#[derive(Debug, Default)]
struct Entries {
    acts: Vec<Act>,
    /// Writes that changed nothing or were refused, by what they were to change.
    vain: Vec<String>,
    /// How many events were told of each resource.
    told: BTreeMap<String, usize>,
}

/// What happened since it was begun.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Entries>);

impl Ledger {
    /// Forgets what happened before.
    pub(crate) fn begin(&self) {
        *self.lock() = Entries::default();
    }

    /// Notes a write, and returns how many there are now.
    pub(crate) fn wrote(&self, effect: Effect, target: &Target, answer: &Value) -> usize {
        let told = answer.pointer("/metadata/name").and_then(Value::as_str);
        let mut resource = target.resource.clone();
        if let Some(subresource) = &target.subresource {
            resource = format!("{resource}/{subresource}");
        }
        let act = Act {
            effect,
            resource,
            name: target.name.as_deref().or(told).unwrap_or_default().to_owned(),
        };
        let mut entries = self.lock();
        entries.acts.push(act);
        entries.acts.len()
    }

    /// Notes a write that changed nothing, or was refused.
    pub(crate) fn wrote_in_vain(&self, target: &Target) {
        let name = target.name.as_deref().unwrap_or_default();
        self.lock().vain.push(format!("{} {name}", target.resource));
    }

    /// The writes that changed nothing or were refused.
    pub(crate) fn in_vain(&self) -> Vec<String> {
        self.lock().vain.clone()
    }

    /// Notes that a watch brought an event, and returns how many it brought of that resource.
    pub(crate) fn told(&self, resource: &str) -> usize {
        let mut entries = self.lock();
        let count = entries.told.entry(resource.to_owned()).or_default();
        *count += 1;
        *count
    }

    pub(crate) fn acts(&self) -> Vec<Act> {
        self.lock().acts.clone()
    }

    pub(crate) fn events(&self) -> BTreeMap<String, usize> {
        self.lock().told.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
