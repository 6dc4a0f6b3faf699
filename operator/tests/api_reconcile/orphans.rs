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

use super::support::{LIMIT, World, world};

/// Takes the owner from the object, as the garbage collector does then before the plugin goes.
async fn disown<K>(w: &World, api: &Api<K>, name: &str)
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    w.merge(api, name, json!({"metadata": {"ownerReferences": null}})).await;
}

/// What the objects of a plugin are called.
struct Names {
    plugin: &'static str,
    /// What is made for it.
    base: String,
    revision: String,
    certificate: String,
    /// A Secret for it that is its user's.
    theirs: String,
}

impl Names {
    fn of(plugin: &'static str) -> Self {
        Self {
            plugin,
            base: format!("kite-plugin-{plugin}"),
            revision: format!("kite-plugin-{plugin}-1"),
            certificate: format!("kite-plugin-{plugin}-tls"),
            theirs: format!("{plugin}-settings"),
        }
    }
}

/// Makes a plugin with every kind of object, and its user's Secret.
async fn make(w: &World, names: &Names) {
    let permissions = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"], "namespaces": ["*"]},
    ]);
    let theirs = json!({"metadata": {"name": names.theirs, "labels": {"kite.dev/plugin": names.plugin}}});
    let theirs = serde_json::from_value(theirs).unwrap();
    w.plugins::<Secret>()
        .create(&PostParams::default(), &theirs)
        .await
        .unwrap();
    w.apply(names.plugin, json!({"permissions": permissions, "replicas": 2}))
        .await;
    w.observed(names.plugin, 1).await;
    w.get::<PodDisruptionBudget>(&names.revision).await;
}

/// All that was made goes, and what is the user's stays. What other tests leave goes before or beside it, a hundred at a time.
async fn all_goes(w: &World, names: &Names) {
    w.gone_within(4 * LIMIT, &w.everywhere::<ClusterRoleBinding>(), &names.base)
        .await;
    w.gone_within(4 * LIMIT, &w.everywhere::<ClusterRole>(), &names.base)
        .await;
    w.gone_within(4 * LIMIT, &w.plugins::<RoleBinding>(), &names.base).await;
    w.gone_within(4 * LIMIT, &w.plugins::<Role>(), &names.base).await;
    w.gone_within(4 * LIMIT, &w.plugins::<ServiceAccount>(), &names.base)
        .await;
    w.gone_within(4 * LIMIT, &w.plugins::<NetworkPolicy>(), &names.base)
        .await;
    w.gone_within(4 * LIMIT, &w.plugins::<Deployment>(), &names.revision)
        .await;
    w.gone_within(4 * LIMIT, &w.plugins::<Service>(), &names.revision).await;
    w.gone_within(4 * LIMIT, &w.plugins::<PodDisruptionBudget>(), &names.revision)
        .await;
    w.gone_within(4 * LIMIT, &w.plugins::<ControllerRevision>(), &names.revision)
        .await;
    w.gone_within(4 * LIMIT, &w.plugins::<Secret>(), &names.certificate)
        .await;
    w.get::<Secret>(&names.theirs).await;
}

#[test]
fn what_nobody_owns_of_a_plugin_that_is_gone_is_deleted_and_what_is_the_users_stays() {
    world().run(async |w: &World| {
        let names = Names::of("bereft");
        make(w, &names).await;
        let plugins = w.everywhere::<KitePlugin>();
        plugins.delete(names.plugin, &DeleteParams::orphan()).await.unwrap();
        // No look is under way then that could put back what is taken from them.
        w.seen(&plugins, names.plugin, |plugin| {
            plugin.status.as_ref().and_then(|status| status.phase) == Some(Phase::Stopped)
        })
        .await;
        disown(w, &w.everywhere::<ClusterRoleBinding>(), &names.base).await;
        disown(w, &w.everywhere::<ClusterRole>(), &names.base).await;
        disown(w, &w.plugins::<RoleBinding>(), &names.base).await;
        disown(w, &w.plugins::<Role>(), &names.base).await;
        disown(w, &w.plugins::<ServiceAccount>(), &names.base).await;
        disown(w, &w.plugins::<NetworkPolicy>(), &names.base).await;
        disown(w, &w.plugins::<Deployment>(), &names.revision).await;
        disown(w, &w.plugins::<Service>(), &names.revision).await;
        disown(w, &w.plugins::<PodDisruptionBudget>(), &names.revision).await;
        disown(w, &w.plugins::<ControllerRevision>(), &names.revision).await;
        disown(w, &w.plugins::<Secret>(), &names.certificate).await;
        w.merge(&plugins, names.plugin, json!({"metadata": {"finalizers": null}}))
            .await;

        all_goes(w, &names).await;
    });
}

/// Nobody collects garbage where these tests run.
#[test]
fn what_the_garbage_collector_leaves_of_a_plugin_that_is_gone_is_deleted() {
    world().run(async |w: &World| {
        let names = Names::of("uncollected");
        make(w, &names).await;
        let plugins = w.everywhere::<KitePlugin>();
        plugins.delete(names.plugin, &DeleteParams::background()).await.unwrap();
        all_goes(w, &names).await;
    });
}
