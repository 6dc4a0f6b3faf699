//! How a KitePlugin shows itself and is owned: kubectl's own words, and those of several appliers.
#![cfg(test)]

use std::{
    io::Write,
    process::{Command, Stdio},
};

use kite_api::KitePlugin;
use kite_e2e::{
    cluster,
    testing::{SOON, Scope, eventually, scope},
};
use kube::ResourceExt;
use serde_json::{Value, json};

/// Runs kubectl with `input`; whether it succeeded, and all that it said.
fn kubectl(arguments: &[&str], input: &str) -> (bool, String) {
    let layout = cluster::Layout::from_env().expect("the layout");
    let mut command: Command = cluster::tools(&layout).expect("the tools").kubectl();
    let command = command.args(arguments);
    let pipes = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// An object of the test's that runs nothing.
fn object(scope: &Scope, fields: &Value) -> String {
    let mut spec = json!({"version": "1.2.0", "image": "registry.invalid/plugin:1.2.0", "enabled": false});
    spec.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    json!({
        "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin",
        "metadata": {"name": scope.name, "labels": {"kite.dev/test": scope.name}}, "spec": spec,
    })
    .to_string()
}

/// Some fields of every kind.
fn fields() -> Value {
    json!({
        "replicas": 1, "priority": 100, "settings": {"currency": "EUR", "limits": [1, 2.5]},
        "settingsSchema": {"type": "object"}, "resources": {"limits": {"cpu": 1, "memory": "128Mi"}},
        "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
        "dependencies": [{"name": "a", "version": "^1.0", "optional": true}],
        "routes": [{"path": "/costs/**", "requires": [{"resource": "pods", "namespace": {"query": "namespace"}}]}],
        "limits": {"requestBodyBytes": "10Mi"}, "env": [{"name": "A", "value": "b"}],
    })
}

/// The object, once the operator has told its status and rests.
async fn settled(scope: &Scope) -> KitePlugin {
    eventually("the operator has seen it", SOON, async || {
        let plugin = scope
            .plugins()
            .get(&scope.name)
            .await
            .map_err(|error| error.to_string())?;
        let observed = plugin.status.as_ref().and_then(|status| status.observed_generation);
        let stops = plugin
            .status
            .iter()
            .flat_map(|status| &status.conditions)
            .any(|it| it.type_ == "Reconciling");
        if observed == plugin.metadata.generation && !stops {
            Ok(plugin)
        } else {
            Err(format!("{plugin:?}"))
        }
    })
    .await
}

#[tokio::test]
async fn applying_twice_changes_nothing() {
    for (way, name) in [("client", "admit-client-side"), ("server", "admit-server-side")] {
        scope(name, async |scope| {
            let object = object(&scope, &fields());
            let apply = ["apply", &format!("--server-side={}", way == "server"), "-f", "-"];
            let (applied, text) = kubectl(&apply, &object);
            assert!(applied, "{text}");
            let before = settled(&scope).await;
            let (applied, text) = kubectl(&apply, &object);
            assert!(applied, "{text}");
            if way == "client" {
                assert!(text.contains("unchanged"), "{text}");
            }
            let after = scope.plugins().get(&scope.name).await.unwrap();
            assert_eq!(after.resource_version(), before.resource_version(), "{way}: {text}");
            assert_eq!(after.metadata.generation, Some(1));
        })
        .await;
    }
}

#[tokio::test]
async fn appliers_own_different_entries_and_a_third_is_told_whose_they_are() {
    scope("admit-owners", async |scope| {
        let apply = |manager: &str, fields: Value| {
            let manager = format!("--field-manager={manager}");
            kubectl(
                &["apply", "--server-side", &manager, "-f", "-"],
                &object(&scope, &fields),
            )
        };
        let entries = |name: &str| {
            json!({
                "routes": [{"path": format!("/{name}"), "requires": [{"resource": "pods", "verb": "list"}]}],
                "dependencies": [{"name": name, "version": "^1.0", "optional": true}],
            })
        };
        for manager in ["argocd", "platform-team"] {
            let (applied, text) = apply(manager, entries(manager));
            assert!(applied, "{text}");
        }
        let plugin = scope.plugins().get(&scope.name).await.unwrap();
        let paths: Vec<_> = plugin.spec.routes.iter().map(|route| route.path.as_str()).collect();
        let names: Vec<_> = plugin.spec.dependencies.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(
            (paths, names),
            (vec!["/argocd", "/platform-team"], vec!["argocd", "platform-team"])
        );

        let (applied, text) = apply(
            "intruder",
            json!({"dependencies": [{"name": "argocd", "version": "^2.0", "optional": true}]}),
        );
        assert!(!applied && text.contains("conflict with \"argocd\""), "{text}");
        let (applied, text) = apply(
            "intruder",
            json!({"routes": [{"path": "/platform-team", "requires": []}]}),
        );
        assert!(!applied && text.contains("conflict with \"platform-team\""), "{text}");
    })
    .await;
}

#[tokio::test]
async fn it_is_scaled_as_a_deployment_is() {
    scope("admit-scale", async |scope| {
        let (applied, text) = kubectl(&["apply", "-f", "-"], &object(&scope, &json!({"replicas": 1})));
        assert!(applied, "{text}");
        let (scaled, text) = kubectl(&["scale", &format!("kp/{}", scope.name), "--replicas=3"], "");
        assert!(scaled, "{text}");
        assert_eq!(scope.plugins().get(&scope.name).await.unwrap().spec.replicas, Some(3));
        let (scaled, text) = kubectl(&["scale", &format!("kp/{}", scope.name), "--replicas=0"], "");
        assert!(!scaled && text.contains("greater than or equal to 1"), "{text}");
        let selector = settled(&scope).await.status.unwrap().selector;
        assert_eq!(selector, Some(format!("kite.dev/plugin={}", scope.name)));
    })
    .await;
}

#[test]
fn kubectl_explains_every_field() {
    let (found, text) = kubectl(&["explain", "kp.spec", "--recursive"], "");
    assert!(found, "{text}");
    let crd = serde_json::to_value(kite_api::crd()).unwrap();
    let spec = crd
        .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties")
        .unwrap();
    for field in spec.as_object().unwrap().keys() {
        assert!(text.contains(&format!("{field}\t<")), "{field}: {text}");
    }
    let (found, text) = kubectl(&["explain", "kp.spec.routes.requires.namespace.body"], "");
    assert!(found && text.contains("JSON pointer"), "{text}");
}

#[test]
fn the_table_has_the_columns_that_an_admin_reads() {
    for name in ["kp", "kiteplugin", "kite"] {
        let (found, text) = kubectl(&["get", name, "hello"], "");
        // A category has no single object.
        let (found, text) = if name == "kite" {
            kubectl(&["get", name], "")
        } else {
            (found, text)
        };
        assert!(found, "{text}");
        let columns: Vec<_> = text.lines().next().unwrap_or_default().split_whitespace().collect();
        assert_eq!(columns, ["NAME", "VERSION", "PHASE", "READY", "TOOLS", "AGE"]);
        let row = text.lines().find(|line| line.contains("hello")).unwrap_or_default();
        let row: Vec<_> = row.split_whitespace().collect();
        let name = row[0].trim_start_matches("kiteplugin.kite.dev/");
        assert_eq!(
            (name, &row[1..5]),
            ("hello", ["0.1.0", "Loaded", "True", "2"].as_slice()),
            "{text}"
        );
    }
}
