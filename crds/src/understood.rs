//! What is understood of a plugin whose status has words that this version does not know: an operator of another version has written that.

use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{KitePlugin, KitePluginStatus, Phase, RevisionState, RevisionStatus};

/// What is understood of an object. All but the status must be, since it was asked for. A status with words that are not known is no reason
/// not to look after the plugin, or not to serve it: those who depend on that go by the rest of it.
pub fn plugin(object: &Value) -> Result<KitePlugin, serde_json::Error> {
    KitePlugin::deserialize(object).or_else(|_| {
        let mut rest = object.clone();
        let told = rest.as_object_mut().and_then(|fields| fields.remove("status"));
        let plugin: KitePlugin = serde_json::from_value(rest)?;
        Ok(KitePlugin {
            status: told.as_ref().map(status),
            ..plugin
        })
    })
}

/// What is understood of a status: each field by itself, of a list each entry, and of the entry of a revision each of its fields. All else
/// is as if nobody had said it. Forgotten with the rest, the revision that serves would get no traffic and be stopped as one that nobody
/// needs, and what pods must offer taken anew from whatever answers.
pub fn status(status: &Value) -> KitePluginStatus {
    let mut fields = json!({});
    for (name, value) in status.as_object().into_iter().flatten() {
        let is_read = |value: &Value| is_known::<KitePluginStatus>(&json!({}), name, value);
        let known: Value = match value {
            Value::Array(entries) => entries
                .iter()
                .filter(|entry| is_read(&json!([entry])))
                .cloned()
                .collect(),
            single => single.clone(),
        };
        if is_read(&known) {
            set(&mut fields, name, known);
        }
    }
    // Each is understood by itself, and so all of them are.
    let mut told: KitePluginStatus = serde_json::from_value(fields).unwrap_or_default();
    let entries = status.get("revisions").and_then(Value::as_array).into_iter().flatten();
    let revisions = entries.filter_map(|entry| revision(entry, &told)).collect();
    told.revisions = revisions;
    told
}

/// The entry of a revision, if it says of which. The `status` has all that is understood beside the revisions.
fn revision(entry: &Value, status: &KitePluginStatus) -> Option<RevisionStatus> {
    let number = entry.get("number")?.as_i64()?;
    let least = json!({"number": number, "version": "", "state": RevisionState::Starting});
    let mut fields = least.clone();
    for (name, value) in entry.as_object()? {
        if is_known::<RevisionStatus>(&least, name, value) {
            set(&mut fields, name, value.clone());
        }
    }
    let mut told: RevisionStatus = serde_json::from_value(fields).ok()?;
    let state = entry.get("state").cloned();
    let state: Option<RevisionState> = state.and_then(|state| serde_json::from_value(state).ok());
    told.state = state.unwrap_or_else(|| safe_state(&told, status));
    Some(told)
}

/// Where a revision stands that says so in a word that is not known. The next status tells it as it is; until then this decides what its
/// pods must offer, whether it leads though none serves, and whether gateways still send it the pages that were loaded from it.
fn safe_state(entry: &RevisionStatus, status: &KitePluginStatus) -> RevisionState {
    if status.active_revision == Some(entry.number) {
        RevisionState::Active
    } else if entry.draining_since.is_some() {
        // Another has taken the traffic, so that it does not lead; how long it has is counted from then, and not by its state.
        RevisionState::Draining
    } else if status.phase == Some(Phase::Disabled) {
        // Who served is forgotten then: one that was disabled for what it does must not run again on its way back.
        RevisionState::Stopped
    } else {
        // What is recorded of it stays what its pods must offer, and if none serves it is the one that something beside it keeps from
        // callers. Of one that is stopped whatever answers would be recorded anew. While another serves, it neither leads nor runs by this.
        RevisionState::Starting
    }
}

/// Whether `fields` are a `T` with this one among them.
fn is_known<T: DeserializeOwned>(fields: &Value, name: &str, value: &Value) -> bool {
    let mut fields = fields.clone();
    set(&mut fields, name, value.clone());
    serde_json::from_value::<T>(fields).is_ok()
}

fn set(fields: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = fields {
        fields.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A status with something in every field: the first revision serves, the second is to take over.
    fn full() -> Value {
        let time = "2026-01-01T00:00:00Z";
        json!({
            "observedGeneration": 3,
            "phase": "Loaded",
            "version": "0.1.0",
            "activeRevision": 1,
            "revisions": [
                {
                    "number": 1, "version": "0.1.0", "digest": "sha256:d", "definitionsHash": "sha256:1",
                    "state": "Active", "message": "one",
                },
                {"number": 2, "version": "0.2.0", "definitionsHash": "sha256:2", "state": "Starting"},
                {
                    "number": 3, "version": "0.3.0", "definitionsHash": "sha256:3", "state": "Draining",
                    "drainingSince": time,
                },
            ],
            "toolCount": 1,
            "tools": [{"name": "plugin_hello_hello", "description": "Greets.", "hash": "sha256:4"}],
            "resourceTypes": [{"name": "costs", "namespaced": true}],
            "dependencies": [{"name": "other", "required": "^1", "found": "1.0.0", "ready": true}],
            "namespaces": [{"name": "shop", "uid": "a"}, {"name": "pay", "uid": "b"}],
            "selector": "kite.dev/plugin=hello",
            "replicas": 1,
            "readyReplicas": 1,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Loaded", "message": "", "observedGeneration": 3,
                "lastTransitionTime": time,
            }],
        })
    }

    /// What is understood of the full status once `value` stands at `place`, and what that was without.
    fn spoilt(place: &str, value: Value) -> (KitePluginStatus, KitePluginStatus) {
        let mut told = full();
        let before = serde_json::from_value(told.clone()).unwrap();
        *told.pointer_mut(place).unwrap() = value;
        assert!(serde_json::from_value::<KitePluginStatus>(told.clone()).is_err());
        (status(&told), before)
    }

    fn object(spec: &Value, status: &Value) -> Value {
        json!({
            "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin",
            "metadata": {"name": "hello"}, "spec": spec, "status": status,
        })
    }

    #[test]
    fn an_object_whose_status_is_not_understood_as_a_whole_is_all_that_it_was_but_for_that() {
        let spec = json!({"version": "1.0.0", "image": "a"});
        let known = object(&spec, &full());
        let whole: KitePlugin = serde_json::from_value(known.clone()).unwrap();
        assert_eq!(plugin(&known).unwrap(), whole);
        let (told, _) = spoilt("/phase", json!("Evolving"));
        let mut other = full();
        other["phase"] = json!("Evolving");
        let expected = KitePlugin {
            status: Some(told),
            ..whole
        };
        assert_eq!(plugin(&object(&spec, &other)).unwrap(), expected);
    }

    #[test]
    fn an_object_that_asks_for_what_is_not_understood_is_not_understood_whatever_its_status_says() {
        let spec = json!({"version": 7, "image": "a"});
        for status in [json!(null), full(), json!({"phase": "Evolving"}), json!("Loaded")] {
            let error = plugin(&object(&spec, &status)).unwrap_err().to_string();
            assert!(error.contains("invalid type: integer `7`"), "{status}: {error}");
        }
    }

    #[test]
    fn of_a_status_that_is_understood_everything_is() {
        let status = status(&full());
        assert_eq!(serde_json::to_value(&status).unwrap(), full());
    }

    #[test]
    fn a_word_that_is_not_known_costs_its_own_field_alone() {
        let (status, before) = spoilt("/phase", json!("Evolving"));
        assert_eq!(status, KitePluginStatus { phase: None, ..before });
    }

    #[test]
    fn a_field_of_another_type_costs_itself_alone() {
        let (status, before) = spoilt("/version", json!(7));
        assert_eq!(
            status,
            KitePluginStatus {
                version: None,
                ..before
            }
        );
        let (status, before) = spoilt("/tools", json!("many"));
        let tools = Vec::new();
        assert_eq!(status, KitePluginStatus { tools, ..before });
        let (status, mut before) = spoilt("/revisions/0/digest", json!(["sha256:d"]));
        before.revisions[0].digest = None;
        assert_eq!(status, before);
        let (status, mut before) = spoilt("/revisions/0/version", json!(1));
        before.revisions[0].version = String::new();
        assert_eq!(status, before);
    }

    #[test]
    fn an_entry_that_is_not_understood_costs_no_other() {
        let (status, mut before) = spoilt("/namespaces/0", json!({"name": "shop"}));
        before.namespaces.remove(0);
        assert_eq!(status, before);
        let (status, mut before) = spoilt("/conditions/0", json!({"type": "Ready"}));
        before.conditions.clear();
        assert_eq!(status, before);
        let (status, mut before) = spoilt("/revisions/1/number", json!("two"));
        before.revisions.remove(1);
        assert_eq!(status, before);
        let (status, mut before) = spoilt("/revisions/1", json!("two"));
        before.revisions.remove(1);
        assert_eq!(status, before);
    }

    #[test]
    fn a_revision_in_a_state_that_is_not_known_keeps_what_is_recorded_of_it() {
        for place in ["/revisions/0/state", "/revisions/1/state", "/revisions/2/state"] {
            for word in [json!("Blooming"), json!(7)] {
                let (status, before) = spoilt(place, word);
                assert_eq!(status, before, "{place}");
            }
        }
        // Also where its entry has no state at all.
        let mut told = full();
        told["revisions"][0].as_object_mut().unwrap().remove("state");
        assert_eq!(serde_json::to_value(status(&told)).unwrap(), full());
    }

    #[test]
    fn where_none_serves_a_revision_in_a_state_that_is_not_known_starts_unless_the_plugin_was_disabled() {
        for (phase, state) in [
            ("Failed", RevisionState::Starting),
            ("Evolving", RevisionState::Starting),
            ("Disabled", RevisionState::Stopped),
        ] {
            let status = status(&json!({
                "phase": phase,
                "revisions": [{"number": 1, "version": "0.1.0", "definitionsHash": "sha256:1", "state": "Withheld"}],
            }));
            let entry = &status.revisions[0];
            let hash = entry.definitions_hash.as_deref();
            assert_eq!((entry.state, hash), (state, Some("sha256:1")), "{phase}");
        }
    }

    #[test]
    fn what_is_no_object_says_nothing() {
        for told in [json!(null), json!("Loaded"), json!(7), json!(["Loaded"])] {
            assert_eq!(status(&told), KitePluginStatus::default(), "{told}");
        }
        let status = status(&json!({"revisions": {"number": 1}, "conditions": 7}));
        assert_eq!(status, KitePluginStatus::default());
    }
}
