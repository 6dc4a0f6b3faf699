//! What a plugin needs of others: other plugins, the host's versions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shapes;

/// Another plugin that this one needs.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Dependency {
    /// Name of the other plugin's `KitePlugin`.
    #[schemars(schema_with = "shapes::plugin_name")]
    pub name: String,

    /// Requirement on the other plugin's version: `^1.2`, `~1.2.3`, `1.x`, `>=2, <4`, `^1.0 || ^2.0`, `!=1.5.0`, `*`. A
    /// version alone, such as `1.2.3`, is exactly that one. A pre-release is matched only by a requirement that names one of
    /// the same three numbers.
    #[schemars(schema_with = "shapes::requirement")]
    pub version: String,

    /// Whether the plugin also runs without the other: it then neither waits for it nor fails with it. Absent: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// What a plugin can run with.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Compatibility {
    /// Requirement on Kite Plugins' version, in the grammar of a dependency's. Only major, minor and patch are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::requirement")]
    pub kite: Option<String>,

    /// Requirement on the Kubernetes version of the API server, in the grammar of a dependency's. Only major, minor and patch
    /// are compared, as providers append suffixes of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::requirement")]
    pub kubernetes: Option<String>,
}
