//! What whoever holds the rights may do, and what everybody may.

use kube::api::Patch;
use serde_json::{Value, json};

use super::world::{World, both, object, plugins_rule, rights, rules};

/// The grant without one of its rights, and what that one is called.
fn without(count: usize, missing: usize) -> (Value, String) {
    let mut all = rights(count);
    for permission in all.as_array_mut().unwrap() {
        let resources = permission["resources"].as_array_mut().unwrap();
        resources.retain(|resource| *resource != json!(format!("r{missing}")));
    }
    all.as_array_mut().unwrap().retain(|it| it["resources"] != json!([]));
    (all, format!("get r{missing}.example.com in namespace shop"))
}

async fn admitted(w: &World, user: &str, object: &Value) {
    assert_eq!(w.create(&w.user(user), object).await, Ok(()), "{user}");
}

#[test]
fn whoever_holds_just_the_rights_is_admitted_and_with_one_less_is_not() {
    both(async |fenced: &World, _| {
        for count in [1, 2, 3, 24, 25, 264] {
            let user = format!("holder-{count}");
            let plugin = object(&user, json!({"permissions": rights(count)}));
            fenced.role(&user, json!([plugins_rule()])).await;
            fenced.role_in("shop", &user, rules(&rights(count))).await;
            admitted(fenced, &user, &plugin).await;
            for missing in [0, count / 2, count - 1] {
                let user = format!("lacks-{missing}-of-{count}");
                let (rest, name) = without(count, missing);
                fenced.role(&user, json!([plugins_rule()])).await;
                fenced.role_in("shop", &user, rules(&rest)).await;
                if count > 1 {
                    let some = object(&user, json!({"permissions": rest}));
                    admitted(fenced, &user, &some).await;
                }
                let text = fenced.create(&fenced.user(&user), &plugin).await.unwrap_err();
                assert!(
                    text.contains(&name) && !text.contains("cost"),
                    "{count} without {missing}: {text}"
                );
            }
        }
    });
}

#[test]
fn the_longest_names_are_within_the_cost() {
    both(async |fenced: &World, _| {
        let texts = |count: usize, length: usize| -> Vec<String> {
            (0..count)
                .map(|n| format!("{}{n:02}", "a".repeat(length - 2)))
                .collect()
        };
        // 88 rights of 454 characters: 40,000 in all.
        let grant = json!([{
            "apiGroups": texts(1, 253), "resources": texts(11, 127), "verbs": ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"],
            "namespaces": ["shop"],
        }]);
        fenced.role("long", json!([plugins_rule()])).await;
        fenced.role_in("shop", "long", rules(&grant)).await;
        admitted(fenced, "long", &object("long", json!({"permissions": grant}))).await;
        // The same with one right less, which the message names, however long it is.
        let mut less = grant.clone();
        let last = less[0]["resources"].as_array_mut().unwrap().pop().unwrap();
        fenced.role("nearly-long", json!([plugins_rule()])).await;
        fenced.role_in("shop", "nearly-long", rules(&less)).await;
        let plugin = object("long", json!({"permissions": grant}));
        let text = fenced.create(&fenced.user("nearly-long"), &plugin).await.unwrap_err();
        let missing = format!("get {}.{} in namespace shop", last.as_str().unwrap(), texts(1, 253)[0]);
        assert!(text.contains(&missing) && !text.contains("cost"), "{text}");
        let mut names = grant;
        names[0]["resourceNames"] = json!(texts(16, 253));
        let text = fenced
            .create(&fenced.user("long"), &object("long", json!({"permissions": names})))
            .await
            .unwrap_err();
        assert!(
            text.contains("more than 512 rights") || text.contains("more than 40000 characters"),
            "{text}"
        );
    });
}

#[test]
fn what_gives_no_rights_is_free_for_who_holds_none() {
    both(async |fenced: &World, _| {
        fenced.role("editor", json!([plugins_rule()])).await;
        let before = json!({
            "permissions": [
                {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"], "namespaces": ["*"]},
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "namespaces": ["shop"]},
            ],
            "calls": ["a", "b"], "frontend": {"remoteEntry": "a.js"}, "settings": {"currency": "EUR"},
            "settingsSecretRef": {"name": "other"},
        });
        fenced.given(&object("free", before)).await;
        let editor = fenced.user("editor");
        for (what, patch) in [
            ("description", json!({"spec": {"description": "better"}})),
            ("labels", json!({"metadata": {"labels": {"team": "a"}}})),
            (
                "limits",
                json!({"spec": {"limits": {"inFlight": 10}, "rateLimit": {"requestsPerSecond": 5}}}),
            ),
            ("settings", json!({"spec": {"settings": {"currency": "USD"}}})),
            ("replicas", json!({"spec": {"replicas": 3}})),
            (
                "resources",
                json!({"spec": {"resources": {"limits": {"memory": "64Mi"}}}}),
            ),
            (
                "dependencies",
                json!({"spec": {"dependencies": [{"name": "a", "version": "*"}]}}),
            ),
            ("enabled: false", json!({"spec": {"enabled": false}})),
            (
                "a permission less",
                json!({"spec": {"permissions": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"], "namespaces": ["*"]}]}}),
            ),
            ("a call less", json!({"spec": {"calls": ["a"]}})),
        ] {
            let said = fenced.patch(&editor, "free", "kubectl", Patch::Merge(patch)).await;
            assert_eq!(said, Ok(()), "{what}");
        }
        // Taking rights away touches what the pages and the code are asked about, but nothing that is granted afterwards.
        fenced.given(&object("bare", json!({"permissions": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"], "namespaces": ["*"]}], "calls": ["a", "b"]}))).await;
        for (what, patch) in [
            (
                "fewer verbs",
                json!({"spec": {"permissions": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"], "namespaces": ["*"]}]}}),
            ),
            ("no permissions", json!({"spec": {"permissions": null}})),
            ("fewer calls", json!({"spec": {"calls": ["a"]}})),
            (
                "no rights and another image",
                json!({"spec": {"permissions": null, "calls": null, "image": "registry.example/other:1"}}),
            ),
        ] {
            let said = fenced.patch(&editor, "bare", "kubectl", Patch::Merge(patch)).await;
            assert_eq!(said, Ok(()), "{what}");
        }
    });
}

#[test]
fn nothing_is_too_deep_to_be_read() {
    both(async |fenced: &World, open: &World| {
        let nested = |levels: usize| {
            (1..levels).fold(json!({}), |inner, level| {
                if level % 2 == 0 {
                    json!([inner])
                } else {
                    json!({"a": inner})
                }
            })
        };
        fenced.role("deep", json!([plugins_rule()])).await;
        for field in ["settings", "settingsSchema"] {
            let deep = |levels: usize| object("deep", json!({field: {"a": nested(levels - 1)}}));
            admitted(fenced, "deep", &deep(32)).await;
            for levels in [33, 140] {
                let text = fenced.create(&fenced.admin, &deep(levels)).await.unwrap_err();
                assert!(
                    text.contains("deeper than 32 levels") && !text.contains("cost"),
                    "{levels}: {text}"
                );
            }
            // Deeper ones are accepted there too, and break whoever reads the answer.
            assert_eq!(open.create(&open.admin, &deep(33)).await, Ok(()));
        }
        let wide: Value = (0..6_000).map(|n| json!({"key": n})).collect();
        let wide = object("deep", json!({"settings": {"list": wide}}));
        assert_eq!(
            fenced.create(&fenced.user("deep"), &wide).await,
            Ok(()),
            "64 KiB of settings are within the cost"
        );
    });
}
