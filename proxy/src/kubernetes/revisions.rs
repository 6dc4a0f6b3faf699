//! What the revisions of plugins have recorded, by watching their `ControllerRevision`s.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::runtime::RawExtension};
use kite_api::{RevisionSpec, error_chain};
use kube::{ResourceExt as _, runtime::watcher::Event};

use crate::directory::Records;

/// What is recorded, read once for each object.
#[derive(Clone, Default)]
pub(super) struct Recorded(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    known: Records,
    /// What a list that has begun has brought so far.
    listing: Records,
}

impl Recorded {
    /// Takes in what the watch has brought.
    pub(super) fn take_in(&self, event: &Event<ControllerRevision>) {
        let mut state = self.lock();
        match event {
            Event::Apply(object) => put(&mut state.known, object),
            Event::Delete(object) => _ = state.known.remove(&object.name_any()),
            Event::Init => state.listing.clear(),
            Event::InitApply(object) => put(&mut state.listing, object),
            Event::InitDone => state.known = std::mem::take(&mut state.listing),
        }
    }

    /// What is known now.
    pub(super) fn known(&self) -> Records {
        self.lock().known.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // An entry is put in as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts in what `object` records. One that cannot be read is left out, and its revision takes no traffic.
fn put(records: &mut Records, object: &ControllerRevision) {
    let name = object.name_any();
    let Some(RawExtension(data)) = &object.data else {
        records.remove(&name);
        return;
    };
    match RevisionSpec::recorded(data) {
        Ok(spec) => {
            let spec = RevisionSpec {
                // Nothing here needs it, and it may be long.
                settings_schema: None,
                ..spec
            };
            records.insert(name, Arc::new(spec));
        }
        Err(error) => {
            tracing::warn!(name, error = error_chain(&error), "revision skipped");
            records.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(number: i64, data: &Value) -> ControllerRevision {
        let object =
            json!({"metadata": {"name": format!("kite-plugin-hello-{number}")}, "revision": number, "data": data});
        serde_json::from_value(object).unwrap()
    }

    fn good(number: i64) -> ControllerRevision {
        object(
            number,
            &json!({"spec": {"version": "1.0.0", "image": "a", "routes": [{"path": "/a"}]}}),
        )
    }

    fn names(recorded: &Recorded) -> Vec<String> {
        recorded.known().keys().cloned().collect()
    }

    #[test]
    fn what_the_watch_brings_is_known_and_a_list_replaces_all() {
        let recorded = Recorded::default();
        recorded.take_in(&Event::Apply(good(1)));
        recorded.take_in(&Event::Init);
        recorded.take_in(&Event::InitApply(good(2)));
        assert_eq!(names(&recorded), ["kite-plugin-hello-1"], "until the list is whole");
        recorded.take_in(&Event::InitDone);
        assert_eq!(names(&recorded), ["kite-plugin-hello-2"]);
        recorded.take_in(&Event::Delete(good(2)));
        assert_eq!(names(&recorded), Vec::<String>::new());
    }

    #[test]
    fn one_that_cannot_be_read_costs_only_itself() {
        let recorded = Recorded::default();
        recorded.take_in(&Event::Apply(good(1)));
        recorded.take_in(&Event::Apply(object(2, &json!({"spec": 7}))));
        assert_eq!(names(&recorded), ["kite-plugin-hello-1"]);
        assert_eq!(recorded.known()["kite-plugin-hello-1"].routes[0].path, "/a");
    }
}
