//! The plugin's pods: their image, resources, environment, volumes and place.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::shapes;

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

/// A Secret in the plugins' namespace.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct SecretReference {
    /// Its name.
    #[schemars(schema_with = "shapes::object_name")]
    pub name: String,
}

/// Compute resources of the plugin's container.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Resources {
    /// What the scheduler sets aside, by resource name. Absent: what the plugins' namespace sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "shapes::quantities")]
    pub requests: BTreeMap<String, Quantity>,

    /// What the container may use at most, by resource name. What is not named has the limit that the plugins' namespace sets,
    /// which may be less than is requested here: name both.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "shapes::quantities")]
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

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        shapes::size(generator)
    }
}

/// A taint of nodes that the plugin's pods put up with.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    shapes::rule(
        "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
        "without a key the operator is Exists, and all taints are tolerated: name the key, or set operator: Exists",
    ),
    shapes::rule(
        "!(has(self.value) && has(self.operator) && self.operator == 'Exists')",
        "with the operator Exists there is no value: remove one of the two",
    ),
    shapes::rule(
        "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
        "tolerationSeconds goes with effect: NoExecute only",
    ),
]))]
pub struct Toleration {
    /// The taint's key. Absent: every key, with the operator `Exists`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::taint_key")]
    pub key: Option<String>,

    /// How the value is compared. Absent: `Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,

    /// The taint's value, with the operator `Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::label_value")]
    pub value: Option<String>,

    /// The taint's effect. Absent: every effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,

    /// How long a pod stays on a node that gets the taint, in seconds, with the effect `NoExecute`. Absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// How a toleration compares a taint's value.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TolerationOperator {
    Exists,
    Equal,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TaintEffect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

/// A variable in the plugin's environment.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [shapes::rule(
    "!(has(self.value) && has(self.valueFrom))",
    "a variable has a value or a valueFrom, not both",
)]))]
pub struct EnvVar {
    /// The variable's name. Names that begin with `KITE_` or `KUBERNETES_` are set by others.
    #[schemars(schema_with = "shapes::variable")]
    pub name: String,

    /// Its value, 4096 characters at most. Absent, without `valueFrom`: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::variable_value")]
    pub value: Option<String>,

    /// Where its value stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvSource>,
}

/// Where the value of a variable stands: exactly one of the two.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [shapes::rule(
    "has(self.secretKeyRef) != has(self.configMapKeyRef)",
    "name exactly one of secretKeyRef and configMapKeyRef",
)]))]
pub struct EnvSource {
    /// A key of a Secret in the plugins' namespace that carries the label `kite.dev/plugin: <plugin>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyReference>,

    /// A key of a `ConfigMap` in the plugins' namespace that carries the label `kite.dev/plugin: <plugin>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyReference>,
}

/// A key of a Secret or a `ConfigMap`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct KeyReference {
    /// Name of the Secret or `ConfigMap`.
    #[schemars(schema_with = "shapes::object_name")]
    pub name: String,

    /// The key in it.
    #[schemars(schema_with = "shapes::key")]
    pub key: String,
}

/// A folder in the plugin's container that lasts longer than it, or may be written.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [shapes::rule(
    "has(self.persistentVolumeClaim) != has(self.emptyDir)",
    "name exactly one of persistentVolumeClaim and emptyDir",
)]))]
pub struct Volume {
    /// Its name among the plugin's volumes; `kite` is taken.
    #[schemars(schema_with = "shapes::volume_name")]
    pub name: String,

    /// The folder's path in the container. `/run/kite` and what holds it are taken.
    #[schemars(schema_with = "shapes::mount_path")]
    pub mount_path: String,

    /// A claim in the plugins' namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<VolumeClaim>,

    /// An empty folder that goes with its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
}

/// A claim of a volume.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeClaim {
    /// Name of the `PersistentVolumeClaim`.
    #[schemars(schema_with = "shapes::object_name")]
    pub claim_name: String,
}

/// An empty folder.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EmptyDir {
    /// Most that it may hold; a pod that exceeds it is evicted.
    #[schemars(schema_with = "shapes::size")]
    pub size_limit: Quantity,
}
