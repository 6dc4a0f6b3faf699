//! Chart, namespaces and CRD go in any order while there are plugins: each ends, nothing is left, and all can be installed again. A plugin can
//! be deleted without its operator.
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
        admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
        apps::v1::Deployment,
        core::v1::Namespace,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kite_api::{KitePluginSpec, labels::PLUGIN};
use kite_e2e::{
    cluster::Layout,
    deploy::binary,
    target::Target,
    testing::{PLUGINS, SYSTEM, Scope, eventually, scope, succeeded},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(90);
const CRD: &str = "kiteplugins.kite.dev";

/// Runs `kite-e2e`; what it said if it failed.
fn try_e2e(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(binary("kite-e2e").unwrap())
        .args(arguments)
        .output()
        .unwrap();
    succeeded(&output)
}

fn e2e(arguments: &[&str]) {
    try_e2e(arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}"));
}

/// Installs everything again and uses it, whatever becomes of the test.
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

/// All of it.
async fn all_ours(scope: &Scope) -> Vec<String> {
    [
        ours::<ClusterRole>(scope).await,
        ours::<ClusterRoleBinding>(scope).await,
        ours::<Role>(scope).await,
        ours::<RoleBinding>(scope).await,
        ours::<Namespace>(scope).await,
        ours::<ValidatingAdmissionPolicy>(scope).await,
        ours::<ValidatingAdmissionPolicyBinding>(scope).await,
    ]
    .concat()
}

/// Waits until nothing else of it is left than this.
async fn is_left(scope: &Scope, expected: &[String]) {
    eventually(&format!("what is left is {expected:?}"), LIMIT, async || {
        let left = all_ours(scope).await;
        if left == expected {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
}

async fn has_definition(scope: &Scope) -> bool {
    let definitions: Api<CustomResourceDefinition> = Api::all(scope.client.clone());
    definitions.get_opt(CRD).await.unwrap().is_some()
}

/// A right in these namespaces.
fn rule(namespaces: &[&str]) -> Value {
    json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"], "namespaces": namespaces})
}

/// A plugin with rights outside the plugins' namespace: everywhere, and in a namespace of the test's own.
async fn far_reaching(scope: &Scope, suffix: &str, namespace: &str) -> String {
    let grant = json!([rule(&["*"]), rule(&[namespace])]);
    let change = |spec: &mut KitePluginSpec| spec.permissions = serde_json::from_value(grant).unwrap();
    scope.loaded_plugin(suffix, change).await
}

/// What there is of such a plugin outside the plugins' namespace.
fn far(plugin: &str) -> [String; 4] {
    ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"].map(|kind| format!("{kind} kite-plugin-{plugin}"))
}

/// Deletes it as people do, and returns when it is gone.
fn delete(kind: &str, name: &str) {
    let wait = format!("--timeout={}s", LIMIT.as_secs());
    let output = Target::running(&Layout::from_env().unwrap())
        .unwrap()
        .kubectl()
        .args(["delete", kind, name, &wait])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{kind} {name}: {said}");
}

/// Waits until the garbage collector sees plugins. It does so again only up to a minute after their CRD was deleted and installed anew, and would
/// never hear of what is deleted with the CRD before: the rights that the test waits for to go would stay. A plugin that is deleted in the
/// foreground stays until the collector has seen that.
async fn collector_sees(scope: &Scope) {
    let canary = scope.make_plugin("-canary", |spec| spec.enabled = Some(false)).await;
    let deleted = scope.plugins().delete(&canary, &DeleteParams::foreground()).await;
    deleted.expect("deleting it begins");
    eventually("the garbage collector has seen a plugin", LIMIT, async || {
        match scope.plugins().get_opt(&canary).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn definition_and_namespaces_go_while_the_operator_runs_and_the_chart_last() {
    scope("reversed", async |scope| {
        let _restore = Restore;
        scope.loaded_plugin("", |_| {}).await;
        delete("crd", CRD);
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
        delete("namespace", PLUGINS);
        delete("namespace", SYSTEM);
        e2e(&["release", "uninstall"]);
        assert_eq!(all_ours(&scope).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn namespaces_go_first_and_then_the_definition_with_all_plugins_and_the_chart_last() {
    scope("emptied", async |scope| {
        let _restore = Restore;
        let namespace = scope.namespace("-ns").await;
        let plugin = far_reaching(&scope, "", &namespace).await;
        collector_sees(&scope).await;
        // The operator runs, and would make again what goes.
        delete("namespace", PLUGINS);
        delete("namespace", SYSTEM);
        let kept = scope.plugins().get_opt(&plugin).await.unwrap();
        assert!(kept.is_some(), "no plugin's object is lost");
        delete("crd", CRD);
        e2e(&["release", "uninstall"]);
        is_left(&scope, &[]).await;
    })
    .await;
}

#[tokio::test]
async fn the_chart_goes_first_then_a_plugin_and_then_the_definition_with_the_others() {
    scope("orphans", async |scope| {
        let _restore = Restore;
        let namespace = scope.namespace("-ns").await;
        let first = far_reaching(&scope, "-1", &namespace).await;
        let second = far_reaching(&scope, "-2", &namespace).await;
        collector_sees(&scope).await;

        e2e(&["release", "uninstall"]);
        let namespaces: Api<Namespace> = Api::all(scope.client.clone());
        for name in [SYSTEM, PLUGINS] {
            assert!(namespaces.get_opt(name).await.unwrap().is_none(), "{name} is gone");
        }
        for plugin in [&first, &second] {
            let kept = scope.plugins().get_opt(plugin).await.unwrap();
            assert!(kept.is_some(), "no plugin's object is lost");
        }
        let both = all_ours(&scope).await;
        let outlives = far(&first).iter().all(|object| both.contains(object));
        assert!(outlives, "its roles outlive the operator until it is deleted: {both:?}");

        delete("kiteplugin", &first);
        is_left(&scope, &far(&second)).await;
        assert!(has_definition(&scope).await, "the CRD is kept");
        delete("crd", CRD);
        is_left(&scope, &[]).await;
    })
    .await;
}
