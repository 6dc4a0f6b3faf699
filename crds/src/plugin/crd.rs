//! The CRD: what the derive makes of the types, and what it cannot say.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
    JSONSchemaPropsOrBool, ValidationRule,
};
use kube::CustomResourceExt;

use super::{KitePlugin, shapes};
use crate::name::{MAX_PLUGIN_NAME, MAX_TOOL_NAME};

/// Most entries of a list, and properties of a map, for which the types say nothing: those of Kubernetes' own types.
const MAX_ITEMS: i64 = 16;

/// The `CustomResourceDefinition` of [`KitePlugin`].
pub fn crd() -> CustomResourceDefinition {
    let mut crd = KitePlugin::crd();
    for version in &mut crd.spec.versions {
        version.additional_printer_columns = Some(columns());
        let Some(schema) = version.schema.as_mut().and_then(|it| it.open_api_v3_schema.as_mut()) else {
            continue;
        };
        mend(schema);
        schema
            .x_kubernetes_validations
            .get_or_insert_default()
            .extend(object_rules());
        let properties = schema.properties.get_or_insert_default();
        if let Some(spec) = properties.get_mut("spec") {
            bound(spec);
        }
        if let Some(status) = properties.get_mut("status") {
            // So that `kubectl wait` and kstatus see an object that nobody has looked at yet as what it is.
            status.default = Some(JSON(serde_json::json!({"observedGeneration": -1, "phase": "Pending"})));
        }
    }
    crd
}

/// What `kubectl get kp` shows; those of priority 1 with `--output wide` only.
fn columns() -> Vec<CustomResourceColumnDefinition> {
    let column =
        |name: &str, kind: &str, path: &str, description: &str, priority: i32| CustomResourceColumnDefinition {
            name: name.to_owned(),
            type_: kind.to_owned(),
            json_path: path.to_owned(),
            description: Some(description.to_owned()),
            priority: (priority > 0).then_some(priority),
            ..CustomResourceColumnDefinition::default()
        };
    let ready = |field: &str| format!(".status.conditions[?(@.type==\"Ready\")].{field}");
    vec![
        column(
            "Version",
            "string",
            ".status.version",
            "What the running plugin says it is",
            0,
        ),
        column("Phase", "string", ".status.phase", "Its state in one word", 0),
        column("Ready", "string", &ready("status"), "Whether all is as it should be", 0),
        column("Tools", "integer", ".status.toolCount", "How many tools it offers", 0),
        column("Reason", "string", &ready("reason"), "Why it is ready or not", 1),
        column("Image", "string", ".spec.image", "What it runs", 1),
        column("Age", "date", ".metadata.creationTimestamp", "When it was made", 0),
    ]
}

/// The rules that need the object's name.
fn object_rules() -> Vec<ValidationRule> {
    let rule = |rule: String, message: String| ValidationRule {
        rule,
        message: Some(message),
        ..ValidationRule::default()
    };
    vec![
        rule(
            format!(
                "self.metadata.name.size() <= {MAX_PLUGIN_NAME} && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')"
            ),
            format!(
                "the name of a plugin is an RFC 1123 label (lower-case letters, digits and '-', no dots) of at most {MAX_PLUGIN_NAME} characters"
            ),
        ),
        rule(
            shapes::not_reserved("self.metadata.name"),
            String::from("this name is reserved, because a route of the gateway has it: choose another"),
        ),
        rule(
            String::from("!has(self.spec.dependencies) || self.spec.dependencies.all(d, d.name != self.metadata.name)"),
            String::from("a plugin does not depend on itself: remove the entry from spec.dependencies"),
        ),
        rule(
            // `plugin_`, the plugin's name, `_`, the tool's.
            format!(
                "!has(self.spec.tools) || self.spec.tools.all(t, t.name.size() + self.metadata.name.size() + {} <= {MAX_TOOL_NAME})",
                "plugin__".len()
            ),
            format!(
                "plugin_<plugin>_<tool> has at most {MAX_TOOL_NAME} characters, the limit of model providers: shorten the tool's name in spec.tools"
            ),
        ),
    ]
}

/// Takes `nullable` away, which the derive gives every optional field: the API server then drops a null, as it does in
/// its own types, where otherwise it would store one.
fn mend(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    each_child(schema, mend);
}

/// Bounds every list and map that has no bound of its own.
fn bound(schema: &mut JSONSchemaProps) {
    match schema.type_.as_deref() {
        Some("array") => {
            schema.max_items.get_or_insert(MAX_ITEMS);
            schema
                .x_kubernetes_list_type
                .get_or_insert_with(|| String::from("atomic"));
        }
        Some("object") if schema.additional_properties.is_some() => {
            schema.max_properties.get_or_insert(MAX_ITEMS);
        }
        _ => {}
    }
    each_child(schema, bound);
}

fn each_child(schema: &mut JSONSchemaProps, change: fn(&mut JSONSchemaProps)) {
    schema
        .properties
        .iter_mut()
        .flat_map(BTreeMap::values_mut)
        .for_each(change);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => change(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(change),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(additional)) = &mut schema.additional_properties {
        change(additional);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn schema() -> Value {
        let crd = serde_json::to_value(crd()).unwrap();
        crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap().clone()
    }

    /// Every field below `schema`, with its path.
    fn fields(schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            fields(field, &path, found);
            found.push((path, field.clone()));
        }
        if schema["items"].is_object() {
            fields(&schema["items"], &format!("{path}[]"), found);
        }
    }

    fn all_fields() -> Vec<(String, Value)> {
        let mut found = Vec::new();
        for part in ["spec", "status"] {
            fields(&schema()["properties"][part], part, &mut found);
        }
        assert!(found.len() > 150, "{}", found.len());
        found
    }

    #[test]
    fn every_field_has_a_description() {
        for (path, field) in all_fields() {
            let description = field["description"].as_str().unwrap_or_default();
            assert!(description.len() > 8, "{path}: {description:?}");
        }
    }

    #[test]
    fn every_list_map_and_text_of_the_spec_is_bounded() {
        for (path, field) in all_fields().iter().filter(|(path, _)| path.starts_with("spec")) {
            let is_free = field["x-kubernetes-preserve-unknown-fields"] == true;
            match field["type"].as_str() {
                Some("array") => assert!(field["maxItems"].is_u64(), "{path}"),
                Some("object") if field["additionalProperties"].is_object() => {
                    assert!(field["maxProperties"].is_u64(), "{path}");
                }
                Some("object") => assert!(is_free || field["properties"].is_object(), "{path}"),
                Some("string") => {
                    let is_bounded = field["maxLength"].is_u64() || field["enum"].is_array();
                    // Kubernetes' own label selectors, which the API server checks where they are used.
                    assert!(is_bounded || path.contains("Selector.matchExpressions"), "{path}");
                }
                Some("integer") => {
                    let is_bounded = field["minimum"].is_number() && field["maximum"].is_number();
                    assert!(is_bounded || path.ends_with("tolerationSeconds"), "{path}");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn the_spec_has_no_default() {
        for (path, field) in all_fields().iter().filter(|(path, _)| path.starts_with("spec")) {
            assert!(field["default"].is_null(), "{path}");
        }
    }

    #[test]
    fn every_list_says_how_it_is_merged() {
        for (path, field) in all_fields() {
            if field["type"] == "array" {
                let kind = &field["x-kubernetes-list-type"];
                assert!(kind.is_string(), "{path}");
            }
        }
    }
}
