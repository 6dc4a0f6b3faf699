//! What is entrusted to a plugin beside rights: viewers' browser sessions, and requests to plugins.

use super::words;
use crate::{
    path_pattern,
    plugin::{Frontend, KitePluginSpec},
};

const SESSION: &str = "in the browser session of everyone who opens the dashboard";

/// What an object entrusts to its plugin.
pub(super) fn all(spec: &KitePluginSpec) -> Vec<String> {
    let nothing = KitePluginSpec::default();
    let pages = spec.frontend.as_ref().map(|_| format!("its pages run {SESSION}"));
    let origins = told("its pages may reach", &added(origins(&nothing), origins(spec), reaches));
    let paths = told(
        "it sees, and may answer, requests to",
        &added(paths(&nothing), paths(spec), path_pattern::covers),
    );
    [pages, origins, paths].into_iter().flatten().collect()
}

/// What differs in it between two objects.
pub(super) fn changed(old: &KitePluginSpec, new: &KitePluginSpec) -> Vec<String> {
    let pages = match (&old.frontend, &new.frontend) {
        (None, Some(_)) => Some(format!("its pages now run {SESSION}")),
        (Some(_), None) => Some(format!("its pages no longer run {SESSION}")),
        (Some(old), Some(new)) if without_origins(old) != without_origins(new) => {
            Some(format!("its pages, which run {SESSION}, are others"))
        }
        _ => None,
    };
    let reached = added(origins(old), origins(new), reaches);
    let left = match new.frontend {
        Some(_) => added(origins(new), origins(old), reaches),
        // There are no pages any more that could reach anything.
        None => Vec::new(),
    };
    let seen = added(paths(old), paths(new), path_pattern::covers);
    let unseen = added(paths(new), paths(old), path_pattern::covers);
    [
        pages,
        told("its pages may now reach", &reached),
        told("its pages may no longer reach", &left),
        told("it now sees, and may answer, requests to", &seen),
        told("it no longer sees requests to", &unseen),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn origins(spec: &KitePluginSpec) -> &[String] {
    spec.frontend.as_ref().map_or(&[], |frontend| &frontend.connect_sources)
}

fn paths(spec: &KitePluginSpec) -> &[String] {
    spec.middleware.as_ref().map_or(&[], |middleware| &middleware.paths)
}

fn without_origins(frontend: &Frontend) -> Frontend {
    Frontend {
        connect_sources: Vec::new(),
        ..frontend.clone()
    }
}

fn added<'a>(old: &[String], new: &'a [String], covers: fn(&str, &str) -> bool) -> Vec<&'a str> {
    let is_added = |new: &&str| !old.iter().any(|old| covers(old, new));
    new.iter().map(String::as_str).filter(is_added).collect()
}

/// Whether whoever may reach `wide` may reach `narrow`: `https://*.example.com` has every host below `example.com`.
fn reaches(wide: &str, narrow: &str) -> bool {
    let below = wide.split_once("://*.").is_some_and(|(scheme, domain)| {
        let host = narrow.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
        host.and_then(|host| host.strip_suffix(domain))
            .is_some_and(|host| host.ends_with('.'))
    });
    below || wide == narrow
}

fn told(begin: &str, texts: &[&str]) -> Option<String> {
    let list = || words::list(texts.iter().map(|text| words::plain(text)), texts.len() as u64);
    (!texts.is_empty()).then(|| format!("{begin} {}", list()))
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures, *};

    fn pages(origins: &[&str]) -> KitePluginSpec {
        fixtures::plugin().with_pages(origins)
    }

    fn middleware(paths: &[&str]) -> KitePluginSpec {
        fixtures::plugin().with_middleware(paths)
    }

    #[test]
    fn pages_and_middleware_are_trust() {
        let spec = pages(&["https://b.example", "wss://a.example"]).with_middleware(&["/api/v1/plugins/**"]);
        assert_eq!(
            all(&spec),
            [
                "its pages run in the browser session of everyone who opens the dashboard",
                "its pages may reach https://b.example and wss://a.example",
                "it sees, and may answer, requests to /api/v1/plugins/**",
            ]
        );
        assert_eq!(all(&fixtures::plugin()), [""; 0]);
    }

    #[test]
    fn pages_are_told_when_they_come_change_and_go() {
        let (none, some) = (fixtures::plugin(), pages(&["https://a.example"]));
        let mut other = some.clone();
        other.frontend.as_mut().unwrap().remote_entry = String::from("other.js");
        assert_eq!(
            changed(&none, &some),
            [
                "its pages now run in the browser session of everyone who opens the dashboard",
                "its pages may now reach https://a.example",
            ]
        );
        assert_eq!(
            changed(&some, &other),
            ["its pages, which run in the browser session of everyone who opens the dashboard, are others"]
        );
        assert_eq!(
            changed(&some, &none),
            ["its pages no longer run in the browser session of everyone who opens the dashboard"]
        );
        assert_eq!(changed(&some, &some), [""; 0]);
    }

    #[test]
    fn origins_are_told_when_they_come_and_go() {
        assert_eq!(
            changed(&pages(&["https://a.example"]), &pages(&["https://b.example"])),
            [
                "its pages may now reach https://b.example",
                "its pages may no longer reach https://a.example",
            ]
        );
    }

    #[test]
    fn an_origin_within_a_wildcard_is_none_that_comes() {
        assert_eq!(
            changed(&pages(&["https://*.a.example"]), &pages(&["https://b.a.example"])),
            ["its pages may no longer reach https://*.a.example"]
        );
        for narrow in [
            "https://a.example",
            "https://ba.example",
            "wss://b.a.example",
            "https://b.a.example:8443",
        ] {
            assert!(!reaches("https://*.a.example", narrow), "{narrow}");
        }
        assert!(reaches("https://*.a.example", "https://*.b.a.example"));
    }

    #[test]
    fn paths_of_middleware_are_told_when_they_come_and_go() {
        let (wide, narrow) = (
            middleware(&["/api/v1/plugins/**"]),
            middleware(&["/api/v1/plugins/a/**"]),
        );
        assert_eq!(
            changed(&fixtures::plugin(), &narrow),
            ["it now sees, and may answer, requests to /api/v1/plugins/a/**"]
        );
        assert_eq!(
            changed(&narrow, &wide),
            ["it now sees, and may answer, requests to /api/v1/plugins/**"]
        );
        assert_eq!(
            changed(&wide, &narrow),
            ["it no longer sees requests to /api/v1/plugins/**"]
        );
    }

    #[test]
    fn another_image_or_version_is_no_matter_of_trust() {
        let spec = pages(&[]);
        let mut other = spec.clone();
        other.image = String::from("another");
        other.version = String::from("2.0.0");
        assert_eq!(changed(&spec, &other), [""; 0]);
    }
}
