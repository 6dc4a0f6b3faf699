//! A rule of a grant: what a plugin's `ServiceAccount` may do, in the words of RBAC.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shapes;
use crate::dangerous;

/// API group of what each name in `calls` is a right on.
pub const CALL_GROUP: &str = "kite.dev";
/// The resource that each name in `calls` is a right on, by that name, with the verbs of [`Verb::CALLS`].
pub const CALL_RESOURCE: &str = "kiteplugins/proxy";

/// One rule of a grant, in the words of a Role's rule.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = dangerous::permission_rules()))]
pub struct Permission {
    /// API groups; `""` is the core group, `["*"]` all (with `allowWildcards`).
    #[schemars(schema_with = "shapes::groups")]
    pub api_groups: Vec<String>,

    /// Resources in the plural, with a subresource as `pods/log`; `["*"]` is all (with `allowWildcards`).
    #[schemars(schema_with = "shapes::resources")]
    pub resources: Vec<String>,

    /// What may be done with them; `["*"]` is all (with `allowWildcards`).
    #[schemars(length(min = 1, max = shapes::MOST_IN_LIST), extend("x-kubernetes-list-type" = "atomic"))]
    pub verbs: Vec<Verb>,

    /// Names of the only objects it may be done with. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::object_names")]
    pub resource_names: Option<Vec<String>>,

    /// Where it may be done: names of namespaces, or `["*"]` for the whole cluster, which is also the only way to resources
    /// that have no namespace. Absent: the plugins' namespace only. A namespace that does not exist yet gets its Role when
    /// it does; one that is deleted and made again does not, until it is taken out of the grant and put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shapes::namespaces")]
    pub namespaces: Option<Vec<String>>,

    /// Must be true where `apiGroups`, `resources` or `verbs` are `["*"]`. Absent: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_wildcards: Option<bool>,

    /// Must be true where the rule gives a right by which one gets at other rights: any `*`; Secrets; exec, attach, port-forward
    /// and ephemeral containers of pods; tokens of ServiceAccounts; proxy of nodes; impersonate, bind, escalate; writes of
    /// pods, workloads, RBAC, admission policies and webhooks, CRDs, CSRs and KitePlugins. Absent: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledge_dangerous: Option<bool>,
}

/// Verbs of the Kubernetes API that a plugin may be granted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
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
    Impersonate,
    Bind,
    Escalate,
    #[serde(rename = "*")]
    All,
}

impl Verb {
    /// The eight verbs of the API's own requests, in the order in which RBAC is mostly written.
    pub const REQUESTS: [Self; 8] = [
        Self::Get,
        Self::List,
        Self::Watch,
        Self::Create,
        Self::Update,
        Self::Patch,
        Self::Delete,
        Self::DeleteCollection,
    ];

    /// The verbs on `kiteplugins/proxy` that a plugin gets for each name in `calls`: one for every method of HTTP.
    pub const CALLS: [Self; 5] = [Self::Get, Self::Create, Self::Update, Self::Patch, Self::Delete];

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
            Self::Impersonate => "impersonate",
            Self::Bind => "bind",
            Self::Escalate => "escalate",
            Self::All => "*",
        }
    }

    /// Whether the verb changes something.
    pub fn is_write(self) -> bool {
        matches!(
            self,
            Self::Create | Self::Update | Self::Patch | Self::Delete | Self::DeleteCollection | Self::All
        )
    }
}
