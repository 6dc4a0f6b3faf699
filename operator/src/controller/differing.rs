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
    conditions::{DESCRIBED, reasons},
    error_chain,
};
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};

use super::{Context, describe::Differing, validate::ValidatedPlugin};

/// Pods that have all been as they should be for this long after some were deleted have that behind them.
const BEHIND: Duration = Duration::from_hours(1);

/// The revisions of which pods were deleted, by plugin, and when.
#[derive(Debug, Default)]
pub struct Replaced(Mutex<HashMap<String, (i64, Instant)>>);

impl Replaced {
    /// Whether pods of the revision that differ are to be deleted. `is_told`: that they do stands in the status already, so that an operator
    /// which has just started does not begin again.
    fn is_due(&self, plugin: &str, revision: i64, is_told: bool) -> bool {
        !is_told && self.lock().get(plugin).is_none_or(|(number, _)| *number != revision)
    }

    fn note(&self, plugin: &str, revision: i64, now: Instant) {
        self.lock().insert(plugin.to_owned(), (revision, now));
    }

    /// All pods are as they should be.
    fn none_differs(&self, plugin: &str, now: Instant) {
        let mut replaced = self.lock();
        if replaced.get(plugin).is_some_and(|(_, when)| now.saturating_duration_since(*when) >= BEHIND) {
            replaced.remove(plugin);
        }
    }

    /// Forgets all plugins but those for which `exists` holds.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| exists(name));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (i64, Instant)>> {
        // An entry is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deletes those pods of the revision that serves that differ, if none of it was deleted for that yet.
pub(super) async fn replace(
    plugin: &ValidatedPlugin,
    before: &KitePluginStatus,
    revision: i64,
    differing: &[Differing],
    context: &Context,
) {
    let name = plugin.name.as_str();
    if differing.is_empty() {
        context.replaced.none_differs(name, Instant::now());
        return;
    }
    if !context.replaced.is_due(name, revision, is_told(before)) {
        return;
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &context.options.namespaces.plugins);
    for pod in differing {
        let only_it = DeleteParams::default().preconditions(Preconditions {
            uid: Some(pod.uid.clone()),
            resource_version: None,
        });
        match pods.delete(&pod.name, &only_it).await {
            Ok(_) => {
                context.replaced.note(name, revision, Instant::now());
                tracing::info!(pod = pod.name, revision, "a pod that differs from what is recorded was deleted");
            }
            // It went by itself, or another has its name.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            // What it is is told all the same, and that ends it.
            Err(error) => tracing::warn!(pod = pod.name, error = error_chain(&error), "a pod could not be deleted"),
        }
    }
}

/// Whether the status says already that a pod is not what it should be.
fn is_told(status: &KitePluginStatus) -> bool {
    let mut conditions = status.conditions.iter();
    conditions.any(|it| it.type_ == DESCRIBED && it.status == "False" && it.reason != reasons::UNREACHABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pods_of_a_revision_are_deleted_once_and_again_when_all_was_well_for_long() {
        let (replaced, start) = (Replaced::default(), Instant::now());
        assert!(replaced.is_due("a", 1, false));
        assert!(!replaced.is_due("a", 1, true), "it was told before this program began");
        replaced.note("a", 1, start);
        assert!(!replaced.is_due("a", 1, false));
        assert!(replaced.is_due("a", 2, false), "another revision");
        assert!(replaced.is_due("b", 1, false), "another plugin");
        replaced.none_differs("a", start + BEHIND - Duration::from_secs(1));
        assert!(!replaced.is_due("a", 1, false));
        replaced.none_differs("a", start + BEHIND);
        assert!(replaced.is_due("a", 1, false));
    }

    #[test]
    fn a_plugin_that_is_gone_is_forgotten() {
        let replaced = Replaced::default();
        replaced.note("a", 1, Instant::now());
        replaced.retain(|_| false);
        assert!(replaced.is_due("a", 1, false));
    }
}
