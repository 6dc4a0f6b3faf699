//! The document as a whole: that it is a `KitePlugin`, and its metadata.

use std::{ops::Range, sync::LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use regex::Regex;

use super::{
    complaint::shown,
    node::{Content, Node},
    schema::{At, Walk},
    yaml::below,
};

const API_VERSION: &str = "kite.dev/v1alpha1";
const KIND: &str = "KitePlugin";
/// Fields of the document's root, and of its `metadata`, that an author may write.
const ROOT: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];
const METADATA: [&str; 3] = ["name", "labels", "annotations"];
/// Most bytes of all annotations together, as the API server has it.
const MOST_ANNOTATIONS: usize = 256 * 1024;

/// Checks the document; `schema` is the whole schema of the CRD.
pub(super) fn check(walk: &mut Walk<'_>, document: &Node, schema: &JSONSchemaProps) {
    let mark = document.mark();
    if !matches!(document.content, Content::Map(_)) {
        let advice = format!("begin with `apiVersion: {API_VERSION}` and `kind: {KIND}`");
        walk.desk.error(
            "",
            &mark,
            String::from("the document is no map (`key: value`)"),
            Some(advice),
        );
        return;
    }
    if !is_of_kind(walk, document, &mark) {
        return;
    }
    unknown_at_the_root(walk, document);
    let is_named = metadata(walk, document, &mark);
    let Some(spec_schema) = schema.properties.as_ref().and_then(|fields| fields.get("spec")) else {
        return;
    };
    let Some((key, spec)) = document.entry("spec").filter(|(_, spec)| !spec.is_null()) else {
        let advice = String::from("write `spec:` with `version` and `image` below it");
        walk.desk
            .error("spec", &mark, String::from("the field `spec` is missing"), Some(advice));
        return;
    };
    let at = At {
        path: "spec",
        mark: &key.span,
        node: spec,
    };
    let is_sound = walk.check(at, spec_schema);
    if is_named && is_sound {
        let at = At {
            path: "",
            mark: &mark,
            node: document,
        };
        let rules = schema.x_kubernetes_validations.as_deref().unwrap_or_default();
        for broken in walk.rules.broken(rules, document) {
            walk.tell_broken(at, broken);
        }
    }
}

/// Whether what the document says of its kind is absent at most: about another kind there is nothing to say.
fn is_of_kind(walk: &mut Walk<'_>, document: &Node, mark: &Range<usize>) -> bool {
    let mut is_other = false;
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let advice = Some(format!("write `{field}: {expected}`"));
        match document.get(field).filter(|value| !value.is_null()) {
            None => walk
                .desk
                .error(field, mark, format!("the field `{field}` is missing"), advice),
            Some(value) if value.text() == Some(expected) => {}
            Some(value) => {
                is_other = true;
                let raw = shown(walk.source.raw(&value.mark()));
                walk.desk
                    .error(field, &value.mark(), format!("`{raw}` is not that of a {KIND}"), advice);
            }
        }
    }
    !is_other
}

fn unknown_at_the_root(walk: &mut Walk<'_>, document: &Node) {
    for (key, _) in document.entries() {
        if key.name == "status" {
            walk.desk.error(
                "status",
                &key.span,
                String::from("the status of a plugin is the operator's to write"),
                Some(String::from("remove it")),
            );
        } else if !ROOT.contains(&key.name.as_str()) {
            walk.unknown("", key, &ROOT);
        }
    }
}

/// Checks the metadata, and says whether there is a name that rules can be asked about.
fn metadata(walk: &mut Walk<'_>, document: &Node, mark: &Range<usize>) -> bool {
    let name = || Some(String::from("write `metadata: {name: my-plugin}`"));
    let Some((key, metadata)) = document.entry("metadata").filter(|(_, value)| !value.is_null()) else {
        walk.desk.error(
            "metadata",
            mark,
            String::from("the field `metadata` is missing"),
            name(),
        );
        return false;
    };
    if !matches!(metadata.content, Content::Map(_)) {
        let message = String::from("this is no map (`key: value`)");
        walk.desk.error("metadata", &metadata.mark(), message, name());
        return false;
    }
    for (key, value) in metadata.entries() {
        match key.name.as_str() {
            "labels" => texts(walk, "metadata.labels", value, true),
            "annotations" => texts(walk, "metadata.annotations", value, false),
            "namespace" => walk.desk.error(
                "metadata.namespace",
                &key.span,
                format!("a {KIND} is in no namespace"),
                Some(String::from(
                    "remove it; the plugin's pods run in the plugins' namespace",
                )),
            ),
            other if METADATA.contains(&other) => {}
            _ => walk.unknown("metadata", key, &METADATA),
        }
    }
    match metadata.get("name").filter(|value| !value.is_null()) {
        Some(value) if value.text().is_some() => true,
        Some(value) => {
            let raw = shown(walk.source.raw(&value.mark()));
            walk.desk.error(
                "metadata.name",
                &value.mark(),
                format!("`{raw}` is not a text in YAML"),
                Some(String::from("write the plugin's name; one of digits only in quotes")),
            );
            false
        }
        None => {
            walk.desk.error(
                "metadata",
                &key.span,
                String::from("the field `name` is missing"),
                name(),
            );
            false
        }
    }
}

/// Checks labels, or annotations.
fn texts(walk: &mut Walk<'_>, path: &str, node: &Node, are_labels: bool) {
    if node.is_null() {
        return;
    }
    let Content::Map(entries) = &node.content else {
        let message = String::from("this is no map (`key: value`)");
        walk.desk.error(
            path,
            &node.mark(),
            message,
            Some(String::from("write `key: \"value\"` below it")),
        );
        return;
    };
    let mut size = 0;
    for (key, value) in entries {
        let path = below(path, &key.name);
        if !is_qualified_name(&key.name, are_labels) {
            let advice = "write a name of at most 63 letters, digits, '-', '_' and '.', which may have a domain before it, as in example.com/team";
            let message = format!("`{}` cannot be a key here", shown(&key.name));
            walk.desk.error(&path, &key.span, message, Some(advice.to_owned()));
        }
        let raw = shown(walk.source.raw(&value.mark()));
        match &value.content {
            Content::Text(text) => {
                size += key.name.len() + text.len();
                if are_labels && !is_label_value(text) {
                    let advice = "write at most 63 letters, digits, '-', '_' and '.', a letter or digit first and last";
                    let message = format!("`{}` cannot be the value of a label", shown(text));
                    walk.desk.error(&path, &value.mark(), message, Some(advice.to_owned()));
                }
            }
            // The API server takes a null for an empty text.
            Content::Null => {}
            _ => walk.desk.error(
                &path,
                &value.mark(),
                format!("`{raw}` is not a text in YAML"),
                Some(format!("put it into quotes: \"{raw}\"")),
            ),
        }
    }
    if !are_labels && size > MOST_ANNOTATIONS {
        let message = format!("the annotations have {size} bytes");
        let advice = format!("write {MOST_ANNOTATIONS} at most");
        walk.desk.error(path, &node.mark(), message, Some(advice));
    }
}

/// The part of a label's key behind its domain, and a label's value that is not empty.
static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$").ok());
static DOMAIN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$").ok());

fn fits(pattern: &LazyLock<Option<Regex>>, text: &str, most: usize) -> bool {
    text.len() <= most && pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

/// Of annotations, case does not matter.
fn is_qualified_name(key: &str, is_label: bool) -> bool {
    let key = if is_label { key.to_owned() } else { key.to_lowercase() };
    match key.split_once('/') {
        Some((domain, name)) => fits(&DOMAIN, domain, 253) && fits(&NAME, name, 63),
        None => fits(&NAME, &key, 63),
    }
}

fn is_label_value(value: &str) -> bool {
    value.is_empty() || fits(&NAME, value, 63)
}
