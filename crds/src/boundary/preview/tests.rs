//! Each kind of change, and what is asked about it.

use serde_json::{Value, json};

use super::{
    super::{CODE, MOST_ADDED, MOST_RIGHTS, MOST_SECRETS},
    Excess, Need,
    fixtures::{asked, change, spec, words},
};

fn pods(verbs: &[&str]) -> Value {
    json!({"apiGroups": [""], "resources": ["pods"], "verbs": verbs, "namespaces": ["shop"]})
}

fn nodes() -> Value {
    json!({"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"], "namespaces": ["*"]})
}

/// A grant of so many rights.
fn many(count: usize) -> Value {
    let resources: Vec<String> = (0..count).map(|number| format!("r{number}")).collect();
    let permissions = resources
        .chunks(16)
        .map(|some| json!({"apiGroups": ["example.com"], "resources": some, "verbs": ["get"], "namespaces": ["shop"]}));
    permissions.collect()
}

#[test]
fn a_new_object_is_asked_for_all_it_grants_and_names() {
    let new = spec(&json!({
        "permissions": [
            nodes(),
            {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get", "patch"], "resourceNames": ["a"]},
        ],
        "calls": ["other"],
        "settingsSecretRef": {"name": "settings"},
        "imagePullSecrets": [{"name": "pull"}],
        "env": [
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "settings", "key": "a"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "env", "key": "a"}}},
            {"name": "C", "value": "c"},
        ],
        "middleware": {"paths": ["/api/v1/plugins/**"]},
    }));
    let expected = [
        "list nodes in the whole cluster",
        "get deployments/scale.apps \"a\" in namespace kite-plugins",
        "patch deployments/scale.apps \"a\" in namespace kite-plugins",
        "get kiteplugins/proxy.kite.dev \"other\" in the whole cluster",
        "create kiteplugins/proxy.kite.dev \"other\" in the whole cluster",
        "update kiteplugins/proxy.kite.dev \"other\" in the whole cluster",
        "patch kiteplugins/proxy.kite.dev \"other\" in the whole cluster",
        "delete kiteplugins/proxy.kite.dev \"other\" in the whole cluster",
        "get secrets \"settings\" in namespace kite-plugins",
        "get secrets \"pull\" in namespace kite-plugins",
        "get secrets \"env\" in namespace kite-plugins",
        "trust kiteplugins.kite.dev \"hello\" in the whole cluster",
    ];
    assert_eq!(words(None, &new), expected);
    assert!(asked(None, &new).code_is_new);
}

#[test]
fn only_what_is_added_is_asked_where_code_stays() {
    let old = spec(
        &json!({"permissions": [pods(&["get"])], "calls": ["a"], "settingsSecretRef": {"name": "settings"}, "frontend": {"remoteEntry": "a.js"}}),
    );
    let with = |field: &str, value: Value| {
        let mut new = old.clone();
        new[field] = value;
        new
    };
    let more = with("permissions", json!([pods(&["get", "list"])]));
    assert_eq!(words(Some(&old), &more), ["list pods in namespace shop"]);
    let calls = with("calls", json!(["b", "a"]));
    assert_eq!(words(Some(&old), &calls).len(), 5);
    // A right that a wider one covers is still another text.
    let wider = spec(
        &json!({"permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "namespaces": ["*"]}]}),
    );
    let narrower = spec(&json!({"permissions": [pods(&["get"])]}));
    assert_eq!(words(Some(&wider), &narrower), ["get pods in namespace shop"]);
    for free in [
        old.clone(),
        with("description", json!("better")),
        with("permissions", json!([])),
        with("calls", json!([])),
        with("enabled", json!(false)),
        with("settings", json!({"a": 1})),
        with("replicas", json!(3)),
    ] {
        assert_eq!(asked(Some(&old), &free), super::Asked::default(), "{free}");
    }
}

#[test]
fn a_change_of_any_field_of_code_asks_for_everything() {
    let sample = |field: &str| match field {
        "image" => json!("registry.example/evil:1.0.0"),
        "imagePullPolicy" => json!("Always"),
        "env" => json!([{"name": "A", "value": "b"}]),
        "settingsSecretRef" => json!({"name": "a"}),
        "volumes" => json!([{"name": "a", "mountPath": "/a", "persistentVolumeClaim": {"claimName": "a"}}]),
        "nodeSelector" => json!({"a": "b"}),
        "tolerations" => json!([{"operator": "Exists"}]),
        "frontend" => json!({"remoteEntry": "a.js"}),
        "middleware" => json!({"paths": ["/api/v1/plugins/**"]}),
        "routes" => json!([{"path": "/a"}]),
        "imagePullSecrets" | "tools" | "resourceTypes" => json!([{"name": "a"}]),
        other => panic!("no sample of {other}"),
    };
    let old = spec(&json!({"permissions": [nodes()]}));
    for field in CODE {
        let mut new = old.clone();
        new[field] = sample(field);
        for (old, new) in [(&old, &new), (&new, &old)] {
            let asked = words(Some(old), new);
            assert_eq!(
                asked.first().map(String::as_str),
                Some("list nodes in the whole cluster"),
                "{field}"
            );
        }
    }
    // The policies tell an empty list from none.
    let empty = spec(&json!({"permissions": [nodes()], "env": []}));
    assert!(asked(Some(&old), &empty).code_is_new);
}

#[test]
fn starting_a_plugin_asks_for_everything_and_stopping_it_for_nothing() {
    let of = |enabled: &Value| spec(&json!({"permissions": [nodes()], "enabled": enabled}));
    let (on, off, absent) = (
        of(&json!(true)),
        of(&json!(false)),
        spec(&json!({"permissions": [nodes()]})),
    );
    for (old, new, is_new) in [
        (&off, &on, true),
        (&off, &absent, true),
        (&on, &off, false),
        (&absent, &off, false),
        (&on, &absent, false),
        (&off, &off, false),
    ] {
        let asked = asked(Some(old), new);
        assert_eq!(
            (asked.code_is_new, asked.needs.len()),
            (is_new, usize::from(is_new)),
            "{old} {new}"
        );
    }
}

#[test]
fn what_is_too_much_to_check_is_refused_without_a_question() {
    let of = |permissions: Value| spec(&json!({"permissions": permissions}));
    assert_eq!(asked(None, &of(many(264))).excesses, []);
    assert_eq!(asked(None, &of(many(264))).needs.len(), 264);
    let added = asked(None, &of(many(265)));
    assert_eq!(
        (added.excesses.as_slice(), added.needs.len()),
        ([Excess::Added(265)].as_slice(), 0)
    );
    // Of an object that is there, only what is new to it.
    assert_eq!(asked(Some(&of(many(250))), &of(many(512))).needs.len(), 262);
    assert_eq!(asked(None, &of(many(513))).excesses, [Excess::Rights]);
    // What stands twice in a list counts twice, as it does for the policies.
    let twice = json!([{"apiGroups": vec![""; 16], "resources": vec!["pods"; 16], "verbs": ["get", "get", "get"]}]);
    assert_eq!(asked(None, &of(twice)).excesses, [Excess::Rights]);
    let long: Vec<String> = (0..11)
        .map(|number| format!("{}{number:02}", "a".repeat(125)))
        .collect();
    let verbs = [
        "get",
        "list",
        "watch",
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
    ];
    let grant = |group: usize| json!([{"apiGroups": ["a".repeat(group)], "resources": long, "verbs": verbs, "namespaces": ["shop"]}]);
    assert_eq!(asked(None, &of(grant(253))).excesses, []);
    assert_eq!(asked(None, &of(grant(310))).excesses, [Excess::Characters]);
    let secrets = |count: usize| {
        let name =
            |number| json!({"name": format!("V{number}"), "valueFrom": {"secretKeyRef": {"name": "same", "key": "a"}}});
        spec(&json!({"env": (0..count).map(name).collect::<Vec<_>>()}))
    };
    assert_eq!(asked(None, &secrets(24)).excesses, []);
    assert_eq!(asked(None, &secrets(24)).needs, [Need::Secret(String::from("same"))]);
    assert_eq!(asked(None, &secrets(25)).excesses, [Excess::Secrets]);
}

#[test]
fn an_object_that_was_too_large_or_is_ambiguous_counts_as_granting_nothing() {
    let of = |permissions: Value| spec(&json!({"permissions": permissions}));
    let small = of(json!([pods(&["get"])]));
    let mut large = many(513).as_array().unwrap().clone();
    large.push(pods(&["get"]));
    let mut ambiguous = pods(&["get"]);
    ambiguous["resourceNames"] = json!(["a,b"]);
    let mut unknown = pods(&["get"]);
    unknown["verbs"] = json!(["get", "dance"]);
    for before in [json!(large), json!([pods(&["get"]), ambiguous]), json!([unknown])] {
        assert_eq!(words(Some(&of(before)), &small), ["get pods in namespace shop"]);
    }
    // One that stays as it is, is not asked about.
    let large = of(json!(large));
    let mut described = large.clone();
    described["description"] = json!("better");
    assert_eq!(asked(Some(&large), &described), super::Asked::default());
}

#[test]
fn a_question_is_put_as_the_policies_put_it() {
    let new = spec(&json!({"permissions": [
        {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get"], "resourceNames": ["a"]},
        {"apiGroups": [""], "resources": ["*"], "verbs": ["*"], "namespaces": ["*"]},
    ]}));
    let change = change(None, &new);
    let put: Vec<Value> = asked(None, &new)
        .needs
        .iter()
        .map(|need| serde_json::to_value(change.question(need).attributes()).unwrap())
        .collect();
    assert_eq!(
        json!(put),
        json!([
            {"group": "apps", "resource": "deployments", "subresource": "scale", "verb": "get", "namespace": "kite-plugins", "name": "a"},
            {"group": "", "resource": "*", "verb": "*"},
        ])
    );
    let access: Vec<String> = super::access("hello").iter().map(ToString::to_string).collect();
    assert_eq!(
        access,
        [
            "patch kiteplugins.kite.dev \"hello\" in the whole cluster",
            "create kiteplugins.kite.dev \"hello\" in the whole cluster",
        ]
    );
    assert_eq!(super::escalate("hello").verb, "escalate");
}

#[test]
fn words_have_nothing_in_them_that_a_terminal_would_obey() {
    let new = spec(&json!({"permissions": [
        {"apiGroups": [""], "resources": ["po\u{1b}[2Jds"], "verbs": ["get"], "namespaces": ["a\nb"], "resourceNames": ["\u{202e}\""]},
    ]}));
    assert_eq!(words(None, &new), ["get po?[2Jds \"??\" in namespace a?b"]);
}

#[test]
fn a_spec_that_is_none_is_an_error() {
    assert!(change(None, &json!({"image": "a"})).asked().is_err());
}

#[test]
fn the_policies_refuse_in_these_words() {
    let policies = serde_json::to_string(&super::super::policies(super::fixtures::PLACES)).unwrap();
    for excess in [Excess::Rights, Excess::Characters, Excess::Secrets] {
        let text = serde_json::to_string(&excess.to_string()).unwrap();
        assert!(policies.contains(text.trim_matches('"')), "{text}");
    }
    let added = Excess::Added(265).to_string();
    let (before, after) = added.split_once("265").unwrap();
    for part in [before, after] {
        let text = serde_json::to_string(part).unwrap();
        assert!(policies.contains(text.trim_matches('"')), "{text}");
    }
}

#[test]
fn the_documentation_names_the_bounds() {
    let page = include_str!("../../../../docs/can-i-apply.md");
    let bounds = format!(
        "({MOST_ADDED} added rights, {MOST_RIGHTS} rights or 40,000 characters of them in all, {MOST_SECRETS} Secrets)"
    );
    assert!(page.contains(&bounds), "{bounds}");
}
