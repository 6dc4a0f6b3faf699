//! `plugin.yaml`: the `KitePlugin` document that an author writes.

mod beyond;
mod complaint;
mod document;
mod node;
mod rules;
mod schema;
mod source;
mod warnings;
mod yaml;

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kite_api::{KitePlugin, PluginName, boundary::Places};
use node::Node;
use semver::Version;
use serde_json::Value;

pub use self::complaint::{Complaint, Complaints, Severity};
use self::{complaint::Desk, rules::Rules, schema::Walk, source::Source};

/// The file in a plugin's folder.
pub const FILE: &str = "plugin.yaml";
/// Most bytes of the file. The API server takes no object of more than about 1.5 MiB.
pub(crate) const MAX_SIZE: u64 = 1024 * 1024;
/// How much of a file that is too large is shown.
const BEGINNING: usize = 1024;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("failed to read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to accept the document: it has {}", errors(.0.errors()))]
    Refused(Box<Complaints>),
    #[error("failed to write the document")]
    Write(#[source] serde_saphyr::SerializeError),
}

fn errors(count: usize) -> String {
    format!("{count} error{}", if count == 1 { "" } else { "s" })
}

/// A `plugin.yaml` that was accepted.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub name: PluginName,
    pub version: Version,
    plugin: KitePlugin,
    document: Node,
}

/// What became of a document.
#[derive(Debug)]
pub struct Checked {
    /// The document, if nothing refuses it.
    pub manifest: Option<Manifest>,
    /// Errors, or of a document that is accepted warnings.
    pub complaints: Complaints,
}

/// Reads the `plugin.yaml` in `folder`.
pub fn read(folder: &Path) -> Result<Manifest, ManifestError> {
    read_file(&folder.join(FILE))
}

/// Reads a `plugin.yaml` whatever it is called.
pub fn read_file(path: &Path) -> Result<Manifest, ManifestError> {
    accepted(check_bytes(&path.display().to_string(), bytes(path)?, None))
}

/// Reads the text of a `plugin.yaml`. Refused is also what the API server would drop without a word.
pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
    accepted(check_text(Source::new(FILE.to_owned(), text.to_owned()), None))
}

/// Checks the file, also against what nobody may grant where the namespaces of plugins and system are these, and warns.
pub fn check_file(path: &Path, places: Places<'_>) -> Result<Checked, ManifestError> {
    Ok(check_bytes(&path.display().to_string(), bytes(path)?, Some(places)))
}

/// Checks the content of a file that is called `name`, as [`check_file`] does.
pub fn check(name: &str, content: Vec<u8>, places: Places<'_>) -> Checked {
    check_bytes(name, content, Some(places))
}

fn accepted(checked: Checked) -> Result<Manifest, ManifestError> {
    let Checked { manifest, complaints } = checked;
    manifest.ok_or_else(|| ManifestError::Refused(Box::new(complaints)))
}

/// The content of the file, or of one that is too large a byte more than it may have.
fn bytes(path: &Path) -> Result<Vec<u8>, ManifestError> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut content));
    match read {
        Ok(_) => Ok(content),
        Err(source) => Err(ManifestError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn check_bytes(name: &str, mut content: Vec<u8>, places: Option<Places<'_>>) -> Checked {
    let mut desk = Desk::default();
    if content.len() as u64 > MAX_SIZE {
        content.truncate(BEGINNING);
        let advice = "no object of the API server can be this large: keep large texts elsewhere";
        let message = format!("the document has more than {MAX_SIZE} bytes");
        desk.error("", &(0..0), message, Some(advice.to_owned()));
    } else {
        match String::from_utf8(content) {
            Ok(text) => return check_text(Source::new(name.to_owned(), text), places),
            Err(error) => {
                let start = error.utf8_error().valid_up_to();
                content = error.into_bytes();
                let message = String::from("this is not UTF-8");
                desk.error(
                    "",
                    &(start..start),
                    message,
                    Some(String::from("save the file as UTF-8")),
                );
            }
        }
    }
    let text = String::from_utf8_lossy(&content).into_owned();
    Checked {
        manifest: None,
        complaints: desk.complaints(Source::new(name.to_owned(), text)),
    }
}

fn check_text(source: Source, places: Option<Places<'_>>) -> Checked {
    let mut desk = Desk::default();
    let document = yaml::parse(&source, &mut desk);
    let manifest = document.and_then(|document| judged(&source, document, places, &mut desk));
    Checked {
        manifest: manifest.filter(|_| !desk.has_errors()),
        complaints: desk.complaints(source),
    }
}

/// The document, as far as it can be understood.
fn judged(source: &Source, document: Node, places: Option<Places<'_>>, desk: &mut Desk) -> Option<Manifest> {
    let schema = SCHEMA.as_ref()?;
    let mut walk = Walk {
        source,
        rules: Rules::new(),
        desk,
        spec: schema.properties.as_ref()?.get("spec")?,
    };
    document::check(&mut walk, &document, schema);
    if desk.has_errors() {
        return None;
    }
    let plugin = match serde_json::from_value::<KitePlugin>(without_nulls(Value::from(&document))) {
        Ok(plugin) => plugin,
        Err(error) => {
            // The types are what the schema is made from, so that they should not differ.
            let advice = Some(String::from("write it as docs/reference/kiteplugin.md says"));
            desk.error("", &document.mark(), error.to_string(), advice);
            return None;
        }
    };
    beyond::check(&document, &plugin, desk);
    if let Some(places) = places {
        beyond::check_boundary(&document, &plugin, places, desk);
        warnings::check(&document, &plugin, places.plugins, desk);
    }
    Some(Manifest {
        name: PluginName::parse(plugin.metadata.name.as_deref()?).ok()?,
        version: Version::parse(&plugin.spec.version).ok()?,
        plugin,
        document,
    })
}

/// The schema of the version that is served.
static SCHEMA: LazyLock<Option<JSONSchemaProps>> = LazyLock::new(|| {
    let mut versions = kite_api::crd().spec.versions.into_iter();
    versions.find_map(|version| version.schema?.open_api_v3_schema)
});

/// As the API server reads it: a field that is null is absent, but in what the schema leaves open.
fn without_nulls(value: Value) -> Value {
    const FREE: [&str; 2] = ["settings", "settingsSchema"];
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            let fields = fields.map(|(key, value)| {
                let value = if FREE.contains(&key.as_str()) {
                    value
                } else {
                    without_nulls(value)
                };
                (key, value)
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

impl Manifest {
    /// The document as the API types have it.
    pub fn plugin(&self) -> &KitePlugin {
        &self.plugin
    }

    /// The spec as its author wrote it.
    pub fn spec(&self) -> Value {
        self.document.get("spec").map_or(Value::Null, Value::from)
    }

    /// The document with `image` as the image of the plugin, and else as its author wrote it, comments aside.
    pub fn with_image(&self, image: &str) -> Result<String, ManifestError> {
        let mut document = self.document.clone();
        document.replace(&["spec", "image"], Node::text_node(image));
        // A long text in one line, so that the image can be found by its key.
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        serde_saphyr::to_string_with_options(&document, options).map_err(ManifestError::Write)
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

    #[test]
    fn a_good_document_keeps_all_but_the_image() {
        let manifest = parse(GOOD).unwrap();
        assert_eq!(manifest.name.as_str(), "hello");
        assert_eq!(manifest.version, Version::new(0, 1, 0));
        let image = "registry.example/hello@sha256:0000000000000000000000000000000000000000000000000000000000000000";
        let written = manifest.with_image(image).unwrap();
        insta::assert_snapshot!(written);
        let expected: Value = serde_saphyr::from_str(&GOOD.replace("hello:0.1.0", image)).unwrap();
        assert_eq!(serde_saphyr::from_str::<Value>(&written).unwrap(), expected);
        assert_eq!(parse(&written).unwrap().spec(), expected["spec"]);
    }

    #[test]
    fn a_document_is_refused_with_the_place_of_each_fault() {
        let spoilt = GOOD
            .replace("kind:", "kid:")
            .replace("version: 0.1.0", "version: 1.20")
            .replace("verbs:", "verb:");
        let Err(ManifestError::Refused(complaints)) = parse(&spoilt) else {
            panic!("it was accepted");
        };
        let told: Vec<(usize, usize, &str)> = complaints
            .told()
            .iter()
            .map(|complaint| (complaint.line, complaint.column, complaint.path.as_str()))
            .collect();
        let expected = [
            (1, 1, "kind"),
            (2, 1, "kid"),
            (7, 12, "spec.version"),
            (11, 7, "spec.permissions[0]"),
            (11, 44, "spec.permissions[0].verb"),
        ];
        assert_eq!(told, expected);
        assert_eq!(complaints.errors(), 5);
    }

    #[test]
    fn a_file_that_is_missing_is_not_read_and_one_that_is_too_large_or_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()).unwrap_err(), ManifestError::Read { .. }));
        for content in [vec![b'#'; 1024 * 1024 + 1], vec![b'a', b'\n', 0xff]] {
            std::fs::write(folder.path().join(FILE), content).unwrap();
            assert!(matches!(read(folder.path()).unwrap_err(), ManifestError::Refused(_)));
        }
    }
}
