//! Why there is no pod, or none on a node: from the Deployment's condition, and from the scheduler's words.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};

use super::{Cause, Kind};

/// The cause, if the API server refuses the Deployment's pods.
pub(super) fn refused(deployment: &Deployment) -> Option<Cause> {
    let mut conditions = deployment
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let condition = conditions.find(|it| it.type_ == "ReplicaFailure" && it.status == "True")?;
    let words = condition.message.as_deref().unwrap_or_default();
    let (kind, sentence) = if words.contains("exceeded quota") || words.contains("failed quota") {
        (Kind::Quota, "the namespace's quota has no room for the plugin's pods")
    } else if words.contains("PodSecurity") {
        (
            Kind::PodSecurity,
            "the namespace's Pod Security level refuses the plugin's pods",
        )
    } else if is_of_a_limit_range(words) {
        (Kind::LimitRange, "the namespace's LimitRange refuses the plugin's pods")
    } else {
        (Kind::Admission, "the API server refuses the plugin's pods")
    };
    Some(Cause::new(kind, sentence.to_owned()).said("the API server", Some(&without_pod(words))))
}

/// Whether these are the words of the plug-in `LimitRanger`, as in "minimum memory usage per Container is 16Mi, but request is 1Mi".
fn is_of_a_limit_range(words: &str) -> bool {
    words.contains(" usage per Container is ")
        || words.contains(" usage per Pod is ")
        || words.contains(" limit to request ratio per ")
}

/// Each try makes a pod of another name, and a message that has it would never stand still.
fn without_pod(words: &str) -> String {
    let Some(rest) = words.strip_prefix("pods \"") else {
        return words.to_owned();
    };
    match rest.split_once("\" is forbidden: ") {
        Some((_, rest)) => rest.to_owned(),
        None => words.to_owned(),
    }
}

/// The cause, if no node takes the pod.
pub(super) fn unscheduled(pod: &Pod) -> Option<Cause> {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let condition = conditions.find(|it| {
        it.type_ == "PodScheduled" && it.status == "False" && it.reason.as_deref() == Some("Unschedulable")
    })?;
    let words = condition.message.as_deref().unwrap_or_default();
    // How full the nodes are passes, what they are does not: if any reason is of the first kind, it is told.
    let (kind, sentence) = if words.contains("Insufficient ") || words.contains("Too many pods") {
        (Kind::NoRoom, "no node has room for the plugin's pod")
    } else if words.contains("node affinity/selector") || words.contains("node selector") {
        (
            Kind::NoNodeMatches,
            "no node has the labels that the plugin's pod asks for",
        )
    } else if words.contains("untolerated taint") {
        (
            Kind::NodesTainted,
            "the nodes have taints that the plugin's pod does not tolerate",
        )
    } else {
        (Kind::Unschedulable, "no node takes the plugin's pod")
    };
    // What would come of evicting others is of no use to whoever reads this.
    let mut parts = words
        .split(" preemption: ")
        .flat_map(|part| part.split(" no new claims to deallocate"));
    let words = parts.next().unwrap_or_default();
    Some(Cause::new(kind, sentence.to_owned()).said("the scheduler", Some(words)))
}
