//! The pages that a plugin brings to the dashboard.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shapes;

/// The pages of the plugin. They run in every viewer's browser session: whoever installs them must hold the verb `trust`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Frontend {
    /// The file among the plugin's web files by which the dashboard begins to load the others.
    #[schemars(schema_with = "shapes::file")]
    pub remote_entry: String,

    /// The pages, by their paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["path"],
        "x-kubernetes-validations" = [shapes::no_two_paths_alike(
            "s.startsWith(':') ? ':' : s",
            "two pages have paths that differ in the names of their parameters only, so that no address tells one from the other: remove one",
        )],
    ))]
    pub routes: Vec<FrontendRoute>,

    /// Module of the panel on the page of settings, in the form `./Name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::module")]
    pub settings_panel: Option<String>,

    /// Components that the plugin puts into the dashboard's own pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["slot", "module"]))]
    pub injections: Vec<Injection>,

    /// Origins beside the gateway that the pages may reach, such as `https://prices.example`. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "shapes::origins")]
    pub connect_sources: Vec<String>,
}

/// One page.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendRoute {
    /// Path below `/plugins/<plugin>`, with parameters as `/detail/:id`.
    #[schemars(schema_with = "shapes::page_path")]
    pub path: String,

    /// Module whose default export is the page's component, in the form `./Name`.
    #[schemars(schema_with = "shapes::module")]
    pub module: String,

    /// The page's entry in the sidebar. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidebar_entry: Option<SidebarEntry>,
}

/// An entry in the sidebar.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct SidebarEntry {
    /// What it says, 1 to 64 characters.
    #[schemars(length(min = 1, max = 64))]
    pub title: String,

    /// Name of a Tabler icon in kebab case. Absent, or unknown: a box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::kebab")]
    pub icon: Option<String>,

    /// The section of the sidebar's group of plugins that it stands in. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::kebab")]
    pub section: Option<String>,

    /// Its place among the entries, ascending, 0 to 10000. Absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::priority")]
    pub priority: Option<i32>,
}

/// A component in one of the dashboard's own pages.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Injection {
    /// Where it goes: `pod-detail`, `deployment-detail`, `statefulset-detail`, `daemonset-detail`, `service-detail`,
    /// `node-detail`, `pods-table` or `deployments-table`.
    #[schemars(schema_with = "shapes::kebab")]
    pub slot: String,

    /// Module whose default export is the component, in the form `./Name`.
    #[schemars(schema_with = "shapes::module")]
    pub module: String,

    /// Its place among the components of the slot, ascending, 0 to 10000. Absent: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::priority")]
    pub priority: Option<i32>,
}

/// The slots that the dashboard has.
pub const SLOTS: [&str; 8] = [
    "pod-detail",
    "deployment-detail",
    "statefulset-detail",
    "daemonset-detail",
    "service-detail",
    "node-detail",
    "pods-table",
    "deployments-table",
];
