//! Pods that differ from what is recorded of their revision are deleted, once: a node may have had an old image under a tag, and what differs
//! after that is told and takes a change.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use kite_api::{
    KitePluginStatus,
    conditions::{DEPENDENCIES_SATISFIED, DESCRIBED, reasons},
    error_chain,
};
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};

use super::{
    Context,
    describe::{Described, Verdict},
    validate::ValidatedPlugin,
};

/// Pods that have all been as they should be for this long after some were deleted have that behind them.
const BEHIND: Duration = Duration::from_hours(1);

/// The revisions of which pods were deleted, by plugin, and when not all was well with them last.
#[derive(Debug, Default)]
pub(super) struct Replaced(Mutex<HashMap<String, Last>>);

/// The last of them.
#[derive(Debug)]
struct Last {
    /// The plugin's: another one of its name counts its revisions from 1 too.
    uid: String,
    revision: i64,
    amiss: Instant,
}

impl Replaced {
    /// Whether pods of the revision, of the plugin with this uid, that differ are to be deleted. `is_told`: that they do stands in the status
    /// already, so that an operator which has just started does not begin again.
    fn is_due(&self, plugin: &str, (uid, revision): (&str, i64), is_told: bool) -> bool {
        let is_other = |last: &Last| last.uid != uid || last.revision != revision;
        !is_told && self.lock().get(plugin).is_none_or(is_other)
    }

    fn note(&self, plugin: &str, (uid, revision): (&str, i64), now: Instant) {
        let last = Last {
            uid: uid.to_owned(),
            revision,
            amiss: now,
        };
        self.lock().insert(plugin.to_owned(), last);
    }

    /// The plugin was looked at, and all was well with its pods or was not.
    fn look(&self, plugin: &str, is_well: bool, now: Instant) {
        let mut replaced = self.lock();
        let Some(last) = replaced.get_mut(plugin) else {
            return;
        };
        if !is_well {
            last.amiss = now;
        } else if now.saturating_duration_since(last.amiss) >= BEHIND {
            replaced.remove(plugin);
        }
    }

    /// Forgets all plugins but those for which `exists` holds.
    pub(super) fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| exists(name));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Last>> {
        // An entry is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deletes those pods of the revision that leads that differ, if none of it was deleted for that yet.
pub(super) async fn replace(
    plugin: &ValidatedPlugin,
    before: &KitePluginStatus,
    revision: i64,
    described: &Described,
    context: &Context,
) {
    let name = plugin.name.as_str();
    // That no pod can be asked is not well.
    let is_well = matches!(described.verdicts.lead.0, Verdict::Described { .. });
    context.replaced.look(name, is_well, Instant::now());
    let which = (plugin.uid.as_str(), revision);
    if !context.replaced.is_due(name, which, is_told(before, revision)) {
        return;
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &context.options.namespaces.plugins);
    for pod in &described.differing {
        let only_it = DeleteParams::default().preconditions(Preconditions {
            uid: Some(pod.uid.clone()),
            resource_version: None,
        });
        match pods.delete(&pod.name, &only_it).await {
            Ok(_) => {
                context.replaced.note(name, which, Instant::now());
                tracing::info!(
                    pod = pod.name,
                    revision,
                    "a pod that differs from what is recorded was deleted"
                );
            }
            // It went by itself, or another has its name.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            // What it is is told all the same, and that ends it.
            Err(error) => tracing::warn!(
                pod = pod.name,
                error = error_chain(&error),
                "a pod could not be deleted"
            ),
        }
    }
}

/// Whether the status says already that a pod of the revision, of which something is recorded, is not what it should be: in words, or in that it
/// serves no more, though it has what it needs, while its pods come and go.
fn is_told(status: &KitePluginStatus, revision: i64) -> bool {
    let find = |kind: &str| status.conditions.iter().find(|it| it.type_ == kind);
    let in_words = find(DESCRIBED).is_some_and(|it| it.status == "False" && it.reason != reasons::UNREACHABLE);
    let has_all = find(DEPENDENCIES_SATISFIED).is_some_and(|it| it.status == "True");
    in_words || has_all && status.active_revision != Some(revision)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_pods_of_a_revision_are_deleted_once_and_again_when_all_was_well_for_long() {
        let (replaced, start) = (Replaced::default(), Instant::now());
        assert!(replaced.is_due("a", ("u-1", 1), false));
        assert!(
            !replaced.is_due("a", ("u-1", 1), true),
            "it was told before this program began"
        );
        replaced.note("a", ("u-1", 1), start);
        assert!(!replaced.is_due("a", ("u-1", 1), false));
        assert!(replaced.is_due("a", ("u-1", 2), false), "another revision");
        assert!(replaced.is_due("b", ("u-2", 1), false), "another plugin");
        assert!(
            replaced.is_due("a", ("u-2", 1), false),
            "another plugin of the same name"
        );
        replaced.look("a", true, start + BEHIND / 2);
        assert!(!replaced.is_due("a", ("u-1", 1), false));
        // It differs still, or again.
        replaced.look("a", false, start + BEHIND);
        replaced.look("a", true, start + BEHIND);
        assert!(!replaced.is_due("a", ("u-1", 1), false));
        replaced.look("a", true, start + 2 * BEHIND);
        assert!(replaced.is_due("a", ("u-1", 1), false));
    }

    #[test]
    fn what_is_told_is_told_whoever_told_it_and_while_its_pod_is_another() {
        let told = |described: &str, reason: &str, dependencies: &str, active: Option<i64>| {
            let condition = |kind: &str, status: &str, reason: &str| {
                json!({
                    "type": kind, "status": status, "reason": reason, "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                })
            };
            let status = json!({"activeRevision": active, "conditions": [
                condition(DEPENDENCIES_SATISFIED, dependencies, "a"), condition(DESCRIBED, described, reason),
            ]});
            is_told(&serde_json::from_value(status).unwrap(), 1)
        };
        assert!(!told("True", "Described", "True", Some(1)));
        assert!(!told("False", "Unreachable", "True", Some(1)));
        assert!(told("False", "ReplicaMismatch", "True", Some(1)));
        assert!(told("False", "DefinitionsChanged", "True", None));
        // Its pod was deleted, and the next one is not ready yet.
        assert!(told("Unknown", "Progressing", "True", None));
        assert!(!told("Unknown", "Progressing", "False", None), "something beside it");
    }

    #[test]
    fn a_plugin_that_is_gone_is_forgotten() {
        let replaced = Replaced::default();
        replaced.note("a", ("u-1", 1), Instant::now());
        replaced.retain(|_| false);
        assert!(replaced.is_due("a", ("u-1", 1), false));
    }
}
