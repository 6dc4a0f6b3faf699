//! What plugins are told on a cluster: settings, whatever happens to clusters, and that they are about to be stopped.
#![cfg(test)]

use std::{collections::BTreeSet, time::Duration};

use futures::AsyncReadExt;
use k8s_openapi::api::{
    core::v1::{Pod, Secret},
    events::v1::Event,
};
use kite_api::{Phase, conditions::SETTINGS_ACCEPTED, labels};
use kite_e2e::testing::{
    PLUGINS, SOON, START, SYSTEM, Scope, eventually, scope,
    told::{kubeconfig_of, lines, told},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, LogParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// What a plugin is to greet by.
async fn want(scope: &Scope, plugin: &str, settings: Value) {
    scope
        .patch_plugin(plugin, json!({"spec": {"settings": settings}}))
        .await;
}

fn pods(scope: &Scope) -> Api<Pod> {
    Api::namespaced(scope.client.clone(), PLUGINS)
}

/// Waits until each of that many pods greets so.
async fn greet(scope: &Scope, plugin: &str, count: usize, greeting: &str, from: &str, limit: Duration) {
    eventually(
        &format!("{plugin} greets by {greeting} from {from}"),
        limit,
        async || {
            let mut seen = Vec::new();
            for pod in scope.pods_of(plugin).await {
                if pod.metadata.deletion_timestamp.is_none() {
                    let last = lines(scope, &pod.name_any(), "greets as it is told").await.pop();
                    seen.push(last.map(|line| (line["fields"]["greeting"].clone(), line["fields"]["from"].clone())));
                }
            }
            let all = vec![Some((json!(greeting), json!(from))); count];
            if seen == all { Ok(()) } else { Err(format!("{seen:?}")) }
        },
    )
    .await;
}

/// Waits until the condition of the settings has this status and reason; its message.
async fn accepted(scope: &Scope, plugin: &str, status: &str, reason: &str) -> String {
    eventually(&format!("{plugin}: settings are {reason}"), SOON, async || {
        let found = scope.plugins().get(plugin).await.map_err(|error| error.to_string())?;
        let generation = found.metadata.generation;
        let conditions = found.status.unwrap_or_default().conditions;
        let condition = conditions.into_iter().find(|it| it.type_ == SETTINGS_ACCEPTED);
        let condition = condition.ok_or("no condition")?;
        if (condition.status.as_str(), condition.reason.as_str()) == (status, reason)
            && condition.observed_generation == generation
        {
            Ok(condition.message)
        } else {
            Err(format!("{condition:?}"))
        }
    })
    .await
}

/// All that the pod writes from now on, until it ends.
async fn followed(scope: &Scope, pod: &str) -> JoinHandle<String> {
    let params = LogParams {
        follow: true,
        ..LogParams::default()
    };
    let mut log = Box::pin(pods(scope).log_stream(pod, &params).await.unwrap());
    tokio::spawn(async move {
        let mut text = String::new();
        // It ends with the pod.
        let _ = log.read_to_string(&mut text).await;
        text
    })
}

fn processes(pods: &[Pod]) -> BTreeSet<(String, i32)> {
    let of = |pod: &Pod| {
        let containers = pod
            .status
            .iter()
            .flat_map(|status| status.container_statuses.iter().flatten());
        let restarts = containers.map(|container| container.restart_count).sum();
        (pod.name_any(), restarts)
    };
    pods.iter().map(of).collect()
}

/// Waits for the end of a pod, which was told to release what it holds before it was stopped, and has done it once.
async fn has_released(log: JoinHandle<String>) {
    let log = tokio::time::timeout(START, log).await.unwrap().unwrap();
    let releases = log.find("releases what it holds");
    let stops = log.find("\"stopping\"");
    assert_eq!(log.matches("releases what it holds").count(), 1, "{log}");
    assert!(releases < stops, "it is told before it is stopped: {log}");
}

/// Disables the plugin: before its pods go, each is told to release what it holds, once, and does it once.
async fn release(scope: &Scope, plugin: &str) {
    let mut logs = Vec::new();
    for pod in scope.pods_of(plugin).await {
        if pod.metadata.deletion_timestamp.is_none() {
            logs.push(followed(scope, &pod.name_any()).await);
        }
    }
    scope.patch_plugin(plugin, json!({"spec": {"enabled": false}})).await;
    scope.wait_for_phase(plugin, Phase::Disabled).await;
    for log in logs {
        has_released(log).await;
    }
}

#[tokio::test]
async fn settings_reach_every_replica_without_a_restart_and_a_refusal_is_told() {
    scope("told-settings", async |scope| {
        let name = scope.name.clone();
        let secret = scope
            .secret(PLUGINS, "", (labels::PLUGIN, &name), &[("from", "us")])
            .await;
        let fields = json!({"replicas": 2, "settings": {"greeting": "Hi"}, "settingsSecretRef": {"name": secret}});
        let plugin = scope
            .loaded_plugin("", |spec| {
                let mut all = serde_json::to_value(&*spec).unwrap();
                all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
                *spec = serde_json::from_value(all).unwrap();
            })
            .await;
        greet(&scope, &plugin, 2, "Hi", "us", START).await;
        let answer = scope
            .gateway
            .get(scope.gateway.admin(), &format!("{plugin}/hello"))
            .await
            .json();
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(
            message.starts_with("Hi, ") && message.ends_with(" From us."),
            "{message}"
        );
        let before = processes(&scope.pods_of(&plugin).await);

        want(&scope, &plugin, json!({"greeting": "Moin"})).await;
        greet(&scope, &plugin, 2, "Moin", "us", SOON).await;
        accepted(&scope, &plugin, "True", "Accepted").await;
        let secrets: Api<Secret> = Api::namespaced(scope.client.clone(), PLUGINS);
        let other = Patch::Merge(json!({"stringData": {"from": "them"}}));
        secrets.patch(&secret, &PatchParams::default(), &other).await.unwrap();
        greet(&scope, &plugin, 2, "Moin", "them", SOON).await;

        want(&scope, &plugin, json!({"greeting": "Hi,"})).await;
        let message = accepted(&scope, &plugin, "False", "Refused").await;
        assert!(message.contains("greeting ends with a comma"), "{message}");
        assert_eq!(
            processes(&scope.pods_of(&plugin).await),
            before,
            "nothing was restarted"
        );

        // A new pod gets what the other goes on with.
        let pod = &before.first().unwrap().0;
        pods(&scope).delete(pod, &DeleteParams::default()).await.unwrap();
        greet(&scope, &plugin, 2, "Moin", "them", START).await;
        want(&scope, &plugin, json!({"greeting": "Salut"})).await;
        greet(&scope, &plugin, 2, "Salut", "them", SOON).await;
        accepted(&scope, &plugin, "True", "Accepted").await;

        release(&scope, &plugin).await;
    })
    .await;
}

#[tokio::test]
async fn an_old_revision_releases_what_it_holds_before_it_is_stopped() {
    scope("told-drained", async |scope| {
        let plugin = scope.loaded_plugin("", |spec| spec.drain_seconds = Some(0)).await;
        let pod = scope.pods_of(&plugin).await[0].name_any();
        let log = followed(&scope, &pod).await;
        let memory = json!({"spec": {"resources": {"limits": {"memory": "96Mi"}}}});
        scope.patch_plugin(&plugin, memory).await;
        scope.wait_for_revision(&plugin, 2).await;
        has_released(log).await;
    })
    .await;
}

#[tokio::test]
async fn a_plugin_is_told_of_clusters_in_their_order() {
    scope("told-clusters", async |scope| {
        let plugin = scope.loaded_plugin("", |_| {}).await;
        let pod = scope.pods_of(&plugin).await[0].name_any();
        told(&scope, &pod, "home", &["Added"], SOON).await;
        let label = (labels::CLUSTER, "true");
        let cluster = scope
            .secret(
                SYSTEM,
                "",
                label,
                &[("kubeconfig", &kubeconfig_of("https://127.0.0.1:1"))],
            )
            .await;
        told(&scope, &pod, &cluster, &["Added"], SOON).await;
        let events: Api<Event> = Api::namespaced(scope.client.clone(), SYSTEM);
        eventually("it is told that it cannot be reached", 3 * SOON, async || {
            let found = events
                .list(&ListParams::default())
                .await
                .map_err(|error| error.to_string())?
                .items;
            let of_it = found
                .iter()
                .filter(|it| it.regarding.as_ref().and_then(|it| it.name.as_ref()) == Some(&cluster));
            let seen: Vec<_> = of_it.filter_map(|it| it.reason.as_deref()).collect();
            if seen.contains(&"ClusterUnreachable") {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;
        let secrets: Api<Secret> = Api::namespaced(scope.client.clone(), SYSTEM);
        let other = Patch::Merge(json!({"stringData": {"kubeconfig": kubeconfig_of("https://127.0.0.1:2")}}));
        secrets.patch(&cluster, &PatchParams::default(), &other).await.unwrap();
        told(&scope, &pod, &cluster, &["Added", "Updated"], SOON).await;
        secrets.delete(&cluster, &DeleteParams::default()).await.unwrap();
        told(&scope, &pod, &cluster, &["Added", "Updated", "Removed"], SOON).await;
        // The event is about the Secret, and goes with the cluster.
        let of_it = ListParams::default().fields(&format!("regarding.name={cluster}"));
        events
            .delete_collection(&DeleteParams::default(), &of_it)
            .await
            .unwrap();
    })
    .await;
}
