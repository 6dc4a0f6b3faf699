//! What is understood of a status with words that this operator does not know: another version of it has written that.

use kite_api::{KitePluginStatus, Phase, RevisionState, RevisionStatus};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What is understood: each field by itself, of a list each entry, and of the entry of a revision each of its fields. All else is as if
/// nobody had said it. Forgotten with the rest, the revision that serves would be stopped as one that nobody needs, and what pods must
/// offer taken anew from whatever answers.
pub fn understood(status: &Value) -> KitePluginStatus {
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
    use crate::controller::status::on_record;

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
        let mut status = full();
        let before = serde_json::from_value(status.clone()).unwrap();
        *status.pointer_mut(place).unwrap() = value;
        assert!(serde_json::from_value::<KitePluginStatus>(status.clone()).is_err());
        (understood(&status), before)
    }

    #[test]
    fn of_a_status_that_is_understood_everything_is() {
        let status = understood(&full());
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
        let mut status = full();
        status["revisions"][0].as_object_mut().unwrap().remove("state");
        assert_eq!(serde_json::to_value(understood(&status)).unwrap(), full());
    }

    #[test]
    fn where_none_serves_pods_must_offer_what_is_recorded_unless_the_plugin_was_disabled() {
        let told = |phase: &str| {
            understood(&json!({
                "phase": phase,
                "revisions": [{"number": 1, "version": "0.1.0", "definitionsHash": "sha256:1", "state": "Withheld"}],
            }))
        };
        for (phase, state, hash) in [
            ("Failed", RevisionState::Starting, Some("sha256:1")),
            ("Evolving", RevisionState::Starting, Some("sha256:1")),
            ("Disabled", RevisionState::Stopped, None),
        ] {
            let status = told(phase);
            assert_eq!(status.revisions[0].state, state, "{phase}");
            assert_eq!(on_record(&status, 1).map(|it| it.hash), hash, "{phase}");
        }
    }

    #[test]
    fn what_is_no_object_says_nothing() {
        for status in [json!(null), json!("Loaded"), json!(7), json!(["Loaded"])] {
            assert_eq!(understood(&status), KitePluginStatus::default(), "{status}");
        }
        let status = understood(&json!({"revisions": {"number": 1}, "conditions": 7}));
        assert_eq!(status, KitePluginStatus::default());
    }
}
