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

/// Packages this machine's shell, as `DIR/hello.tar.gz`, with these web files and this document.
async fn written(document: &str, web: &[&str], folder: &Path) -> String {
    fs::write(folder.join("plugin.yaml"), document).unwrap();
    for file in web {
        let path = folder.join("web/dist").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    let output = folder.join("hello.tar.gz");
    let arguments = ["package", folder.to_str().unwrap(), "--binary", "/bin/sh", "-o"];
    let more = [output.to_str().unwrap(), "--ca-certificates", "/etc/passwd"];
    run(&[&arguments[..], &more].concat(), Some(folder)).await
}

const FRONTEND: &str = "  frontend: {remoteEntry: remoteEntry.js}\n";

#[tokio::test]
async fn written_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let text = written(
        &(DOCUMENT.to_owned() + FRONTEND),
        &["remoteEntry.js", "assets/a.css"],
        folder.path(),
    )
    .await;
    let bytes = fs::read(folder.path().join("hello.tar.gz")).unwrap();
    assert!(text.contains(&registry::digest(&bytes)), "{text}");
    let package = kite_plugin::archive::read(bytes.as_slice()).unwrap();
    assert_eq!(
        package.web.keys().collect::<Vec<_>>(),
        ["assets/a.css", "remoteEntry.js"]
    );
    let image = format!("docker.io/library/hello@{}", package.image.digest());
    assert_eq!(package.manifest.spec()["image"], image);
    insta::assert_snapshot!(mask(&masked(&text), "Wrote ", char::is_ascii_digit, "SIZE"));
}

#[tokio::test]
async fn front_end_that_is_not_built() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(written(&(DOCUMENT.to_owned() + FRONTEND), &[], folder.path()).await);
}

#[tokio::test]
async fn web_file_whose_path_is_too_long() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{}.js", "a".repeat(100));
    insta::assert_snapshot!(written(DOCUMENT, &[&long], folder.path()).await);
}

/// Runs `package` on a package in a folder, with what it is of as `DIR`.
async fn repackaged(more: &[&str]) -> (String, Registry) {
    let folder = tempfile::tempdir().unwrap();
    written(DOCUMENT, &[], folder.path()).await;
    let registry = Registry::start().await;
    let (package, image) = (folder.path().join("hello.tar.gz"), format!("{}/a/b", registry.address));
    let more: Vec<&str> = more
        .iter()
        .map(|word| if *word == "IMAGE" { &image } else { *word })
        .collect();
    let text = run(
        &[&["package", package.to_str().unwrap()], &more[..]].concat(),
        Some(folder.path()),
    )
    .await;
    (text.replace(&registry.address.to_string(), "REGISTRY"), registry)
}

#[tokio::test]
async fn package_that_is_pushed() {
    let (text, registry) = repackaged(&["--push", "IMAGE", "--plain-http"]).await;
    let digest = registry::digest(&registry.content().manifests["0.1.0"]);
    assert_eq!(text.matches(&digest).count(), 2, "{text}");
    insta::assert_snapshot!(masked(&text));
}

#[tokio::test]
async fn package_of_which_nothing_is_made() {
    insta::assert_snapshot!(repackaged(&[]).await.0);
}

#[tokio::test]
async fn package_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello.tar.gz");
    fs::write(&path, "no package").unwrap();
    let arguments = ["package", path.to_str().unwrap(), "--push", "registry.example/hello"];
    insta::assert_snapshot!(run(&arguments, Some(folder.path())).await);
}
