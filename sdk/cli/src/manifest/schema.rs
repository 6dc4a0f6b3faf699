//! The document against the schema of the CRD: what the API server would say, at the place, and with what to write instead.

mod scalar;

use std::{collections::HashMap, ops::Range};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

use super::{
    complaint::{Desk, nearest, shown},
    node::{Content, Key, Node},
    rules::{Broken, Rules, Step},
    source::Source,
    yaml::below,
};

/// Most names that an advice lists.
const LISTED: usize = 40;

/// One walk over a document.
pub(super) struct Walk<'a> {
    pub(super) source: &'a Source,
    pub(super) rules: Rules,
    pub(super) desk: &'a mut Desk,
    /// The whole schema of the spec, to find where a field belongs.
    pub(super) spec: &'a JSONSchemaProps,
}

/// A value and where it stands.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) path: &'a str,
    /// What is pointed at where the value as a whole is meant.
    pub(super) mark: &'a Range<usize>,
    pub(super) node: &'a Node,
}

impl Walk<'_> {
    /// Checks a value and all that is in it, and says whether the API server could evaluate rules about it.
    pub(super) fn check(&mut self, at: At<'_>, schema: &JSONSchemaProps) -> bool {
        let is_sound = match schema.type_.as_deref() {
            Some("object") => self.object(at, schema),
            Some("array") => self.list(at, schema),
            _ => self.scalar(at, schema),
        };
        if is_sound && let Some(rules) = &schema.x_kubernetes_validations {
            for broken in self.rules.broken(rules, at.node) {
                self.tell_broken(at, broken);
            }
        }
        is_sound
    }

    /// Tells of a rule that is broken. Of a scalar the rule says what to write, of more it says all.
    pub(super) fn tell_broken(&mut self, at: At<'_>, broken: Broken) {
        let (path, mark) = follow(at, &broken.steps);
        let is_scalar = !matches!(at.node.content, Content::List(_) | Content::Map(_));
        if is_scalar {
            let mark = at.node.mark();
            let raw = shown(self.source.raw(&mark));
            self.desk
                .error(&path, &mark, format!("`{raw}` cannot stand here"), Some(broken.message));
        } else {
            self.desk.error(&path, &mark, broken.message, None);
        }
    }

    fn object(&mut self, at: At<'_>, schema: &JSONSchemaProps) -> bool {
        let Content::Map(entries) = &at.node.content else {
            self.wrong_type(at, schema);
            return false;
        };
        let before = self.is_sound(at, schema, entries.len());
        let empty = std::collections::BTreeMap::new();
        let properties = schema.properties.as_ref().unwrap_or(&empty);
        let is_free = schema.x_kubernetes_preserve_unknown_fields == Some(true);
        let mut is_sound = before;
        for (key, value) in entries {
            let path = below(at.path, &key.name);
            let Some(inner) = properties.get(&key.name).or_else(|| additional(schema)) else {
                if !is_free {
                    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                    self.unknown(at.path, key, &known);
                }
                continue;
            };
            if value.is_null() {
                self.without_value(&path, key);
                continue;
            }
            let at = At {
                path: &path,
                mark: &key.span,
                node: value,
            };
            is_sound &= self.check(at, inner);
        }
        for field in schema.required.iter().flatten() {
            let is_there = at.node.get(field).is_some_and(|value| !value.is_null());
            if !is_there {
                let message = format!("the field `{field}` is missing");
                let advice = properties.get(field).and_then(|inner| inner.description.as_deref());
                let advice = advice.map(|text| format!("write `{field}: …`: {}", first_sentence(text)));
                self.desk.error(at.path, at.mark, message, advice);
                is_sound = false;
            }
        }
        is_sound
    }

    fn is_sound(&mut self, at: At<'_>, schema: &JSONSchemaProps, entries: usize) -> bool {
        match schema.max_properties.and_then(|most| usize::try_from(most).ok()) {
            Some(most) if entries > most => {
                let message = format!("it has {entries} entries");
                self.desk
                    .error(at.path, at.mark, message, Some(format!("write {most} at most")));
                false
            }
            _ => true,
        }
    }

    /// The API server drops a field without a value, which is seldom what somebody means who writes its name.
    fn without_value(&mut self, path: &str, key: &Key) {
        self.desk.warning(
            path,
            &key.span,
            String::from("it has no value, and counts as absent"),
            Some(format!("write what belongs to `{}`, or remove it", key.name)),
        );
    }

    /// Complains about a field that does not exist, and says which one may be meant.
    pub(super) fn unknown(&mut self, path: &str, key: &Key, known: &[&str]) {
        let name = shown(&key.name);
        let advice = nearest(&key.name, known.iter().copied())
            .map(|near| format!("did you mean `{near}`?"))
            .or_else(|| self.elsewhere(&key.name))
            .unwrap_or_else(|| {
                let list: Vec<&str> = known.iter().copied().take(LISTED).collect();
                format!("known here: {}", list.join(", "))
            });
        self.desk.error(
            &below(path, &key.name),
            &key.span,
            format!("there is no field `{name}` here"),
            Some(advice),
        );
    }

    /// Where in the spec a field of this name belongs, if that is in few places.
    fn elsewhere(&self, name: &str) -> Option<String> {
        let mut places = Vec::new();
        find(self.spec, "spec", name, &mut places);
        (1..=3)
            .contains(&places.len())
            .then(|| format!("it belongs to {}", places.join(" or ")))
    }

    fn list(&mut self, at: At<'_>, schema: &JSONSchemaProps) -> bool {
        let Content::List(items) = &at.node.content else {
            self.wrong_type(at, schema);
            return false;
        };
        let number = |bound: Option<i64>| bound.and_then(|bound| usize::try_from(bound).ok());
        let (least, most) = (
            number(schema.min_items).unwrap_or(0),
            number(schema.max_items).unwrap_or(usize::MAX),
        );
        let mut is_sound = true;
        if items.len() < least {
            let advice = format!("write {least} at least, or leave the field out where it may be absent");
            self.desk.error(
                at.path,
                at.mark,
                format!("it has {} entries", items.len()),
                Some(advice),
            );
            is_sound = false;
        }
        if items.len() > most {
            let message = format!("it has {} entries", items.len());
            self.desk
                .error(at.path, at.mark, message, Some(format!("write {most} at most")));
            is_sound = false;
        }
        if let Some(JSONSchemaPropsOrArray::Schema(inner)) = &schema.items {
            for (index, item) in items.iter().enumerate().take(most) {
                let path = format!("{}[{index}]", at.path);
                let mark = item.mark();
                let at = At {
                    path: &path,
                    mark: &mark,
                    node: item,
                };
                is_sound &= self.check(at, inner);
            }
        }
        self.doubles(at, items, schema);
        is_sound
    }

    /// Complains about items of a set, or of a map by keys, of which there was one before.
    fn doubles(&mut self, at: At<'_>, items: &[Node], schema: &JSONSchemaProps) {
        let keys = match (
            schema.x_kubernetes_list_type.as_deref(),
            &schema.x_kubernetes_list_map_keys,
        ) {
            (Some("set"), _) => None,
            (Some("map"), Some(keys)) => Some(keys),
            _ => return,
        };
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            let identity: Option<Vec<Value>> = match keys {
                None => Some(vec![Value::from(item)]),
                Some(keys) => keys.iter().map(|key| item.get(key).map(Value::from)).collect(),
            };
            let Some(identity) = identity else { continue };
            let identity = Value::from(identity).to_string();
            let Some(first) = seen.get(&identity) else {
                seen.insert(identity, index);
                continue;
            };
            let (what, mark) = match keys {
                None => (String::from("it"), item.mark()),
                Some(keys) => {
                    let mark = keys
                        .first()
                        .and_then(|key| item.get(key))
                        .map_or(item.mark(), Node::mark);
                    let names: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
                    (format!("the same {}", names.join(" and ")), mark)
                }
            };
            let message = format!("{what} stands in {}[{first}] already", at.path);
            let path = format!("{}[{index}]", at.path);
            self.desk.error(
                &path,
                &mark,
                message,
                Some(String::from("keep one of the two, or put them into one")),
            );
        }
    }
}

/// The schema of fields that are not named.
fn additional(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(inner)) => Some(inner),
        Some(JSONSchemaPropsOrBool::Bool(_)) | None => None,
    }
}

/// The path and the place that steps lead to.
fn follow(at: At<'_>, steps: &[Step]) -> (String, Range<usize>) {
    let (mut path, mut mark, mut node) = (at.path.to_owned(), at.mark.clone(), at.node);
    for step in steps {
        match step {
            Step::Field(name) => {
                let Some((key, value)) = node.entry(name) else { break };
                path = below(&path, name);
                mark = if value.text().is_some() {
                    value.mark()
                } else {
                    key.span.clone()
                };
                node = value;
            }
            Step::Item(index) => {
                let Some(item) = node.items().get(*index) else { break };
                path = format!("{path}[{index}]");
                mark = item.mark();
                node = item;
            }
        }
    }
    (path, mark)
}

/// Adds the path of each value that has a field of this name.
fn find(schema: &JSONSchemaProps, path: &str, name: &str, places: &mut Vec<String>) {
    for (field, inner) in schema.properties.iter().flatten() {
        if field == name {
            places.push(path.to_owned());
        }
        find(inner, &below(path, field), name, places);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        find(items, &format!("{path}[]"), name, places);
    }
}

fn first_sentence(text: &str) -> String {
    let text = text.replace('\n', " ");
    let end = text.find(". ").unwrap_or(text.len());
    let sentence = text.get(..end).unwrap_or_default();
    sentence.trim_end_matches('.').to_owned()
}
