//! Updates of a plugin under load, good ones and bad ones, and of its settings: nobody who uses it notices.
#![cfg(test)]

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kite_api::{KitePluginStatus, Phase};
use kite_e2e::{
    cluster::Layout,
    target::Target,
    testing::{
        PLUGINS, SOON, START, Scope, eventually,
        faulty::faulty,
        load::{Greetings, Load, used},
        pod::is_ready,
        scope,
        versions::{VERSION, hello_as},
    },
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;

/// How hello greets, and how its other versions do.
const WORDS: [&str; 2] = ["Hello, ", "Hallo, "];
/// From which hello takes its name in one of them.
const OTHER_VARIABLE: &str = "KITE_PLUGIN_NONE";

/// Waits until the plugin has a new revision that does not come up for this reason, while revision `serving` serves.
async fn stalled(scope: &Scope, plugin: &str, serving: i64, reasons: &[&str]) -> KitePluginStatus {
    eventually(&format!("{plugin} is stalled: {reasons:?}"), 2 * START, async || {
        let object = scope.plugins().get(plugin).await.map_err(|error| error.to_string())?;
        let status = object.status.unwrap_or_default();
        assert_eq!(status.active_revision, Some(serving), "the old one serves: {status:?}");
        let of = |kind: &str| status.conditions.iter().find(|it| it.type_ == kind);
        let is_ready = of("Ready").is_some_and(|it| it.status == "True");
        let is_stalled = of("Stalled").is_some_and(|it| reasons.contains(&it.reason.as_str()));
        if is_ready && is_stalled && status.observed_generation == object.metadata.generation {
            Ok(status)
        } else {
            Err(format!("{:?}", status.conditions))
        }
    })
    .await
}

/// The pods of a revision that are not on their way out.
async fn pods_of(scope: &Scope, plugin: &str, revision: i64) -> Vec<Pod> {
    let mut pods = scope.pods_of(plugin).await;
    let number = revision.to_string();
    pods.retain(|pod| {
        pod.metadata.deletion_timestamp.is_none() && pod.labels().get("kite.dev/revision") == Some(&number)
    });
    pods
}

/// Waits until so many pods of the revision are ready, and none of them is among the `old`.
async fn replaced(scope: &Scope, plugin: &str, revision: i64, count: usize, old: &[Pod]) {
    eventually("other pods run", START, async || {
        let pods = pods_of(scope, plugin, revision).await;
        let is_new = |pod: &Pod| old.iter().all(|old| old.uid() != pod.uid());
        if pods.len() == count && pods.iter().all(|pod| is_ready(pod) && is_new(pod)) {
            Ok(())
        } else {
            Err(format!(
                "{:?}",
                pods.iter().map(ResourceExt::name_any).collect::<Vec<_>>()
            ))
        }
    })
    .await;
}

/// `kubectl rollout restart` of the one pod, which the operator leaves as it is.
async fn restarted(scope: &Scope, plugin: &str, revision: i64, load: &Load) {
    let before = pods_of(scope, plugin, revision).await;
    assert_eq!(before.len(), 1, "{before:#?}");
    let deployment = format!("kite-plugin-{plugin}-{revision}");
    let restart = Target::running(&Layout::from_env().unwrap())
        .unwrap()
        .kubectl()
        .args(["rollout", "restart", "-n", PLUGINS, &format!("deployment/{deployment}")])
        .output()
        .unwrap();
    assert!(restart.status.success(), "{restart:?}");
    replaced(scope, plugin, revision, 1, &before).await;
    used(load, revision).await;
    let deployments: Api<Deployment> = Api::namespaced(scope.client.clone(), PLUGINS);
    let template = deployments.get(&deployment).await.unwrap().spec.unwrap().template;
    let annotations = template.metadata.unwrap().annotations.unwrap();
    assert!(
        annotations.contains_key("kubectl.kubernetes.io/restartedAt"),
        "{annotations:?}"
    );
}

/// One of two pods is deleted.
async fn one_of_two_goes(scope: &Scope, plugin: &str, revision: i64, load: &Load) {
    scope.patch_plugin(plugin, json!({"spec": {"replicas": 2}})).await;
    replaced(scope, plugin, revision, 2, &[]).await;
    used(load, revision).await;
    let before = pods_of(scope, plugin, revision).await;
    let pods: Api<Pod> = Api::namespaced(scope.client.clone(), PLUGINS);
    pods.delete(&before[0].name_any(), &DeleteParams::default())
        .await
        .unwrap();
    replaced(scope, plugin, revision, 2, &before[..1]).await;
    used(load, revision).await;
}

/// Gives the plugin other settings, and waits until it greets by them.
async fn set(scope: &Scope, plugin: &str) {
    scope
        .patch_plugin(plugin, json!({"spec": {"settings": {"from": "us"}}}))
        .await;
    eventually(&format!("{plugin} greets from us"), SOON, async || {
        let answer = scope
            .gateway
            .get(scope.gateway.admin(), &format!("{plugin}/hello"))
            .await;
        let message = answer.json()["message"].to_string();
        if message.contains(" From us.") {
            Ok(())
        } else {
            Err(message)
        }
    })
    .await;
}

/// What the plugin is to be.
async fn want(scope: &Scope, plugin: &str, version: &str, image: &str) {
    let spec = json!({"spec": {"version": version, "image": image}});
    scope.patch_plugin(plugin, spec).await;
}

/// Waits until a pod of the revision runs, has begun, and is not ready.
async fn runs_unready(scope: &Scope, plugin: &str, revision: i64) {
    eventually("it runs and is not ready", START, async || {
        let pods = pods_of(scope, plugin, revision).await;
        let containers = pods.iter().flat_map(|pod| {
            let status = pod.status.as_ref();
            status.and_then(|it| it.container_statuses.clone()).unwrap_or_default()
        });
        let states: Vec<_> = containers.map(|it| (it.started, it.ready)).collect();
        if states == [(Some(true), false)] {
            Ok(())
        } else {
            Err(format!("{states:?}"))
        }
    })
    .await;
}

/// While the first revision serves: an image that is not there, a program that ends, one that runs and is never ready, one that gets no pod, one
/// that says that it is another.
async fn bad_ones_do_not_come_up(scope: &Scope, plugin: &str, first: &str, other_name: String) {
    want(scope, plugin, "0.2.0", &first.replace("@sha256:", ":gone-")).await;
    stalled(scope, plugin, 1, &["ImagePullFailed"]).await;
    let program = gateway_image(scope).await;
    want(scope, plugin, "0.2.1", &program).await;
    stalled(scope, plugin, 1, &["CrashLooping"]).await;
    want(scope, plugin, "0.2.2", &faulty().await).await;
    runs_unready(scope, plugin, 4).await;
    let told = stalled(scope, plugin, 1, &["ProbeFailing"]).await;
    let message = told.revisions.last().and_then(|it| it.message.clone()).unwrap();
    let words = ["probe fails", "grpc.health.v1.Health/Check", "with SERVING"];
    assert!(words.iter().all(|it| message.contains(it)), "{message}");
    let huge = json!({"spec": {"version": "0.2.3", "image": first, "resources": {"requests": {"cpu": "1000"}}}});
    scope.patch_plugin(plugin, huge).await;
    stalled(scope, plugin, 1, &["Unschedulable"]).await;
    let other = json!({"spec": {"version": "0.3.0", "image": other_name, "resources": null}});
    scope.patch_plugin(plugin, other).await;
    call(scope, &format!("kite-plugin-{plugin}-6"), "other").await;
    let told = stalled(scope, plugin, 1, &["NameMismatch"]).await;
    assert_eq!(told.revisions.last().unwrap().number, 6, "{told:?}");
}

#[tokio::test]
async fn good_and_bad_revisions_and_going_back_lose_no_request() {
    scope("updated", async |scope| {
        let second = hello_as("0.2.0", &[(WORDS[0], WORDS[1])]).await;
        let other_name = hello_as("0.3.0", &[("KITE_PLUGIN_NAME", OTHER_VARIABLE)]).await;
        let first = scope.hello().await.image;
        // Hello goes by any name; by this one the plugin that misbehaves is never ready.
        let plugin = scope
            .loaded_plugin("-unready", |spec| spec.drain_seconds = Some(3600))
            .await;
        let greetings: Greetings = [(1, WORDS[0]), (7, WORDS[1]), (8, WORDS[0])].into();
        let load = Load::start(&scope, &plugin, greetings).await;
        used(&load, 1).await;

        bad_ones_do_not_come_up(&scope, &plugin, &first, other_name).await;
        used(&load, 1).await;

        // Mending it completes.
        want(&scope, &plugin, "0.2.0", &second).await;
        scope.wait_for_revision(&plugin, 7).await;
        used(&load, 7).await;
        // Going back.
        want(&scope, &plugin, VERSION, &first).await;
        scope.wait_for_revision(&plugin, 8).await;
        used(&load, 8).await;

        set(&scope, &plugin).await;
        used(&load, 8).await;
        // Who may restarts its pods, and one of two goes.
        restarted(&scope, &plugin, 8, &load).await;
        one_of_two_goes(&scope, &plugin, 8, &load).await;
        load.end().await.is_whole();

        // Off and on: the same revision comes back.
        scope.patch_plugin(&plugin, json!({"spec": {"enabled": false}})).await;
        scope.wait_for_phase(&plugin, Phase::Disabled).await;
        scope.wait_for_answer(&plugin, 503).await;
        scope.patch_plugin(&plugin, json!({"spec": {"enabled": null}})).await;
        scope.wait_for_revision(&plugin, 8).await;
        scope.wait_for_answer(&plugin, 200).await;
    })
    .await;
}

/// Has the pods of a Deployment, which take their name from another variable than the operator's, say that they are called so.
async fn call(scope: &Scope, deployment: &str, name: &str) {
    let deployments: Api<Deployment> = Api::namespaced(scope.client.clone(), PLUGINS);
    let container = json!({"name": "plugin", "env": [{"name": OTHER_VARIABLE, "value": name}]});
    let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    eventually(&format!("{deployment} is there"), SOON, async || {
        let patched = deployments
            .patch(deployment, &PatchParams::default(), &Patch::Strategic(&patch))
            .await;
        patched.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

/// An image that is there, and whose program is no plugin.
async fn gateway_image(scope: &Scope) -> String {
    let pods: Api<Pod> = Api::namespaced(scope.client.clone(), kite_e2e::testing::SYSTEM);
    let labels = ListParams::default().labels("app.kubernetes.io/name=kite-gateway");
    let found = pods.list(&labels).await.unwrap();
    found.items[0].spec.as_ref().unwrap().containers[0]
        .image
        .clone()
        .unwrap()
}
