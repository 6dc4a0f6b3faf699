//! `KitePlugin`: what a cluster admin declares, and the CRD that the API server holds it to.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::{CustomResource, CustomResourceExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::status::KitePluginStatus;

/// A plugin of the dashboard: what runs, with which rights, and what of it is served.
///
/// `metadata.name` is an RFC 1123 label of at most 40 characters and none of the names that the gateway's routes take.
#[derive(CustomResource, Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "kite.dev",
    version = "v1alpha1",
    kind = "KitePlugin",
    plural = "kiteplugins",
    shortname = "kp",
    category = "kite",
    derive = "PartialEq",
    status = "KitePluginStatus",
    doc = "A plugin of the dashboard: what runs, with which rights, and what of it is served.",
    validation = kube::core::Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name of a plugin is an RFC 1123 label (lower-case letters, digits and '-', no dots) of at most 40 characters"),
    validation = kube::core::Rule::new("!(self.metadata.name in ['tools', 'frontends', 'manifests', 'events', 'install', 'static', 'resources', 'admin', 'session', 'settings', 'api'])")
        .message("this name is reserved, because a route of the gateway has it: choose another"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version", description = "What the running plugin says it is"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Tools", type_ = "integer", json_path = ".status.toolCount"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
)]
#[serde(rename_all = "camelCase")]
pub struct KitePluginSpec {
    /// Version of the plugin, by Semantic Versioning 2.0.0. The running plugin must say the same.
    #[schemars(length(max = 64), regex(pattern = SEMVER))]
    pub version: String,

    /// Container image of the plugin, by tag or digest.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\S+$"))]
    pub image: String,

    /// When the kubelet pulls the image. Absent: `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Whether the plugin runs. `false` scales it to zero and withdraws its bindings. Absent: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Number of pods. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: Option<i32>,

    /// The grant: all that the plugin's ServiceAccount may do. It is read and owned as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub permissions: Vec<Permission>,

    /// What the plugin's container asks for and may use at most. Absent: what the plugins' namespace sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl KitePluginSpec {
    /// Whether the plugin should run.
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// Number of pods wanted while it runs.
    pub fn wanted_replicas(&self) -> i32 {
        self.replicas.unwrap_or(1)
    }
}

/// When the kubelet pulls an image.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ImagePullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

impl ImagePullPolicy {
    /// The word that a pod's container has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// One rule of a grant, in the words of a Role's rule.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Permission {
    /// API groups; `""` is the core group.
    #[schemars(length(min = 1, max = 16), inner(length(max = 253), regex(pattern = API_GROUP)))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub api_groups: Vec<String>,

    /// Resources in the plural, with a subresource as `pods/log`.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 128), regex(pattern = RESOURCE)))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub resources: Vec<String>,

    /// What may be done with them.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub verbs: Vec<Verb>,

    /// Names of the only objects it may be done with. Absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub resource_names: Vec<String>,

    /// Where it may be done: names of namespaces, or `["*"]` for the whole cluster. Absent: the plugins' namespace only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), inner(length(max = 63), regex(pattern = NAMESPACE)))]
    #[schemars(extend(
        "x-kubernetes-list-type" = "atomic",
        "x-kubernetes-validations" = [{
            "rule": "self.size() == 1 || !self.exists(n, n == '*')",
            "message": "\"*\" stands alone: it is the whole cluster already",
        }],
    ))]
    pub namespaces: Option<Vec<String>>,
}

/// Verbs of the Kubernetes API that a plugin may be granted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The verb as the API server spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// Compute resources of the plugin's container.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Resources {
    /// What the scheduler sets aside, by resource name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub requests: BTreeMap<String, Quantity>,

    /// What the container may use at most, by resource name. What is not named has the limit that the plugins' namespace sets,
    /// which may be less than is requested here: name both.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub limits: BTreeMap<String, Quantity>,
}

/// A Kubernetes quantity: a number, or a text such as `128Mi`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Quantity {
    Number(i64),
    Text(String),
}

impl From<&Quantity> for k8s_openapi::apimachinery::pkg::api::resource::Quantity {
    fn from(quantity: &Quantity) -> Self {
        match quantity {
            Quantity::Number(number) => Self(number.to_string()),
            Quantity::Text(text) => Self(text.clone()),
        }
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Quantity")
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "maxLength": 32,
            "pattern": QUANTITY,
            "x-kubernetes-int-or-string": true,
        })
    }
}

/// Semantic Versioning 2.0.0's own expression (<https://semver.org>), without its capture groups.
const SEMVER: &str = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$";
const API_GROUP: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$";
const RESOURCE: &str = r"^[a-z0-9][-a-z0-9.]*(/[a-z0-9][-a-z0-9]*)?$";
const NAMESPACE: &str = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$";
/// As the API server writes it into the CRDs of its own types.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// The `CustomResourceDefinition` of [`KitePlugin`].
pub fn crd() -> CustomResourceDefinition {
    let mut crd = KitePlugin::crd();
    let schemas = crd
        .spec
        .versions
        .iter_mut()
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut());
    for schema in schemas {
        refuse_nulls(schema);
        if let Some(status) = schema
            .properties
            .as_mut()
            .and_then(|properties| properties.get_mut("status"))
        {
            // So that `kubectl wait` and kstatus see an object that nobody has looked at yet as what it is.
            status.default = Some(JSON(serde_json::json!({"observedGeneration": -1, "phase": "Pending"})));
        }
    }
    crd
}

/// Takes `nullable` away, which the derive gives every optional field: the API server then drops a null, as it does in
/// its own types, where otherwise it would store one.
fn refuse_nulls(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    schema
        .properties
        .iter_mut()
        .flat_map(BTreeMap::values_mut)
        .for_each(refuse_nulls);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => refuse_nulls(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(refuse_nulls),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(additional)) = &mut schema.additional_properties {
        refuse_nulls(additional);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{MAX_PLUGIN_NAME, RESERVED};

    #[test]
    fn the_rules_for_names_are_those_of_the_types() {
        let version = &crd().spec.versions[0];
        let schema = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        let rules = schema.x_kubernetes_validations.as_ref().unwrap();
        let rules: String = rules.iter().map(|rule| rule.rule.as_str()).collect();
        assert!(rules.contains(&format!("size() <= {MAX_PLUGIN_NAME} ")), "{rules}");
        let reserved = RESERVED.map(|name| format!("'{name}'")).join(", ");
        assert!(rules.contains(&format!("in [{reserved}]")), "{rules}");
    }
}
