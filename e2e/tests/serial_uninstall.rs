//! Uninstalling the chart leaves the CRD and nothing else, and a plugin can be deleted without its operator.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{process::Command, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::Namespace,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kite_api::{KitePlugin, labels::PLUGIN};
use kite_e2e::{
    cluster::Layout,
    deploy::binary,
    target::Target,
    testing::{PLUGINS, SYSTEM, Scope, eventually, scope},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(90);

/// Runs `kite-e2e`; what it said if it failed.
fn try_e2e(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(binary("kite-e2e").unwrap())
        .args(arguments)
        .output()
        .unwrap();
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn e2e(arguments: &[&str]) {
    try_e2e(arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}"));
}

/// Puts everything back, whatever becomes of the test.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        let restored = try_e2e(&["up"]);
        // A second panic would end the process before it could say what the first was.
        if std::thread::panicking() {
            println!("restored: {restored:?}");
        } else {
            assert_eq!(restored, Ok(()));
        }
    }
}

/// Objects of a kind, in all namespaces, that this project's chart or operator made.
async fn ours<K>(scope: &Scope) -> Vec<String>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let objects = Api::<K>::all(scope.client.clone())
        .list(&ListParams::default())
        .await
        .expect("a list");
    let ours = objects.iter().filter(|object| {
        let labels = object.labels();
        labels.contains_key(PLUGIN)
            || labels
                .get("app.kubernetes.io/part-of")
                .is_some_and(|whole| whole == "kite-plugins")
    });
    ours.map(|object| format!("{} {}", K::kind(&()), object.name_any()))
        .collect()
}

/// `kubectl` on the cluster of the tests, to its end; what it said if it failed.
fn kubectl(arguments: &[&str]) {
    let output = Target::running(&Layout::from_env().unwrap())
        .unwrap()
        .kubectl()
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
}

#[tokio::test]
async fn definition_and_namespaces_go_while_the_operator_runs_and_the_chart_last() {
    scope("reversed", async |scope| {
        let _restore = Restore;
        scope.loaded_plugin("", |_| {}).await;
        let wait = format!("--timeout={}s", LIMIT.as_secs());
        // Each returns when what it deletes is gone.
        kubectl(&["delete", "crd", "kiteplugins.kite.dev", &wait]);
        eventually("all that was made for plugins is gone", LIMIT, async || {
            let deployments: Api<Deployment> = Api::namespaced(scope.client.clone(), PLUGINS);
            let left = deployments
                .list(&ListParams::default().labels(PLUGIN))
                .await
                .unwrap()
                .items;
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{} Deployments", left.len()))
            }
        })
        .await;
        kubectl(&["delete", "namespace", PLUGINS, &wait]);
        kubectl(&["delete", "namespace", SYSTEM, &wait]);
        e2e(&["release", "uninstall"]);
        let left = [
            ours::<ClusterRole>(&scope).await,
            ours::<ClusterRoleBinding>(&scope).await,
            ours::<Role>(&scope).await,
            ours::<RoleBinding>(&scope).await,
            ours::<Namespace>(&scope).await,
        ];
        assert_eq!(left.concat(), Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn the_operator_first_then_the_plugins_and_only_the_crd_is_left() {
    scope("orphans", async |scope| {
        let _restore = Restore;
        let namespace = scope.namespace("-ns").await;
        let rule = |namespaces: &[&str]| {
            json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"], "namespaces": namespaces})
        };
        let grant = json!([rule(&["*"]), rule(&[&namespace])]);
        let plugin = scope.loaded_plugin("", |spec| spec.permissions = serde_json::from_value(grant).unwrap()).await;

        e2e(&["release", "uninstall"]);
        let namespaces: Api<Namespace> = Api::all(scope.client.clone());
        for name in [SYSTEM, PLUGINS] {
            assert!(namespaces.get_opt(name).await.unwrap().is_none(), "{name} is gone");
        }
        let kept: Api<KitePlugin> = Api::all(scope.client.clone());
        assert!(kept.get_opt(&plugin).await.unwrap().is_some(), "no plugin's object is lost");
        assert!(!ours::<ClusterRole>(&scope).await.is_empty(), "its roles outlive the operator until it is deleted");

        for plugin in kept.list(&ListParams::default()).await.unwrap() {
            kept.delete(&plugin.name_any(), &DeleteParams::default()).await.unwrap();
        }
        eventually("all that was made for plugins is gone", LIMIT, async || {
            let left = [
                ours::<ClusterRole>(&scope).await,
                ours::<ClusterRoleBinding>(&scope).await,
                ours::<Role>(&scope).await,
                ours::<RoleBinding>(&scope).await,
                ours::<Namespace>(&scope).await,
            ]
            .concat();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
        let definitions: Api<CustomResourceDefinition> = Api::all(scope.client.clone());
        assert!(definitions.get_opt("kiteplugins.kite.dev").await.unwrap().is_some(), "the CRD is kept");
    })
    .await;
}
