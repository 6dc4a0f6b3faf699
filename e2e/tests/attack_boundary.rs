//! Nobody gains rights by a plugin: each attack is refused by the API server with the boundary, and succeeds on one without.
#![cfg(test)]

mod attacks;
mod documented;
mod honest;
mod namespace;
mod preview;
mod refusals;
mod world;

use attacks::{Attack, How, all};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use world::{World, both, object, plugins, plugins_rule, rights};

/// Those who try: see [`Attack::user`].
async fn make_attackers(w: &World) {
    let little = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["a"]},
    ]);
    // Each gets what they have at once: another test may be using them.
    for user in ["mallory", "rich"] {
        w.role(user, json!([plugins_rule()])).await;
    }
    for user in ["mallory", "trusted"] {
        w.role_in("shop", user, little.clone()).await;
    }
    let trust = json!({"apiGroups": ["kite.dev"], "resources": ["kiteplugins"], "verbs": ["trust"]});
    // In the plugins' namespace alone nothing but `view` is bound, so that a Secret there is named cluster-wide.
    let secret = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["a"]});
    w.role("trusted", json!([plugins_rule(), trust, secret])).await;
    let everything = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": ["example.com"], "resources": ["*"], "verbs": ["*"]},
    ]);
    w.role_in("shop", "rich", everything).await;
}

async fn attempt(w: &World, attack: &Attack) -> Result<(), String> {
    let user = w.user(attack.user);
    let new = object("victim", (attack.after)());
    match (attack.before, attack.how) {
        (None, _) => {
            let _ = plugins(&w.admin).delete("victim", &DeleteParams::default()).await;
        }
        (Some(before), _) => w.given(&object("victim", before())).await,
    }
    match attack.how {
        How::Create => w.create(&user, &new).await,
        How::Replace => w.replace(&user, &new).await,
        How::Apply => w.patch(&user, "victim", "argocd", Patch::Apply(new)).await,
        How::Merge => {
            let patch = json!({"spec": new["spec"]});
            w.patch(&user, "victim", "kubectl", Patch::Merge(patch)).await
        }
        How::Json => {
            let patch = json!([{"op": "replace", "path": "/spec", "value": new["spec"]}]);
            let patch = Patch::Json(serde_json::from_value(patch).expect("a patch"));
            w.patch(&user, "victim", "kubectl", patch).await
        }
    }
}

#[test]
fn an_owner_gives_no_rights_and_a_name_that_was_used_before_neither() {
    both(async |fenced: &World, open: &World| {
        for w in [fenced, open] {
            make_attackers(w).await;
            let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"], "namespaces": ["*"]}]);
            w.given(&object("owner", json!({"permissions": nodes}))).await;
            let uid = plugins(&w.admin).get("owner").await.unwrap().metadata.uid.unwrap();
            let mut owned = object("owned", json!({"permissions": nodes}));
            owned["metadata"]["ownerReferences"] = json!([
                {"apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "name": "owner", "uid": uid, "controller": true},
            ]);
            w.given(&object("gone", json!({"permissions": nodes}))).await;
            plugins(&w.admin)
                .delete("gone", &DeleteParams::default())
                .await
                .unwrap();
            let again = object("gone", json!({"permissions": nodes}));
            let mallory = w.user("mallory");
            for object in [owned, again] {
                let said = w.create(&mallory, &object).await;
                let is_refused = said.is_err_and(|text| text.contains("list nodes in the whole cluster"));
                assert_eq!(is_refused, std::ptr::eq(w, fenced));
            }
        }
    });
}

#[test]
fn a_subresource_is_no_way_around() {
    both(async |fenced: &World, _| {
        make_attackers(fenced).await;
        let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"], "namespaces": ["*"]}]);
        fenced
            .given(&object("scaled", json!({"replicas": 1, "permissions": []})))
            .await;
        let mallory = plugins(&fenced.user("mallory"));
        let params = PatchParams::default();
        let more = json!({"spec": {"replicas": 2, "permissions": nodes, "image": "registry.example/evil:1.0.0"}});
        mallory
            .patch_scale("scaled", &params, &Patch::Merge(more.clone()))
            .await
            .unwrap();
        let spec = plugins(&fenced.admin).get("scaled").await.unwrap().data["spec"].clone();
        assert_eq!((&spec["replicas"], &spec["permissions"]), (&json!(2), &json!([])));
        assert_eq!(spec["image"], "registry.example/plugin:1.0.0");
        let status = mallory.patch_status("scaled", &params, &Patch::Merge(more)).await;
        assert!(matches!(status, Err(kube::Error::Api(status)) if status.code == 403));
    });
}

#[test]
fn each_attack_is_refused_with_its_reason_and_succeeds_without_the_policies() {
    both(async |fenced: &World, open: &World| {
        for w in [fenced, open] {
            make_attackers(w).await;
        }
        let mut wrong = Vec::new();
        for attack in all() {
            match attempt(fenced, &attack).await {
                Err(text) if attack.says.iter().all(|word| text.contains(word)) && !text.contains("cost") => {}
                other => wrong.push(format!("{}: with the policies: {other:?}", attack.name)),
            }
            let result = attempt(open, &attack).await;
            if result.is_err() != attack.by_schema {
                wrong.push(format!("{}: without the policies: {result:?}", attack.name));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}
