//! While nothing happens nothing is written: by the cluster's operator, with real plugins in every state that lasts, and by one that has a hundred,
//! most of them by a fake kubelet. What `make bench` measures of the operator is run in small by the way, as are the promises that it holds there.
#![cfg(test)]
#![expect(clippy::print_stdout, reason = "the harness keeps a test's standard output")]

use std::{
    env,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use kite_api::{KitePluginSpec, Phase};
use kite_e2e::{
    audit,
    cluster::{self, Layout},
    target::Target,
    testing::{SYSTEM, Scope, eventually, scope},
};
use serde_json::{Value, json};

/// How many plugins the second operator has: a hundred with those of the cluster, hello among them.
const FLEET: &str = "94";
/// For how many seconds nothing happens to them, if the variable does not say.
const WINDOW: &str = "20";
const VARIABLE: &str = "KITE_STEADY_SECONDS";
/// How often settings are changed, and how many plugins when the operator is killed.
const CHANGES: &str = "3";
/// How many times as long as is promised that may take: `make bench` has it in time.
const STRETCH: &str = "10";
/// When nothing was written for so long, what a test has made has settled.
const SETTLED: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_mins(3);

/// What the cluster's operator has written since then.
fn writes(since: Timestamp) -> Vec<String> {
    let running = cluster::status(&Layout::from_env().unwrap()).expect("the local cluster");
    let operator = format!("system:serviceaccount:{SYSTEM}:kite-operator");
    let requests = audit::requests(&running.audit_logs().unwrap(), &operator, since).unwrap();
    let writes = requests.iter().filter(|request| request.is_write());
    writes.map(audit::Request::in_words).collect()
}

fn needs(other: &str) -> impl FnOnce(&mut KitePluginSpec) {
    let needs = json!([{"name": other, "version": "*"}]);
    |spec| spec.dependencies = serde_json::from_value(needs).unwrap()
}

fn permissions() -> Value {
    let rule = |namespace: &str| json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"], "namespaces": [namespace]});
    json!([rule("default"), rule("*")])
}

/// Makes six plugins, each in another state, and waits until nothing more comes of them.
async fn make_real_ones(scope: &Scope) {
    let whole = scope.make_plugin("-whole", |spec| {
        spec.permissions = serde_json::from_value(permissions()).unwrap();
    });
    let whole = whole.await;
    let two = scope.make_plugin("-two", |spec| spec.replicas = Some(2)).await;
    let user = scope.make_plugin("-user", needs(&whole)).await;
    let off = scope.make_plugin("-off", |spec| spec.enabled = Some(false)).await;
    let lost = scope.make_plugin("-lost", needs("nobody")).await;
    let gone = scope.hello().await.image.replace("@sha256:", ":gone-");
    // The kubelet tries it again and again, and says so each time.
    let gone = scope.make_plugin("-gone", |spec| spec.image = gone).await;
    for (name, phase) in [
        (gone, Phase::Failed),
        (whole, Phase::Loaded),
        (two, Phase::Loaded),
        (user, Phase::Loaded),
        (off, Phase::Disabled),
        (lost, Phase::Failed),
    ] {
        scope.wait_for_phase(&name, phase).await;
    }
    eventually("all has settled", PATIENCE, async || {
        let written = writes(Timestamp::now() - SETTLED);
        if written.is_empty() {
            Ok(())
        } else {
            Err(written.join("\n"))
        }
    })
    .await;
}

/// Measures this build's operator with many plugins.
fn measure() -> Output {
    let e2e = Path::new(env!("CARGO_BIN_EXE_kite-e2e"));
    let window = env::var(VARIABLE).unwrap_or_else(|_| WINDOW.to_owned());
    let mut measure = Command::new(e2e);
    measure.args([
        "fleet",
        "--alone",
        "--plugins",
        FLEET,
        "--seconds",
        &window,
        "--changes",
        CHANGES,
        "--patience",
        STRETCH,
        "--program",
    ]);
    measure.arg(e2e.with_file_name("kite-operator")).output().unwrap()
}

#[tokio::test]
async fn while_nothing_happens_nothing_is_written() {
    if !Target::running(&Layout::from_env().unwrap()).unwrap().is_local {
        println!("nothing is read: only the local cluster's API server keeps its log where a test can see it");
        return;
    }
    scope("steady", async |scope| {
        make_real_ones(&scope).await;
        let begin = Timestamp::now();
        let Output { status, stdout, stderr } = tokio::task::spawn_blocking(measure).await.unwrap();
        let [tables, talk] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(status.success(), "{talk}\n{tables}");
        println!("{tables}");
        let took = Timestamp::now().duration_since(begin);
        assert_eq!(writes(begin), [""; 0], "by the cluster's operator, in {took:#}");
    })
    .await;
}
