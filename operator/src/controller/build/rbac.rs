//! Who the plugin is to the API server, and what it may do there: its grant, and nothing else.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
};
use kite_api::{
    Verb, object_names,
    plugin::permission::{CALL_GROUP, CALL_RESOURCE},
};
use kube::api::ObjectMeta;

use super::metadata;
use crate::controller::{
    gather::GrantRef,
    validate::{Rule, ValidatedPlugin},
};

const API_GROUP: &str = "rbac.authorization.k8s.io";

/// The plugin's account, roles and bindings.
#[derive(Clone, Debug, PartialEq)]
pub struct Rbac {
    pub service_account: ServiceAccount,
    pub roles: Vec<Role>,
    pub role_bindings: Vec<RoleBinding>,
    pub cluster_role: Option<ClusterRole>,
    pub cluster_role_binding: Option<ClusterRoleBinding>,
}

impl Rbac {
    /// The roles and bindings among them.
    pub fn grants(&self) -> BTreeSet<GrantRef> {
        let place = |meta: &ObjectMeta| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            (text(&meta.namespace), text(&meta.name))
        };
        let mut grants = BTreeSet::new();
        grants.extend(self.roles.iter().map(|role| {
            let (namespace, name) = place(&role.metadata);
            GrantRef::Role { namespace, name }
        }));
        grants.extend(self.role_bindings.iter().map(|binding| {
            let (namespace, name) = place(&binding.metadata);
            GrantRef::RoleBinding { namespace, name }
        }));
        grants.extend(self.cluster_role.iter().map(|role| GrantRef::ClusterRole {
            name: place(&role.metadata).1,
        }));
        grants.extend(
            self.cluster_role_binding
                .iter()
                .map(|binding| GrantRef::ClusterRoleBinding {
                    name: place(&binding.metadata).1,
                }),
        );
        grants
    }
}

/// All that the object grants, wherever that may be: what is there beside it is granted by nothing.
pub fn granted(plugin: &ValidatedPlugin, plugins_namespace: &str) -> BTreeSet<GrantRef> {
    let everywhere = plugin.grant.namespaces.keys().cloned().collect();
    build(plugin, &everywhere, plugins_namespace).grants()
}

/// Roles in the `usable` namespaces of the grant, and a `ClusterRole` if it reaches the whole cluster or other plugins, which
/// are cluster-scoped. A plugin that is disabled keeps its roles, which give nothing, and loses its bindings.
pub fn build(plugin: &ValidatedPlugin, usable: &BTreeSet<String>, plugins_namespace: &str) -> Rbac {
    let name = || object_names::base(&plugin.name);
    let granted = || {
        plugin
            .grant
            .namespaces
            .iter()
            .filter(|(namespace, _)| usable.contains(*namespace))
    };
    let mut cluster_rules = policy(&plugin.grant.cluster);
    cluster_rules.extend(calls(plugin));
    let reaches_cluster = !cluster_rules.is_empty();
    let roles = granted()
        .map(|(namespace, rules)| Role {
            metadata: metadata(plugin, name(), Some(namespace)),
            rules: Some(policy(rules)),
        })
        .collect();
    let role_bindings = granted()
        .filter(|_| plugin.enabled)
        .map(|(namespace, _)| RoleBinding {
            metadata: metadata(plugin, name(), Some(namespace)),
            role_ref: role_ref("Role", name()),
            subjects: Some(vec![subject(name(), plugins_namespace)]),
        })
        .collect();
    Rbac {
        service_account: ServiceAccount {
            metadata: metadata(plugin, name(), Some(plugins_namespace)),
            // The Deployment says for itself whether its pods get a token.
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        },
        roles,
        role_bindings,
        cluster_role: reaches_cluster.then(|| ClusterRole {
            metadata: metadata(plugin, name(), None),
            rules: Some(cluster_rules),
            ..ClusterRole::default()
        }),
        cluster_role_binding: (reaches_cluster && plugin.enabled).then(|| ClusterRoleBinding {
            metadata: metadata(plugin, name(), None),
            role_ref: role_ref("ClusterRole", name()),
            subjects: Some(vec![subject(name(), plugins_namespace)]),
        }),
    }
}

/// The right to use the routes of other plugins, through the gateway.
fn calls(plugin: &ValidatedPlugin) -> Option<PolicyRule> {
    (!plugin.calls.is_empty()).then(|| PolicyRule {
        api_groups: Some(vec![CALL_GROUP.to_owned()]),
        resources: Some(vec![CALL_RESOURCE.to_owned()]),
        resource_names: Some(plugin.calls.iter().map(ToString::to_string).collect()),
        verbs: Verb::CALLS.map(|verb| verb.as_str().to_owned()).into(),
        ..PolicyRule::default()
    })
}

fn policy(rules: &[Rule]) -> Vec<PolicyRule> {
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    rules
        .iter()
        .map(|rule| PolicyRule {
            api_groups: some(&rule.api_groups),
            resources: some(&rule.resources),
            resource_names: some(&rule.resource_names),
            verbs: rule.verbs.iter().map(|verb| verb.as_str().to_owned()).collect(),
            ..PolicyRule::default()
        })
        .collect()
}

fn role_ref(kind: &str, name: String) -> RoleRef {
    RoleRef {
        api_group: API_GROUP.to_owned(),
        kind: kind.to_owned(),
        name,
    }
}

fn subject(name: String, namespace: &str) -> Subject {
    Subject {
        // The core group, written as the API server would fill it in.
        api_group: None,
        kind: String::from("ServiceAccount"),
        name,
        namespace: Some(namespace.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::validate::tests::plugin;

    fn namespaces(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_grant_becomes_roles_where_it_says() {
        let rbac = build(
            &plugin(|_| {}),
            &namespaces(&["kite-plugins", "pay", "shop"]),
            "kite-plugins",
        );
        insta::assert_yaml_snapshot!(json!({
            "serviceAccount": rbac.service_account,
            "roles": rbac.roles,
            "roleBindings": rbac.role_bindings,
            "clusterRole": rbac.cluster_role,
            "clusterRoleBinding": rbac.cluster_role_binding,
        }));
    }

    #[test]
    fn calls_are_a_rule_for_the_whole_cluster_on_these_names_alone() {
        let plugin = plugin(|o| {
            o["spec"]["permissions"] = json!([]);
            o["spec"]["calls"] = json!(["metrics-lib", "alerts"]);
        });
        let rbac = build(&plugin, &namespaces(&[]), "kite-plugins");
        assert_eq!(
            serde_json::to_value(rbac.cluster_role.unwrap().rules).unwrap(),
            json!([{
                "apiGroups": ["kite.dev"], "resources": ["kiteplugins/proxy"],
                "resourceNames": ["alerts", "metrics-lib"], "verbs": ["get", "create", "update", "patch", "delete"],
            }])
        );
        assert!(rbac.cluster_role_binding.is_some());
    }

    #[test]
    fn a_namespace_that_does_not_exist_is_left_out() {
        let rbac = build(&plugin(|_| {}), &namespaces(&["kite-plugins"]), "kite-plugins");
        assert_eq!(rbac.roles.len(), 1);
        assert_eq!(rbac.role_bindings.len(), 1);
    }

    #[test]
    fn nothing_granted_makes_an_account_and_no_role() {
        let rbac = build(
            &plugin(|o| o["spec"]["permissions"] = json!([])),
            &namespaces(&["kite-plugins"]),
            "kite-plugins",
        );
        assert_eq!((rbac.roles.len(), rbac.role_bindings.len()), (0, 0));
        assert_eq!((rbac.cluster_role, rbac.cluster_role_binding), (None, None));
    }

    #[test]
    fn a_disabled_plugin_has_no_binding() {
        let rbac = build(
            &plugin(|o| o["spec"]["enabled"] = json!(false)),
            &namespaces(&["kite-plugins"]),
            "kite-plugins",
        );
        assert_eq!((rbac.role_bindings.len(), rbac.cluster_role_binding), (0, None));
    }
}
