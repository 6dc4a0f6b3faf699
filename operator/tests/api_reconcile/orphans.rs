//! What becomes of a plugin's objects when it is deleted without them.

use std::fmt::Debug;

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::{Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kite_api::{KitePlugin, Phase};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::support::{World, world};

/// Takes the owner from the object, as the garbage collector does then before the plugin goes.
async fn disown<K>(w: &World, api: &Api<K>, name: &str)
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    w.merge(api, name, json!({"metadata": {"ownerReferences": null}})).await;
}

#[test]
fn what_nobody_owns_of_a_plugin_that_is_gone_is_deleted_and_what_is_the_users_stays() {
    world().run(async |w: &World| {
        let permissions = json!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"], "namespaces": ["*"]},
        ]);
        let theirs = json!({"metadata": {"name": "bereft-settings", "labels": {"kite.dev/plugin": "bereft"}}});
        let theirs = serde_json::from_value(theirs).unwrap();
        let secrets = w.plugins::<Secret>();
        secrets.create(&PostParams::default(), &theirs).await.unwrap();
        w.apply("bereft", json!({"permissions": permissions, "replicas": 2}))
            .await;
        w.observed("bereft", 1).await;

        let plugins = w.everywhere::<KitePlugin>();
        plugins.delete("bereft", &DeleteParams::orphan()).await.unwrap();
        // No look is under way then that could put back what is taken from them.
        w.seen(&plugins, "bereft", |plugin| {
            plugin.status.as_ref().and_then(|status| status.phase) == Some(Phase::Stopped)
        })
        .await;
        let (name, revision, certificate) = ("kite-plugin-bereft", "kite-plugin-bereft-1", "kite-plugin-bereft-tls");
        disown(w, &w.everywhere::<ClusterRoleBinding>(), name).await;
        disown(w, &w.everywhere::<ClusterRole>(), name).await;
        disown(w, &w.plugins::<RoleBinding>(), name).await;
        disown(w, &w.plugins::<Role>(), name).await;
        disown(w, &w.plugins::<ServiceAccount>(), name).await;
        disown(w, &w.plugins::<NetworkPolicy>(), name).await;
        disown(w, &w.plugins::<Deployment>(), revision).await;
        disown(w, &w.plugins::<Service>(), revision).await;
        disown(w, &w.plugins::<PodDisruptionBudget>(), revision).await;
        disown(w, &w.plugins::<ControllerRevision>(), revision).await;
        disown(w, &secrets, certificate).await;
        w.merge(&plugins, "bereft", json!({"metadata": {"finalizers": null}}))
            .await;

        w.gone(&w.everywhere::<ClusterRoleBinding>(), name).await;
        w.gone(&w.everywhere::<ClusterRole>(), name).await;
        w.gone(&w.plugins::<RoleBinding>(), name).await;
        w.gone(&w.plugins::<Role>(), name).await;
        w.gone(&w.plugins::<ServiceAccount>(), name).await;
        w.gone(&w.plugins::<NetworkPolicy>(), name).await;
        w.gone(&w.plugins::<Deployment>(), revision).await;
        w.gone(&w.plugins::<Service>(), revision).await;
        w.gone(&w.plugins::<PodDisruptionBudget>(), revision).await;
        w.gone(&w.plugins::<ControllerRevision>(), revision).await;
        w.gone(&secrets, certificate).await;
        w.get::<Secret>("bereft-settings").await;
    });
}
