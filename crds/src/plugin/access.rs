//! What a caller must hold to use a plugin's routes, tools and resource types.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Verb, shapes};

/// A route of the plugin and what its callers must hold.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("x-kubernetes-validations" = [parameter_rule("namespace"), parameter_rule("name")]))]
pub struct Route {
    /// Path below the plugin's own address: literal segments, `{parameter}` or `*` for one segment, `**` at the end for all that
    /// follows. Of several that match, the most specific counts.
    #[schemars(schema_with = "shapes::route_path")]
    pub path: String,

    /// What a caller must hold, all of it, beyond `kiteplugins/proxy`. Each must be in the plugin's own grant too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub requires: Vec<RouteRequirement>,
}

/// A right that a route's caller must hold.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RouteRequirement {
    /// API group of the resource. Absent: the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::group")]
    pub group: Option<String>,

    /// Resource in the plural, with a subresource as `pods/log`.
    #[schemars(schema_with = "shapes::resource")]
    pub resource: String,

    /// What the caller must be allowed to do with it. Absent: the verb that the request's method maps to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "request_verb")]
    pub verb: Option<Verb>,

    /// Where the request names the namespace. Absent, or empty in a request: the caller must hold the right cluster-wide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<RequestSource>,

    /// Where the request names the object. Absent, or empty in a request: the caller must hold the right for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<RequestSource>,
}

/// A place in a request: exactly one of the three.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("x-kubernetes-validations" = [shapes::rule(
    "[has(self.path), has(self.query), has(self.body)].filter(given, given).size() == 1",
    "name exactly one of path, query and body",
)]))]
pub struct RequestSource {
    /// A parameter of the route's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::path_parameter")]
    pub path: Option<String>,

    /// A query parameter. A request that gives it twice is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::query_key")]
    pub query: Option<String>,

    /// A JSON pointer (RFC 6901) into the request's JSON body, which may then have 64 KiB at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::pointer")]
    pub body: Option<String>,
}

/// A tool of the plugin and what its callers must hold.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Tool {
    /// The tool's own name, without `plugin_<plugin>_` before it. With that it has 64 characters at most.
    #[schemars(schema_with = "shapes::tool_name")]
    pub name: String,

    /// What a caller must hold, all of it, beyond `kiteplugins/tools`. Each must be in the plugin's own grant too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub requires: Vec<ToolRequirement>,
}

/// A right that a tool's caller must hold.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ToolRequirement {
    /// API group of the resource. Absent: the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::group")]
    pub group: Option<String>,

    /// Resource in the plural, with a subresource as `pods/log`.
    #[schemars(schema_with = "shapes::resource")]
    pub resource: String,

    /// What the caller must be allowed to do with it.
    #[schemars(schema_with = "request_verb")]
    pub verb: Verb,

    /// Which argument names the namespace. Absent, or empty in a call: the caller must hold the right cluster-wide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<ArgumentSource>,

    /// Which argument names the object. Absent, or empty in a call: the caller must hold the right for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ArgumentSource>,
}

/// A place in a tool's arguments.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ArgumentSource {
    /// A JSON pointer (RFC 6901) into the arguments, such as `/namespace`.
    #[schemars(schema_with = "shapes::pointer")]
    pub argument: String,
}

/// A custom resource type of the plugin and what its callers must hold.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ResourceType {
    /// The type's name, as it stands in its address.
    #[schemars(schema_with = "shapes::type_name")]
    pub name: String,

    /// What a caller must hold, all of it, beyond `kiteplugins/resources`, in the namespace that the address names. Each must
    /// be in the plugin's own grant too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub requires: Vec<TypeRequirement>,
}

/// A right that a resource type's caller must hold.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct TypeRequirement {
    /// API group of the resource. Absent: the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::group")]
    pub group: Option<String>,

    /// Resource in the plural, with a subresource as `pods/log`.
    #[schemars(schema_with = "shapes::resource")]
    pub resource: String,

    /// What the caller must be allowed to do with it. Absent: the verb of the operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "request_verb")]
    pub verb: Option<Verb>,
}

/// That what a requirement takes from the path stands there. Comparing segments is what the API server can bound the cost of;
/// `contains` with a text that is not literal it cannot.
fn parameter_rule(field: &str) -> Value {
    shapes::rule(
        &format!(
            "!has(self.requires) || self.requires.all(r, !has(r.{field}) || !has(r.{field}.path) || self.path.split('{{').exists(s, s.split('}}')[0] == r.{field}.path))"
        ),
        &format!(
            "a requirement takes its {field} from a parameter that the path does not have: write it into the path, as in /namespaces/{{namespace}}/pods"
        ),
    )
}

/// One of the verbs of the API's own requests.
fn request_verb(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": Verb::REQUESTS.map(Verb::as_str)})
}
