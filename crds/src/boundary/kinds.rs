//! What runs code, speaks for it, or leads to it: the kinds that both fence and reservation are about.

use k8s_openapi::api::admissionregistration::v1::NamedRuleWithOperations;

use super::rule;

pub(super) const WRITES: [&str; 2] = ["CREATE", "UPDATE"];
pub(super) const RBAC: &str = "rbac.authorization.k8s.io";

/// Writes of the built-in kinds that make pods, and of what pods are known and reached by; and the ways into a pod.
pub(super) fn that_run() -> Vec<NamedRuleWithOperations> {
    let core = [
        "pods",
        "pods/ephemeralcontainers",
        "pods/status",
        "replicationcontrollers",
        "podtemplates",
        "services",
        "endpoints",
        "serviceaccounts",
        "serviceaccounts/token",
    ];
    let into = [
        "pods/exec",
        "pods/attach",
        "pods/portforward",
        "pods/proxy",
        "services/proxy",
    ];
    let apps = [
        "deployments",
        "daemonsets",
        "statefulsets",
        "replicasets",
        "controllerrevisions",
    ];
    vec![
        rule(&WRITES, "", &core),
        rule(&["CONNECT"], "", &into),
        rule(&WRITES, "apps", &apps),
        rule(&WRITES, "batch", &["jobs", "cronjobs"]),
    ]
}
