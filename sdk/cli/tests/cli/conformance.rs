//! `kite-plugin conformance` as plugin authors meet it, before a plugin that keeps the rules and others that do not.

use std::path::Path;

use kite_conformance::{
    Authorities,
    faults::{Fault, Reference},
    folder,
};
use serde_json::Value;

use crate::output::run;

/// All that there is to know of the reference plugin.
const KNOWN: [&str; 16] = [
    "--get",
    "/hello",
    "--echo",
    "/echo",
    "--events",
    "/events",
    "--socket",
    "/socket",
    "--large",
    "/large",
    "--tool",
    r#"greet={"name": "Ada"}"#,
    "--object",
    r#"notes={"text": "milk"}"#,
    "--settings",
    r#"{"greeting": "Hello"}"#,
];

/// Asks a plugin with this fault, or without.
async fn ask(fault: Option<Fault>, options: &[&str]) -> String {
    let plugin = Reference::start(fault).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    folder::write(folder.path(), plugin.authorities(), "reference").unwrap();
    let (address, health) = (plugin.address().to_string(), plugin.health().to_string());
    let at = [
        "--certificates",
        folder.path().to_str().unwrap(),
        "--health",
        &health,
        &address,
    ];
    let arguments = [&["conformance", "--name", "reference"], &at[..], options].concat();
    run(&arguments, Some(folder.path())).await
}

#[tokio::test]
async fn help() {
    insta::assert_snapshot!(run(&["conformance", "--help"], None).await);
}

#[tokio::test]
async fn missing_arguments() {
    insta::assert_snapshot!(run(&["conformance"], None).await);
}

#[tokio::test]
async fn arguments_that_are_none() {
    let arguments = ["conformance", "--name", "a", "--tool", "hello", "--", "hello"];
    insta::assert_snapshot!(run(&arguments, None).await);
}

#[tokio::test]
async fn a_plugin_that_keeps_every_rule() {
    insta::assert_snapshot!(ask(None, &KNOWN).await);
}

#[tokio::test]
async fn a_plugin_of_which_nothing_is_known() {
    insta::assert_snapshot!(ask(None, &[]).await);
}

#[tokio::test]
async fn a_broken_rule() {
    let text = ask(Some(Fault::Cookie), &KNOWN).await;
    // The rules that are kept are those of the plugin that keeps every rule.
    let told: Vec<_> = text.lines().filter(|line| !line.starts_with("kept ")).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn a_broken_rule_as_json() {
    let text = ask(Some(Fault::BadVersion), &["--output", "json"]).await;
    let (before, rest) = text.split_once('{').unwrap();
    let (json, after) = rest.rsplit_once('}').unwrap();
    let mut report: Value = serde_json::from_str(&format!("{{{json}}}")).unwrap();
    let rules = report["rules"].as_array().unwrap();
    let broken: Vec<_> = rules
        .iter()
        .filter(|rule| rule["verdict"] == "broken")
        .cloned()
        .collect();
    report["rules"] = broken.into();
    insta::assert_snapshot!(format!("{before}{report:#}{after}"));
}

#[tokio::test]
async fn nobody_there() {
    let plugin = Reference::start(None).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    folder::write(folder.path(), plugin.authorities(), "reference").unwrap();
    // A port on which nobody can listen.
    let at = ["--certificates", folder.path().to_str().unwrap(), "127.0.0.1:1"];
    let arguments = [&["conformance", "--name", "reference"], &at[..]].concat();
    insta::assert_snapshot!(run(&arguments, Some(folder.path())).await);
}

#[tokio::test]
async fn a_plugin_that_does_not_believe_the_suite() {
    let plugin = Reference::start(None).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    folder::write(folder.path(), &Authorities::new().unwrap(), "reference").unwrap();
    let address = plugin.address().to_string();
    let at = ["--certificates", folder.path().to_str().unwrap(), &address];
    let arguments = [&["conformance", "--name", "reference"], &at[..]].concat();
    insta::assert_snapshot!(run(&arguments, Some(folder.path())).await);
}

#[tokio::test]
async fn a_folder_without_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let at = ["--certificates", folder.path().to_str().unwrap(), "127.0.0.1"];
    let arguments = [&["conformance", "--name", "hello"], &at[..]].concat();
    insta::assert_snapshot!(run(&arguments, Some(folder.path())).await);
}

#[tokio::test]
async fn certificates_that_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let at = ["--certificates", folder.path().to_str().unwrap(), "--prepare"];
    let arguments = [&["conformance", "--name", "hello"], &at[..]].concat();
    let text = run(&arguments, Some(folder.path())).await;
    assert!(Path::new(&folder.path().join("client.key")).exists());
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_program_that_ends_at_once() {
    insta::assert_snapshot!(run(&["conformance", "--name", "hello", "--", "/bin/false"], None).await);
}

#[tokio::test]
async fn a_program_that_is_not_there() {
    insta::assert_snapshot!(run(&["conformance", "--name", "hello", "--", "/nowhere/hello"], None).await);
}
