//! Deleting a plugin leaves nothing of it.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{fmt::Debug, time::Duration};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, ReplicaSet},
    core::v1::{Pod, Secret, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kite_api::{KitePluginSpec, labels::PLUGIN};
use kite_e2e::testing::{PLUGINS, Scope, eventually, scope};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

/// Names of the objects of one kind, in all namespaces, that carry the plugin's label.
async fn of_kind<K>(scope: &Scope, plugin: &str) -> Vec<String>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let labelled = ListParams::default().labels(&format!("{PLUGIN}={plugin}"));
    let objects = Api::<K>::all(scope.client.clone())
        .list(&labelled)
        .await
        .expect("a list");
    objects
        .iter()
        .map(|object| format!("{} {}", K::kind(&()), object.name_any()))
        .collect()
}

async fn made_for(scope: &Scope, plugin: &str) -> Vec<String> {
    [
        of_kind::<ServiceAccount>(scope, plugin).await,
        of_kind::<Secret>(scope, plugin).await,
        of_kind::<Service>(scope, plugin).await,
        of_kind::<Deployment>(scope, plugin).await,
        of_kind::<ControllerRevision>(scope, plugin).await,
        of_kind::<ReplicaSet>(scope, plugin).await,
        of_kind::<Pod>(scope, plugin).await,
        of_kind::<EndpointSlice>(scope, plugin).await,
        of_kind::<NetworkPolicy>(scope, plugin).await,
        of_kind::<PodDisruptionBudget>(scope, plugin).await,
        of_kind::<Role>(scope, plugin).await,
        of_kind::<RoleBinding>(scope, plugin).await,
        of_kind::<ClusterRole>(scope, plugin).await,
        of_kind::<ClusterRoleBinding>(scope, plugin).await,
    ]
    .concat()
}

/// Waits until this, and nothing else, carries the plugin's label.
async fn comes_to(scope: &Scope, plugin: &str, rest: &[String]) {
    let what = format!("of {plugin} is left {rest:?}");
    eventually(&what, Duration::from_mins(1), async || {
        let left = made_for(scope, plugin).await;
        if left == rest { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

#[tokio::test]
async fn all_that_was_made_for_a_plugin_goes_with_it() {
    scope("deleted", async |scope| {
        let namespace = scope.namespace("-ns").await;
        let rule = |namespaces: &[&str]| {
            json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"], "namespaces": namespaces})
        };
        let grant = json!([rule(&["*"]), rule(&[&namespace])]);
        let several = |spec: &mut KitePluginSpec| {
            spec.permissions = serde_json::from_value(grant).unwrap();
            spec.replicas = Some(2);
        };
        let plugin = scope.loaded_plugin("", several).await;
        let made = made_for(&scope, &plugin).await;
        for kind in [
            "ServiceAccount", "Secret", "Service", "Deployment", "ControllerRevision", "ReplicaSet", "Pod", "EndpointSlice",
            "NetworkPolicy", "PodDisruptionBudget", "Role", "RoleBinding",
            "ClusterRole", "ClusterRoleBinding",
        ] {
            assert!(made.iter().any(|object| object.starts_with(&format!("{kind} "))), "no {kind} in {made:?}");
        }
        scope.plugins().delete(&plugin, &DeleteParams::default()).await.unwrap();
        comes_to(&scope, &plugin, &[]).await;
        scope.wait_for_answer(&plugin, 404).await;
    })
    .await;
}

#[tokio::test]
async fn what_a_plugin_is_deleted_without_goes_too_and_what_is_the_users_stays() {
    scope("bereft", async |scope| {
        let grant = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]);
        let granted = |spec: &mut KitePluginSpec| spec.permissions = serde_json::from_value(grant).unwrap();
        let plugin = scope.loaded_plugin("", granted).await;
        let theirs = scope.secret(PLUGINS, "-theirs", (PLUGIN, &plugin), &[("a", "1")]).await;
        let made = made_for(&scope, &plugin).await;
        assert!(made.contains(&format!("RoleBinding kite-plugin-{plugin}")), "{made:?}");
        scope.plugins().delete(&plugin, &DeleteParams::orphan()).await.unwrap();
        comes_to(&scope, &plugin, &[format!("Secret {theirs}")]).await;
    })
    .await;
}
