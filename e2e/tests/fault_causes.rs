//! Plugins that do not come up on a real cluster: `kubectl describe kp` tells the cause and the next step.
#![cfg(test)]

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicyBinding,
    core::v1::{Pod, ResourceQuota},
};
use kite_api::{
    ImagePullPolicy, KitePluginSpec, KitePluginStatus, Phase, Resources,
    conditions::{DESCRIBED, STALLED, WORKLOAD_AVAILABLE},
};
use kite_e2e::{
    cluster,
    testing::{
        LABEL, PLUGINS, Scope, eventually,
        faulty::{PrivateRegistry, faulty, of_another_architecture},
        scope,
        versions::hello_tagged,
    },
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

/// A startup probe fails for a minute before the process is ended, which has to happen twice, and longer where the node has much else to do.
const PATIENCE: Duration = Duration::from_mins(5);

/// Waits until kubectl shows a condition of this kind and reason with all these words in its message.
async fn told(plugin: &str, kind: &str, reason: &str, words: &[&str]) {
    let layout = cluster::Layout::from_env().unwrap();
    let tools = cluster::tools(&layout).unwrap();
    eventually(&format!("{plugin} tells {reason}"), PATIENCE, async || {
        let output = tools.kubectl().args(["describe", "kp", plugin]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut conditions = text.split("Last Transition Time:");
        let is_told = conditions.any(|it| {
            let has = |field: &str, value: &str| {
                let mut lines = it.lines().filter_map(|line| line.trim().strip_prefix(field));
                lines.any(|rest| rest.trim() == value)
            };
            has("Reason:", reason) && has("Type:", kind) && words.iter().all(|word| it.contains(word))
        });
        if is_told { Ok(()) } else { Err(text) }
    })
    .await;
}

async fn unavailable(plugin: &str, reason: &str, words: &[&str]) {
    told(plugin, WORKLOAD_AVAILABLE, reason, words).await;
}

fn resources(value: Value) -> Resources {
    serde_json::from_value(value).unwrap()
}

/// Where the image of hello lies, and the whole reference.
async fn hello_of(scope: &Scope) -> (String, String) {
    let image = scope.hello().await.image;
    let (repository, _) = image.split_once('@').unwrap();
    (repository.to_owned(), image)
}

/// A plugin of the test with this image.
async fn with_image(scope: &Scope, suffix: &str, image: String, change: impl FnOnce(&mut KitePluginSpec)) -> String {
    let set = |spec: &mut KitePluginSpec| {
        spec.image = image;
        change(spec);
    };
    scope.make_plugin(suffix, set).await
}

#[tokio::test]
async fn the_cause_is_told_when_an_image_does_not_come() {
    scope("cause-image", async |scope| {
        let (repository, hello) = hello_of(&scope).await;
        let (host, _) = repository.split_once(':').unwrap();
        let private = PrivateRegistry::start().await;
        let foreign = of_another_architecture(&hello).await;
        let absent = with_image(&scope, "-absent", format!("{repository}:9.9.9"), |_| {}).await;
        let closed = with_image(&scope, "-closed", format!("{}/hello:1", private.host), |_| {}).await;
        let nowhere = with_image(&scope, "-nowhere", format!("{host}:1/hello:1"), |_| {}).await;
        let foreign = with_image(&scope, "-foreign", foreign, |_| {}).await;
        let never =
            |spec: &mut KitePluginSpec| spec.image_pull_policy = serde_json::from_value(json!("Never")).unwrap();
        let never = with_image(&scope, "-never", format!("{repository}:9.9.8"), never).await;
        let reason = "ImagePullFailed";
        unavailable(
            &absent,
            reason,
            &["the registry has no image", ":9.9.9", "or push the image", "not found"],
        )
        .await;
        unavailable(
            &closed,
            reason,
            &[
                "does not give the nodes image",
                "give the nodes credentials",
                "401 Unauthorized",
            ],
        )
        .await;
        unavailable(
            &nowhere,
            reason,
            &[
                "cannot reach the registry",
                "let the nodes reach it",
                "plugins.registryMirrors",
                "connection refused",
            ],
        )
        .await;
        unavailable(
            &foreign,
            reason,
            &[
                "not for the node's architecture",
                "build the image for",
                "no match for platform",
            ],
        )
        .await;
        unavailable(&never, reason, &["cannot be pulled", "spec.imagePullPolicy"]).await;
    })
    .await;
}

#[tokio::test]
async fn the_cause_is_told_when_a_next_revision_does_not_come_and_the_old_one_goes_on() {
    scope("cause-serves", async |scope| {
        let serves = scope.loaded_plugin("", |_| {}).await;
        let (repository, _) = hello_of(&scope).await;
        let next = json!({"spec": {"image": format!("{repository}:9.9.9")}});
        scope.patch_plugin(&serves, next).await;
        let words = ["revision 1 (version 0.1.0) goes on", "or push the image"];
        told(&serves, STALLED, "ImagePullFailed", &words).await;
        scope.wait_for_answer(&serves, 200).await;
    })
    .await;
}

#[tokio::test]
async fn the_cause_is_told_when_a_process_ends_or_does_not_answer() {
    scope("cause-process", async |scope| {
        let image = faulty().await;
        let little = |spec: &mut KitePluginSpec| {
            let most = json!({"limits": {"memory": "32Mi"}, "requests": {"memory": "16Mi"}});
            spec.resources = Some(resources(most));
        };
        let silent = with_image(&scope, "-silent", image.clone(), |_| {}).await;
        let unready = with_image(&scope, "-unready", image.clone(), |_| {}).await;
        let crash = with_image(&scope, "-crash", image.clone(), |_| {}).await;
        let memory = with_image(&scope, "-memory", image, little).await;
        let log = format!("read its log with `kubectl logs -n {PLUGINS} kite-plugin-{crash}-1-");
        let words = [
            "exit code 3",
            "leaves the message \"the price list is missing [2J\"",
            &log,
            "-c plugin --previous`",
        ];
        unavailable(&crash, "CrashLooping", &words).await;
        unavailable(
            &memory,
            "OutOfMemory",
            &["more memory than the 32Mi", "raise spec.resources.limits.memory"],
        )
        .await;
        let answers = "let the plugin answer grpc.health.v1.Health/Check";
        unavailable(&unready, "ProbeFailing", &["probe fails", answers]).await;
        unavailable(
            &silent,
            "ProbeFailing",
            &["startup probe fails", "grpc.health.v1.Health/Check"],
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn the_cause_is_told_when_a_plugin_is_not_what_the_object_says() {
    scope("cause-other", async |scope| {
        let image = faulty().await;
        let version = scope
            .make_plugin("-version", |spec| spec.version = String::from("0.2.0"))
            .await;
        let renamed = with_image(&scope, "-renamed", image.clone(), |_| {}).await;
        let differs = with_image(&scope, "-differs", image, |spec| spec.replicas = Some(2)).await;
        let words = [
            "says that its version is \"0.1.0\"",
            "correct spec.version or spec.image",
        ];
        told(&version, DESCRIBED, "VersionMismatch", &words).await;
        told(
            &renamed,
            DESCRIBED,
            "NameMismatch",
            &["says that it is \"somebody-else\"", "spec.image"],
        )
        .await;
        told(
            &differs,
            DESCRIBED,
            "ReplicaMismatch",
            &["offers something else than pod", "may not depend on where"],
        )
        .await;
    })
    .await;
}

/// What hello says of its tool, and what it says in an image that was pushed under the same tag.
const MOVED: (&str, &str) = ("Greets somebody by name.", "Insults who comes along.");

/// Waits until the plugin's only pod is one that stays though it is told to differ; gives its UID, and those of all that were seen.
async fn differs(scope: &Scope, plugin: &str) -> (String, BTreeSet<String>) {
    let mut seen = BTreeSet::new();
    let stays = eventually("a pod that differs stays", PATIENCE, async || {
        let object = scope.plugins().get(plugin).await.map_err(|error| error.to_string())?;
        let conditions = object.status.unwrap_or_default().conditions;
        let told = conditions.into_iter().find(|it| it.reason == "DefinitionsChanged");
        // One that is deleted for it is on its way out before it is told.
        let pods = scope.pods_of(plugin).await;
        seen.extend(pods.iter().filter_map(ResourceExt::uid));
        match (pods.as_slice(), told) {
            ([pod], Some(told))
                if pod.metadata.deletion_timestamp.is_none() && told.message.contains(&pod.name_any()) =>
            {
                Ok(pod.uid().unwrap())
            }
            (_, told) => Err(format!("{told:?}, {} pods", pods.len())),
        }
    })
    .await;
    (stays, seen)
}

/// Deletes the plugin's pods, as when a node is drained; gives their UIDs.
async fn drain(scope: &Scope, plugin: &str) -> BTreeSet<String> {
    let all: Api<Pod> = Api::namespaced(scope.client.clone(), PLUGINS);
    let pods = scope.pods_of(plugin).await;
    for pod in &pods {
        all.delete(&pod.name_any(), &DeleteParams::default()).await.unwrap();
    }
    pods.iter().filter_map(ResourceExt::uid).collect()
}

#[tokio::test]
async fn the_cause_is_told_when_a_tag_brings_other_tools_to_a_revision() {
    scope("cause-moved", async |scope| {
        let image = hello_tagged("moved", &[]).await;
        let pull = |spec: &mut KitePluginSpec| {
            spec.image.clone_from(&image);
            spec.image_pull_policy = Some(ImagePullPolicy::Always);
        };
        let plugin = scope.loaded_plugin("", pull).await;
        let recorded = scope.wait_for_phase(&plugin, Phase::Loaded).await;
        assert_eq!(hello_tagged("moved", &[MOVED]).await, image);
        let former = drain(&scope, &plugin).await;
        // The first in its place is deleted for what it offers. The second is no better, and stays.
        let (stays, seen) = differs(&scope, &plugin).await;
        let came: Vec<&String> = seen.difference(&former).collect();
        assert_eq!(came.len(), 2, "{came:?}");
        let words = ["offers something else", "name spec.image by digest", "spec.enabled"];
        told(&plugin, DESCRIBED, "DefinitionsChanged", &words).await;
        let failed = scope.wait_for_phase(&plugin, Phase::Failed).await;
        assert_eq!(failed.active_revision, None, "{failed:?}");
        let hash = |status: &KitePluginStatus| status.revisions[0].definitions_hash.clone();
        assert_eq!(hash(&failed), hash(&recorded));
        scope.wait_for_answer(&plugin, 503).await;
        assert_eq!(hello_tagged("moved", &[]).await, image);
        assert_eq!(differs(&scope, &plugin).await.0, stays, "what runs is another matter");
        drain(&scope, &plugin).await;
        let again = scope.wait_for_phase(&plugin, Phase::Loaded).await;
        assert_eq!((again.active_revision, &again.tools), (Some(1), &recorded.tools));
        scope.wait_for_answer(&plugin, 200).await;
    })
    .await;
}

/// Refuses the pods of one plugin.
async fn forbid(scope: &Scope, plugin: &str) {
    let label = "object.metadata.labels[?'kite.dev/plugin']";
    let spec = json!({
        "matchConstraints": {"resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]},
        ]},
        "validations": [{
            "expression": format!("!has(object.metadata.labels) || {label}.orValue('') != '{plugin}'"),
            "message": "not on this cluster",
        }],
    });
    let policy = scope.policy("-policy", serde_json::from_value(spec).unwrap()).await;
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(scope.client.clone());
    let binding = json!({
        "metadata": {"name": policy, "labels": {LABEL: scope.name}},
        "spec": {"policyName": policy, "validationActions": ["Deny"]},
    });
    let binding = serde_json::from_value(binding).unwrap();
    bindings.create(&PostParams::default(), &binding).await.unwrap();
}

/// Gives the plugins' namespace none of a resource for which nobody else asks, so that it is about one plugin alone.
async fn ration(scope: &Scope) {
    let quotas: Api<ResourceQuota> = Api::namespaced(scope.client.clone(), PLUGINS);
    let quota = json!({
        "metadata": {"name": scope.name, "labels": {LABEL: scope.name}},
        "spec": {"hard": {"requests.kite.test/gauge": "0"}},
    });
    let quota = serde_json::from_value(quota).unwrap();
    quotas.create(&PostParams::default(), &quota).await.unwrap();
}

/// Takes away the pods that were made before the policy was heeded, until none is made any more.
async fn none_is_made(scope: &Scope, plugin: &str) {
    let all: Api<Pod> = Api::namespaced(scope.client.clone(), PLUGINS);
    eventually("the policy is heeded", PATIENCE, async || {
        let pods = scope.pods_of(plugin).await;
        for pod in &pods {
            let _ = all.delete(&pod.name_any(), &DeleteParams::default()).await;
        }
        if pods.is_empty() {
            Ok(())
        } else {
            Err(format!("{} pods", pods.len()))
        }
    })
    .await;
}

#[tokio::test]
async fn the_cause_is_told_when_a_pod_is_refused_or_finds_no_place() {
    scope("cause-place", async |scope| {
        let same = |quantities: Value| resources(json!({"requests": quantities, "limits": quantities}));
        forbid(&scope, "cause-place-forbidden").await;
        ration(&scope).await;
        let large = same(json!({"cpu": "1000"}));
        let large = scope.make_plugin("-large", |spec| spec.resources = Some(large)).await;
        let gauge = same(json!({"kite.test/gauge": "1"}));
        let rationed = scope
            .make_plugin("-rationed", |spec| spec.resources = Some(gauge))
            .await;
        let forbidden = scope.make_plugin("-forbidden", |_| {}).await;
        let words = ["no node has room", "lower spec.resources.requests", "Insufficient cpu"];
        unavailable(&large, "Unschedulable", &words).await;
        let words = ["quota has no room", "raise plugins.quota", "exceeded quota"];
        unavailable(&rationed, "Refused", &words).await;
        none_is_made(&scope, &forbidden).await;
        let words = [
            "the API server refuses the plugin's pods",
            "policy or webhook",
            "not on this cluster",
        ];
        unavailable(&forbidden, "Refused", &words).await;
    })
    .await;
}
