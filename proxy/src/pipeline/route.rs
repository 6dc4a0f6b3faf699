//! Which route a path names. Names in it are still only text: their syntax is checked after the caller is known.

mod row;
mod table;

use super::path::NormalPath;
use crate::base_path::BasePath;

pub use self::{
    row::{About, Answer, Content, Needed, Operation, Path, Query, Row, SchemaOf, Tail},
    table::{OPEN, TABLE},
};

/// What is counted. Its path is the right that it needs.
pub const METRICS: &str = "/metrics";

/// What a request is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Route<'a> {
    /// Whether the gateway lives.
    Health,
    /// Whether the gateway should get traffic.
    Ready,
    /// What routes there are, for programs.
    Document,
    /// Who the caller is, and whether they are logged in.
    Session,
    /// What is counted, for those who may read it.
    Metrics,
    /// The plugins that the caller may see.
    Plugins,
    /// The plugins' web pages.
    Manifests,
    /// The tools that the caller may call.
    Tools,
    /// One tool, by its whole name.
    Tool { name: &'a str },
    /// A plugin's own route, by the path below the plugin's root.
    Plugin { name: &'a str, below: &'a str },
    /// Nothing, below /api/: the caller is asked who they are before they learn that.
    Unknown,
    /// Nothing, anywhere else.
    Outside,
}

impl<'a> Route<'a> {
    /// The route that `path` names where all but the probes lies below `base`. A kubelet asks the pod itself, and knows nothing of
    /// the base.
    pub fn below(base: &BasePath, path: &'a NormalPath) -> Self {
        let probe = [Self::Health, Self::Ready];
        match (Self::of(path.as_str()), base.below(path)) {
            (route, _) if probe.contains(&route) => route,
            (_, Some(below)) => Self::of(below),
            (_, None) => Self::Outside,
        }
    }

    fn of(path: &'a str) -> Self {
        let found = TABLE.iter().find_map(|row| row.route(path));
        found.unwrap_or(if path.starts_with("/api/") {
            Self::Unknown
        } else {
            Self::Outside
        })
    }

    /// What the table says of it; nothing of what is no route.
    pub fn row(self) -> Option<&'static Row> {
        Some(match self {
            Self::Health => &table::HEALTH,
            Self::Ready => &table::READY,
            Self::Document => &table::DOCUMENT,
            Self::Session => &table::SESSION,
            Self::Metrics => &table::METRICS,
            Self::Plugins => &table::PLUGINS,
            Self::Manifests => &table::MANIFESTS,
            Self::Tools => &table::TOOLS,
            Self::Tool { .. } => &table::TOOL,
            Self::Plugin { .. } => &table::PLUGIN,
            Self::Unknown | Self::Outside => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use kite_api::Verb;

    use super::*;

    #[test]
    fn below_a_base_the_probes_are_at_the_root_too() {
        let base = BasePath::parse("/kite").unwrap();
        for (path, route) in [
            ("/healthz", Route::Health),
            ("/readyz", Route::Ready),
            ("/kite/healthz", Route::Health),
            ("/kite/readyz", Route::Ready),
            ("/kite/api/v1/plugins/", Route::Plugins),
            ("/kite/api/", Route::Unknown),
            ("/kite/", Route::Outside),
            ("/kite", Route::Outside),
            ("/api/v1/plugins/", Route::Outside),
            ("/api/", Route::Outside),
            ("/kitehealthz", Route::Outside),
            ("/kite/kite/healthz", Route::Outside),
        ] {
            assert_eq!(Route::below(&base, &NormalPath::parse(path).unwrap()), route, "{path}");
        }
    }

    #[test]
    fn each_path_is_one_route() {
        let plugin = |name, below| Route::Plugin { name, below };
        for (path, route) in [
            ("/healthz", Route::Health),
            ("/healthz/", Route::Outside),
            ("/readyz", Route::Ready),
            ("/openapi.json", Route::Document),
            ("/openapi.json/", Route::Outside),
            ("/metrics", Route::Metrics),
            ("/metrics/", Route::Outside),
            ("/", Route::Outside),
            ("/api", Route::Outside),
            ("/api/v1/session", Route::Session),
            ("/api/v1/session/", Route::Unknown),
            ("/api/", Route::Unknown),
            ("/api/v1/pluginsx", Route::Unknown),
            ("/api/v2/plugins/", Route::Unknown),
            ("/api/v1/plugins", Route::Plugins),
            ("/api/v1/plugins/", Route::Plugins),
            ("/api/v1/plugins/manifests", Route::Manifests),
            ("/api/v1/plugins/manifests/", Route::Manifests),
            ("/api/v1/plugins/frontends", Route::Manifests),
            ("/api/v1/plugins/frontends/", Route::Manifests),
            ("/api/v1/plugins/manifests/x", Route::Unknown),
            ("/api/v1/plugins/tools", Route::Tools),
            ("/api/v1/plugins/tools/", Route::Tools),
            ("/api/v1/plugins/tools/x", Route::Tool { name: "x" }),
            ("/api/v1/plugins/tools/x/", Route::Unknown),
            ("/api/v1/plugins/tools/x/y", Route::Unknown),
            ("/api/v1/plugins/events", Route::Unknown),
            ("/api/v1/plugins/install/x", Route::Unknown),
            ("/api/v1/plugins/hello", plugin("hello", "/")),
            ("/api/v1/plugins/hello/", plugin("hello", "/")),
            ("/api/v1/plugins/hello/a/b/", plugin("hello", "/a/b/")),
            ("/api/v1/plugins/hello/static", Route::Unknown),
            ("/api/v1/plugins/hello/static/1/x.js", Route::Unknown),
            ("/api/v1/plugins/hello/resources/x", Route::Unknown),
            ("/api/v1/plugins/hello/statics", plugin("hello", "/statics")),
            ("/api/v1/plugins/hello/a/static", plugin("hello", "/a/static")),
            ("/api/v1/plugins/Bad_Name/x", plugin("Bad_Name", "/x")),
        ] {
            assert_eq!(
                Route::below(&BasePath::default(), &NormalPath::parse(path).unwrap()),
                route,
                "{path}"
            );
        }
    }

    #[test]
    fn a_method_is_a_verb_or_is_not_taken() {
        const ALL: &str = "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE";
        for (method, verb) in [
            ("GET", Ok(Verb::Get)),
            ("HEAD", Ok(Verb::Get)),
            ("OPTIONS", Ok(Verb::Get)),
            ("POST", Ok(Verb::Create)),
            ("PUT", Ok(Verb::Update)),
            ("PATCH", Ok(Verb::Patch)),
            ("DELETE", Ok(Verb::Delete)),
            ("CONNECT", Err(ALL)),
            ("TRACE", Err(ALL)),
            ("get", Err(ALL)),
            ("PROPFIND", Err(ALL)),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(table::PLUGIN.verb(&method), verb, "{method}");
        }
        assert_eq!(table::PLUGINS.verb(&Method::POST), Err("GET, HEAD"));
        assert_eq!(table::TOOL.verb(&Method::GET), Err("POST"));
    }

    #[test]
    fn each_row_of_the_table_is_one_route_and_says_which_methods_it_takes() {
        for row in TABLE {
            for path in row.paths {
                let text = path.filled("plugin_hello_hello", "hello", "a/b");
                let path = NormalPath::parse(&text).unwrap();
                assert!(std::ptr::eq(Route::of(path.as_str()).row().unwrap(), row), "{text}");
            }
            let methods: Vec<&str> = row.methods().map(|(method, _)| method.as_str()).collect();
            assert_eq!(methods.join(", "), row.allow);
        }
    }

    #[test]
    fn pre_login_nothing_is_open_but_what_is_listed() {
        let mut open = Vec::new();
        for row in TABLE {
            for (method, _) in row.methods().filter(|(method, _)| row.is_open(method)) {
                open.push(format!("{method} {}", row.paths[0].literal));
            }
            // A method that a route does not take is no way in either.
            let is_wholly_open = row.methods().all(|(method, _)| row.is_open(method));
            assert_eq!(row.is_open(&Method::TRACE), is_wholly_open);
        }
        assert_eq!(
            open,
            [
                "GET /healthz",
                "HEAD /healthz",
                "GET /readyz",
                "HEAD /readyz",
                "GET /openapi.json",
                "HEAD /openapi.json",
                "POST /api/v1/session"
            ]
        );
        for (path, _) in OPEN {
            assert!(
                TABLE.iter().any(|row| row.paths[0].literal == path),
                "{path} is no route"
            );
        }
        assert_eq!(table::SESSION.verb(&Method::PUT), Err("GET, HEAD, POST, DELETE"));
    }
}
