//! What the API server accepts as a KitePlugin, and how it shows one.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::Write,
    process::{Command, Stdio},
};

use kite_e2e::{
    cluster,
    testing::{Scope, scope},
};
use serde_json::{Value, json};

fn kubectl() -> Command {
    let layout = cluster::Layout::from_env().expect("the layout");
    cluster::tools(&layout).expect("the tools").kubectl()
}

/// `kubectl apply --dry-run=server` of hello's object under `name`, after a change of its spec; what kubectl said.
async fn apply(scope: &Scope, name: &str, change: impl FnOnce(&mut Value)) -> (bool, String) {
    let mut spec = serde_json::to_value(scope.hello().await).unwrap();
    change(&mut spec);
    let object =
        json!({"apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "metadata": {"name": name}, "spec": spec});
    let mut command = kubectl();
    command.args(["apply", "--dry-run=server", "-f", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(object.to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_a_text_that_names_it() {
    type Spoil = fn(&mut Value);
    let cases: [(&str, Spoil); 12] = [
        ("version", |spec| spec["version"] = json!("1.2")),
        ("version", |spec| spec["version"] = json!("v1.2.3")),
        ("image", |spec| spec["image"] = json!("")),
        ("imagePullPolicy", |spec| spec["imagePullPolicy"] = json!("Sometimes")),
        ("replicas", |spec| spec["replicas"] = json!(0)),
        ("resources", |spec| {
            spec["permissions"] = json!([{"apiGroups": [""], "resources": [], "verbs": ["get"]}]);
        }),
        ("resources", |spec| {
            spec["permissions"] = json!([{"apiGroups": [""], "resources": ["*"], "verbs": ["get"]}]);
        }),
        ("verbs", |spec| {
            spec["permissions"] = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["log"]}]);
        }),
        ("verbs", |spec| {
            spec["permissions"] = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}]);
        }),
        ("stands alone", |spec| {
            spec["permissions"] =
                json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "namespaces": ["*", "a"]}]);
        }),
        ("namespaces", |spec| {
            spec["permissions"] =
                json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "namespaces": []}]);
        }),
        ("memory", |spec| {
            spec["resources"] = json!({"limits": {"memory": "much"}});
        }),
    ];
    scope("admit-spec", async |scope| {
        for (word, spoil) in cases {
            let (accepted, text) = apply(&scope, "x", spoil).await;
            assert!(!accepted, "{word} was accepted");
            assert!(text.contains(word), "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_name_is_refused() {
    scope("admit-name", async |scope| {
        for (name, word) in [
            ("a.b", "RFC 1123"),
            (&"a".repeat(41), "40 characters"),
            ("tools", "reserved"),
        ] {
            let (accepted, text) = apply(&scope, name, |_| {}).await;
            assert!(!accepted, "{name} was accepted");
            assert!(text.contains(word), "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_right_is_accepted() {
    let cases: [fn(&mut Value); 3] = [
        |spec| spec["version"] = json!("1.2.3-rc.1+build.5"),
        |spec| spec["resources"] = json!({"limits": {"memory": "128Mi", "cpu": 1}, "requests": {"cpu": "10m"}}),
        |spec| {
            spec["permissions"] = json!([
                {"apiGroups": ["", "apps"], "resources": ["pods/log", "deployments"], "verbs": ["get"], "namespaces": ["*"]},
                {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["a"], "namespaces": ["x", "y"]},
            ]);
        },
    ];
    scope("admit-right", async |scope| {
        for change in cases {
            let (accepted, text) = apply(&scope, &"a".repeat(40), change).await;
            assert!(accepted, "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_table_has_the_columns_that_an_admin_reads() {
    let output = kubectl().args(["get", "kp", "hello"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let columns: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(columns, ["NAME", "VERSION", "PHASE", "READY", "TOOLS", "AGE"]);
    let row: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..5], ["hello", "0.1.0", "Loaded", "True", "2"], "{text}");
}
