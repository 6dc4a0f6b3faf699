//! What `can-i-apply` writes, whole, for each of its outcomes.

use std::{fs, net::SocketAddr, sync::atomic::Ordering};

use axum::{Router, http::StatusCode};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};

use crate::{apiserver::Says, output::run, registry};

const DOCUMENT: &str = "\
apiVersion: kite.dev/v1alpha1
kind: KitePlugin
metadata:
  name: hello
spec:
  version: 0.1.0
  image: hello:0.1.0
  permissions:
    - {apiGroups: [\"\"], resources: [nodes], verbs: [list, watch], namespaces: [\"*\"]}
    - {apiGroups: [apps], resources: [deployments], verbs: [get], namespaces: [shop]}
  settingsSecretRef: {name: db}
  frontend: {remoteEntry: remoteEntry.js}
";

/// The object of the document, with these fields of its spec changed.
fn present(changed: &[(&str, Value)]) -> Value {
    let mut spec = json!({
        "version": "0.1.0",
        "image": "hello:0.1.0",
        "permissions": [
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"], "namespaces": ["*"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"], "namespaces": ["shop"]},
        ],
        "settingsSecretRef": {"name": "db"},
        "frontend": {"remoteEntry": "remoteEntry.js"},
    });
    for (field, value) in changed {
        spec[field] = value.clone();
    }
    json!({"apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "metadata": {"name": "hello"}, "spec": spec})
}

/// Runs the command on a document, with a kubeconfig of the API server at `address`.
async fn ask_at(address: SocketAddr, document: &str, options: &[&str]) -> String {
    // What a program does that uses this as a library.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, kubeconfig) = (of("plugin.yaml"), of("kubeconfig"));
    fs::write(&file, document).unwrap();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "jane", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "jane"}}],
    });
    fs::write(&kubeconfig, config.to_string()).unwrap();
    let arguments = ["can-i-apply", &file, "--kubeconfig", &kubeconfig];
    let text = run(&[&arguments, options].concat(), Some(folder.path())).await;
    text.replace(&address.to_string(), "ADDRESS")
}

async fn ask(says: Says, document: &str, options: &[&str]) -> String {
    ask_at(says.start().await, document, options).await
}

fn lacking(denied: &[&'static str]) -> Says {
    Says {
        denied: denied.to_vec(),
        ..Says::default()
    }
}

const ALL: [&str; 5] = [
    "list nodes",
    "watch nodes",
    "get deployments",
    "get secrets db",
    "trust kiteplugins hello",
];

#[tokio::test]
async fn help() {
    insta::assert_snapshot!(run(&["can-i-apply", "--help"], None).await);
}

#[tokio::test]
async fn missing_arguments() {
    insta::assert_snapshot!(run(&["can-i-apply"], None).await);
}

#[tokio::test]
async fn groups_without_a_user() {
    insta::assert_snapshot!(run(&["can-i-apply", "plugin.yaml", "--as-group", "team"], None).await);
}

#[tokio::test]
async fn missing_file() {
    insta::assert_snapshot!(run(&["can-i-apply", "/nowhere/plugin.yaml"], None).await);
}

#[tokio::test]
async fn several_documents() {
    let text = format!("{DOCUMENT}---\n{DOCUMENT}");
    insta::assert_snapshot!(ask(Says::default(), &text, &[]).await);
}

#[tokio::test]
async fn another_kind() {
    let text = DOCUMENT.replace("KitePlugin", "Deployment");
    insta::assert_snapshot!(ask(Says::default(), &text, &[]).await);
}

/// The code blocks of the page in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let parts = page.split("```").skip(1).step_by(2);
    let of_language = parts.filter_map(|part| part.strip_prefix(language)?.strip_prefix('\n'));
    of_language.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_page_shows_what_is_written() {
    let page = include_str!("../../../../docs/can-i-apply.md");
    let [document] = &blocks(page, "yaml")[..] else {
        panic!("one document")
    };
    let shown = &blocks(page, "text")[0];
    let denied = ["list nodes", "get secrets db"];
    let text = ask(lacking(&denied), document, &[]).await;
    let (status, wrote) = text.split_once("\n--- stdout\n").unwrap();
    let (data, talk) = wrote.split_once("--- stderr\n").unwrap();
    assert_eq!(status, "Failure");
    assert_eq!(&format!("{data}\n{talk}").replace("DIR/", ""), shown);

    let shown: Value = serde_json::from_str(&blocks(page, "json")[0]).unwrap();
    let text = ask(lacking(&denied), document, &["--output", "json"]).await;
    let data = text
        .split("--- stdout\n")
        .nth(1)
        .unwrap()
        .split("--- stderr")
        .next()
        .unwrap();
    assert_eq!(serde_json::from_str::<Value>(data).unwrap(), shown);
}

#[tokio::test]
async fn whoever_has_all() {
    insta::assert_snapshot!(ask(Says::default(), DOCUMENT, &[]).await);
}

#[tokio::test]
async fn one_right_missing() {
    insta::assert_snapshot!(ask(lacking(&ALL[..1]), DOCUMENT, &[]).await);
}

#[tokio::test]
async fn all_missing() {
    let denied = [&["patch kiteplugins hello", "create kiteplugins hello"], ALL.as_slice()].concat();
    insta::assert_snapshot!(ask(lacking(&denied), DOCUMENT, &[]).await);
}

#[tokio::test]
async fn all_missing_as_json() {
    let denied = [&["create kiteplugins hello"], ALL.as_slice()].concat();
    insta::assert_snapshot!(ask(lacking(&denied), DOCUMENT, &["--output", "json"]).await);
}

#[tokio::test]
async fn whoever_has_all_as_json() {
    insta::assert_snapshot!(ask(Says::default(), DOCUMENT, &["-o", "json"]).await);
}

#[tokio::test]
async fn nothing_is_asked_of_who_may_escalate() {
    let says = Says {
        escalates: true,
        ..lacking(&ALL)
    };
    insta::assert_snapshot!(ask(says, DOCUMENT, &[]).await);
}

#[tokio::test]
async fn only_what_is_added_counts_where_code_stays() {
    let less = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"], "namespaces": ["*"]}]);
    let says = Says {
        plugin: Some(present(&[("permissions", less)])),
        ..lacking(&ALL)
    };
    insta::assert_snapshot!(ask(says, DOCUMENT, &[]).await);
}

#[tokio::test]
async fn every_right_counts_again_where_code_changes() {
    let says = Says {
        plugin: Some(present(&[("image", json!("hello:0.0.9"))])),
        ..lacking(&ALL[..1])
    };
    insta::assert_snapshot!(ask(says, DOCUMENT, &[]).await);
}

#[tokio::test]
async fn what_others_own_stays_and_counts() {
    let mut plugin = present(&[("image", json!("hello:0.0.9")), ("calls", json!(["other"]))]);
    let fields = json!({"f:spec": {"f:calls": {"v:\"other\"": {}}}});
    plugin["metadata"]["managedFields"] = json!([{"manager": "mesh", "operation": "Apply", "fieldsV1": fields}]);
    let says = |denied: &[&'static str]| Says {
        plugin: Some(plugin.clone()),
        ..lacking(denied)
    };
    let denied = ["create kiteplugins other"];
    let theirs = ask(says(&denied), DOCUMENT, &[]).await;
    assert!(
        theirs.contains("\nno\ncreate kiteplugins/proxy.kite.dev \"other\" in the whole cluster\n"),
        "{theirs}"
    );
    let ones_own = ask(says(&denied), DOCUMENT, &["--field-manager", "mesh"]).await;
    assert!(ones_own.contains("\nyes\n"), "{ones_own}");
}

#[tokio::test]
async fn an_object_that_may_not_be_seen_counts_as_new() {
    let says = Says {
        is_hidden: true,
        ..lacking(&ALL[2..3])
    };
    insta::assert_snapshot!(ask(says, DOCUMENT, &[]).await);
}

#[tokio::test]
async fn many_are_told_together() {
    let verbs = "[get, list, watch, create, update, patch, delete, deletecollection]";
    let document = DOCUMENT.replace(
        "resources: [deployments], verbs: [get]",
        &format!("acknowledgeDangerous: true, resources: [deployments, statefulsets], verbs: {verbs}"),
    );
    let denied = [
        "get deployments",
        "list deployments",
        "watch deployments",
        "create deployments",
        "update deployments",
        "patch deployments",
        "delete deployments",
        "deletecollection deployments",
        "get statefulsets",
        "list statefulsets",
        "watch statefulsets",
        "create statefulsets",
        "update statefulsets",
        "patch statefulsets",
        "delete statefulsets",
        "deletecollection statefulsets",
        "list nodes",
    ];
    insta::assert_snapshot!(ask(lacking(&denied), &document, &[]).await);
}

#[tokio::test]
async fn more_than_can_be_checked() {
    let resources: Vec<String> = (0..16).map(|number| format!("r{number}")).collect();
    let entry = format!(
        "    - {{apiGroups: [a, b], resources: [{}], verbs: [get], namespaces: [shop]}}\n",
        resources.join(", ")
    );
    let document = DOCUMENT.replace("  settingsSecretRef", &(entry.repeat(9) + "  settingsSecretRef"));
    insta::assert_snapshot!(ask(Says::default(), &document, &[]).await);
}

#[tokio::test]
async fn another_user_is_asked_about_and_few_questions_wait_at_once() {
    let says = Says {
        user: Some(("joe", vec!["team", "everybody"])),
        ..Says::default()
    };
    let most = says.most.clone();
    let options = [
        "--as",
        "joe",
        "--as-group",
        "team",
        "--as-group",
        "everybody",
        "--plugins-namespace",
        "plugins",
    ];
    let calls: Vec<String> = (0..40).map(|number| format!("p{number}")).collect();
    let document = format!("{DOCUMENT}  calls: [{}]\n", calls.join(", "));
    let text = ask(says, &document, &options).await;
    assert!(text.starts_with("Success"), "{text}");
    let most = most.load(Ordering::SeqCst);
    assert!((1..=8).contains(&most), "{most}");
}

#[tokio::test]
async fn an_unknown_context() {
    insta::assert_snapshot!(ask(Says::default(), DOCUMENT, &["--context", "other"]).await);
}

#[tokio::test]
async fn nobody_there() {
    // The port is taken, and nobody listens at it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    insta::assert_snapshot!(ask_at(address, DOCUMENT, &[]).await);
}

#[tokio::test]
async fn somebody_who_never_answers() {
    // The kernel takes the connection, and nobody the request.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    insta::assert_snapshot!(ask_at(address, DOCUMENT, &["--request-timeout", "1"]).await);
}

#[tokio::test]
async fn a_cluster_without_kite_plugins() {
    let address =
        registry::serve(Router::new().fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found") })).await;
    insta::assert_snapshot!(ask_at(address, DOCUMENT, &[]).await);
}

#[tokio::test]
async fn reviews_that_are_refused() {
    let says = Says {
        refuses_reviews: true,
        ..Says::default()
    };
    insta::assert_snapshot!(ask(says, DOCUMENT, &[]).await);
}

#[tokio::test]
async fn a_document_with_errors() {
    let document = DOCUMENT.replace("resources: [nodes]", "resources: [secrets]");
    insta::assert_snapshot!(ask(Says::default(), &document, &[]).await);
}

#[tokio::test]
async fn what_nobody_may_grant() {
    let document = DOCUMENT
        .replace("resources: [nodes]", "acknowledgeDangerous: true, resources: [secrets]")
        .replace("namespaces: [shop]", "namespaces: [kite-system]");
    let escalates = Says::default();
    insta::assert_snapshot!(ask(escalates, &document, &[]).await);
}
