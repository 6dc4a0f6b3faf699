//! What there is to say of all plugins together, taken from the store of the watch when it is asked for.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kite_api::Phase;
use kube::runtime::reflector::{ObjectRef, Store};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};

use super::Queue;
use crate::controller::object::Object;

/// Each phase, and what it is called.
const PHASES: [(Phase, &str); 5] = [
    (Phase::Pending, "Pending"),
    (Phase::Loaded, "Loaded"),
    (Phase::Failed, "Failed"),
    (Phase::Disabled, "Disabled"),
    (Phase::Stopped, "Stopped"),
];

/// The plugins, while this replica leads.
#[derive(Clone, Debug, Default)]
pub(super) struct Plugins {
    pub(super) queue: Queue,
    store: Arc<Mutex<Option<Store<Object>>>>,
}

impl Plugins {
    /// These are the plugins from now on.
    pub(super) fn are_in(&self, store: Option<Store<Object>>) {
        self.queue.clear();
        *self.lock() = store;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Store<Object>>> {
        // It is replaced as a whole.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many plugins are in each phase, and how many cannot be read.
fn count<'a>(objects: impl IntoIterator<Item = &'a Object>) -> (BTreeMap<&'static str, u64>, u64) {
    let mut phases: BTreeMap<&str, u64> = PHASES.iter().map(|(_, name)| (*name, 0)).collect();
    let mut unreadable = 0;
    for object in objects {
        let Ok(plugin) = &object.0 else {
            unreadable += 1;
            continue;
        };
        let phase = plugin
            .status
            .as_ref()
            .and_then(|status| status.phase)
            .unwrap_or_default();
        let name = PHASES.iter().find(|(known, _)| *known == phase).map(|(_, name)| *name);
        if let Some(number) = name.and_then(|name| phases.get_mut(name)) {
            *number += 1;
        }
    }
    (phases, unreadable)
}

impl Collector for Plugins {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(store) = self.lock().clone() else {
            return Ok(());
        };
        let objects = store.state();
        let (phases, unreadable) = count(objects.iter().map(AsRef::as_ref));
        let help = "Plugins by phase, of those that this operator can read";
        let mut metric = encoder.encode_descriptor("plugins", help, None, MetricType::Gauge)?;
        for (phase, number) in &phases {
            let labels = [("phase", *phase)];
            metric.encode_family(&labels)?.encode_gauge(number)?;
        }
        let (depth, age) = self
            .queue
            .standing(|plugin| store.get(&ObjectRef::new(plugin)).is_some());
        let gauges = [
            (
                "unreadable_plugins",
                "Plugins that this operator cannot read",
                unreadable,
            ),
            (
                "queue_depth",
                "Plugins that something has woken and that have not been looked at since",
                depth as u64,
            ),
        ];
        for (name, help, number) in gauges {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode_gauge(&number)?;
        }
        let (name, help) = ("queue_oldest_age_seconds", "For how long the first of those has waited");
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&age.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(spec: &serde_json::Value, phase: Option<&str>) -> Object {
        let status = phase.map(|phase| json!({"phase": phase}));
        serde_json::from_value(json!({
            "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "metadata": {"name": "a"}, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn each_plugin_is_in_one_phase_or_unreadable() {
        let good = json!({"version": "1.0.0", "image": "a"});
        let objects = [
            object(&good, None),
            object(&good, Some("Loaded")),
            object(&good, Some("Loaded")),
            object(&good, Some("Stopped")),
            object(&json!({"version": 7}), Some("Loaded")),
        ];
        let (phases, unreadable) = count(&objects);
        let expected = [
            ("Disabled", 0),
            ("Failed", 0),
            ("Loaded", 2),
            ("Pending", 1),
            ("Stopped", 1),
        ];
        assert_eq!((phases, unreadable), (expected.into(), 1));
    }
}
