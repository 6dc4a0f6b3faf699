//! What a grant is said to hold, what a change of it adds, and in which words.

use super::{
    fixtures::{NAMESPACE, plugin},
    *,
};

fn said(statements: &[Statement]) -> Vec<&str> {
    statements.iter().map(|statement| statement.text.as_str()).collect()
}

fn may(spec: &KitePluginSpec) -> Vec<String> {
    summary(spec, NAMESPACE)
        .rights
        .into_iter()
        .map(|right| right.text)
        .collect()
}

fn changed(old: &KitePluginSpec, new: &KitePluginSpec) -> Changes {
    changes(Some(old), new, NAMESPACE)
}

/// The plugin of the documentation.
fn cost_analyzer() -> KitePluginSpec {
    plugin()
        .may(&["get", "list", "watch"], &["pods", "nodes"])
        .within(&["*"])
        .may(&["get"], &["deployments.apps"])
        .within(&["shop", "pay"])
        .calling(&["metrics-lib"])
}

#[test]
fn a_grant_is_told_in_few_sentences() {
    assert_eq!(
        may(&cost_analyzer()),
        [
            "get, list and watch nodes and pods in the whole cluster",
            "get deployments.apps in namespaces pay and shop",
            "call the plugin metrics-lib through the gateway, as itself",
        ]
    );
}

#[test]
fn verbs_resources_places_and_names_that_belong_together_are_told_together() {
    let spec = plugin()
        .may(&["list"], &["services"])
        .may(&["get"], &["configmaps"])
        .named(&["b"])
        .may(&["get"], &["services"])
        .may(&["get"], &["configmaps"])
        .named(&["a"])
        .may(&["get", "list"], &["endpoints"])
        .within(&["shop"])
        .may(&["get", "list"], &["services"])
        .within(&["shop"])
        .may(&["get", "list"], &["endpoints"]);
    assert_eq!(
        may(&spec),
        [
            "get configmaps \"a\" and \"b\" in namespace kite-plugins",
            "get and list endpoints and services in namespaces kite-plugins and shop",
        ]
    );
}

#[test]
fn each_form_of_a_permission_has_its_words() {
    for (spec, text) in [
        (
            plugin().may(&["get"], &["pods/log"]).within(&["shop"]),
            "get pods/log in namespace shop",
        ),
        (
            plugin()
                .may(&["get", "update"], &["deployments/scale.apps"])
                .within(&["shop"]),
            "get and update deployments.apps/scale in namespace shop",
        ),
        (
            plugin().may(&["get"], &["pods", "services"]).named(&["a", "b"]),
            "get pods and services named \"a\" and \"b\" in namespace kite-plugins",
        ),
        (
            plugin()
                .may(&["impersonate"], &["users"])
                .named(&["jane"])
                .within(&["*"]),
            "impersonate users \"jane\" in the whole cluster",
        ),
        (
            plugin().may(&["*"], &["*.*"]).within(&["*"]),
            "do everything with every resource of every group in the whole cluster, Kite's own keys included",
        ),
        (
            plugin().may(&["get"], &["*.apps"]).within(&["shop"]),
            "get every resource of the group apps in namespace shop",
        ),
        (
            plugin().may(&["get"], &["*"]).within(&["shop"]),
            "get every resource of the core group in namespace shop",
        ),
        (
            plugin().may(&["get"], &["pods.*"]).within(&["*"]),
            "get pods of every group in the whole cluster",
        ),
        (
            plugin().calling(&["b", "a"]),
            "call the plugins a and b through the gateway, as itself",
        ),
    ] {
        assert_eq!(may(&spec), [text]);
    }
}

#[test]
fn the_right_to_call_a_plugin_is_told_as_such_only_in_whole() {
    let proxy = |verbs: &[&str]| plugin().may(verbs, &["kiteplugins/proxy.kite.dev"]).within(&["*"]);
    let all = ["get", "create", "update", "patch", "delete"];
    assert_eq!(
        rights(&proxy(&all).named(&["a"]), NAMESPACE),
        rights(&plugin().calling(&["a"]), NAMESPACE)
    );
    assert_eq!(
        may(&proxy(&["get"]).named(&["a"])),
        ["get kiteplugins.kite.dev/proxy \"a\" in the whole cluster"]
    );
    assert_eq!(
        may(&proxy(&all)),
        ["get, create, update, patch and delete kiteplugins.kite.dev/proxy in the whole cluster"]
    );
}

#[test]
fn what_the_whole_cluster_means_for_kite_itself_is_told() {
    let everywhere = |verbs: &[&str], resource| may(&plugin().may(verbs, &[resource]).within(&["*"])).remove(0);
    for (verb, resource, end) in [
        ("get", "secrets", ", Kite's own keys included"),
        ("list", "*", ", Kite's own keys included"),
        ("create", "pods/exec", ", with Kite's own keys in reach"),
        ("create", "serviceaccounts/token", ", with Kite's own keys in reach"),
        ("patch", "deployments.apps", ", with Kite's own keys in reach"),
        ("get", "deployments.apps", " in the whole cluster"),
        ("get", "pods", " in the whole cluster"),
        ("get", "*.apps", " in the whole cluster"),
        ("get", "secrets.example", " in the whole cluster"),
        ("delete", "roles.rbac", " in the whole cluster"),
    ] {
        let text = everywhere(&[verb], resource);
        assert!(text.ends_with(end), "{text}");
    }
    assert_eq!(
        may(&plugin().may(&["get"], &["secrets"]).named(&["a"]).within(&["*"])),
        ["get secrets \"a\" in the whole cluster, in Kite's own namespaces too"]
    );
    assert_eq!(
        may(&plugin().may(&["get"], &["secrets"]).within(&["shop"])),
        ["get secrets in namespace shop"]
    );
}

#[test]
fn dangerous_rights_stand_first_and_apart_with_what_they_open() {
    let spec = plugin()
        .may(&["get", "list", "create", "delete"], &["configmaps", "pods", "secrets"])
        .within(&["shop"]);
    let accounts = "the rights of every ServiceAccount that a pod there can have";
    let statement = |text: &str, dangerous: Option<&str>| Statement {
        text: text.to_owned(),
        dangerous: dangerous.map(str::to_owned),
    };
    assert_eq!(
        summary(&spec, NAMESPACE).rights,
        [
            statement(
                "get, list, create and delete secrets in namespace shop",
                Some("credentials")
            ),
            statement("create and delete pods in namespace shop", Some(accounts)),
            statement("get, list, create and delete configmaps in namespace shop", None),
            statement("get and list pods in namespace shop", None),
        ]
    );
}

#[test]
fn rights_that_others_cover_are_not_told_again() {
    let spec = plugin()
        .may(&["get"], &["pods"])
        .within(&["shop"])
        .may(&["get", "list"], &["pods"])
        .within(&["*"])
        .may(&["list"], &["pods"])
        .named(&["a"]);
    assert_eq!(may(&spec), ["get and list pods in the whole cluster"]);
}

#[test]
fn long_lists_are_cut_and_counted() {
    let resources: Vec<String> = (0..16).map(|number| format!("resources-number-{number}")).collect();
    let resources: Vec<&str> = resources.iter().map(String::as_str).collect();
    assert_eq!(
        may(&plugin().may(&["get"], &resources)),
        [
            "get resources-number-0, resources-number-1, resources-number-10, resources-number-11, \
             resources-number-12, resources-number-13, resources-number-14, resources-number-15, \
             resources-number-2 and 7 more in namespace kite-plugins"
        ]
    );
    assert_eq!(
        may(&plugin().may(&["get"], &[&"a".repeat(300)])),
        [format!("get {}… in namespace kite-plugins", "a".repeat(97))]
    );
}

#[test]
fn a_name_cannot_write_a_sentence() {
    let spec = plugin()
        .may(&["get"], &["pods"])
        .named(&["a\" in namespace shop; may get \"b", "\u{202e}\n", ""]);
    assert_eq!(
        may(&spec),
        ["get pods \"?\", \"a??in?namespace?shop??may?get??b\" and \"??\" in namespace kite-plugins"]
    );
}

/// 32 permissions × 16 groups × 16 resources × 8 verbs × 16 names × 32 namespaces.
fn hostile() -> KitePluginSpec {
    let numbered = |text: &str, count: usize| -> Vec<String> { (0..count).map(|n| format!("{text}{n:02}")).collect() };
    let mut permission = fixtures::permission(&["get"], &["a"]);
    permission.verbs = Verb::REQUESTS.to_vec();
    permission.api_groups = numbered("group-", 16);
    permission.resources = numbered("resources-", 16);
    permission.resource_names = Some(numbered("name-", 16));
    permission.namespaces = Some(numbered("namespace-", 32));
    let mut spec = plugin();
    spec.permissions = vec![permission; 32];
    spec
}

#[test]
fn a_grant_that_is_too_large_is_told_by_permission() {
    let spec = hostile()
        .may(&["get", "create"], &["pods", "secrets"])
        .calling(&["b", "a"]);
    assert_eq!(count(&hostile()), 32 * 16 * 16 * 8 * 16 * 32);
    assert_eq!(rights(&spec, NAMESPACE), None);
    let rights = summary(&spec, NAMESPACE).rights;
    assert_eq!(rights.len(), 34);
    assert_eq!(
        rights[0].text,
        "get and create pods and secrets in namespace kite-plugins"
    );
    assert_eq!(
        rights[0].dangerous.as_deref(),
        Some("credentials; the rights of every ServiceAccount that a pod there can have")
    );
    let list = |text: &str, shown: usize| -> String {
        let texts: Vec<String> = (0..shown).map(|n| format!("{text}{n:02}")).collect();
        texts.join(", ")
    };
    assert_eq!(
        rights[1].text,
        format!(
            "get, list, watch, create, update, patch, delete and deletecollection \
             resources-00.group-00, resources-01.group-00, resources-02.group-00, resources-03.group-00, \
             resources-04.group-00, resources-05.group-00, resources-06.group-00, resources-07.group-00 \
             and 248 more named {} in namespaces {} and 18 more",
            "\"name-00\", \"name-01\", \"name-02\", \"name-03\", \"name-04\", \"name-05\", \"name-06\", \
             \"name-07\", \"name-08\", \"name-09\", \"name-10\", \"name-11\", \"name-12\", \"name-13\", \
             \"name-14\" and \"name-15\"",
            list("namespace-", 14),
        )
    );
    assert_eq!(
        rights[33].text,
        "call the plugins a and b through the gateway, as itself"
    );
}

#[test]
fn grants_of_which_one_is_too_large_are_compared_by_permission() {
    let old = hostile().may(&["get"], &["pods"]);
    let new = hostile().may(&["get", "list"], &["pods"]).calling(&["a"]);
    let found = changed(&old, &new);
    assert_eq!(
        said(&found.added),
        [
            "get and list pods in namespace kite-plugins",
            "call the plugin a through the gateway, as itself",
        ]
    );
    assert_eq!(found.removed, []);
    assert!(changed(&old, &old).is_empty());
    assert_eq!(changed(&plugin(), &hostile()).added.len(), 32);
}

#[test]
fn a_right_that_was_covered_is_not_added_and_one_that_still_is_not_removed() {
    let wide = plugin().may(&["*"], &["*.*"]).within(&["*"]);
    for narrow in [
        plugin().may(&["get"], &["pods"]),
        plugin().may(&["get"], &["pods"]).named(&["a"]),
        plugin().may(&["*"], &["*.*"]).within(&["shop"]),
        plugin().may(&["*"], &["*.apps"]).within(&["*"]),
        plugin().calling(&["metrics-lib"]),
    ] {
        let text = "do everything with every resource of every group in the whole cluster, Kite's own keys included";
        let narrowed = changed(&wide, &narrow);
        assert_eq!((said(&narrowed.added), said(&narrowed.removed)), (vec![], vec![text]));
        let widened = changed(&narrow, &wide);
        assert_eq!((said(&widened.added), said(&widened.removed)), (vec![text], vec![]));
    }
}

#[test]
fn a_change_tells_what_is_added_and_removed() {
    let new = plugin()
        .may(&["get", "list", "watch"], &["pods"])
        .within(&["*"])
        .may(&["get"], &["deployments.apps", "secrets.apps"])
        .within(&["pay"])
        .calling(&["alerts"]);
    let found = changed(&cost_analyzer(), &new);
    assert_eq!(
        said(&found.added),
        [
            "get secrets.apps in namespace pay",
            "call the plugin alerts through the gateway, as itself",
        ]
    );
    assert_eq!(
        said(&found.removed),
        [
            "get, list and watch nodes in the whole cluster",
            "get deployments.apps in namespace shop",
            "call the plugin metrics-lib through the gateway, as itself",
        ]
    );
}

#[test]
fn a_new_object_adds_all_that_it_allows() {
    let spec = cost_analyzer().with_pages(&[]).with_tool("get_cost", &[]);
    let (found, whole) = (changes(None, &spec, NAMESPACE), summary(&spec, NAMESPACE));
    assert_eq!((found.added, found.open), (whole.rights, whole.open));
    assert_eq!(
        found.trust,
        ["its pages now run in the browser session of everyone who opens the dashboard"]
    );
    assert!(changes(None, &plugin(), NAMESPACE).is_empty());
}

#[test]
fn a_disabled_plugin_has_no_rights_while_it_is() {
    let on = cost_analyzer().with_pages(&[]).with_tool("get_cost", &[]);
    let off = on.clone().disabled();
    let (stopped, started) = (changed(&on, &off), changed(&off, &on));
    assert_eq!(
        (stopped.added, stopped.removed, stopped.open),
        (vec![], summary(&on, NAMESPACE).rights, vec![])
    );
    assert_eq!(
        stopped.trust,
        ["its pages no longer run in the browser session of everyone who opens the dashboard"]
    );
    assert_eq!(started, changes(None, &on, NAMESPACE));
    assert!(changed(&off, &plugin().disabled()).is_empty());
    let told = summary(&off, NAMESPACE);
    assert!(!told.enabled);
    assert_eq!(told.rights, summary(&on, NAMESPACE).rights);
    assert!(
        told.note(1024)
            .starts_with("disabled, and until it is enabled nothing of this holds: its pages run in"),
    );
}

#[test]
fn a_summary_becomes_a_note() {
    let spec = cost_analyzer()
        .may(&["get"], &["secrets"])
        .within(&["shop"])
        .with_pages(&["https://prices.example"]);
    assert_eq!(
        summary(&spec, NAMESPACE).note(1024),
        "may get secrets in namespace shop (dangerous: opens credentials); \
         its pages run in the browser session of everyone who opens the dashboard; \
         its pages may reach https://prices.example; \
         may get, list and watch nodes and pods in the whole cluster; \
         may get deployments.apps in namespaces pay and shop; \
         may call the plugin metrics-lib through the gateway, as itself; \
         any caller who may use the plugin can use every path, tool and resource type that the object asks no \
         rights for, with the plugin's rights"
    );
    assert_eq!(summary(&plugin(), NAMESPACE).note(1024), "no rights");
}

#[test]
fn changes_become_a_note() {
    let new = plugin()
        .may(&["get"], &["deployments.apps"])
        .within(&["shop", "pay"])
        .may(&["get"], &["secrets", "services"])
        .within(&["shop"])
        .with_middleware(&["/api/v1/plugins/**"]);
    let found = changed(&cost_analyzer(), &new);
    assert_eq!(
        found.note(1024),
        "may now get secrets in namespace shop (dangerous: opens credentials); \
         it now sees, and may answer, requests to /api/v1/plugins/**; \
         may now get services in namespace shop; \
         may no longer get, list and watch nodes and pods in the whole cluster; \
         may no longer call the plugin metrics-lib through the gateway, as itself"
    );
    assert_eq!(
        found.note(100),
        "may now get secrets in namespace shop (dangerous: opens credentials); … and 4 more"
    );
    assert_eq!(found.note(40), "may now get secrets in nam… and 4 more");
    assert_eq!(changed(&new, &new).note(1024), "no change of rights");
}

#[test]
fn summaries_and_changes_are_data() {
    let spec = plugin().may(&["get"], &["secrets"]).may(&["get"], &["pods"]);
    assert_eq!(
        serde_json::to_value(changes(Some(&plugin().may(&["get"], &["pods"])), &spec, NAMESPACE)).unwrap(),
        serde_json::json!({
            "added": [{"text": "get secrets in namespace kite-plugins", "dangerous": "credentials"}],
            "removed": [],
            "trust": [],
            "open": [],
        })
    );
}
