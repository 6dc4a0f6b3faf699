//! What the operator tells about a plugin.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator last saw of a plugin.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KitePluginStatus {
    /// The `metadata.generation` that this status speaks of; -1 until the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The plugin's state in one word: `Pending`, it has not been ready yet; `Loaded`, it was ready, and nothing has ended
    /// that; `Failed`, it cannot get ready without a change; `Disabled`, `spec.enabled` is false; `Stopped`, it is being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// What the running plugin says its version is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// Number of the revision that takes traffic. Absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_revision: Option<i64>,

    /// The revisions that are kept, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["number"]))]
    pub revisions: Vec<RevisionStatus>,

    /// Number of tools that the active revision offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_count: Option<i32>,

    /// The tools that the active revision offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tools: Vec<ToolStatus>,

    /// The custom resource types that the active revision offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub resource_types: Vec<ResourceTypeStatus>,

    /// The plugins that this one depends on, and what was found of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub dependencies: Vec<DependencyStatus>,

    /// The namespaces of the grant, as they were when the plugin first got its Roles there. One that has another uid now was
    /// deleted and made again, and has no Role until it is taken out of the grant and put back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub namespaces: Vec<NamespaceStatus>,

    /// Selects the plugin's pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// Number of pods that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// Number of pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,

    /// What holds and what does not, with reason and advice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl KitePluginStatus {
    /// The revision that takes traffic, with what is recorded of it.
    pub fn active(&self) -> Option<&RevisionStatus> {
        let number = self.active_revision?;
        self.revisions.iter().find(|revision| revision.number == number)
    }
}

/// A plugin's state in one word.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Phase {
    #[default]
    Pending,
    Loaded,
    Failed,
    Disabled,
    Stopped,
}

/// One revision of a plugin.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// Counts the plugin's revisions from 1.
    pub number: i64,
    /// `spec.version` of the revision.
    pub version: String,
    /// Digest of the image that ran when the definitions were recorded, or runs now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Hash over all definitions that the revision's pods gave; a pod that gives others takes no traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definitions_hash: Option<String>,
    /// Where the revision stands: `Starting`, it takes no traffic yet; `Active`, it takes the traffic; `Draining`, another has taken the
    /// traffic, and it goes on for those pages that were loaded from it; `Stopped`, it takes no traffic, and has no pods, or will have
    /// none in a moment.
    pub state: RevisionState,
    /// When another revision took the traffic from it. Absent: none did, or its pods have been stopped since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining_since: Option<Time>,
    /// What keeps it from going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Where a revision stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RevisionState {
    Starting,
    Active,
    Draining,
    Stopped,
}

/// A tool that the active revision offers.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ToolStatus {
    /// The name under which it is called: `plugin_<plugin>_<tool>`.
    pub name: String,
    /// What it does, in the plugin's words.
    pub description: String,
    /// Hash of all that the plugin says of it, schemas and hints included.
    pub hash: String,
}

/// A custom resource type that the active revision offers.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ResourceTypeStatus {
    /// The type's name, as it stands in its address.
    pub name: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

/// What was found of a plugin that another depends on.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct DependencyStatus {
    /// Name of the other plugin.
    pub name: String,
    /// The requirement on its version, as the object has it.
    pub required: String,
    /// Its version. Absent: there is no such plugin, or its object cannot be understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// Whether it is ready, in a version that is required.
    pub ready: bool,
}

/// A namespace of the grant.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct NamespaceStatus {
    /// Its name.
    pub name: String,
    /// Its uid when the plugin got its Role there.
    pub uid: String,
}
