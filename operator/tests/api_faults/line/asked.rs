//! What is asked of the API server in the place of what an operator has asked.

use kite_api::labels;

use crate::target::Target;

/// Whether the query is a watch's.
pub(super) fn is_watch(query: &str) -> bool {
    parts(query).any(|(key, value)| key == "watch" && value == "true")
}

/// Whether the query is of a list that is read page by page, as those that watches begin with are.
pub(super) fn is_paged(query: &str) -> bool {
    parts(query).any(|(key, _)| key == "limit")
}

/// The same query, confined to one plugin; and, while watches speak of an earlier version of the cluster, that of the first list of a watch
/// made one for that version.
///
/// What is asked at the moment of a decision, in whole lists and by name, is always answered by what is: so the API server does, too.
pub(super) fn rewritten(target: Option<&Target>, query: &str, subject: &str, frozen_at: Option<&str>) -> String {
    let Some(target) = target.filter(|target| target.name.is_none()) else {
        return query.to_owned();
    };
    let mut parts: Vec<String> = parts(query)
        .map(|(key, value)| match key {
            "labelSelector" => format!("{key}={value}%2C{}%3D{subject}", labels::PLUGIN.replace('/', "%2F")),
            _ => format!("{key}={value}"),
        })
        .collect();
    if target.resource == "kiteplugins" {
        parts.push(format!("fieldSelector=metadata.name%3D{subject}"));
    }
    // Each page is of the version of the first.
    let is_a_watchs = !is_watch(query) && target.counts() && is_paged(query);
    let is_first_page = is_a_watchs && !query.contains("continue=");
    if let Some(version) = frozen_at.filter(|_| is_first_page) {
        parts.push(format!("resourceVersion={version}&resourceVersionMatch=Exact"));
    }
    parts.join("&")
}

fn parts(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter_map(|part| part.split_once('='))
}

#[test]
fn a_list_is_confined_and_one_for_a_watch_is_of_the_version_that_is_told() {
    let rewritten = |path: &str, query: &str, version| rewritten(Target::of(path).as_ref(), query, "a", version);
    let plugins = "/apis/kite.dev/v1alpha1/kiteplugins";
    assert_eq!(
        rewritten(plugins, "limit=500", Some("7")),
        "limit=500&fieldSelector=metadata.name%3Da&resourceVersion=7&resourceVersionMatch=Exact"
    );
    let secrets = "/api/v1/namespaces/plugins/secrets";
    assert_eq!(
        rewritten(secrets, "labelSelector=b%3Dc", Some("7")),
        "labelSelector=b%3Dc%2Ckite.dev%2Fplugin%3Da"
    );
    assert_eq!(
        rewritten(
            secrets,
            "watch=true&labelSelector=b&limit=5&resourceVersion=7",
            Some("7")
        ),
        "watch=true&labelSelector=b%2Ckite.dev%2Fplugin%3Da&limit=5&resourceVersion=7"
    );
    assert_eq!(
        rewritten(plugins, "limit=5&continue=b", Some("7")),
        "limit=5&continue=b&fieldSelector=metadata.name%3Da"
    );
    assert_eq!(rewritten(&format!("{plugins}/a"), "", Some("7")), "");
}
