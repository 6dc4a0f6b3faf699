//! Whether the policies in the cluster are those of this version, and who reaches the plugins in spite of them.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        admissionregistration::v1::{
            ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicySpec,
        },
        rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kite_api::{
    boundary::{Bound, Places},
    object_names,
};
use kube::ResourceExt;

/// The roles of every cluster whose holders may impersonate each `ServiceAccount` where they are bound.
const IMPERSONATE: [&str; 2] = ["edit", "admin"];

/// What is amiss with the policies, a sentence for each.
pub(super) fn faults<'a>(
    wanted: &[Bound],
    policies: impl IntoIterator<Item = &'a ValidatingAdmissionPolicy>,
    bindings: impl IntoIterator<Item = &'a ValidatingAdmissionPolicyBinding>,
) -> Vec<String> {
    let policies: BTreeMap<String, _> = policies.into_iter().map(|it| (it.name_any(), it)).collect();
    let bindings: BTreeMap<String, _> = bindings.into_iter().map(|it| (it.name_any(), it)).collect();
    let judge = |(policy, binding): &Bound| {
        let name = policy.name_any();
        let fault = match (policies.get(&name), bindings.get(&name)) {
            (None, _) => "is missing",
            (Some(found), _) if !is_same(policy, found) => "is not the one of this version",
            (_, None) => "is not bound",
            (_, Some(found)) if !holds(binding, found) => "is bound otherwise than it should be",
            _ => return None,
        };
        Some(format!("{name} {fault}"))
    };
    wanted.iter().filter_map(judge).collect()
}

fn is_same(wanted: &ValidatingAdmissionPolicy, found: &ValidatingAdmissionPolicy) -> bool {
    let plain = |policy: &ValidatingAdmissionPolicy| policy.spec.clone().map(without_defaults);
    plain(wanted) == plain(found)
}

/// What the API server fills in is left out.
fn without_defaults(mut spec: ValidatingAdmissionPolicySpec) -> ValidatingAdmissionPolicySpec {
    let everything = LabelSelector::default();
    if let Some(constraints) = &mut spec.match_constraints {
        for selector in [&mut constraints.namespace_selector, &mut constraints.object_selector] {
            selector.take_if(|selector| *selector == everything);
        }
    }
    spec
}

/// Whether a binding makes its policy hold everywhere, as the wanted one does.
fn holds(wanted: &ValidatingAdmissionPolicyBinding, found: &ValidatingAdmissionPolicyBinding) -> bool {
    let (Some(wanted), Some(found)) = (&wanted.spec, &found.spec) else {
        return false;
    };
    let denies = |actions: &Option<Vec<String>>| actions.iter().flatten().any(|action| action == "Deny");
    wanted.policy_name == found.policy_name
        && denies(&found.validation_actions)
        && found.match_resources.is_none()
        && found.param_ref.is_none()
}

/// Whether the binding gives more than `view` in the plugins' namespace to others than the system's own accounts, as one from
/// before the policies may.
pub(super) fn reaches(binding: &RoleBinding, places: Places<'_>) -> bool {
    let name = binding.name_any();
    let is_its_account = |subject: &Subject| {
        subject.kind == "ServiceAccount" && subject.namespace.as_deref() == Some(places.plugins) && subject.name == name
    };
    let is_ours = name.starts_with(object_names::PREFIX) && binding.subjects.iter().flatten().all(is_its_account);
    let views = is_cluster_role(&binding.role_ref, &["view"]);
    let is_the_systems =
        |subject: &Subject| subject.kind == "ServiceAccount" && subject.namespace.as_deref() == Some(places.system);
    let has_others = binding
        .subjects
        .iter()
        .flatten()
        .any(|subject| !is_the_systems(subject));
    binding.namespace().as_deref() == Some(places.plugins) && has_others && !views && !is_ours
}

/// Whether the binding lets its subjects impersonate every `ServiceAccount` of the cluster, and so every plugin. That
/// cluster-admin does is no news.
pub(super) fn reaches_everywhere(binding: &ClusterRoleBinding) -> bool {
    is_cluster_role(&binding.role_ref, &IMPERSONATE) && binding.subjects.iter().flatten().next().is_some()
}

fn is_cluster_role(role: &RoleRef, names: &[&str]) -> bool {
    role.kind == "ClusterRole" && names.contains(&role.name.as_str())
}

#[cfg(test)]
mod tests {
    use kite_api::boundary;
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::validate::tests::PLACES;

    /// What is amiss once `change` was made to policy and binding of the first one.
    fn after(change: impl FnOnce(&mut Vec<Value>, &mut Vec<Value>)) -> Vec<String> {
        let all = boundary::policies(PLACES);
        let value = |object: Result<Value, _>| object.unwrap();
        let mut policies = all.iter().map(|it| value(serde_json::to_value(&it.0))).collect();
        let mut bindings = all.iter().map(|it| value(serde_json::to_value(&it.1))).collect();
        change(&mut policies, &mut bindings);
        let policies: Vec<ValidatingAdmissionPolicy> = read(policies);
        let bindings: Vec<ValidatingAdmissionPolicyBinding> = read(bindings);
        faults(&all, &policies, &bindings)
    }

    fn read<T: serde::de::DeserializeOwned>(objects: Vec<Value>) -> Vec<T> {
        let read = |object| serde_json::from_value(object).unwrap();
        objects.into_iter().map(read).collect()
    }

    #[test]
    fn each_way_in_which_a_policy_does_not_hold_is_told() {
        assert_eq!(after(|_, _| {}), [] as [&str; 0]);
        assert_eq!(
            after(|policies, _| {
                for selector in ["namespaceSelector", "objectSelector"] {
                    policies[0]["spec"]["matchConstraints"][selector] = json!({});
                }
            }),
            [] as [&str; 0],
            "as the API server fills it in"
        );
        let missing = after(|policies, _| drop(policies.remove(0)));
        assert_eq!(missing, ["kite-rights-0 is missing"]);
        let unbound = after(|_, bindings| drop(bindings.remove(0)));
        assert_eq!(unbound, ["kite-rights-0 is not bound"]);
        for altered in [
            after(|policies, _| policies[0]["spec"]["failurePolicy"] = json!("Ignore")),
            after(|policies, _| policies[0]["spec"]["validations"][0]["expression"] = json!("true")),
            after(|policies, _| {
                policies[0]["spec"]["matchConstraints"]["objectSelector"] = json!({"matchLabels": {"a": "b"}});
            }),
            after(|policies, _| policies[0]["spec"]["matchConditions"] = json!([])),
        ] {
            assert_eq!(altered, ["kite-rights-0 is not the one of this version"]);
        }
        for bound in [
            after(|_, bindings| bindings[0]["spec"]["validationActions"] = json!(["Audit"])),
            after(|_, bindings| {
                bindings[0]["spec"]["matchResources"] = json!({"objectSelector": {"matchLabels": {"a": "b"}}});
            }),
            after(|_, bindings| bindings[0]["spec"]["policyName"] = json!("other")),
            after(|_, bindings| bindings[0]["spec"]["paramRef"] = json!({"name": "a"})),
        ] {
            assert_eq!(bound, ["kite-rights-0 is bound otherwise than it should be"]);
        }
    }

    fn bound(change: impl FnOnce(&mut Value)) -> bool {
        let mut binding = json!({
            "metadata": {"name": "jane", "namespace": "kite-plugins"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"kind": "User", "name": "jane"}],
        });
        change(&mut binding);
        reaches(&serde_json::from_value(binding).unwrap(), PLACES)
    }

    #[test]
    fn who_reaches_the_plugins_is_told_from_who_may() {
        assert!(bound(|_| {}));
        assert!(bound(|b| b["roleRef"]["kind"] = json!("Role")));
        assert!(
            bound(|b| b["metadata"]["name"] = json!("kite-plugin-hello")),
            "in the operator's name, for somebody else"
        );
        for change in [
            (|b| b["roleRef"]["name"] = json!("view")) as fn(&mut Value),
            |b| b["metadata"]["namespace"] = json!("shop"),
            |b| b["subjects"] = json!([]),
            |b| {
                b["subjects"] =
                    json!([{"kind": "ServiceAccount", "name": "kite-operator", "namespace": "kite-system"}]);
            },
            |b| {
                b["metadata"]["name"] = json!("kite-plugin-hello");
                b["subjects"] =
                    json!([{"kind": "ServiceAccount", "name": "kite-plugin-hello", "namespace": "kite-plugins"}]);
            },
        ] {
            assert!(!bound(change));
        }
    }

    #[test]
    fn whoever_may_impersonate_everywhere_is_told() {
        let bound = |role: &str, subjects: Value| {
            let binding = json!({
                "metadata": {"name": "a"}, "subjects": subjects,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            });
            reaches_everywhere(&serde_json::from_value(binding).unwrap())
        };
        let jane = json!([{"kind": "User", "name": "jane"}]);
        assert!(bound("edit", jane.clone()) && bound("admin", jane.clone()));
        assert!(!bound("view", jane.clone()) && !bound("cluster-admin", jane) && !bound("edit", json!([])));
    }
}
