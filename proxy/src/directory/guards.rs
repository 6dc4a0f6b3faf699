//! What a revision of a plugin asks of callers beyond the right to use the plugin, read once for all requests.

use std::{borrow::Cow, collections::BTreeMap};

use kite_api::{
    Permission, RevisionSpec, ToolName,
    path_pattern::PathPattern,
    plugin::access::{RouteRequirement, ToolRequirement},
    rights::{self, Right},
};

/// What the revision asks, and the grant that has to have it too: that of now, so that a right that was withdrawn is withdrawn at once.
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
    /// Those of a revision, by what it records and what its object grants now.
    pub fn of(spec: &RevisionSpec, permissions: &[Permission], plugins_namespace: &str) -> Self {
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
            permissions: permissions.to_vec(),
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
            let first =
                |is: fn(&PathPattern, &str) -> bool| self.routes.iter().find(|route| is(&route.pattern, &reading));
            let itself = first(PathPattern::matches);
            // Of a path that has an entry of its own, what is below it says nothing.
            let has_own = itself.is_some_and(|route| route.pattern.is_literal());
            let above = if has_own { None } else { first(PathPattern::begins_at) };
            // A router that takes an empty segment for none goes on to a wider pattern.
            let filled = if has_empty_segment(&reading) {
                first(PathPattern::matches_filled)
                    .filter(|route| !itself.is_some_and(|itself| std::ptr::eq(*route, itself)))
            } else {
                None
            };
            let found = [itself, above, filled].into_iter().flatten();
            all.extend(found.map(|route| Matched {
                route,
                path: reading.clone(),
            }));
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

fn has_empty_segment(path: &str) -> bool {
    path.ends_with('/') || path.contains("//")
}

fn without_slash(path: &str) -> Option<&str> {
    path.strip_suffix('/').filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_set, prelude::*};
    use serde_json::{Value, json};

    use super::*;
    use crate::pipeline::path::NormalPath;

    fn guards(routes: &Value) -> Guards {
        let spec = json!({"version": "1.0.0", "image": "a", "routes": routes});
        Guards::of(&serde_json::from_value(spec).unwrap(), &[], "kite-plugins")
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
            ("/a/", &["any", "all", "one"]),
            ("/a/b", &["literal"]),
            ("/a/c", &["any"]),
            ("/a/b/", &["rest", "literal"]),
            ("/a/b;v=1", &["any", "literal"]),
            ("/a;x/b;y", &["all", "literal"]),
            ("/a/*", &["any"]),
            ("/a/b/c", &["rest"]),
        ] {
            assert_eq!(asked(&guards, path), resources, "{path}");
        }
    }

    #[test]
    fn what_stands_before_the_rest_is_served_by_the_same_unless_it_has_an_entry() {
        let needs = |resource: &str| json!([{"resource": resource}]);
        let costs = json!({"path": "/costs/**", "requires": needs("rest")});
        let any = json!({"path": "/{x}", "requires": needs("any")});
        for (routes, resources) in [
            (json!([costs]), &["rest"][..]),
            (json!([costs, any]), &["any", "rest"]),
            (json!([costs, {"path": "/costs"}]), &[]),
            (json!([costs, {"path": "/costs", "requires": needs("own")}]), &["own"]),
        ] {
            assert_eq!(asked(&guards(&routes), "/costs"), resources, "{routes}");
        }
        assert!(asked(&guards(&json!([costs])), "/cost").is_empty());
    }

    /// To axum a parameter and a rest are not empty, so that it goes on to what is wider.
    #[test]
    fn path_confusion_an_empty_segment_is_served_by_what_is_wider() {
        let route = |(path, resource): (&str, &str)| json!({"path": path, "requires": [{"resource": resource}]});
        let guards = |routes: &[(&str, &str)]| guards(&routes.iter().copied().map(route).collect());
        let rest = guards(&[("/**", "all"), ("/b", "own"), ("/b/**", "rest")]);
        assert_eq!(asked(&rest, "/b/"), ["rest", "all", "own"]);
        assert_eq!(asked(&rest, "/b/c"), ["rest"]);
        let parameter = guards(&[("/**", "all"), ("/b", "own"), ("/b/{x}", "any"), ("/b/{x}/c", "in")]);
        assert_eq!(asked(&parameter, "/b/"), ["any", "all", "own"]);
        assert!(asked(&parameter, "/b/;v=1/c").contains(&"all".to_owned()));
    }

    /// How plugins' routers read a path: as it is, without a slash at its end, without what follows a semicolon, without both.
    const READERS: [fn(&str) -> String; 4] = [
        str::to_owned,
        |path| {
            path.strip_suffix('/')
                .filter(|path| !path.is_empty())
                .unwrap_or(path)
                .to_owned()
        },
        plain,
        |path| READERS[1](&plain(path)),
    ];

    fn plain(path: &str) -> String {
        path.split('/')
            .map(|segment| segment.split(';').next().unwrap())
            .collect::<Vec<_>>()
            .join("/")
    }

    /// The router of axum, and so of plugins in Rust, with the same patterns. None where it does not take two of them together.
    fn router(patterns: &[String]) -> Option<matchit::Router<String>> {
        let mut router = matchit::Router::new();
        for pattern in patterns {
            let parts = pattern.split('/').enumerate().map(|(index, segment)| match segment {
                "**" => "{*rest}".to_owned(),
                "*" => format!("{{any{index}}}"),
                segment if segment.starts_with('{') => format!("{{any{index}}}"),
                segment => segment.to_owned(),
            });
            let route = parts.collect::<Vec<_>>().join("/");
            router.insert(route, pattern.clone()).ok()?;
        }
        Some(router)
    }

    proptest! {
        #[test]
        fn path_confusion_no_path_reaches_a_route_without_what_it_requires(
            patterns in btree_set("(/(a|b|c|\\{x\\}|\\*)){1,3}|(/(a|b|\\{x\\})){0,2}/\\*\\*|/", 1..8),
            raw in "(/(a|b|c|%61|%62|;|a;b|%7Bx%7D|\\*|\\{x\\}|%2a|d|%3b)){0,4}/?",
        ) {
            let patterns: Vec<String> = patterns.into_iter().collect();
            let Some(router) = router(&patterns) else { return Ok(()) };
            let Ok(path) = NormalPath::parse(&raw) else { return Ok(()) };
            let routes = patterns.iter().enumerate();
            let routes = routes.map(|(index, path)| json!({"path": path, "requires": [{"resource": format!("r{index}")}]}));
            let guards = guards(&routes.collect());
            let asked = asked(&guards, path.as_str());
            for read in READERS {
                let read = read(path.as_str());
                if let Ok(found) = router.at(&read) {
                    let index = patterns.iter().position(|pattern| pattern == found.value).unwrap();
                    prop_assert!(asked.contains(&format!("r{index}")), "{} is {} to {:?}, but {:?}", path.as_str(), found.value, read, asked);
                }
            }
        }
    }
}
