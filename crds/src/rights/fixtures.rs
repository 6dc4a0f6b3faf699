//! Objects for tests, in the words of what they are to have.

use crate::plugin::{
    Frontend, KitePluginSpec, Middleware, Permission, Verb,
    access::{ArgumentSource, ResourceType, Route, RouteRequirement, Tool, ToolRequirement, TypeRequirement},
};

pub(super) const NAMESPACE: &str = "kite-plugins";

pub(super) fn plugin() -> KitePluginSpec {
    KitePluginSpec::default()
}

pub(super) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A permission; resources are written as in a sentence, so that they tell their group: `deployments.apps`.
pub(super) fn permission(verbs: &[&str], resources: &[&str]) -> Permission {
    let (_, group) = resources[0].split_once('.').unwrap_or_default();
    let names = resources
        .iter()
        .map(|resource| resource.split('.').next().unwrap().to_owned());
    Permission {
        api_groups: texts(&[group]),
        resources: names.collect(),
        verbs: serde_json::from_value(serde_json::json!(verbs)).unwrap(),
        ..Permission::default()
    }
}

impl KitePluginSpec {
    /// A further permission, in the plugins' namespace.
    pub(super) fn may(mut self, verbs: &[&str], resources: &[&str]) -> Self {
        self.permissions.push(permission(verbs, resources));
        self
    }

    /// The last permission in these namespaces instead.
    pub(super) fn within(mut self, namespaces: &[&str]) -> Self {
        self.permissions.last_mut().unwrap().namespaces = Some(texts(namespaces));
        self
    }

    /// The last permission for these names only.
    pub(super) fn named(mut self, names: &[&str]) -> Self {
        self.permissions.last_mut().unwrap().resource_names = Some(texts(names));
        self
    }

    pub(super) fn calling(mut self, plugins: &[&str]) -> Self {
        self.calls = texts(plugins);
        self
    }

    pub(super) fn disabled(mut self) -> Self {
        self.enabled = Some(false);
        self
    }

    pub(super) fn with_pages(mut self, connect_sources: &[&str]) -> Self {
        self.frontend = Some(Frontend {
            remote_entry: String::from("remoteEntry.js"),
            routes: Vec::new(),
            settings_panel: None,
            injections: Vec::new(),
            connect_sources: texts(connect_sources),
        });
        self
    }

    pub(super) fn with_middleware(mut self, paths: &[&str]) -> Self {
        self.middleware = Some(Middleware {
            paths: texts(paths),
            priority: None,
            failure_policy: None,
            timeout_seconds: None,
        });
        self
    }

    /// A route whose callers need the verb of their request on the resources.
    pub(super) fn with_route(mut self, path: &str, resources: &[&str]) -> Self {
        let requires = |resource: &&str| RouteRequirement {
            group: None,
            resource: (*resource).to_owned(),
            verb: None,
            namespace: None,
            name: None,
        };
        self.routes.push(Route {
            path: path.to_owned(),
            requires: resources.iter().map(requires).collect(),
        });
        self
    }

    /// A tool whose callers need to list the resources in the namespace that they name.
    pub(super) fn with_tool(mut self, name: &str, resources: &[&str]) -> Self {
        let requires = |resource: &&str| ToolRequirement {
            group: None,
            resource: (*resource).to_owned(),
            verb: Verb::List,
            namespace: Some(ArgumentSource {
                argument: String::from("/namespace"),
            }),
            name: None,
        };
        self.tools.push(Tool {
            name: name.to_owned(),
            requires: resources.iter().map(requires).collect(),
        });
        self
    }

    pub(super) fn with_type(mut self, name: &str, resources: &[&str]) -> Self {
        let requires = |resource: &&str| TypeRequirement {
            group: None,
            resource: (*resource).to_owned(),
            verb: None,
        };
        self.resource_types.push(ResourceType {
            name: name.to_owned(),
            requires: resources.iter().map(requires).collect(),
        });
        self
    }
}
