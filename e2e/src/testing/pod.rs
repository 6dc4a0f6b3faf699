//! What a pod says of itself.

use k8s_openapi::api::core::v1::Pod;

/// Whether the kubelet has found it ready.
pub fn is_ready(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|it| it.type_ == "Ready" && it.status == "True")
}
