//! `plugin.yaml`: the `KitePlugin` document that an author writes.

mod node;

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray};
use kite_api::{KitePlugin, PluginName};
use node::Node;
use semver::Version;
use serde_json::Value;
use serde_saphyr::Spanned;

/// The file in a plugin's folder.
pub const FILE: &str = "plugin.yaml";
/// Most bytes of the file. The API server takes no object of more than about 1.5 MiB.
pub(crate) const MAX_SIZE: u64 = 1024 * 1024;
const API_VERSION: &str = "kite.dev/v1alpha1";
const KIND: &str = "KitePlugin";
/// Fields of the document's root, and of its `metadata`, that an author may write.
const ROOT: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];
const METADATA: [&str; 3] = ["name", "labels", "annotations"];

/// Why a `plugin.yaml` is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("failed to read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to read {path}: it has more than {MAX_SIZE} bytes")]
    TooLarge { path: PathBuf },
    #[error("failed to parse the document")]
    Parse(#[source] serde_saphyr::Error),
    #[error("failed to accept the document: another begins on line {line}; give each a file of its own")]
    SeveralDocuments { line: u64 },
    #[error("failed to accept the document: it is no KitePlugin, since `{field}` is not `{expected}`")]
    OtherKind {
        field: &'static str,
        expected: &'static str,
    },
    #[error(
        "failed to accept the document: line {line}, column {column}: there is no field `{path}`; known here: {known}"
    )]
    UnknownField {
        path: String,
        line: u64,
        column: u64,
        known: String,
    },
    #[error("failed to accept the document: `metadata.name` is absent")]
    NoName,
    #[error("failed to accept the name {name:?}")]
    Name {
        name: String,
        source: kite_api::name::NameError,
    },
    #[error("failed to accept the version {version:?}")]
    Version { version: String, source: semver::Error },
    #[error("failed to write the document")]
    Write(#[source] serde_saphyr::SerializeError),
}

/// A `plugin.yaml` that was accepted.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub name: PluginName,
    pub version: Version,
    document: Node,
}

/// Reads the `plugin.yaml` in `folder`.
pub fn read(folder: &Path) -> Result<Manifest, ManifestError> {
    read_file(&folder.join(FILE))
}

/// Reads a `plugin.yaml` whatever it is called.
pub fn read_file(path: &Path) -> Result<Manifest, ManifestError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_string(&mut text));
    let size = read.map_err(|source| ManifestError::Read {
        path: path.to_owned(),
        source,
    })?;
    if size as u64 > MAX_SIZE {
        return Err(ManifestError::TooLarge { path: path.to_owned() });
    }
    parse(&text)
}

/// Reads the text of a `plugin.yaml`. Refused is also what the API server would drop without a word.
pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
    let document: Node = serde_saphyr::from_str(text).map_err(of_parsing)?;
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        if document.get(field).and_then(Node::text) != Some(expected) {
            return Err(ManifestError::OtherKind { field, expected });
        }
    }
    refuse_unknown_fields(&document)?;
    let plugin: KitePlugin = serde_saphyr::from_str(text).map_err(ManifestError::Parse)?;
    let name = plugin.metadata.name.ok_or(ManifestError::NoName)?;
    let version = plugin.spec.version;
    Ok(Manifest {
        name: PluginName::parse(&name).map_err(|source| ManifestError::Name { name, source })?,
        version: Version::parse(&version).map_err(|source| ManifestError::Version { version, source })?,
        document,
    })
}

impl Manifest {
    /// The spec as its author wrote it.
    pub fn spec(&self) -> Value {
        self.document.get("spec").map_or(Value::Null, Value::from)
    }

    /// The document with `image` as the image of the plugin, and else as its author wrote it, comments aside.
    pub fn with_image(&self, image: &str) -> Result<String, ManifestError> {
        let mut document = self.document.clone();
        document.replace(&["spec", "image"], Node::Text(image.to_owned()));
        // A long text in one line, so that the image can be found by its key.
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        serde_saphyr::to_string_with_options(&document, options).map_err(ManifestError::Write)
    }
}

fn of_parsing(error: serde_saphyr::Error) -> ManifestError {
    match error.without_snippet() {
        serde_saphyr::Error::MultipleDocuments { location, .. } => {
            ManifestError::SeveralDocuments { line: location.line() }
        }
        _ => ManifestError::Parse(error),
    }
}

fn refuse_unknown_fields(document: &Node) -> Result<(), ManifestError> {
    each_key(document, "", &ROOT)?;
    if let Some(metadata) = document.get("metadata") {
        each_key(metadata, "metadata", &METADATA)?;
    }
    let crd = kite_api::crd();
    let schema = crd
        .spec
        .versions
        .iter()
        .find_map(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    let spec = schema.and_then(|schema| schema.properties.as_ref()?.get("spec"));
    match (document.get("spec"), spec) {
        (Some(node), Some(schema)) => walk(node, schema, "spec"),
        _ => Ok(()),
    }
}

/// Refuses the first field that the schema does not have, in the order of the document.
fn walk(node: &Node, schema: &JSONSchemaProps, path: &str) -> Result<(), ManifestError> {
    match (node, &schema.properties, &schema.items) {
        (Node::Map(entries), Some(properties), _) => {
            let known: Vec<&str> = properties.keys().map(String::as_str).collect();
            each_key(node, path, &known)?;
            entries.iter().try_for_each(|(key, value)| {
                properties
                    .get(&key.value)
                    .map_or(Ok(()), |schema| walk(value, schema, &below(path, &key.value)))
            })
        }
        (Node::List(values), _, Some(JSONSchemaPropsOrArray::Schema(schema))) => values
            .iter()
            .enumerate()
            .try_for_each(|(index, value)| walk(value, schema, &format!("{path}[{index}]"))),
        _ => Ok(()),
    }
}

fn each_key(node: &Node, path: &str, known: &[&str]) -> Result<(), ManifestError> {
    let Node::Map(entries) = node else { return Ok(()) };
    match entries.iter().find(|(key, _)| !known.contains(&key.value.as_str())) {
        Some((Spanned { value, referenced, .. }, _)) => Err(ManifestError::UnknownField {
            path: below(path, value),
            line: referenced.line(),
            column: referenced.column(),
            known: known.join(", "),
        }),
        None => Ok(()),
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
apiVersion: kite.dev/v1alpha1
kind: KitePlugin
metadata:
  name: hello # its name
  labels: {a: \"yes\"}
spec:
  version: 0.1.0
  image: hello:0.1.0
  replicas: 2
  permissions:
    - {apiGroups: [\"\"], resources: [pods], verbs: [get, list]}
  resources: {limits: {memory: 64Mi, cpu: 1}}
";

    fn spoilt(from: &str, to: &str) -> ManifestError {
        assert!(GOOD.contains(from));
        parse(&GOOD.replacen(from, to, 1)).unwrap_err()
    }

    #[test]
    fn a_good_document_keeps_all_but_the_image() {
        let manifest = parse(GOOD).unwrap();
        assert_eq!(manifest.name.as_str(), "hello");
        assert_eq!(manifest.version, Version::new(0, 1, 0));
        let image = "registry.example/hello@sha256:00";
        let written = manifest.with_image(image).unwrap();
        insta::assert_snapshot!(written);
        let expected: Value = serde_saphyr::from_str(&GOOD.replace("hello:0.1.0", image)).unwrap();
        assert_eq!(serde_saphyr::from_str::<Value>(&written).unwrap(), expected);
        assert_eq!(parse(&written).unwrap().spec(), expected["spec"]);
    }

    #[test]
    fn a_document_is_refused_for_each_of_its_reasons() {
        assert!(matches!(
            spoilt("kite.dev", "other.dev"),
            ManifestError::OtherKind {
                field: "apiVersion",
                ..
            }
        ));
        assert!(matches!(
            spoilt("KitePlugin", "Pod"),
            ManifestError::OtherKind { field: "kind", .. }
        ));
        assert!(matches!(
            spoilt("  name: hello", "  labels: {}"),
            ManifestError::Parse(_)
        ));
        assert!(matches!(
            spoilt("  name: hello", "  annotations: {}"),
            ManifestError::NoName
        ));
        assert!(matches!(
            spoilt("name: hello", "name: tools"),
            ManifestError::Name { .. }
        ));
        assert!(matches!(spoilt("0.1.0", "1.0.x"), ManifestError::Version { .. }));
        assert!(matches!(spoilt("[get, list]", "[gett]"), ManifestError::Parse(_)));
        assert!(matches!(spoilt("  image: hello:0.1.0\n", ""), ManifestError::Parse(_)));
        assert!(matches!(spoilt("kind:", "kind: ["), ManifestError::Parse(_)));
        assert!(matches!(
            spoilt("spec:", "---\nspec:"),
            ManifestError::SeveralDocuments { line: 7 }
        ));
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_place() {
        for (from, to, path, line, column) in [
            ("kind:", "status: {}\nkind:", "status", 2, 1),
            ("  labels:", "  namespace: a\n  labels:", "metadata.namespace", 5, 3),
            ("  replicas:", "  replica: 1\n  replicas:", "spec.replica", 9, 3),
            ("verbs:", "verb: [], verbs:", "spec.permissions[0].verb", 11, 44),
        ] {
            let ManifestError::UnknownField {
                path: found,
                line: l,
                column: c,
                ..
            } = spoilt(from, to)
            else {
                panic!("{path} was not refused as unknown");
            };
            assert_eq!((found.as_str(), l, c), (path, line, column));
        }
    }

    #[test]
    fn a_file_that_is_missing_or_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()).unwrap_err(), ManifestError::Read { .. }));
        std::fs::write(folder.path().join(FILE), vec![b'#'; 1024 * 1024 + 1]).unwrap();
        assert!(matches!(
            read(folder.path()).unwrap_err(),
            ManifestError::TooLarge { .. }
        ));
    }
}
