//! The plugins' namespace is for plugins: who could run a pod there, or speak for one, would have the rights of any plugin.

use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use super::{
    ESCALATE, Parts, Places,
    cel::{condition, validation, variable},
    kinds::{self, RBAC, WRITES},
    rule,
};
use crate::{labels, object_names::PREFIX};

pub(super) fn policies(places: Places<'_>) -> [Parts; 3] {
    [namespace(places), secrets(places), bindings(places)]
}

/// Not for who makes plugins run: the operator, and the cluster's own controllers and nodes.
fn is_nobody_of_the_systems(places: Places<'_>) -> Vec<MatchCondition> {
    let controllers = "!('system:serviceaccounts:kube-system' in request.userInfo.groups) && \
                       !(request.userInfo.username in ['system:kube-controller-manager', 'system:kube-scheduler'])";
    vec![
        condition(
            "is-not-the-operator",
            &format!("request.userInfo.username != '{}'", places.operator()),
        ),
        condition("is-no-controller", controllers),
        condition("is-no-node", "!('system:nodes' in request.userInfo.groups)"),
    ]
}

fn may_not_escalate() -> MatchCondition {
    let check = format!("!authorizer.group('kite.dev').resource('kiteplugins').check('{ESCALATE}').allowed()");
    condition("may-not-escalate", &check)
}

/// Everything but Secrets. Deleting, evicting and scaling stay free: they give nothing.
fn namespace(places: Places<'_>) -> Parts {
    let mut rules = kinds::that_run();
    rules.extend([
        rule(&WRITES, "discovery.k8s.io", &["endpointslices"]),
        rule(
            &["CREATE", "UPDATE", "DELETE"],
            "networking.k8s.io",
            &["networkpolicies"],
        ),
        rule(&WRITES, RBAC, &["roles", "rolebindings"]),
    ]);
    let plugins = places.plugins;
    let words = format!(
        "'{plugins} is reserved for plugins: \"' + request.userInfo.username + '\" may not ' + (request.operation == 'CREATE' ? 'create ' : \
         request.operation == 'UPDATE' ? 'change ' : request.operation == 'DELETE' ? 'delete ' : 'use ') + request.resource.resource + \
         (request.?subResource.orValue('') == '' ? '' : '/' + request.subResource) + ' there; who may \"escalate\" kiteplugins may'"
    );
    let mut conditions = is_nobody_of_the_systems(places);
    conditions.push(may_not_escalate());
    Parts {
        name: String::from("kite-reservation"),
        namespace: Some(plugins.to_owned()),
        rules,
        conditions,
        variables: Vec::new(),
        validations: vec![validation(
            String::from("false"),
            &format!("{plugins} is reserved for plugins"),
            Some(words),
        )],
    }
}

/// Secrets of others have their place there; those that the operator made, and tokens, are not to be replaced or made.
fn secrets(places: Places<'_>) -> Parts {
    let plugins = places.plugins;
    let mut conditions = is_nobody_of_the_systems(places);
    conditions.push(may_not_escalate());
    let (key, operator) = (labels::MANAGED_BY, labels::OPERATOR);
    Parts {
        name: String::from("kite-reservation-secrets"),
        namespace: Some(plugins.to_owned()),
        rules: vec![rule(&WRITES, "", &["secrets"])],
        conditions,
        variables: vec![variable(
            "operators",
            format!(
                "[object, oldObject].exists(o, o != null && has(o.metadata.labels) && '{key}' in o.metadata.labels && \
                 o.metadata.labels['{key}'] == '{operator}')"
            ),
        )],
        validations: vec![
            validation(
                String::from("object.type != 'kubernetes.io/service-account-token'"),
                &format!("{plugins} is reserved for plugins: no token of a ServiceAccount is made there by a Secret"),
                None,
            ),
            validation(
                format!("!variables.operators && !object.metadata.name.startsWith('{PREFIX}')"),
                &format!(
                    "{plugins} is reserved for plugins: Secrets whose names begin with {PREFIX}, and those that the operator made, are the operator's alone"
                ),
                None,
            ),
        ],
    }
}

/// Built-in `edit` and `admin` may impersonate every `ServiceAccount` where they are bound, which admission never sees. So there nothing but
/// `view` is bound, by cluster admins either; but the system's own accounts get their roles there from the chart.
fn bindings(places: Places<'_>) -> Parts {
    let Places { plugins, system } = places;
    Parts {
        name: String::from("kite-reservation-bindings"),
        namespace: Some(plugins.to_owned()),
        rules: vec![rule(&WRITES, RBAC, &["rolebindings"])],
        conditions: is_nobody_of_the_systems(places),
        variables: Vec::new(),
        validations: vec![validation(
            format!(
                "(object.roleRef.kind == 'ClusterRole' && object.roleRef.name == 'view') || !has(object.subjects) || \
                 object.subjects.all(s, s.kind == 'ServiceAccount' && s.?namespace.orValue('') == '{system}') || \
                 (oldObject != null && has(oldObject.subjects) && object.subjects.all(s, s in oldObject.subjects))"
            ),
            &format!(
                "in {plugins} only the ClusterRole view may be bound: edit and admin may impersonate every plugin's ServiceAccount there"
            ),
            None,
        )],
    }
}
