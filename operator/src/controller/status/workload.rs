//! How the plugin's pods are, and if none is available, why.

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Event, Pod},
};
use kite_api::conditions::{WORKLOAD_AVAILABLE, reasons};

use super::condition::{Fact, Truth};
use crate::controller::causes::{self, Cause};

/// The state of a Deployment and its pods.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Workload {
    pub available: bool,
    /// All pods are of the present template and available.
    pub rolled_out: bool,
    pub replicas: i32,
    pub ready: i32,
    wanted: i32,
    /// What keeps a pod from being ready, where more than time is needed.
    pub cause: Option<Cause>,
}

impl Workload {
    /// Whether there should be pods.
    pub fn wants_pods(&self) -> bool {
        self.wanted > 0
    }

    /// The condition that tells it.
    pub fn fact(&self) -> Fact {
        if self.available {
            let message = format!("{} of {} pods are available", self.ready, self.wanted);
            return Fact::new(WORKLOAD_AVAILABLE, Truth::True, reasons::AVAILABLE, &message);
        }
        match &self.cause {
            Some(cause) => Fact::new(WORKLOAD_AVAILABLE, Truth::False, cause.reason(), &cause.message()),
            None => Fact::new(
                WORKLOAD_AVAILABLE,
                Truth::False,
                reasons::PROGRESSING,
                "no pod is available yet, one is starting",
            ),
        }
    }
}

/// Looks at the Deployment, at the pods of its present template, and at what was told of these as Events.
pub fn look(deployment: &Deployment, pods: &[Pod], events: &[Event], now: Timestamp) -> Workload {
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    // A pod that is ready gets requests. That the Deployment calls it available a little later is for the one whose place it takes.
    let ready = status.ready_replicas.unwrap_or(0);
    let replicas = status.replicas.unwrap_or(0);
    let is_current = status.observed_generation >= deployment.metadata.generation;
    let complete = [status.updated_replicas.unwrap_or(0), ready, replicas]
        .iter()
        .all(|count| *count == wanted);
    Workload {
        available: ready > 0,
        rolled_out: is_current && complete,
        replicas,
        ready,
        wanted,
        cause: causes::find(deployment, pods, events, now),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn deployment(status: &Value) -> Deployment {
        let value = json!({
            "metadata": {"generation": 2},
            "spec": {"replicas": 1, "selector": {}, "template": {}},
            "status": status,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_rollout_is_complete_when_every_pod_is_new_and_available() {
        let rolled_out = |status: &Value| look(&deployment(status), &[], &[], Timestamp::UNIX_EPOCH).rolled_out;
        let done = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1});
        assert!(rolled_out(&done));
        for (field, value) in [
            ("observedGeneration", 1),
            ("replicas", 2),
            ("updatedReplicas", 0),
            ("readyReplicas", 0),
        ] {
            let mut status = done.clone();
            status[field] = json!(value);
            assert!(!rolled_out(&status), "{field}");
        }
    }
}
