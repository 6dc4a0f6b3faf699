//! Revisions as callers meet them: who answers, for how long the old one goes on for its pages, and what is kept.
#![cfg(test)]

use k8s_openapi::api::apps::v1::ControllerRevision;
use kite_api::RevisionState;
use kite_e2e::testing::{Answer, Gateway, PLUGINS, SOON, Scope, eventually, scope, send};
use kube::{Api, api::ListParams};
use reqwest::Method;
use serde_json::{Value, json};

/// How long pages of an old revision go on here.
const DRAIN: i32 = 60;

/// What a replica answers to a request for this revision.
async fn asked_for(replica: &Gateway, plugin: &str, revision: &str) -> Answer {
    let request = replica.request(Method::GET, &format!("{plugin}/hello"));
    send(request.bearer_auth(replica.admin()).header("x-kite-revision", revision)).await
}

fn revision_of(answer: &Answer) -> Option<&str> {
    answer
        .headers
        .get("x-kite-revision")
        .map(|value| value.to_str().unwrap())
}

/// Waits until every replica answers with this revision where none is asked for.
async fn switched(scope: &Scope, plugin: &str, revision: &str) {
    for replica in scope.gateway_replicas().await {
        eventually(&format!("revision {revision} answers"), SOON, async || {
            let answer = replica.get(replica.admin(), &format!("{plugin}/hello")).await;
            if answer.status == 200 && revision_of(&answer) == Some(revision) {
                Ok(())
            } else {
                Err(format!("{answer:?}"))
            }
        })
        .await;
    }
}

/// Memory of the plugin's container, by which one revision differs from the next.
fn memory(size: &str) -> Value {
    json!({"spec": {"resources": {"limits": {"memory": size}}}})
}

/// Waits until nothing is kept beside the revision that serves.
async fn is_alone(scope: &Scope, plugin: &str, revision: i64) {
    let records: Api<ControllerRevision> = Api::namespaced(scope.client.clone(), PLUGINS);
    let of_plugin = ListParams::default().labels(&format!("kite.dev/plugin={plugin}"));
    eventually("one revision is recorded", 3 * SOON, async || {
        let found = records.list(&of_plugin).await.map_err(|error| error.to_string())?;
        let numbers: Vec<i64> = found.items.iter().map(|record| record.revision).collect();
        if numbers == [revision] {
            Ok(())
        } else {
            Err(format!("{numbers:?}"))
        }
    })
    .await;
    eventually("one pod runs", 6 * SOON, async || {
        let pods = scope.pods_of(plugin).await;
        if pods.len() == 1 {
            Ok(())
        } else {
            Err(format!("{} pods", pods.len()))
        }
    })
    .await;
}

#[tokio::test]
async fn pages_of_an_old_revision_go_on_with_it_while_it_drains() {
    scope("revisions", async |scope| {
        let plugin = scope
            .loaded_plugin("", |spec| {
                spec.drain_seconds = Some(DRAIN);
                spec.revision_history_limit = Some(0);
            })
            .await;
        scope.patch_plugin(&plugin, memory("96Mi")).await;
        let status = scope.wait_for_revision(&plugin, 2).await;
        assert_eq!(status.revisions[0].state, RevisionState::Draining);
        assert!(status.revisions.iter().all(|it| it.digest.is_some()), "{status:?}");
        switched(&scope, &plugin, "2").await;
        for replica in scope.gateway_replicas().await {
            for revision in ["1", "2"] {
                let answer = asked_for(&replica, &plugin, revision).await;
                assert_eq!(
                    (answer.status, revision_of(&answer)),
                    (200, Some(revision)),
                    "{answer:?}"
                );
            }
            // The replica asks the API server whether there is such a one by now.
            let gone = asked_for(&replica, &plugin, "999").await;
            assert_eq!(
                gone.problem(),
                (409, "https://kite.dev/problems/revision-gone".to_owned())
            );
            let odd = asked_for(&replica, &plugin, "latest").await;
            assert_eq!(odd.problem().0, 400);
        }
        for replica in scope.gateway_replicas().await {
            eventually("the old revision is gone", 6 * SOON, async || {
                let answer = asked_for(&replica, &plugin, "1").await;
                match answer.status {
                    409 => Ok(()),
                    // Until then it answers, and nothing else does in its place.
                    200 if revision_of(&answer) == Some("1") => Err(String::from("it drains")),
                    _ => panic!("{answer:?}"),
                }
            })
            .await;
        }
        is_alone(&scope, &plugin, 2).await;
    })
    .await;
}

#[tokio::test]
async fn what_a_revision_requires_takes_effect_when_it_takes_over() {
    scope("rev-requires", async |scope| {
        let plugin = scope.loaded_plugin("", |spec| spec.drain_seconds = Some(300)).await;
        let user = scope.user("-user", &["kite-plugins-user"]).await;
        let nodes = json!([{"path": "/hello", "requires": [{"resource": "pods", "verb": "list"}]}]);
        // A new revision that is never scheduled requires nothing of anybody yet.
        let huge = json!({"requests": {"cpu": "1000"}, "limits": {"cpu": "1000"}});
        scope
            .patch_plugin(&plugin, json!({"spec": {"routes": nodes, "resources": huge}}))
            .await;
        eventually("the new revision is told to be unschedulable", 3 * SOON, async || {
            let status = scope
                .plugins()
                .get(&plugin)
                .await
                .map_err(|error| error.to_string())?
                .status;
            let conditions = status.unwrap_or_default().conditions;
            if conditions
                .iter()
                .any(|it| it.type_ == "Stalled" && it.reason == "Unschedulable")
            {
                Ok(())
            } else {
                Err(format!("{conditions:?}"))
            }
        })
        .await;
        let old = scope.gateway.get(&user, &format!("{plugin}/hello")).await;
        assert_eq!(old.status, 200, "{old:?}");
        scope.patch_plugin(&plugin, json!({"spec": {"resources": null}})).await;
        scope.wait_for_revision(&plugin, 3).await;
        for replica in scope.gateway_replicas().await {
            eventually("the requirement holds", SOON, async || {
                let answer = replica.get(&user, &format!("{plugin}/hello")).await;
                if answer.status == 403 {
                    Ok(())
                } else {
                    Err(format!("{answer:?}"))
                }
            })
            .await;
            let pinned = replica.request(Method::GET, &format!("{plugin}/hello"));
            let pinned = send(pinned.bearer_auth(&user).header("x-kite-revision", "1")).await;
            assert_eq!(pinned.status, 200, "its page goes on as it was: {pinned:?}");
        }
    })
    .await;
}
