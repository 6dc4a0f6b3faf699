//! What the command writes, whole.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{ffi::OsString, fs, path::Path};

use kite_plugin::{cli, printer::Printer};

const DOCUMENT: &str = "\
apiVersion: kite.dev/v1alpha1
kind: KitePlugin
metadata:
  name: hello
spec:
  version: 0.1.0
  image: hello:0.1.0
";

/// Runs the command and gives its status and all that it wrote, with `folder` as `DIR`.
async fn run(arguments: &[&str], folder: Option<&Path>) -> String {
    let (mut data, mut talk) = (Vec::new(), Vec::new());
    let arguments = ["kite-plugin"].iter().chain(arguments).map(OsString::from);
    let status = cli::run(arguments, &mut Printer::new(&mut data, &mut talk)).await;
    let (data, talk) = (String::from_utf8(data).unwrap(), String::from_utf8(talk).unwrap());
    let text = format!("{status:?}\n--- stdout\n{data}--- stderr\n{talk}");
    folder.map_or(text.clone(), |folder| text.replace(folder.to_str().unwrap(), "DIR"))
}

async fn package(document: Option<&str>, binary: &str, image: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    if let Some(document) = document {
        fs::write(folder.path().join("plugin.yaml"), document).unwrap();
    }
    let path = folder.path().to_str().unwrap();
    run(
        &["package", path, "--binary", binary, "--image", image],
        Some(folder.path()),
    )
    .await
}

#[tokio::test]
async fn nothing() {
    insta::assert_snapshot!(run(&[], None).await);
}

#[tokio::test]
async fn help() {
    insta::assert_snapshot!(run(&["--help"], None).await);
}

#[tokio::test]
async fn help_of_package() {
    insta::assert_snapshot!(run(&["package", "--help"], None).await);
}

#[tokio::test]
async fn unknown_command() {
    insta::assert_snapshot!(run(&["pakage"], None).await);
}

#[tokio::test]
async fn missing_arguments() {
    insta::assert_snapshot!(run(&["package"], None).await);
}

#[tokio::test]
async fn missing_document() {
    insta::assert_snapshot!(package(None, "hello", "registry.example/hello").await);
}

#[tokio::test]
async fn document_that_is_no_yaml() {
    insta::assert_snapshot!(
        package(
            Some(&DOCUMENT.replace("hello:0.1.0", "[")),
            "hello",
            "registry.example/hello"
        )
        .await
    );
}

#[tokio::test]
async fn document_with_an_unknown_field() {
    insta::assert_snapshot!(
        package(
            Some(&DOCUMENT.replace("image:", "imag:")),
            "hello",
            "registry.example/hello"
        )
        .await
    );
}

#[tokio::test]
async fn missing_binary() {
    insta::assert_snapshot!(package(Some(DOCUMENT), "/nowhere/hello", "registry.example/hello").await);
}

#[tokio::test]
async fn binary_that_is_no_elf() {
    insta::assert_snapshot!(package(Some(DOCUMENT), "/etc/passwd", "registry.example/hello").await);
}
