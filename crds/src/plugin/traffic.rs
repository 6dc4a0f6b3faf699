//! How requests reach a plugin: middleware, bounds, records, and who may scrape it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Quantity, shapes};

/// The plugin as middleware: the gateway asks it about requests after they are authenticated.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Middleware {
    /// Paths of the gateway, all below `/api/v1/plugins/`, about which the plugin is asked: literal segments, `*` for one
    /// segment, `**` at the end for all that follows.
    #[schemars(schema_with = "shapes::middleware_paths")]
    pub paths: Vec<String>,

    /// Its place among the middleware of several plugins, ascending, 0 to 10000. Absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::priority")]
    pub priority: Option<i32>,

    /// What becomes of a request that the plugin gives no answer about: `Fail`, it is answered 503; `Ignore`, it goes on as if
    /// there were no middleware. Absent: `Fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<FailurePolicy>,

    /// How long the plugin may take to answer, in seconds, 1 to 30. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::seconds_of_middleware")]
    pub timeout_seconds: Option<i32>,
}

/// What becomes of a request that middleware gives no answer about.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum FailurePolicy {
    #[default]
    Fail,
    Ignore,
}

/// A token bucket for all requests to the plugin.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Requests per second, of all callers together, 1 to 1000000. Absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::requests_per_second")]
    pub requests_per_second: Option<i32>,

    /// How many requests may come at once, 1 to 1000000. Absent: twice the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::requests_per_second")]
    pub burst: Option<i32>,

    /// Requests per second of one caller, 1 to 1000000. Absent: no bound of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::requests_per_second")]
    pub per_caller: Option<i32>,
}

/// Bounds of what one request, and all that are under way, may take.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Requests under way at once, 1 to 10000; more are answered 503. Absent: 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::in_flight")]
    pub in_flight: Option<i32>,

    /// Most bytes of a request's body, as a number or with the suffix Ki, Mi or Gi; larger ones are answered 413. Absent: 10Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::bytes")]
    pub request_body_bytes: Option<Quantity>,

    /// How long a request may take until its answer begins, in seconds, 1 to 3600; then it is answered 504. Absent: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::seconds_of_a_request")]
    pub timeout_seconds: Option<i32>,
}

/// What is recorded of requests to the plugin.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Audit {
    /// Whether the bodies of changing requests are recorded. Absent: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bodies: Option<bool>,
}

/// Who may scrape the plugin's metrics.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// The pods that may reach the plugin's health port, on which its metrics are. Absent: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_from: Option<Peer>,
}

/// Pods, as a `NetworkPolicy` selects them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// The namespaces whose pods are meant; `{}` is all. Absent: the plugins' namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,

    /// The pods that are meant among them. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}
