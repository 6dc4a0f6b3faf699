//! Which route a path names. Names in it are still only text: their syntax is checked after the caller is known.

use http::Method;
use kite_api::{Verb, name::RESERVED};

use super::path::NormalPath;
use crate::base_path::BasePath;

/// All that is open before login. Whoever adds to this list adds what anybody may ask.
pub const OPEN: [(&str, Route<'static>); 2] = [("/healthz", Route::Health), ("/readyz", Route::Ready)];

/// First segments below a plugin's root that the gateway keeps for itself.
const RESERVED_BELOW_PLUGIN: [&str; 2] = ["static", "resources"];

const READ: &str = "GET, HEAD";
const ALL: &str = "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE";

/// What a request is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Route<'a> {
    /// Whether the gateway lives.
    Health,
    /// Whether the gateway should get traffic.
    Ready,
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
        match (open(path.as_str()), base.below(path)) {
            (Some(route), _) => route,
            (None, Some(below)) => Self::of(below),
            (None, None) => Self::Outside,
        }
    }

    fn of(path: &'a str) -> Self {
        if let Some(route) = open(path) {
            return route;
        }
        if !path.starts_with("/api/") {
            return Self::Outside;
        }
        let Some(rest) = path.strip_prefix("/api/v1/plugins") else {
            return Self::Unknown;
        };
        if rest.is_empty() || rest == "/" {
            return Self::Plugins;
        }
        let Some(rest) = rest.strip_prefix('/') else {
            return Self::Unknown;
        };
        let (name, below) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        match (name, below) {
            ("manifests" | "frontends", "" | "/") => Self::Manifests,
            ("tools", "" | "/") => Self::Tools,
            ("tools", tool) => match tool.strip_prefix('/') {
                Some(tool) if !tool.is_empty() && !tool.contains('/') => Self::Tool { name: tool },
                _ => Self::Unknown,
            },
            (name, _) if RESERVED.contains(&name) => Self::Unknown,
            (name, "") => Self::Plugin { name, below: "/" },
            (name, below) => {
                let first = below.split('/').nth(1).unwrap_or_default();
                if RESERVED_BELOW_PLUGIN.contains(&first) {
                    Self::Unknown
                } else {
                    Self::Plugin { name, below }
                }
            }
        }
    }

    /// The right that the method needs on this route, or the methods that the route takes.
    pub fn verb(self, method: &Method) -> Result<Verb, &'static str> {
        match self {
            Self::Health | Self::Ready | Self::Plugins | Self::Tools | Self::Manifests => {
                if matches!(*method, Method::GET | Method::HEAD) {
                    Ok(Verb::Get)
                } else {
                    Err(READ)
                }
            }
            Self::Tool { .. } => {
                if *method == Method::POST {
                    Ok(Verb::Create)
                } else {
                    Err("POST")
                }
            }
            Self::Plugin { .. } | Self::Unknown | Self::Outside => match *method {
                Method::GET | Method::HEAD | Method::OPTIONS => Ok(Verb::Get),
                Method::POST => Ok(Verb::Create),
                Method::PUT => Ok(Verb::Update),
                Method::PATCH => Ok(Verb::Patch),
                Method::DELETE => Ok(Verb::Delete),
                _ => Err(ALL),
            },
        }
    }
}

/// What is open before login, by its path.
fn open(path: &str) -> Option<Route<'static>> {
    OPEN.iter().find(|(open, _)| *open == path).map(|(_, route)| *route)
}

#[cfg(test)]
mod tests {
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
            ("/", Route::Outside),
            ("/api", Route::Outside),
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
        let plugin = Route::Plugin {
            name: "hello",
            below: "/",
        };
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
            assert_eq!(
                plugin.verb(&Method::from_bytes(method.as_bytes()).unwrap()),
                verb,
                "{method}"
            );
        }
        assert_eq!(Route::Plugins.verb(&Method::POST), Err("GET, HEAD"));
        assert_eq!(Route::Tool { name: "x" }.verb(&Method::GET), Err("POST"));
    }
}
