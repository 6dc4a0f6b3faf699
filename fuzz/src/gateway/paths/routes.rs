//! The routes of an object, as a fuzzer writes them, and how a plugin's router reads a path.

use bytes::Bytes;
use kite_api::{KitePluginSpec, rights::Place};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// Most routes: a resource for each.
const MOST: usize = 8;
/// Most segments of one.
const SEGMENTS: usize = 4;

/// What routers make of a path: as it is, without a slash at its end, without what follows a semicolon, without both, and decoded.
pub(super) const READERS: [fn(&str) -> String; 5] = [
    str::to_owned,
    without_slash,
    plain,
    |path| without_slash(&plain(path)),
    |path| String::from_utf8_lossy(&percent_decode_str(path).collect::<Vec<u8>>()).into_owned(),
];

fn without_slash(path: &str) -> String {
    let without = path.strip_suffix('/').filter(|path| !path.is_empty());
    without.unwrap_or(path).to_owned()
}

fn plain(path: &str) -> String {
    let segments = path
        .split('/')
        .map(|segment| segment.split(';').next().unwrap_or_default());
    segments.collect::<Vec<_>>().join("/")
}

/// Where a route takes the namespace from that it requires something in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Source {
    Nowhere,
    Path,
    Query,
}

#[derive(Clone, Debug)]
struct Route {
    /// As the schema of the object admits it.
    pattern: String,
    source: Source,
    /// Whether it requires anything.
    requires: bool,
}

/// A right that a plugin means its callers to have.
#[derive(Debug)]
pub(super) struct Needed {
    pub(super) resource: String,
    pub(super) place: Place,
}

/// The routes of an object.
#[derive(Debug)]
pub(super) struct Given(Vec<Route>);

impl Given {
    /// Of each message the first byte says what is required, and the others are segments.
    pub(super) fn of(messages: &[Bytes]) -> Self {
        let mut all: Vec<Route> = Vec::new();
        for message in messages.iter().take(MOST) {
            let Some((how, segments)) = message.split_first() else {
                continue;
            };
            let route = Route::of(*how, segments);
            // The object is a map by path.
            if all.iter().all(|other| other.pattern != route.pattern) {
                all.push(route);
            }
        }
        Self(all)
    }

    pub(super) fn spec(&self) -> KitePluginSpec {
        let routes = self.0.iter().enumerate().map(|(number, route)| route.json(number));
        let resources: Vec<String> = (0..MOST).map(|number| format!("r{number}")).collect();
        let spec = json!({
            "version": "1.0.0",
            "image": "a",
            "permissions": [{
                "apiGroups": [""], "resources": resources,
                "verbs": ["get", "create", "update", "patch", "delete"], "namespaces": ["*"],
            }],
            "routes": routes.collect::<Vec<_>>(),
        });
        serde_json::from_value(spec).expect("a spec")
    }

    /// A router with the same patterns, which gives the number of the route; none where it does not take two of them together.
    pub(super) fn router(&self) -> Option<matchit::Router<usize>> {
        let mut router = matchit::Router::new();
        for (number, route) in self.0.iter().enumerate() {
            let segments = route
                .pattern
                .split('/')
                .enumerate()
                .map(|(place, segment)| match segment {
                    "**" => String::from("{*rest}"),
                    "*" => format!("{{any{place}}}"),
                    // One name for all in this place, as routers want it.
                    segment if segment.starts_with('{') => format!("{{any{place}}}"),
                    segment => segment.to_owned(),
                });
            router.insert(segments.collect::<Vec<_>>().join("/"), number).ok()?;
        }
        Some(router)
    }

    /// What the route that `path` is to the plugin requires, by each way to read the query.
    pub(super) fn needs(&self, router: &matchit::Router<usize>, path: &str, query: Option<&str>) -> Vec<Needed> {
        let Ok(found) = router.at(path) else { return Vec::new() };
        let Some(route) = self.0.get(*found.value).filter(|route| route.requires) else {
            return Vec::new();
        };
        let place_of = |name: &str| match name {
            "" => Place::Cluster,
            name => Place::Namespace(name.to_owned()),
        };
        let places = match route.source {
            Source::Nowhere => vec![Place::Cluster],
            Source::Path => {
                let place = route.pattern.split('/').position(|segment| segment == "{x}");
                let name = place.and_then(|place| path.split('/').nth(place)).unwrap_or_default();
                vec![place_of(&percent_decode_str(name).decode_utf8_lossy())]
            }
            Source::Query => {
                let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
                let values = pairs
                    .filter(|(key, _)| key == "ns")
                    .map(|(_, value)| value.into_owned());
                let values: Vec<String> = values.collect();
                // Some readers take the first, some the last.
                let both = [values.first(), values.last()].into_iter().flatten();
                let places: Vec<Place> = both.map(|value| place_of(value)).collect();
                if places.is_empty() {
                    vec![Place::Cluster]
                } else {
                    places
                }
            }
        };
        let needed = |place| Needed {
            resource: format!("r{}", found.value),
            place,
        };
        places.into_iter().map(needed).collect()
    }
}

impl Route {
    fn of(how: u8, segments: &[u8]) -> Self {
        let mut pattern = String::new();
        let mut named = false;
        for segment in segments.iter().take(SEGMENTS) {
            pattern.push('/');
            pattern.push_str(match segment % 6 {
                0 => "a",
                1 => "b",
                2 => "c.d",
                3 if !named => {
                    named = true;
                    "{x}"
                }
                4 => "~e",
                _ => "*",
            });
        }
        if how & 1 == 1 {
            pattern.push_str("/**");
        }
        if pattern.is_empty() {
            pattern.push('/');
        }
        let source = match (how >> 1) % 3 {
            1 if named => Source::Path,
            2 => Source::Query,
            _ => Source::Nowhere,
        };
        Self {
            pattern,
            source,
            requires: how & 0b1000 == 0,
        }
    }

    fn json(&self, number: usize) -> Value {
        let resource = format!("r{number}");
        let required = match self.source {
            Source::Nowhere => json!({"resource": resource}),
            Source::Path => json!({"resource": resource, "namespace": {"path": "x"}}),
            Source::Query => json!({"resource": resource, "namespace": {"query": "ns"}}),
        };
        if self.requires {
            json!({"path": self.pattern, "requires": [required]})
        } else {
            json!({"path": self.pattern})
        }
    }
}
