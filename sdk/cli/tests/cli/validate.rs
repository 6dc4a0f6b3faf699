//! What `validate` writes, whole: for typical mistakes of authors, each a file in `manifests`, and for documents that are valid.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::output::run;

const DOCUMENT: &str = "\
apiVersion: kite.dev/v1alpha1
kind: KitePlugin
metadata:
  name: hello
spec:
  version: 0.1.0
  image: registry.example/hello:0.1.0
  description: Greets
  permissions:
    - {apiGroups: [\"\"], resources: [pods], verbs: [get, list]}
";

async fn validate(document: impl AsRef<[u8]>, options: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("plugin.yaml"), document).unwrap();
    let path = folder.path().to_str().unwrap();
    run(&[&["validate", path], options].concat(), Some(folder.path())).await
}

fn manifests() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/manifests");
    let mut manifests: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    manifests.sort();
    manifests
}

#[tokio::test]
async fn each_mistake_is_told_with_its_place_and_what_to_write() {
    let manifests = manifests();
    assert!(manifests.len() >= 25, "{}", manifests.len());
    for (name, content) in manifests {
        let text = validate(&content, &[]).await;
        assert!(text.starts_with("Failure\n"), "{name}: {text}");
        insta::assert_snapshot!(format!("manifest__{name}"), text);
    }
}

/// Each complaint about a mistake stands in the document, and where one is told that is in a field, the field has a path.
#[tokio::test]
async fn each_complaint_about_a_mistake_has_a_place_inside_the_document() {
    for (name, content) in manifests() {
        let text = validate(&content, &["--output", "json"]).await;
        let data = text.split("--- stdout\n").nth(1).unwrap();
        let data = data.split("--- stderr").next().unwrap();
        let answer: Value = serde_json::from_str(data).unwrap();
        let document = String::from_utf8(content).unwrap();
        let lines: Vec<&str> = document.split('\n').collect();
        let complaints = answer["complaints"].as_array().unwrap();
        assert!(!complaints.is_empty(), "{name}");
        for complaint in complaints {
            let number = |field: &str| usize::try_from(complaint[field].as_u64().unwrap()).unwrap();
            let (line, column) = (number("line"), number("column"));
            let length = lines[line - 1].chars().count();
            assert!((1..=length + 1).contains(&column), "{name}: {complaint}");
        }
    }
}

#[tokio::test]
async fn help() {
    insta::assert_snapshot!(run(&["validate", "--help"], None).await);
}

#[tokio::test]
async fn unknown_argument() {
    insta::assert_snapshot!(run(&["validate", "--fix"], None).await);
}

#[tokio::test]
async fn missing_file() {
    insta::assert_snapshot!(run(&["validate", "/nowhere/plugin.yaml"], None).await);
}

#[tokio::test]
async fn a_valid_document() {
    insta::assert_snapshot!(validate(DOCUMENT, &[]).await);
}

#[tokio::test]
async fn a_valid_document_by_the_name_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.yaml");
    fs::write(&file, DOCUMENT).unwrap();
    let text = run(&["validate", file.to_str().unwrap()], Some(folder.path())).await;
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_valid_document_as_json() {
    insta::assert_snapshot!(validate(DOCUMENT, &["-o", "json"]).await);
}

#[tokio::test]
async fn a_document_with_two_mistakes_as_json() {
    let document = DOCUMENT.replace("get,", "gett,").replace("version:", "verion:");
    insta::assert_snapshot!(validate(document, &["--output", "json"]).await);
}

#[tokio::test]
async fn a_valid_document_with_every_warning() {
    let document = DOCUMENT.replace("hello:0.1.0", "hello").replace(
        "    - {",
        "    - {apiGroups: [\"\"], resources: [secrets], verbs: [get], namespaces: [shop], acknowledgeDangerous: true}\n    - {",
    ) + "  enabled:
  routes:
    - path: /hello
    - {path: /nodes, requires: [{resource: nodes}]}
  tools:
    - {name: hello}
  frontend:
    remoteEntry: remoteEntry.js
    injections: [{slot: moon, module: ./Moon}]
";
    insta::assert_snapshot!(validate(document, &[]).await);
}

#[tokio::test]
async fn a_byte_order_mark_and_foreign_line_ends_are_no_mistake() {
    let document = format!("\u{feff}{}", DOCUMENT.replace('\n', "\r\n"));
    assert_eq!(validate(document, &[]).await, validate(DOCUMENT, &[]).await);
}

#[tokio::test]
async fn anchors_and_merges_count_as_what_they_stand_for() {
    let document = DOCUMENT.replace(
        "    - {apiGroups: [\"\"], resources: [pods], verbs: [get, list]}\n",
        "    - &pods {apiGroups: [\"\"], resources: [pods], verbs: [get, list]}\n    - {<<: *pods, namespaces: [shop], verbs: [gett]}\n",
    );
    insta::assert_snapshot!(validate(document, &[]).await);
}

#[tokio::test]
async fn a_document_that_is_no_text() {
    insta::assert_snapshot!(validate([DOCUMENT.as_bytes(), b"  author: \xff\n"].concat(), &[]).await);
}

#[tokio::test]
async fn a_document_that_is_too_large() {
    let document = DOCUMENT.to_owned() + "#" + &"x".repeat(1024 * 1024);
    insta::assert_snapshot!(validate(document, &[]).await);
}

#[tokio::test]
async fn namespaces_of_other_names() {
    let document = DOCUMENT.replace("verbs: [get, list]", "verbs: [get], namespaces: [kite-system, keys]");
    let options = ["--plugins-namespace", "p", "--system-namespace", "keys"];
    insta::assert_snapshot!(validate(document, &options).await);
}

/// The code blocks of the page in this language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let parts = page.split("```").skip(1).step_by(2);
    let of_language = parts.filter_map(|part| part.strip_prefix(language)?.strip_prefix('\n'));
    of_language.collect()
}

#[tokio::test]
async fn the_page_shows_what_is_written() {
    let page = include_str!("../../../../docs/validate.md");
    let [document, mended] = blocks(page, "yaml")[..] else {
        panic!("two documents")
    };
    let [refused, accepted] = blocks(page, "text")[..] else {
        panic!("two answers")
    };
    for (document, status, shown) in [(document, "Failure", refused), (mended, "Success", accepted)] {
        let text = validate(document, &[]).await.replace("DIR/", "");
        let (found, wrote) = text.split_once("\n--- stdout\n").unwrap();
        let (data, talk) = wrote.split_once("--- stderr\n").unwrap();
        assert_eq!(found, status);
        assert_eq!(format!("{data}{talk}"), shown);
    }
    let text = validate(document, &["--output", "json"]).await.replace("DIR/", "");
    let data = text.split("--- stdout\n").nth(1).unwrap();
    let found: Value = serde_json::from_str(data.split("--- stderr").next().unwrap()).unwrap();
    let shown: Value = serde_json::from_str(blocks(page, "json")[0]).unwrap();
    assert_eq!(found, shown);
    assert_eq!(found["valid"], json!(false));
}
