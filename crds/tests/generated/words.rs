//! A schema in words: what type it is, what bounds it has, and with which sentences it is refused.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};

use super::markdown::{cell, code};

/// The object with fields of its own that `schema` is, or is a list or a map of.
pub(super) fn object(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    if schema.properties.is_some() {
        return Some(schema);
    }
    items(schema).or_else(|| values(schema)).and_then(object)
}

/// The schema of a list's entries.
pub(super) fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(items) => Some(items),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

/// The schema of a map's values.
fn values(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.additional_properties.as_ref()? {
        JSONSchemaPropsOrBool::Schema(values) => Some(values),
        JSONSchemaPropsOrBool::Bool(_) => None,
    }
}

/// The type of `schema`.
pub(super) fn kind(schema: &JSONSchemaProps) -> String {
    if let Some(items) = items(schema) {
        let of = many(kind(items));
        return match schema.x_kubernetes_list_type.as_deref() {
            Some("map") => {
                let keys = schema.x_kubernetes_list_map_keys.iter().flatten();
                let keys: Vec<String> = keys.map(|key| code(key)).collect();
                format!("list of {of} by {}", keys.join(" and "))
            }
            Some("set") => format!("set of {of}"),
            _ => format!("list of {of}"),
        };
    }
    if let Some(values) = values(schema) {
        return format!("map of strings to {}", many(kind(values)));
    }
    let name = match (schema.type_.as_deref(), schema.format.as_deref()) {
        _ if schema.x_kubernetes_int_or_string == Some(true) => "integer or string",
        (Some("object"), _) if schema.properties.is_none() => "any object",
        (Some("string"), Some("date-time")) => "time",
        (Some(name), _) => name,
        (None, _) => "anything",
    };
    name.to_owned()
}

/// The plural of a type's name, where it is one word.
fn many(kind: String) -> String {
    if kind.contains(' ') { kind } else { kind + "s" }
}

/// The bounds of `schema`, as a cell of a table.
pub(super) fn bounds(schema: &JSONSchemaProps) -> String {
    let mut all = Vec::new();
    if let Some(values) = &schema.enum_ {
        let values: Vec<String> = values.iter().map(|value| code(&plain(&value.0))).collect();
        all.push(values.join(", "));
    }
    all.extend(range(whole(schema.minimum), whole(schema.maximum), ""));
    all.extend(range(schema.min_length, schema.max_length, " characters"));
    all.extend(range(schema.min_items, schema.max_items, " entries"));
    all.extend(range(schema.min_properties, schema.max_properties, " entries"));
    all.extend(form(schema));
    if let Some(default) = &schema.default {
        all.push(format!("default {}", code(&plain(&default.0))));
    }
    if let Some(each) = items(schema).or_else(|| values(schema)) {
        // What an entry with fields of its own is bounded by stands where its fields stand.
        let each = bounds(each);
        if !each.is_empty() {
            all.push(format!("each: {each}"));
        }
    }
    all.join("; ")
}

/// The rules of `schema`, and of what it is a list or a map of, in the sentences with which they refuse; but those that say
/// what it looks like, which stand among its bounds.
pub(super) fn refusals(schema: &JSONSchemaProps) -> Vec<String> {
    let mut all: Vec<String> = rules(schema).filter(|rule| !is_form(rule)).map(sentence).collect();
    let entry = items(schema).or_else(|| values(schema));
    all.extend(
        entry
            .filter(|entry| entry.properties.is_none())
            .into_iter()
            .flat_map(refusals),
    );
    all
}

fn rules(schema: &JSONSchemaProps) -> impl Iterator<Item = &ValidationRule> {
    schema.x_kubernetes_validations.iter().flatten()
}

fn sentence(rule: &ValidationRule) -> String {
    match &rule.message {
        Some(message) => cell(message),
        None => code(&rule.rule),
    }
}

/// Whether the rule says what a text looks like: its sentence is then what to write.
fn is_form(rule: &ValidationRule) -> bool {
    rule.message
        .as_ref()
        .is_some_and(|message| message.starts_with("write "))
}

/// What a text looks like, in the sentence of its rule.
fn form(schema: &JSONSchemaProps) -> Option<String> {
    rules(schema).find(|rule| is_form(rule)).map(sentence)
}

fn range(min: Option<i64>, max: Option<i64>, unit: &str) -> Option<String> {
    match (min, max) {
        (None, None) => None,
        (Some(0) | None, Some(max)) if !unit.is_empty() => Some(format!("at most {max}{unit}")),
        (Some(min), Some(max)) => Some(format!("{min} to {max}{unit}")),
        (None, Some(max)) => Some(format!("at most {max}{unit}")),
        (Some(min), None) => Some(format!("at least {min}{unit}")),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the bounds of whole numbers are whole")]
fn whole(bound: Option<f64>) -> Option<i64> {
    bound.map(|bound| bound as i64)
}

/// A value as one writes it in YAML: a text without its quotes.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn schema(value: Value) -> JSONSchemaProps {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_type_is_named_with_what_it_holds() {
        let objects = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        for (value, expected) in [
            (json!({"type": "string"}), "string"),
            (json!({"type": "string", "format": "date-time"}), "time"),
            (json!({"type": "integer", "format": "int32"}), "integer"),
            (json!({"x-kubernetes-int-or-string": true}), "integer or string"),
            (
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
                "any object",
            ),
            (objects.clone(), "object"),
            (
                json!({"type": "object", "additionalProperties": {"type": "string"}}),
                "map of strings to strings",
            ),
            (
                json!({"type": "array", "items": {"type": "array", "items": {"x-kubernetes-int-or-string": true}}}),
                "list of list of integer or string",
            ),
            (
                json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
                "set of strings",
            ),
            (
                json!({"type": "array", "x-kubernetes-list-type": "atomic", "items": objects}),
                "list of objects",
            ),
            (
                json!({
                    "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["slot", "module"],
                    "items": objects,
                }),
                "list of objects by `slot` and `module`",
            ),
        ] {
            assert_eq!(kind(&schema(value)), expected);
        }
    }

    #[test]
    fn bounds_are_told_in_words() {
        for (value, expected) in [
            (json!({"type": "string"}), ""),
            (json!({"type": "integer", "minimum": 0, "maximum": 100}), "0 to 100"),
            (
                json!({"type": "string", "minLength": 1, "maxLength": 64}),
                "1 to 64 characters",
            ),
            (json!({"type": "string", "maxLength": 64}), "at most 64 characters"),
            (
                json!({"type": "array", "minItems": 0, "maxItems": 8}),
                "at most 8 entries",
            ),
            (json!({"type": "array", "minItems": 1}), "at least 1 entries"),
            (json!({"type": "string", "enum": ["a", "b|c"]}), r"`a`, `b\|c`"),
            (json!({"type": "object", "default": {"a": 1}}), r#"default `{"a":1}`"#),
            (
                json!({"type": "array", "maxItems": 8, "items": {"type": "string", "maxLength": 4}}),
                "at most 8 entries; each: at most 4 characters",
            ),
        ] {
            assert_eq!(bounds(&schema(value)), expected);
        }
    }

    #[test]
    fn what_a_text_looks_like_is_a_bound_and_the_other_rules_are_refusals() {
        let text = schema(json!({
            "type": "string",
            "x-kubernetes-validations": [
                {"rule": "self.matches(r'^[a-z]+$')", "message": "write lower-case letters"},
                {"rule": "self != 'kite'", "message": "kite is taken"},
                {"rule": "self != 'a|b'"},
            ],
        }));
        assert_eq!(bounds(&text), "write lower-case letters");
        assert_eq!(refusals(&text), ["kite is taken", r"`self != 'a\|b'`"]);
        let list = JSONSchemaProps {
            items: Some(JSONSchemaPropsOrArray::Schema(Box::new(text.clone()))),
            ..schema(json!({"type": "array"}))
        };
        assert_eq!(bounds(&list), "each: write lower-case letters");
        assert_eq!(refusals(&list), refusals(&text));
    }
}
