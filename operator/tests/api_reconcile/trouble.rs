//! What is told, and what happens nevertheless, where something is wrong.

use std::time::{Duration, Instant, SystemTime};

use futures::future::join_all;
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingWebhookConfiguration,
    apps::v1::Deployment,
    core::v1::{Pod, Secret},
    rbac::v1::RoleBinding,
};
use kite_api::{KitePlugin, Phase, labels};
use kite_operator::identity::certificate::Certified;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    pods,
    support::{LIMIT, WITHIN_SECONDS, World, conditions, plugin, world},
};

pub(crate) fn phase(wanted: Phase) -> impl Fn(&KitePlugin) -> bool {
    move |plugin| plugin.status.as_ref().and_then(|status| status.phase) == Some(wanted)
}

/// Messages of the plugin's conditions.
pub(crate) fn messages(plugin: &KitePlugin) -> String {
    let conditions = plugin.status.iter().flat_map(|status| &status.conditions);
    conditions.map(|condition| condition.message.as_str()).collect()
}

/// More memory asked for than allowed, which an API server refuses.
pub(crate) fn impossible() -> Value {
    json!({"limits": {"memory": "64Mi"}, "requests": {"memory": "128Mi"}})
}

/// A webhook that is asked about such objects of the plugin, and at which nobody listens, so that the API server fails and refuses nothing.
async fn dead_webhook(w: &World, plugin: &str, (group, resource): (&str, &str)) -> ValidatingWebhookConfiguration {
    let webhook = json!({
        "metadata": {"name": format!("dead-{plugin}-{}", w.plugins_namespace())},
        "webhooks": [{
            "name": "dead.kite.test",
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "rules": [{
                "apiGroups": [group], "apiVersions": ["v1"], "resources": [resource], "operations": ["CREATE", "UPDATE"],
            }],
            "objectSelector": {"matchLabels": {labels::PLUGIN: plugin}},
            "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }],
    });
    let webhook = serde_json::from_value(webhook).unwrap();
    let webhooks = w.everywhere::<ValidatingWebhookConfiguration>();
    webhooks.create(&PostParams::default(), &webhook).await.unwrap()
}

/// At the end of a look the object is always another than at its beginning.
#[test]
fn one_that_somebody_writes_again_and_again_is_told_its_status_all_the_same() {
    world().run(async |w: &World| {
        w.apply("restless", json!({})).await;
        w.observed("restless", 1).await;
        let api: Api<KitePlugin> = w.everywhere();
        let meddle = async {
            for count in 0_u64.. {
                let annotations = json!({"restless": count.to_string()});
                w.merge(&api, "restless", json!({"metadata": {"annotations": annotations}}))
                    .await;
            }
        };
        let change = async {
            w.apply("restless", json!({"enabled": false})).await;
            w.observed("restless", 2).await
        };
        tokio::select! {
            told = change => assert!(phase(Phase::Disabled)(&told), "{told:#?}"),
            () = meddle => unreachable!("it has written as often as can be counted"),
        }
    });
}

#[test]
fn a_refusal_is_told_and_mended_and_does_not_keep_a_plugin_from_being_stopped() {
    world().run(async |w: &World| {
        w.apply("refused", json!({"resources": impossible()})).await;
        let refused = w.observed("refused", 1).await;
        assert!(phase(Phase::Failed)(&refused), "{refused:#?}");
        assert_eq!(
            conditions(&refused),
            [
                "DependenciesSatisfied=True Satisfied",
                "PermissionsGranted=True Granted",
                "WorkloadAvailable=False Refused",
                "Ready=False Refused",
                "Stalled=True Refused"
            ]
        );
        assert!(messages(&refused).contains("128Mi"), "{refused:#?}");

        w.apply("refused", json!({})).await;
        let mended = w.observed("refused", 2).await;
        assert!(phase(Phase::Pending)(&mended), "{mended:#?}");
        assert!(!conditions(&mended).contains(&String::from("Stalled=True Refused")));
        let runs = |replicas| {
            move |deployment: &Deployment| deployment.spec.as_ref().and_then(|it| it.replicas) == Some(replicas)
        };
        w.seen(&w.plugins(), "kite-plugin-refused-2", runs(1)).await;

        w.apply("refused", json!({"resources": impossible(), "enabled": false}))
            .await;
        let stopped = w.observed("refused", 3).await;
        assert!(phase(Phase::Disabled)(&stopped), "{stopped:#?}");
        assert_eq!(
            conditions(&stopped),
            [
                "DependenciesSatisfied=True Satisfied",
                "Ready=True Disabled",
                "Stalled=True Refused"
            ]
        );
        w.seen(&w.plugins(), "kite-plugin-refused-2", runs(0)).await;
    });
}

#[test]
fn a_failure_that_is_no_refusal_is_told_on_the_object_until_it_ends() {
    world().run(async |w: &World| {
        let webhook = dead_webhook(w, "failing", ("apps", "deployments")).await;
        // The API server takes a moment to heed it, in which a plugin is applied as ever.
        let tells = |plugin: &KitePlugin| messages(plugin).contains("dead.kite.test");
        w.apply("failing", json!({})).await;
        let failing = w.seen(&w.everywhere(), "failing", tells).await;
        assert!(
            conditions(&failing).contains(&String::from("Reconciling=True Progressing")),
            "{failing:#?}"
        );
        w.everywhere::<ValidatingWebhookConfiguration>()
            .delete(&webhook.name_any(), &DeleteParams::default())
            .await
            .unwrap();
        w.observed("failing", 1).await;
        w.seen(&w.everywhere(), "failing", |plugin| !tells(plugin)).await;
    });
}

/// One that was issued and cannot be written is of no use to anybody.
#[test]
fn when_a_certificate_ends_is_told_of_the_one_that_was_written() {
    world().run(async |w: &World| {
        let (name, secrets) = ("unwritten", w.plugins::<Secret>());
        let webhook = dead_webhook(w, name, ("", "secrets")).await;
        // The API server takes a moment to heed it.
        let probe = json!({"metadata": {"name": "unwritten-probe", "labels": {labels::PLUGIN: name}}});
        let probe: Secret = serde_json::from_value(probe).unwrap();
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let mut turns = tokio::time::interval(Duration::from_millis(100));
        let heeded = async {
            let is_asked = |error: &kube::Error| error.to_string().contains("dead.kite.test");
            while !secrets.create(&dry, &probe).await.as_ref().is_err_and(is_asked) {
                turns.tick().await;
            }
        };
        let in_time = tokio::time::timeout(LIMIT, heeded).await.is_ok();
        assert!(in_time, "the webhook is never asked");

        w.apply(name, json!({})).await;
        let tells = |plugin: &KitePlugin| messages(plugin).contains("dead.kite.test");
        w.seen(&w.everywhere(), name, tells).await;
        let metric = r#"kite_operator_plugin_certificate_expiry_timestamp_seconds{plugin="unwritten"}"#;
        let page = w.told("/metrics", |page| !page.is_empty()).await;
        assert!(!page.contains(metric), "{page}");

        w.everywhere::<ValidatingWebhookConfiguration>()
            .delete(&webhook.name_any(), &DeleteParams::default())
            .await
            .unwrap();
        w.observed(name, 1).await;
        let secret: Secret = w.get("kite-plugin-unwritten-tls").await;
        let end = Certified::of_data(&secret.data.unwrap()).unwrap().not_after().unwrap();
        let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let line = format!("{metric} {end}");
        w.told("/metrics", |page| page.lines().any(|it| it == line)).await;
    });
}

#[test]
fn a_plugin_that_never_says_what_it_is_is_asked_less_and_less_often() {
    world().run(async |w: &World| {
        w.apply("silent", json!({})).await;
        let before = w.observed("silent", 1).await;
        let start = Instant::now();
        let told = |plugin: &KitePlugin| messages(plugin).contains("refusal 3");
        let (writes, _running) = tokio::join!(w.writes(&before, told), plugin::start_silent(w, "silent"));
        assert!(
            start.elapsed() >= Duration::from_secs(3),
            "after 1 and 2 seconds: {:?}",
            start.elapsed()
        );
        // Beside the three answers: the pod, and the Deployment that counts it.
        assert!(writes <= 5, "{writes} writes");
    });
}

#[test]
fn a_pod_with_the_certificate_of_another_plugin_is_told_and_gets_no_traffic() {
    world().run(async |w: &World| {
        for name in ["robbed", "disguised"] {
            w.apply(name, json!({})).await;
            w.observed(name, 1).await;
        }
        plugin::start_with_keys_of(w, "disguised", "robbed").await;
        let why = "not valid for name \"disguised.plugins.kite.internal\"";
        let told = |plugin: &KitePlugin| messages(plugin).contains(why);
        let disguised = w.seen(&w.everywhere(), "disguised", told).await;
        assert_eq!(disguised.status.unwrap().active_revision, None);
    });
}

#[test]
fn one_wrong_replica_leaves_the_traffic_to_the_good_one() {
    world().run(async |w: &World| {
        w.apply("mixed", json!({"replicas": 2})).await;
        w.observed("mixed", 1).await;
        let good = plugin::start(w, "mixed", "0.1.0").await;
        w.seen(&w.everywhere(), "mixed", phase(Phase::Loaded)).await;
        // It is told, and deleted for it, so that it is not there for long.
        let plugins = w.everywhere();
        let failed = w.seen(&plugins, "mixed", phase(Phase::Failed));
        let (mixed, wrong) = tokio::join!(failed, plugin::start_beside(w, "mixed", "0.2.0", "hello"));
        assert!(
            conditions(&mixed).contains(&String::from("Ready=False VersionMismatch")),
            "{mixed:#?}"
        );
        let status = mixed.status.unwrap();
        assert_eq!(status.version.as_deref(), Some("0.1.0"));
        assert_eq!(
            status.active().and_then(|revision| revision.definitions_hash.clone()),
            Some(good.definitions_hash)
        );
        assert_eq!(status.tools[0].name, "plugin_mixed_hello");
        w.gone(&w.plugins::<Pod>(), &wrong.pod()).await;
        let whole = w.seen(&plugins, "mixed", phase(Phase::Loaded)).await;
        assert_eq!(whole.status.unwrap().active_revision, Some(1));
    });
}

#[test]
fn a_pod_that_offers_something_else_than_is_recorded_is_deleted_once_and_then_told() {
    world().run(async |w: &World| {
        let (plugins, pods) = (w.everywhere(), w.plugins::<Pod>());
        let described = |word: &'static str| {
            move |plugin: &KitePlugin| conditions(plugin).iter().any(|it| it == &format!("Described={word}"))
        };
        let hash = |plugin: &KitePlugin| plugin.status.as_ref().unwrap().revisions[0].definitions_hash.clone();
        w.apply("changing", json!({})).await;
        w.observed("changing", 1).await;
        let good = plugin::start(w, "changing", "0.1.0").await;
        let loaded = w.seen(&plugins, "changing", phase(Phase::Loaded)).await;
        good.offers("other");
        good.restarted(w, 1).await;
        w.gone(&pods, &good.pod()).await;
        w.seen(&plugins, "changing", described("Unknown Progressing")).await;
        let next = plugin::start_beside(w, "changing", "0.1.0", "other").await;
        let told = w
            .seen(&plugins, "changing", described("False DefinitionsChanged"))
            .await;
        let status = told.status.as_ref().unwrap();
        assert_eq!(
            (status.phase, status.active_revision),
            (Some(Phase::Failed), None),
            "{status:#?}"
        );
        assert_eq!(hash(&told), hash(&loaded), "what is recorded stays");
        // It was told after it would have been deleted.
        let there = pods.get(&next.pod()).await.unwrap();
        assert_eq!(there.metadata.deletion_timestamp, None);
        next.offers("hello");
        next.restarted(w, 1).await;
        let again = w.seen(&plugins, "changing", phase(Phase::Loaded)).await;
        assert_eq!(hash(&again), hash(&loaded));
        assert_eq!(again.status.unwrap().active_revision, Some(1));
    });
}

#[test]
fn a_secret_of_another_type_is_replaced() {
    world().run(async |w: &World| {
        let opaque = json!({
            "metadata": {"name": "kite-plugin-typed-tls"}, "type": "Opaque", "stringData": {"tls.crt": "x", "a": "b"},
        });
        let opaque = serde_json::from_value(opaque).unwrap();
        w.plugins::<Secret>()
            .create(&PostParams::default(), &opaque)
            .await
            .unwrap();
        w.apply("typed", json!({})).await;
        w.observed("typed", 1).await;
        let secret: Secret = w.get("kite-plugin-typed-tls").await;
        assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
        assert_eq!(
            secret.data.unwrap().into_keys().collect::<Vec<_>>(),
            [
                "clients-ca.crt",
                "gateway-address",
                "gateway-ca.crt",
                "tls.crt",
                "tls.key"
            ]
        );
    });
}

#[test]
fn a_pod_that_keeps_changing_does_not_put_off_the_withdrawal_of_rights() {
    world().run(async |w: &World| {
        w.apply("busy", json!({"permissions": pods()})).await;
        w.observed("busy", 1).await;
        w.get::<RoleBinding>("kite-plugin-busy").await;
        let pod = json!({
            "metadata": {"name": "busy-pod", "labels": {labels::PLUGIN: "busy"}},
            "spec": {
                "serviceAccountName": "kite-plugin-busy",
                "containers": [{"name": "plugin", "image": "registry.invalid/busy"}],
            },
        });
        let pod = serde_json::from_value(pod).unwrap();
        let api = w.plugins::<Pod>();
        api.create(&PostParams::default(), &pod).await.unwrap();
        // Several at once, so that no tenth of a second is without a change, however slow the machine.
        let noise = join_all((0..4).map(async |voice| {
            for n in 0_u32.. {
                let changed = json!({"metadata": {"annotations": {format!("n-{voice}"): n.to_string()}}});
                w.merge(&api, "busy-pod", changed).await;
            }
        }));
        let start = Instant::now();
        let withdrawn = async {
            w.apply("busy", json!({})).await;
            w.gone(&w.plugins::<RoleBinding>(), "kite-plugin-busy").await;
        };
        tokio::select! {
            _ = noise => panic!("it has no end"),
            () = withdrawn => {}
        }
        assert!(start.elapsed() < WITHIN_SECONDS, "{:?}", start.elapsed());
    });
}
