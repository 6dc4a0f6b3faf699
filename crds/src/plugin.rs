//! `KitePlugin`: what a cluster admin declares.

pub mod access;
pub mod crd;
pub mod frontend;
mod limits;
pub mod needs;
pub mod permission;
pub(crate) mod shapes;
pub mod traffic;
pub mod workload;

use std::{collections::BTreeMap, time::Duration};

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::{
    access::{ResourceType, Route, Tool},
    crd::crd,
    frontend::Frontend,
    limits::RequestLimits,
    needs::{Compatibility, Dependency},
    permission::{Permission, Verb},
    traffic::{Audit, Limits, Metrics, Middleware, RateLimit},
    workload::{EnvVar, ImagePullPolicy, Quantity, Resources, SecretReference, Toleration, Volume},
};
use crate::{
    revision::{DRAIN_SECONDS, HISTORY_LIMIT},
    status::KitePluginStatus,
};

/// A plugin of the dashboard: what runs, with which rights, and what of it is served.
///
/// `metadata.name` is an RFC 1123 label of at most 40 characters and none of the names that the gateway's routes take.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
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
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct KitePluginSpec {
    /// Version of the plugin, by Semantic Versioning 2.0.0. The running plugin must say the same.
    #[schemars(schema_with = "shapes::version")]
    pub version: String,

    /// Container image of the plugin, by tag or digest.
    #[schemars(schema_with = "shapes::image")]
    pub image: String,

    /// When the kubelet pulls the image. Absent: `IfNotPresent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Secrets with which the image is pulled. Each carries the label `kite.dev/pull: "true"`. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<SecretReference>,

    /// What the plugin is for, in a sentence or two, 1024 characters at most. Absent: nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,

    /// Who wrote the plugin, 253 characters at most. Absent: nobody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub author: Option<String>,

    /// The plugin's place in lists and menus, ascending, 0 to 10000. Absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::priority")]
    pub priority: Option<i32>,

    /// Whether the plugin runs. `false` scales it to zero and withdraws its bindings. Absent: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Number of pods, 1 to 100. Absent: 1. To stop a plugin, set `enabled` to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::replicas")]
    pub replicas: Option<i32>,

    /// The versions of Kite Plugins and of Kubernetes that the plugin can run with. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compatibility: Option<Compatibility>,

    /// Other plugins that this one needs. It starts when they are ready, in versions that it can use. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub dependencies: Vec<Dependency>,

    /// The grant: all that the plugin's ServiceAccount may do. It is read and owned as a whole. Absent: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = shapes::MOST_PERMISSIONS), extend("x-kubernetes-list-type" = "atomic"))]
    pub permissions: Vec<Permission>,

    /// Plugins whose routes this one may call through the gateway, as itself: its ServiceAccount may use `kiteplugins/proxy` of
    /// these names, with every verb. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "shapes::plugin_names")]
    pub calls: Vec<String>,

    /// What callers must hold to use a path, beyond `kiteplugins/proxy`. A path that no entry matches needs nothing more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["path"],
        "x-kubernetes-validations" = [shapes::no_two_paths_alike(
            "s.startsWith('{') || s == '*' ? '*' : s",
            "two routes match just the same paths, as they differ in the names of parameters only: put what they require into one",
        )],
    ))]
    pub routes: Vec<Route>,

    /// What callers must hold to call a tool, beyond `kiteplugins/tools`. A tool that is not named needs nothing more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tools: Vec<Tool>,

    /// What callers must hold to use a custom resource type, beyond `kiteplugins/resources`. One that is not named needs nothing
    /// more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub resource_types: Vec<ResourceType>,

    /// The plugin as middleware, which is asked about requests to plugins. Whoever sets it must hold the verb `trust`. Absent: it
    /// is asked about none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub middleware: Option<Middleware>,

    /// How many requests the plugin takes. Absent: 100 per second and 200 at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,

    /// Bounds of what requests may take. Absent: those of its fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,

    /// What is recorded of requests to the plugin. Absent: no bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,

    /// Who may scrape the plugin's metrics. Absent: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,

    /// The plugin's settings, as `settingsSchema` has them. Secrets do not belong here. 64 KiB and 32 levels at most.
    /// Absent: `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::object")]
    pub settings: Option<Map<String, Value>>,

    /// JSON Schema (2020-12) of the settings: 64 KiB, 32 levels and 64 patterns at most, 4096 values with its references spelled
    /// out, no reference outside itself, none in a circle. Absent: every object is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::object")]
    pub settings_schema: Option<Map<String, Value>>,

    /// A Secret in the plugins' namespace that carries the label `kite.dev/plugin: <plugin>`; its keys are settings that must
    /// not stand in the object. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_secret_ref: Option<SecretReference>,

    /// The pages that the plugin brings to the dashboard. Whoever sets it must hold the verb `trust`. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontend: Option<Frontend>,

    /// How many revisions are kept beside the active one, 0 to 100. Absent: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::revisions")]
    pub revision_history_limit: Option<i32>,

    /// How long pages that were loaded from an old revision go on with it, in seconds, 0 to 86400. Absent: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::seconds_of_a_drain")]
    pub drain_seconds: Option<i32>,

    /// What the plugin's container asks for and may use at most. Absent: what the plugins' namespace sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Labels of the only nodes on which the plugin's pods may run. Absent: all nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "shapes::node_labels")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that the plugin's pods put up with. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,

    /// Variables in the plugin's environment. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,

    /// Folders in the plugin's container that last, or may be written: its root is read-only. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"],
        "x-kubernetes-validations" = [shapes::rule(
            "self.all(a, self.filter(b, b.mountPath == a.mountPath).size() == 1)",
            "two volumes have the same mountPath: mount one of them elsewhere",
        )],
    ))]
    pub volumes: Vec<Volume>,
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

    /// How many revisions are kept beside the active one. What the schema does not admit stands for what is absent.
    pub fn kept_revisions(&self) -> usize {
        let limit = self
            .revision_history_limit
            .and_then(|limit| usize::try_from(limit).ok());
        limit.unwrap_or(HISTORY_LIMIT)
    }

    /// How long pages that were loaded from an old revision go on with it. What the schema does not admit stands for what is absent.
    pub fn drain(&self) -> Duration {
        let seconds = self.drain_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Duration::from_secs(seconds.unwrap_or(DRAIN_SECONDS))
    }
}
