//! What no grant may name, whoever writes it: what is the system's own.

use super::{
    Parts,
    cel::{condition, validation, variable},
    plugin_writes,
};

/// Of the core group: what opens the pods and Secrets of other plugins.
pub(super) const OPENS: [&str; 9] = [
    "secrets",
    "pods/exec",
    "pods/attach",
    "pods/portforward",
    "pods/ephemeralcontainers",
    "pods/proxy",
    "services/proxy",
    "serviceaccounts/token",
    "*",
];
/// What may be read in the plugins' namespace, but not written: whoever writes one takes the rights of other plugins.
pub(super) const READ_ONLY: [&str; 19] = [
    "pods",
    "pods/status",
    "podtemplates",
    "deployments",
    "daemonsets",
    "statefulsets",
    "replicasets",
    "replicationcontrollers",
    "jobs",
    "cronjobs",
    "controllerrevisions",
    "roles",
    "rolebindings",
    "serviceaccounts",
    "services",
    "endpoints",
    "endpointslices",
    "networkpolicies",
    "*",
];
pub(super) const READ_ONLY_GROUPS: [&str; 7] = [
    "",
    "apps",
    "batch",
    "discovery.k8s.io",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
    "*",
];

fn list(texts: &[&str]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("'{text}'")).collect();
    format!("[{}]", quoted.join(", "))
}

pub(super) fn policy(plugins: &str, system: &str) -> Parts {
    let (opens, read_only, groups) = (list(&OPENS), list(&READ_ONLY), list(&READ_ONLY_GROUPS));
    let changed = "has(object.spec.permissions) && (oldObject == null || object.spec.permissions != oldObject.spec.?permissions.orValue([]))";
    Parts {
        name: String::from("kite-grants"),
        namespace: None,
        rules: plugin_writes(),
        conditions: vec![condition("grants-something-else", changed)],
        variables: vec![variable(
            "here",
            format!("object.spec.permissions.filter(p, !has(p.namespaces) || '{plugins}' in p.namespaces)"),
        )],
        validations: vec![
            validation(
                format!("object.spec.permissions.all(p, !has(p.namespaces) || !('{system}' in p.namespaces))"),
                &format!("no grant may name the namespace {system}, where the system keeps its own keys"),
                None,
            ),
            validation(
                format!(
                    "variables.here.all(p, !(p.resources.exists(r, r in {opens}) && p.apiGroups.exists(g, g in ['', '*'])))"
                ),
                &format!(
                    "in {plugins} no grant may name Secrets, exec, attach, port-forward, ephemeral containers, proxies or tokens, nor \"*\" that covers them: they are those of other plugins"
                ),
                None,
            ),
            validation(
                format!(
                    "variables.here.all(p, !(p.resources.exists(r, r in {read_only}) && p.apiGroups.exists(g, g in {groups})) || p.verbs.all(v, v in ['get', 'list', 'watch']))"
                ),
                &format!(
                    "in {plugins} no grant may write pods, workloads, Services, ServiceAccounts or roles: that would give the rights of other plugins"
                ),
                None,
            ),
        ],
    }
}
