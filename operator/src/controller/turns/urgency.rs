//! How urgent it is that a plugin is looked at, by what its object says.

use kite_api::conditions::RECONCILING;

use crate::controller::object::{self, Object};

/// How urgent a look at a plugin is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Urgency {
    /// Somebody has changed or deleted it, and nobody has told since what has come of that.
    Changed,
    /// It was acted on, and more is to follow: its new revision is just starting, say.
    UnderWay,
    /// When it was looked at last there was nothing more to do.
    Settled,
}

impl Urgency {
    /// That of the plugin with this object.
    pub(super) fn of(object: &Object) -> Self {
        if object::is_being_deleted(object) {
            return Self::Changed;
        }
        // Of one that is not understood it is not known what was told, and nothing is made for it.
        let Ok(plugin) = &object.0 else {
            return Self::Settled;
        };
        let Some(status) = &plugin.status else {
            return Self::Changed;
        };
        // A later generation than the object has is that of another object, as after a backup was played back.
        if status.observed_generation != object::generation(object) {
            return Self::Changed;
        }
        let mut conditions = status.conditions.iter();
        if conditions.any(|condition| condition.type_ == RECONCILING && condition.status == "True") {
            Self::UnderWay
        } else {
            Self::Settled
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Of one that was told of all that its object says, changed like this.
    fn urgency(change: impl FnOnce(&mut Value)) -> Urgency {
        let mut object = json!({
            "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin",
            "metadata": {"name": "hello", "generation": 3},
            "spec": {"version": "1.0.0", "image": "a"},
            "status": {"observedGeneration": 3, "conditions": [{
                "type": "Ready", "status": "True", "reason": "Loaded", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        });
        change(&mut object);
        let object: Object = serde_json::from_value(object).unwrap();
        Urgency::of(&object)
    }

    fn with(kind: &str, status: &str) -> Urgency {
        urgency(|o| {
            o["status"]["conditions"][0]["type"] = json!(kind);
            o["status"]["conditions"][0]["status"] = json!(status);
        })
    }

    #[test]
    fn what_was_told_of_all_that_the_object_says_is_settled() {
        assert_eq!(urgency(|_| {}), Urgency::Settled);
        assert_eq!(with("Ready", "False"), Urgency::Settled);
        assert_eq!(with("Stalled", "True"), Urgency::Settled);
        assert_eq!(with("Reconciling", "False"), Urgency::Settled);
    }

    #[test]
    fn what_the_status_does_not_speak_of_was_changed() {
        let changed = [
            ("changed", urgency(|o| o["metadata"]["generation"] = json!(4))),
            ("another object", urgency(|o| o["metadata"]["generation"] = json!(1))),
            ("new", urgency(|o| o["status"]["observedGeneration"] = json!(-1))),
            ("told in part", urgency(|o| o["status"] = json!({"namespaces": []}))),
            ("never told", urgency(|o| o["status"] = Value::Null)),
        ];
        for (case, urgency) in changed {
            assert_eq!(urgency, Urgency::Changed, "{case}");
        }
    }

    #[test]
    fn what_is_being_deleted_was_changed_whatever_else_it_says() {
        let deleted = |o: &mut Value| o["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(urgency(deleted), Urgency::Changed);
        let unreadable = urgency(|o| {
            o["spec"]["version"] = json!(7);
            deleted(o);
        });
        assert_eq!(unreadable, Urgency::Changed);
    }

    #[test]
    fn what_the_operator_is_at_work_at_is_under_way_until_it_is_changed_again() {
        assert_eq!(with("Reconciling", "True"), Urgency::UnderWay);
        let again = urgency(|o| {
            o["status"]["conditions"][0]["type"] = json!("Reconciling");
            o["metadata"]["generation"] = json!(4);
        });
        assert_eq!(again, Urgency::Changed);
    }

    #[test]
    fn what_is_not_understood_puts_off_nobody() {
        assert_eq!(urgency(|o| o["spec"]["version"] = json!(7)), Urgency::Settled);
    }
}
