//! What the command writes, whole.

use std::{ffi::OsString, fs, net::SocketAddr, path::Path};

use axum::http::StatusCode;
use kite_plugin::{cli, printer::Printer};

use crate::registry::{self, Registry};

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
pub(crate) async fn run(arguments: &[&str], folder: Option<&Path>) -> String {
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
        &["package", path, "--binary", binary, "--push", image],
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
async fn help_of_build() {
    insta::assert_snapshot!(run(&["build", "--help"], None).await);
}

#[tokio::test]
async fn plain_http_without_a_registry() {
    insta::assert_snapshot!(run(&["package", "--plain-http"], None).await);
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

/// Packages this machine's shell for the registry at `address`.
async fn push(address: SocketAddr, options: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("plugin.yaml"), DOCUMENT).unwrap();
    let image = format!("{address}/a/b");
    let arguments = ["package", folder.path().to_str().unwrap(), "--binary", "/bin/sh"];
    let image = ["--push", &image, "--ca-certificates", "/etc/passwd"];
    let arguments = [&arguments, &image, options].concat();
    let text = run(&arguments, Some(folder.path())).await;
    text.replace(&address.to_string(), "REGISTRY")
}

/// What differs from machine to machine is masked: digests, and the image's size.
fn masked(text: &str) -> String {
    let text = mask(text, "sha256:", char::is_ascii_hexdigit, "DIGEST");
    mask(&text, "Pushing ", char::is_ascii_digit, "SIZE")
}

/// Puts `mask` for what stands behind each `before`, as far as its characters are such as `these`.
fn mask(text: &str, before: &str, these: fn(&char) -> bool, mask: &str) -> String {
    let mut parts = text.split(before);
    let mut masked = parts.next().unwrap().to_owned();
    for part in parts {
        masked.extend([before, mask, part.trim_start_matches(|character| these(&character))]);
    }
    masked
}

#[tokio::test]
async fn packaged() {
    let registry = Registry::start().await;
    let text = push(registry.address, &["--plain-http"]).await;
    let digest = registry::digest(&registry.content().manifests["0.1.0"]);
    let named = text.matches(&digest).count();
    assert_eq!(
        named, 2,
        "the talk and the document name the image that the registry has: {text}"
    );
    insta::assert_snapshot!(masked(&text));
}

#[tokio::test]
async fn registry_that_speaks_http_only() {
    insta::assert_snapshot!(masked(&push(Registry::start().await.address, &[]).await));
}

#[tokio::test]
async fn registry_that_does_not_know_the_caller() {
    let address = registry::answering(StatusCode::UNAUTHORIZED).await;
    insta::assert_snapshot!(masked(&push(address, &["--plain-http"]).await));
}

#[tokio::test]
async fn registry_that_refuses_the_caller() {
    let address = registry::answering(StatusCode::FORBIDDEN).await;
    insta::assert_snapshot!(masked(&push(address, &["--plain-http"]).await));
}

#[tokio::test]
async fn registry_that_is_broken() {
    let address = registry::answering(StatusCode::INTERNAL_SERVER_ERROR).await;
    insta::assert_snapshot!(masked(&push(address, &["--plain-http"]).await));
}
