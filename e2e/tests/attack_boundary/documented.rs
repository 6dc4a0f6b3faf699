//! The roles that the documentation gives away work as it says.

use kube::api::Patch;
use serde_json::{Value, json};

use super::world::{PLUGINS, World, both, object, plugins_rule, rights, rules};

/// The rules of the `ClusterRole` of this name on the page about security.
fn documented(name: &str) -> Value {
    let page = include_str!("../../../docs/security.md");
    let blocks = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let mut objects = blocks.filter_map(|block| serde_saphyr::from_str::<Value>(block).ok());
    let role = objects.find(|role| role["kind"] == "ClusterRole" && role["metadata"]["name"] == name);
    role.unwrap_or_else(|| panic!("the page has no ClusterRole {name}"))["rules"].clone()
}

/// What Argo CD and Flux call themselves when they apply.
const MANAGERS: [&str; 2] = ["argocd-controller", "kustomize-controller"];

#[test]
fn gitops_with_the_documented_role_grants_anything_but_what_is_the_systems_own() {
    both(async |fenced: &World, _| {
        fenced.role("gitops", documented("kite-plugins-gitops")).await;
        let gitops = fenced.user("gitops");
        let apply = async |manager: &str, plugin: Value| {
            let name = plugin["metadata"]["name"].as_str().unwrap().to_owned();
            fenced.patch(&gitops, &name, manager, Patch::Apply(plugin)).await
        };
        let everything = json!({
            "permissions": [{
                "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], "namespaces": ["*"],
                "allowWildcards": true, "acknowledgeDangerous": true,
            }],
            "calls": ["other"], "frontend": {"remoteEntry": "a.js"}, "settingsSecretRef": {"name": "any"},
        });
        let reads = json!({
            "permissions": [{"apiGroups": ["", "apps"], "resources": ["pods", "deployments", "configmaps"], "verbs": ["get", "list"]}],
        });
        fenced.given(&object("managed", json!({}))).await;
        for manager in MANAGERS {
            for name in ["wide", "managed"] {
                for fields in [&everything, &reads] {
                    let said = apply(manager, object(name, fields.clone())).await;
                    assert_eq!(said, Ok(()), "{manager}: {name} {fields}");
                }
                for (says, permission) in of_the_system() {
                    let plugin = object(name, json!({"permissions": [permission]}));
                    let text = apply(manager, plugin).await.unwrap_err();
                    assert!(text.contains(says), "{manager}: {text}");
                }
            }
        }
    });
}

/// What no grant may name, and what the refusal says.
fn of_the_system() -> [(&'static str, Value); 6] {
    [
        (
            "kite-system",
            json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "namespaces": ["kite-system"]}),
        ),
        (
            "no grant may name Secrets",
            json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "acknowledgeDangerous": true}),
        ),
        (
            "no grant may name Secrets",
            json!({"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"], "namespaces": [PLUGINS], "acknowledgeDangerous": true}),
        ),
        (
            "no grant may name Secrets",
            json!({"apiGroups": [""], "resources": ["*"], "verbs": ["get"], "allowWildcards": true, "acknowledgeDangerous": true}),
        ),
        (
            "no grant may write",
            json!({"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"], "acknowledgeDangerous": true}),
        ),
        (
            "no grant may write",
            json!({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": ["create"], "acknowledgeDangerous": true}),
        ),
    ]
}

#[test]
fn the_documented_role_trusts_the_plugin_that_it_names_and_no_other() {
    both(async |fenced: &World, _| {
        let grant = rights(2);
        let pages = |name: &str| {
            let frontend = json!({"remoteEntry": "a.js", "connectSources": ["https://prices.example"]});
            object(name, json!({"permissions": grant, "frontend": frontend}))
        };
        let mut held = json!([plugins_rule()]);
        fenced.role("team", held.clone()).await;
        fenced.role_in("shop", "team", rules(&grant)).await;
        let team = fenced.user("team");
        let text = fenced.create(&team, &pages("cost-analyzer")).await.unwrap_err();
        assert!(text.contains("\"trust\""), "without the role: {text}");

        let trust = documented("trust-cost-analyzer");
        held.as_array_mut().unwrap().extend(trust.as_array().unwrap().clone());
        fenced.role("team", held).await;
        assert_eq!(fenced.create(&team, &pages("cost-analyzer")).await, Ok(()));
        let text = fenced.create(&team, &pages("cost-analyzer-2")).await.unwrap_err();
        assert!(text.contains("\"trust\""), "another name: {text}");
    });
}
