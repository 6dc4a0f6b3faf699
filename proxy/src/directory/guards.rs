//! What a plugin's object asks of callers beyond the right to use the plugin, read once for all requests.

use std::{borrow::Cow, collections::BTreeMap};

use kite_api::{
    KitePluginSpec, Permission, ToolName,
    path_pattern::PathPattern,
    plugin::access::{RouteRequirement, ToolRequirement},
    rights::{self, Right},
};

/// What the object asks, and the grant that has to have it too.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Guards {
    /// The most specific first.
    routes: Vec<GuardedRoute>,
    tools: BTreeMap<ToolName, Vec<ToolRequirement>>,
    permissions: Vec<Permission>,
    plugins_namespace: String,
}

/// A route, and what a caller of it must hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GuardedRoute {
    pub pattern: PathPattern,
    pub requires: Vec<RouteRequirement>,
}

/// A route that a request is about, and the path that it matches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Matched<'a> {
    pub route: &'a GuardedRoute,
    pub path: Cow<'a, str>,
}

impl Guards {
    pub fn of(spec: &KitePluginSpec, plugins_namespace: &str) -> Self {
        let guarded = spec.routes.iter().map(|route| GuardedRoute {
            pattern: PathPattern::parse(&route.path),
            requires: route.requires.clone(),
        });
        let mut routes: Vec<GuardedRoute> = guarded.collect();
        routes.sort_by_cached_key(|route| route.pattern.specificity());
        let tools = spec.tools.iter().filter_map(|tool| {
            // Another name no running plugin can have for a tool.
            let name = ToolName::parse(&tool.name).ok()?;
            Some((name, tool.requires.clone()))
        });
        Self {
            routes,
            tools: tools.collect(),
            permissions: spec.permissions.clone(),
            plugins_namespace: plugins_namespace.to_owned(),
        }
    }

    /// The most specific route for `path`, a normal path below the plugin's root, in every way in which a plugin may read it: some
    /// take a path with a slash at its end for the one without, and some drop what follows a semicolon in a segment.
    pub fn routes<'a>(&'a self, path: &'a str) -> Vec<Matched<'a>> {
        let mut all: Vec<Matched<'a>> = Vec::new();
        if self.routes.is_empty() {
            return all;
        }
        for reading in readings(path) {
            let route = self.routes.iter().find(|route| route.pattern.matches(&reading));
            if let Some(route) = route {
                all.push(Matched { route, path: reading });
            }
        }
        all.retain(|matched| !matched.route.requires.is_empty());
        all
    }

    /// What a caller of the tool must hold.
    pub fn tool(&self, name: &ToolName) -> &[ToolRequirement] {
        self.tools.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether the plugin was granted this right.
    pub fn grants(&self, right: &Right) -> bool {
        rights::grants(&self.permissions, &self.plugins_namespace, right)
    }
}

fn readings(path: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let is_marked = path.contains(';');
    let plain = is_marked.then(|| {
        let segments = path
            .split('/')
            .map(|segment| segment.split(';').next().unwrap_or_default());
        segments.collect::<Vec<_>>().join("/")
    });
    let all = [
        Some(Cow::Borrowed(path)),
        without_slash(path).map(Cow::Borrowed),
        plain
            .as_deref()
            .and_then(without_slash)
            .map(|path| Cow::Owned(path.to_owned())),
        plain.map(Cow::Owned),
    ];
    all.into_iter().flatten()
}

fn without_slash(path: &str) -> Option<&str> {
    path.strip_suffix('/').filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn guards(routes: &Value) -> Guards {
        let spec = json!({"version": "1.0.0", "image": "a", "routes": routes});
        Guards::of(&serde_json::from_value(spec).unwrap(), "kite-plugins")
    }

    /// The resources that are asked about.
    fn asked(guards: &Guards, path: &str) -> Vec<String> {
        let requires = guards
            .routes(path)
            .into_iter()
            .flat_map(|matched| &matched.route.requires);
        requires.map(|requirement| requirement.resource.clone()).collect()
    }

    #[test]
    fn the_most_specific_route_counts_in_every_reading_of_the_path() {
        let needs = |resource: &str| json!([{"resource": resource}]);
        let guards = guards(&json!([
            {"path": "/**", "requires": needs("all")},
            {"path": "/open"},
            {"path": "/a", "requires": needs("one")},
            {"path": "/a/**", "requires": needs("rest")},
            {"path": "/a/{x}", "requires": needs("any")},
            {"path": "/a/b", "requires": needs("literal")},
        ]));
        for (path, resources) in [
            ("/", &["all"][..]),
            ("/open", &[]),
            ("/Open", &["all"]),
            ("/open/", &["all"]),
            ("/a", &["one"]),
            ("/a/", &["any", "one"]),
            ("/a/b", &["literal"]),
            ("/a/c", &["any"]),
            ("/a/b/", &["rest", "literal"]),
            ("/a/b;v=1", &["any", "literal"]),
            ("/a;x/b/;y", &["all", "literal", "rest"]),
            ("/a/*", &["any"]),
            ("/a/b/c", &["rest"]),
        ] {
            assert_eq!(asked(&guards, path), resources, "{path}");
        }
    }
}
