//! What the rules of the API refuse is not given though it stands in an object, and what is amiss with the boundary is told.

use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    rbac::v1::{ClusterRoleBinding, Role, RoleBinding},
};
use kite_api::boundary;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    pods,
    support::{World, conditions, world},
};

/// A binding that is there before the operator starts.
pub(crate) const EARLY: &str = "was-there-before";

/// A grant in which all but the first is refused by policies that are not there.
fn forbidden(w: &World) -> Value {
    let mut permissions = pods();
    let system = w.places().system;
    permissions.as_array_mut().unwrap().extend([
        json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "namespaces": [system]}),
        json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "acknowledgeDangerous": true}),
        json!({"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"], "acknowledgeDangerous": true}),
    ]);
    permissions
}

#[test]
fn what_the_rules_refuse_is_not_given_and_told() {
    world().run(async |w: &World| {
        w.apply("smuggler", json!({"permissions": forbidden(w)})).await;
        let plugin = w.observed("smuggler", 1).await;
        assert!(
            conditions(&plugin).contains(&String::from("PermissionsGranted=False Refused")),
            "{:?}",
            conditions(&plugin)
        );
        let role: Role = w.get("kite-plugin-smuggler").await;
        let rules = role.rules.unwrap();
        assert_eq!(
            (rules.len(), rules[0].resources.as_deref()),
            (1, Some([String::from("pods")].as_slice()))
        );
        let there = w.system::<Role>().get_opt("kite-plugin-smuggler").await.unwrap();
        assert!(there.is_none(), "{there:?}");

        let events = w.events("smuggler", 2).await;
        let (granted, refused) = (&events[0], &events[1]);
        assert_eq!((granted.0.as_str(), refused.0.as_str()), ("Granted", "RightsRefused"));
        assert!(!granted.1.contains("secrets"), "{granted:?}");
        for index in 1..4 {
            assert!(
                refused.1.contains(&format!("spec.permissions[{index}]: ")),
                "{refused:?}"
            );
        }
        let line = r#"kite_operator_refused_permissions{plugin="smuggler"} 3"#;
        w.told("/metrics", |page| page.contains(line)).await;

        w.apply("smuggler", json!({"permissions": pods()})).await;
        let plugin = w.observed("smuggler", 2).await;
        assert!(conditions(&plugin).contains(&String::from("PermissionsGranted=True Granted")));
        w.told("/metrics", |page| !page.contains("smuggler")).await;
    });
}

/// Makes the policies, bound so that they hold for nobody in these tests.
async fn policies(w: &World) {
    for (policy, mut binding) in boundary::policies(w.places()) {
        binding.spec.as_mut().unwrap().validation_actions = Some(vec![String::from("Audit")]);
        w.everywhere().create(&PostParams::default(), &policy).await.unwrap();
        w.everywhere().create(&PostParams::default(), &binding).await.unwrap();
    }
}

#[test]
fn policies_that_are_missing_or_do_not_hold_are_told() {
    world().run(async |w: &World| {
        let count = boundary::policies(w.places()).len();
        w.told("/readyz", |text| {
            text.starts_with("ok\n") && text.contains("NOT WHOLE: kite-rights-0 is missing, ")
        })
        .await;
        w.told("/metrics", |page| {
            page.contains(&format!("kite_operator_boundary_faults {count}\n"))
        })
        .await;
        policies(w).await;
        w.told("/readyz", |text| {
            text.contains("kite-rights-0 is bound otherwise than it should be")
        })
        .await;
        let bindings: Api<ValidatingAdmissionPolicyBinding> = w.everywhere();
        for binding in bindings.list(&ListParams::default()).await.unwrap() {
            bindings
                .delete(&binding.name_any(), &DeleteParams::default())
                .await
                .unwrap();
        }
        w.told("/readyz", |text| text.contains("kite-rights-0 is not bound"))
            .await;
        let policies: Api<ValidatingAdmissionPolicy> = w.everywhere();
        let ignores = json!({"spec": {"failurePolicy": "Ignore"}});
        w.merge(&policies, "kite-rights-0", ignores).await;
        w.told("/readyz", |text| {
            text.contains("kite-rights-0 is not the one of this version")
        })
        .await;
        for policy in policies.list(&ListParams::default()).await.unwrap() {
            policies
                .delete(&policy.name_any(), &DeleteParams::default())
                .await
                .unwrap();
        }
        w.told("/readyz", |text| text.contains("kite-rights-0 is missing"))
            .await;
    });
}

pub(crate) fn bound(name: &str, role: &str) -> Value {
    json!({
        "metadata": {"name": name}, "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
    })
}

#[test]
fn bindings_by_which_others_act_as_plugins_are_told_once_on_themselves() {
    world().run(async |w: &World| {
        let here: Api<RoleBinding> = w.plugins();
        let everywhere: Api<ClusterRoleBinding> = w.everywhere();
        let binding = serde_json::from_value(bound("jane-edits", "edit")).unwrap();
        here.create(&PostParams::default(), &binding).await.unwrap();
        let binding = serde_json::from_value(bound("jane-administers-everywhere", "admin")).unwrap();
        everywhere.create(&PostParams::default(), &binding).await.unwrap();
        w.told("/metrics", |page| {
            page.contains("kite_operator_boundary_reaching_bindings 3\n")
        })
        .await;
        w.told("/readyz", |text| {
            text.contains("more than view in the plugins' namespace: 3")
        })
        .await;
        for (namespace, name) in [
            (w.plugins_namespace(), "jane-edits"),
            ("default", "jane-administers-everywhere"),
        ] {
            let told = w.events_in(namespace, name, 1).await;
            assert_eq!((told.len(), told[0].0.as_str()), (1, "ReachesPlugins"));
        }
        here.delete("jane-edits", &DeleteParams::default()).await.unwrap();
        everywhere
            .delete("jane-administers-everywhere", &DeleteParams::default())
            .await
            .unwrap();
        w.told("/readyz", |text| {
            text.contains("more than view in the plugins' namespace: 1")
        })
        .await;
        // That one was there before the operator.
        let told = w.events_in(w.plugins_namespace(), EARLY, 1).await;
        assert_eq!(told[0].0, "ReachesPlugins");
    });
}
