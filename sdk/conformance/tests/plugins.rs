//! Real plugins as processes, from their start to their end: one of the SDK, and the one in Python.
#![cfg(test)]

use std::{env, path::Path};

use kite_conformance::{Finding, Known, Limits, Subject, Verdict, python::Python};
use serde_json::json;
use tokio::process::Command;

/// How each rule ended: which are not applicable is as much a part of it as which are kept.
async fn report(plugin: Subject, known: Known) -> String {
    // Fails only if there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let suite = plugin.suite(known, Limits::default()).unwrap();
    let report = suite.run(|_| {}).await.unwrap();
    let line = |finding: &Finding| {
        let key: &'static str = finding.rule.into();
        match &finding.verdict {
            Verdict::Kept => format!("kept {key}"),
            Verdict::NotApplicable { why } => format!("not applicable {key}: {why}"),
            Verdict::Broken { seen, expected } => format!("broken {key}: {seen}, not {expected}"),
        }
    };
    report.0.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn hello_keeps_the_rules() {
    // Beside the folder of the tests, where `cargo build --workspace` puts it.
    let tests = env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("hello");
    assert!(
        program.exists(),
        "{program:?} is not there: build it by `cargo build --workspace`"
    );
    let plugin = Subject::start("hello", |_, _| Command::new(program)).await.unwrap();
    let known = Known {
        get: Some(String::from("/hello")),
        echo: Some(String::from("/echo")),
        socket: Some(String::from("/socket")),
        tools: vec![(String::from("hello"), json!({"name": "Ada"}).to_string())],
        objects: vec![(String::from("notes"), json!({"text": "milk"}))],
        settings: Some(json!({"greeting": "Hi"}).to_string()),
        ..Known::default()
    };
    insta::assert_snapshot!(report(plugin, known).await);
}

#[tokio::test]
async fn the_plugin_in_python_keeps_the_rules() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/plugin.py");
    let plugin = Python::ready().unwrap().start("snake", &program).await.unwrap();
    let known = Known {
        get: Some(String::from("/hello")),
        echo: Some(String::from("/echo")),
        tools: vec![(String::from("greet"), json!({"name": "Ada"}).to_string())],
        ..Known::default()
    };
    insta::assert_snapshot!(report(plugin, known).await);
}
