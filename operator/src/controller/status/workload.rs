//! How the plugin's pods are, and if none is available, why: in words that lead to the cause.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerState, ContainerStatus, Pod},
};
use kite_api::conditions::{WORKLOAD_AVAILABLE, reasons};

use super::condition::{Fact, Truth};
use crate::controller::object::is_ready;

/// What the kubelet calls the several ways in which an image does not come.
const IMAGE_TROUBLES: [&str; 6] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
];

/// The state of a Deployment and its pods.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Workload {
    pub available: bool,
    /// All pods are of the present template and available.
    pub rolled_out: bool,
    pub replicas: i32,
    pub ready: i32,
    wanted: i32,
    available_replicas: i32,
    /// What keeps a pod from being ready, where more than time is needed.
    pub trouble: Option<Trouble>,
}

/// What is wrong with a pod, or with the making of pods.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trouble {
    pub reason: &'static str,
    pub message: String,
}

impl Trouble {
    fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }

    /// Whether pods may not even be made.
    pub fn is_refusal(&self) -> bool {
        self.reason == reasons::REFUSED
    }
}

impl Workload {
    /// Whether there should be pods.
    pub fn wants_pods(&self) -> bool {
        self.wanted > 0
    }

    /// The condition that tells it.
    pub fn fact(&self) -> Fact {
        if self.available {
            let message = format!("{} of {} pods are available", self.available_replicas, self.wanted);
            return Fact::new(WORKLOAD_AVAILABLE, Truth::True, reasons::AVAILABLE, &message);
        }
        match &self.trouble {
            Some(trouble) => Fact::new(WORKLOAD_AVAILABLE, Truth::False, trouble.reason, &trouble.message),
            None => Fact::new(
                WORKLOAD_AVAILABLE,
                Truth::False,
                reasons::PROGRESSING,
                "no pod is available yet, one is starting",
            ),
        }
    }
}

/// Looks at the Deployment and at the pods of its present template.
pub fn look(deployment: &Deployment, pods: &[Pod]) -> Workload {
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let available_replicas = status.available_replicas.unwrap_or(0);
    let replicas = status.replicas.unwrap_or(0);
    let is_current = status.observed_generation >= deployment.metadata.generation;
    let complete = [status.updated_replicas.unwrap_or(0), available_replicas, replicas]
        .iter()
        .all(|count| *count == wanted);
    let refusal = status
        .conditions
        .iter()
        .flatten()
        .find(|it| it.type_ == "ReplicaFailure" && it.status == "True");
    let refusal = refusal.map(|condition| {
        Trouble::new(
            reasons::REFUSED,
            format!(
                "pods cannot be made: {}",
                condition.message.as_deref().unwrap_or("no reason given")
            ),
        )
    });
    Workload {
        available: available_replicas > 0,
        rolled_out: is_current && complete,
        replicas,
        ready: status.ready_replicas.unwrap_or(0),
        wanted,
        available_replicas,
        trouble: refusal.or_else(|| pods.iter().filter(|pod| !is_ready(pod)).find_map(trouble)),
    }
}

fn trouble(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let unscheduled =
        status.conditions.iter().flatten().find(|it| {
            it.type_ == "PodScheduled" && it.status == "False" && it.reason.as_deref() == Some("Unschedulable")
        });
    if let Some(condition) = unscheduled {
        let message = condition.message.as_deref().unwrap_or("no node takes it");
        return Some(Trouble::new(
            reasons::UNSCHEDULABLE,
            format!("pod {}: {message}", name(pod)),
        ));
    }
    status
        .container_statuses
        .iter()
        .flatten()
        .find_map(|container| container_trouble(pod, container))
}

fn container_trouble(pod: &Pod, container: &ContainerStatus) -> Option<Trouble> {
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let reason = waiting
        .and_then(|waiting| waiting.reason.as_deref())
        .unwrap_or_default();
    let message = waiting
        .and_then(|waiting| waiting.message.as_deref())
        .unwrap_or("the kubelet gives no more reason");
    if IMAGE_TROUBLES.contains(&reason) {
        let text = format!("image {} cannot be pulled ({reason}): {message}", container.image);
        return Some(Trouble::new(reasons::IMAGE_PULL_FAILED, text));
    }
    let ended = ended(container.state.as_ref()).or_else(|| ended(container.last_state.as_ref()));
    if let Some(how) = ended.filter(|_| reason == "CrashLoopBackOff" || container.restart_count > 0) {
        let (namespace, name) = (pod.metadata.namespace.as_deref().unwrap_or_default(), name(pod));
        let text = format!(
            "the plugin ends again and again ({how}, {} restarts): see `kubectl logs -n {namespace} {name} --previous`",
            container.restart_count,
        );
        return Some(Trouble::new(reasons::CRASH_LOOPING, text));
    }
    // A container that could not be made; the kubelet tries again.
    let failing = matches!(
        reason,
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError"
    );
    failing.then(|| {
        Trouble::new(
            reasons::PROGRESSING,
            format!("pod {} cannot start ({reason}): {message}", name(pod)),
        )
    })
}

/// How a container ended, if the state is of one that did.
fn ended(state: Option<&ContainerState>) -> Option<String> {
    let terminated = state?.terminated.as_ref()?;
    Some(match terminated.reason.as_deref() {
        None | Some("Error" | "Completed") => format!("exit code {}", terminated.exit_code),
        Some(reason) => format!("{reason}, exit code {}", terminated.exit_code),
    })
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: &Value) -> Pod {
        let value = json!({"metadata": {"name": "p", "namespace": "kite-plugins"}, "status": status});
        serde_json::from_value(value).unwrap()
    }

    fn container(state: &Value, last_state: &Value, restarts: i32) -> Value {
        json!({"containerStatuses": [{
            "name": "plugin", "image": "img", "imageID": "", "ready": false, "restartCount": restarts,
            "state": state, "lastState": last_state,
        }]})
    }

    fn deployment(status: &Value) -> Deployment {
        let value = json!({
            "metadata": {"generation": 2},
            "spec": {"replicas": 1, "selector": {}, "template": {}},
            "status": status,
        });
        serde_json::from_value(value).unwrap()
    }

    fn trouble_of(status: &Value) -> Option<Trouble> {
        look(&deployment(&json!({})), &[pod(status)]).trouble
    }

    #[test]
    fn each_cause_is_told_with_what_to_do() {
        let waiting = |reason: &str| json!({"waiting": {"reason": reason, "message": "said the kubelet"}});
        let exit = json!({"terminated": {"exitCode": 3, "reason": "Error"}});
        let oom = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let pull = trouble_of(&container(&waiting("ImagePullBackOff"), &json!({}), 0)).unwrap();
        let crash = trouble_of(&container(&waiting("CrashLoopBackOff"), &exit, 4)).unwrap();
        let between = trouble_of(&container(&exit, &json!({}), 1)).unwrap();
        let memory = trouble_of(&container(&waiting("CrashLoopBackOff"), &oom, 2)).unwrap();
        let config = trouble_of(&container(&waiting("CreateContainerConfigError"), &json!({}), 0)).unwrap();
        let node = trouble_of(&json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}
        ]}))
        .unwrap();
        let quota = json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]});
        let quota = look(&deployment(&quota), &[]).trouble.unwrap();
        assert!(quota.is_refusal());
        let all = [pull, crash, between, memory, config, node, quota];
        insta::assert_snapshot!(
            all.map(|trouble| format!("{}: {}", trouble.reason, trouble.message))
                .join("\n")
        );
    }

    #[test]
    fn a_pod_that_is_starting_is_in_no_trouble() {
        let status = container(&json!({"waiting": {"reason": "ContainerCreating"}}), &json!({}), 0);
        assert_eq!(trouble_of(&status), None);
    }

    #[test]
    fn a_pod_that_is_ready_again_is_in_no_trouble() {
        let mut status = container(&json!({"running": {}}), &json!({"terminated": {"exitCode": 1}}), 1);
        status["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        assert_eq!(trouble_of(&status), None);
    }

    #[test]
    fn a_rollout_is_complete_when_every_pod_is_new_and_available() {
        let rolled_out = |status: &Value| look(&deployment(status), &[]).rolled_out;
        let done = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        assert!(rolled_out(&done));
        for (field, value) in [
            ("observedGeneration", 1),
            ("replicas", 2),
            ("updatedReplicas", 0),
            ("availableReplicas", 0),
        ] {
            let mut status = done.clone();
            status[field] = json!(value);
            assert!(!rolled_out(&status), "{field}");
        }
    }
}
