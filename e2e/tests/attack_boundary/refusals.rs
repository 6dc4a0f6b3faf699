//! The rules about permissions that the operator knows are those of the API server.

use kite_api::{
    Permission, Verb,
    boundary::{Places, refusal},
};
use proptest::{
    prelude::*,
    sample::{select, subsequence},
    strategy::ValueTree,
    test_runner::TestRunner,
};
use serde_json::json;

use super::world::{PLUGINS, SYSTEM, World, both, object};

/// How many permissions are generated.
const CASES: usize = 600;

/// Mostly good texts, and some that are not.
fn texts(good: &'static [&'static str], bad: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let owned = |some: Vec<&str>| some.into_iter().map(str::to_owned).collect();
    prop_oneof![
        12 => subsequence(good, 1..=2).prop_map(owned),
        2 => Just(vec![String::from("*")]),
        1 => select(bad).prop_map(|bad| vec![bad.to_owned()]),
        1 => select(good).prop_map(|good| vec![good.to_owned(), String::from("*")]),
        1 => (0..19_usize).prop_map(|count| (0..count).map(|n| format!("r{n}")).collect()),
    ]
}

fn permission() -> impl Strategy<Value = Permission> {
    let groups = texts(
        &["", "apps", "rbac.authorization.k8s.io", "example.com", "kite.dev"],
        &["Apps", "a,b", "a|b"],
    );
    let resources = texts(
        &[
            "pods",
            "secrets",
            "services",
            "deployments",
            "configmaps",
            "pods/exec",
            "pods/log",
            "roles",
        ],
        &["pods/*", "*/scale", "Pods", "", "pods/exec/x"],
    );
    let verbs = prop_oneof![
        8 => subsequence(Verb::REQUESTS.to_vec(), 1..=2),
        1 => Just(vec![Verb::All]),
        1 => select(vec![Verb::Impersonate, Verb::Bind, Verb::Escalate]).prop_map(|verb| vec![verb]),
        1 => Just(vec![Verb::Get, Verb::All]),
    ];
    let names = prop_oneof![4 => Just(None), 1 => texts(&["a", "system:b"], &["a b", "a,b", ""]).prop_map(Some)];
    let namespaces = prop_oneof![
        2 => Just(None),
        4 => texts(&["shop", "pay", PLUGINS, SYSTEM], &["Shop", "a/b", ""]).prop_map(Some),
    ];
    let flag = || prop_oneof![1 => Just(None), 1 => Just(Some(false)), 3 => Just(Some(true))];
    (groups, resources, verbs, names, namespaces, flag(), flag()).prop_map(
        |(api_groups, resources, verbs, resource_names, namespaces, allow_wildcards, acknowledge_dangerous)| {
            Permission {
                api_groups,
                resources,
                verbs,
                resource_names,
                namespaces,
                allow_wildcards,
                acknowledge_dangerous,
            }
        },
    )
}

#[test]
fn what_the_operator_gives_is_what_the_api_server_accepts() {
    both(async |fenced: &World, _| {
        // Of the rules only those that ask for nobody's rights.
        let all = json!({"apiGroups": ["kite.dev"], "resources": ["kiteplugins"], "verbs": ["*"]});
        fenced.role("judged", json!([all])).await;
        let client = fenced.user("judged");
        let places = Places {
            plugins: PLUGINS,
            system: SYSTEM,
        };
        let mut runner = TestRunner::default();
        let mut accepted = 0;
        for _ in 0..CASES {
            let permission = permission().new_tree(&mut runner).unwrap().current();
            let refused = refusal(&permission, places);
            let said = fenced
                .create(&client, &object("judged", json!({"permissions": [permission]})))
                .await;
            assert_eq!(
                said.is_err(),
                refused.is_some(),
                "{permission:#?}\n{refused:?}\n{said:?}"
            );
            accepted += usize::from(said.is_ok());
        }
        assert!(
            (CASES / 20..CASES * 19 / 20).contains(&accepted),
            "{accepted} of {CASES} accepted"
        );
    });
}
