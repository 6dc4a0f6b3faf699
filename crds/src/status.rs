//! What the operator tells about a plugin.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator last saw of a plugin.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KitePluginStatus {
    /// The `metadata.generation` that this status speaks of; -1 until the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The plugin's state in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// What the running plugin says its version is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// Number of the revision that takes traffic. Absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_revision: Option<i64>,

    /// The revisions of the plugin.
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
    /// It has not been ready yet.
    #[default]
    Pending,
    /// It was ready, and nothing has ended that.
    Loaded,
    /// It cannot get ready without a change.
    Failed,
    /// `spec.enabled` is false.
    Disabled,
    /// It is being deleted.
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
    /// Hash over all definitions that the revision's pods gave; a pod that gives others takes no traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definitions_hash: Option<String>,
    /// Where the revision stands.
    pub state: RevisionState,
    /// What keeps it from going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Where a revision stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RevisionState {
    /// It does not take traffic yet.
    Starting,
    /// It takes the traffic.
    Active,
    /// It has no pods.
    Stopped,
}

/// A tool that the active revision offers.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ToolStatus {
    /// The name under which it is called: `plugin_<plugin>_<tool>`.
    pub name: String,
    /// What it does, in the plugin's words.
    pub description: String,
    /// Hash of its name, description and schema.
    pub hash: String,
}
