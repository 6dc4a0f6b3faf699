//! What plugins are told: their settings, what happens to clusters, and that they are about to be stopped.

use std::{
    fs,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kite_api::KitePlugin;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    revisions::{runs, serves},
    support::{
        World, conditions,
        plugin::{Heard, Running, start_hearing, start_revision_hearing},
        world,
    },
    trouble::{impossible, messages},
};

/// What a plugin may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// What a change of settings may take to reach every replica, beside all other tests: less than if it had waited for one that does not answer.
const BOUND: Duration = Duration::from_secs(9);
/// The label of a Secret that is a cluster.
const CLUSTER: Option<(&str, &str)> = Some(("kite.dev/cluster", "true"));

/// The plugin, with these settings beside a schema with a default, and a Secret.
async fn want(w: &World, settings: Value, fields: Value) -> KitePlugin {
    let schema = json!({"properties": {
        "a": {"type": "integer"}, "b": {"type": "integer", "default": 2}, "token": {"type": "string", "maxLength": 5},
    }});
    let mut all = json!({"settings": settings, "settingsSchema": schema, "settingsSecretRef": {"name": "heeds-keys"}});
    if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
        all.extend(fields);
    }
    w.apply("heeds", all).await
}

/// Waits until both have heard this last, as soon as they should.
async fn hear(both: [&Heard; 2], settings: &Value) {
    all_hear(&both, &settings.to_string()).await;
}

/// The same of as many as there are, and of anything that they are told.
async fn all_hear(all: &[&Heard], line: &str) {
    for heard in all {
        let took = heard.ends_with(line, 1).await;
        assert!(took < BOUND, "{line} after {took:?}");
    }
}

/// The message of the condition of the settings, once it has this reason.
async fn accepted(w: &World, wanted: &str) -> String {
    let plugin = w
        .seen(&w.everywhere(), "heeds", |plugin: &KitePlugin| {
            conditions(plugin).contains(&format!("SettingsAccepted={wanted}"))
        })
        .await;
    let conditions = plugin.status.unwrap().conditions;
    let found = conditions.into_iter().find(|it| it.type_ == "SettingsAccepted");
    found.unwrap().message
}

/// A Secret called so, with this label and this in it.
async fn secret(api: &Api<Secret>, name: &str, label: Option<(&str, &str)>, data: &Value) {
    let labels = label.map(|(key, value)| json!({key: value})).unwrap_or_default();
    let secret = json!({"metadata": {"name": name, "labels": labels}, "stringData": data});
    let secret = serde_json::from_value(secret).unwrap();
    api.create(&PostParams::default(), &secret).await.unwrap();
}

/// Changes what the Secret of the settings has.
async fn put(secrets: &Api<Secret>, token: &str) {
    let patch = Patch::Merge(json!({"stringData": {"token": token}}));
    let changed = secrets.patch("heeds-keys", &PatchParams::default(), &patch).await;
    changed.unwrap();
}

/// What the plugin is given when the object says `a` and `b`, and the Secret `token`.
fn given(a: u8, b: u8, token: &str) -> Value {
    json!({"a": a, "b": b, "token": token})
}

#[test]
fn settings_reach_every_replica_and_what_it_refuses_leaves_those_before() {
    world().run(async |w: &World| {
        let secrets = w.plugins::<Secret>();
        secret(&secrets, "heeds-keys", None, &json!({"token": "x"})).await;
        want(w, json!({"a": 1}), json!({})).await;
        w.observed("heeds", 1).await;
        let (_first, one) = start_hearing(w, "heeds", "pod").await;
        let (second, two) = start_hearing(w, "heeds", "other").await;
        let both = [&one, &two];
        // Of a Secret that is nobody's nothing is read.
        one.reaches("Added home", 1).await;
        let missing = accepted(w, "False SecretMissing").await;
        let words = "is not read because it is not labelled for the plugin";
        assert!(missing.contains(words) && one.lines(true).is_empty(), "{missing}");
        let label = json!({"metadata": {"labels": {"kite.dev/plugin": "heeds"}}});
        w.merge(&secrets, "heeds-keys", label).await;
        hear(both, &given(1, 2, "x")).await;
        accepted(w, "True Accepted").await;

        // A change of the object, and one of the Secret.
        want(w, json!({"a": 3, "b": 4}), json!({})).await;
        hear(both, &given(3, 4, "x")).await;
        put(&secrets, "y").await;
        let last = given(3, 4, "y");
        hear(both, &last).await;

        // What cannot be settings is told to nobody; one that starts again gets what the others go on with.
        put(&secrets, "hunter2").await;
        let violation = accepted(w, "False SchemaViolation").await;
        let is_safe = violation.contains("/token") && !violation.contains("hunter2");
        assert!(is_safe, "{violation}");
        second.restarted(w, 1).await;
        two.ends_with(&last.to_string(), 2).await;
        put(&secrets, "y").await;
        accepted(w, "True Accepted").await;
        refuse(w, both, &second, &last).await;
        stop(w, both).await;
        secrets.delete("heeds-keys", &DeleteParams::default()).await.unwrap();
    });
}

/// A refusal is told and leaves what serves; one that starts again is given what it accepted before, and asked again.
async fn refuse(w: &World, both: [&Heard; 2], second: &Running, last: &Value) {
    let [_, two] = both;
    want(w, json!({"refuse": 1}), json!({})).await;
    let refused = json!({"b": 2, "refuse": 1, "token": "y"});
    hear(both, &refused).await;
    let message = accepted(w, "False Refused").await;
    assert!(message.contains("pod heeds-1-pod: it is too much"), "{message}");
    let plugin = w.plugin("heeds").await;
    let told = conditions(&plugin);
    assert!(told.contains(&String::from("Ready=False Refused")), "{told:?}");
    assert_eq!(plugin.status.unwrap().active_revision, Some(1), "it keeps the traffic");
    second.restarted(w, 2).await;
    two.ends_with(&refused.to_string(), 2).await;
    let lines = two.lines(true);
    let expected = [last.to_string(), refused.to_string()];
    assert_eq!(lines[lines.len() - 2..], expected, "{lines:#?}");
}

/// Before they are stopped they may release what they hold, once, and are told nothing else.
async fn stop(w: &World, both: [&Heard; 2]) {
    want(w, json!({"a": 1}), json!({"enabled": false})).await;
    runs(w, "heeds", 1, 0).await;
    for heard in both {
        assert_eq!(heard.times("stop"), 1, "before its pods go");
        heard.ends_with("stop", 1).await;
    }
    w.observed("heeds", 4).await;
    for heard in both {
        assert_eq!(heard.times("stop"), 1);
        assert_eq!(heard.times(&given(1, 2, "y").to_string()), 0);
    }
}

#[test]
fn a_revision_that_has_drained_may_release_what_it_holds_and_the_one_that_serves_is_left_alone() {
    world().run(async |w: &World| {
        let version = |version: &str| json!({"version": version, "drainSeconds": 0});
        w.apply("parts", version("0.1.0")).await;
        w.observed("parts", 1).await;
        let (_first, old) = start_hearing(w, "parts", "pod").await;
        let (_beside, other) = start_hearing(w, "parts", "other").await;
        for heard in [&old, &other] {
            heard.reaches("Added home", 1).await;
        }
        serves(w, "parts", 1).await;
        w.apply("parts", version("0.2.0")).await;
        runs(w, "parts", 2, 1).await;
        let new = start_revision_hearing(w, "parts", 2, "0.2.0").await;
        serves(w, "parts", 2).await;
        runs(w, "parts", 1, 0).await;
        for heard in [&old, &other] {
            assert_eq!(heard.times("stop"), 1, "before its pods go");
        }
        assert_eq!(new.times("stop"), 0);
    });
}

#[test]
fn while_a_new_revision_is_refused_the_old_one_is_told_what_it_must_know() {
    world().run(async |w: &World| {
        let want = async |version: &str, a: u8, resources: Value| {
            let schema = json!({"properties": {"a": {"type": "integer"}}});
            let settings = json!({"a": a});
            let fields = json!({
                "version": version, "resources": resources, "settings": settings, "settingsSchema": schema,
            });
            w.apply("withstands", fields).await;
            settings.to_string()
        };
        let first = want("0.1.0", 1, json!({})).await;
        w.observed("withstands", 1).await;
        let (old, heard) = start_hearing(w, "withstands", "pod").await;
        heard.ends_with(&first, 1).await;
        serves(w, "withstands", 1).await;
        want("0.2.0", 1, impossible()).await;
        let refused = w.observed("withstands", 2).await;
        let told = conditions(&refused);
        assert!(told.contains(&String::from("Stalled=True Refused")), "{told:?}");
        old.restarted(w, 1).await;
        heard.ends_with(&first, 2).await;
        let second = want("0.2.0", 2, impossible()).await;
        heard.ends_with(&second, 1).await;
        let plugin = w.observed("withstands", 3).await;
        assert_eq!(plugin.status.unwrap().active_revision, Some(1));
    });
}

/// A kubeconfig of nobody.
fn nowhere() -> Value {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "a", "user": {"token": "hunter2"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    });
    json!({"kubeconfig": config.to_string()})
}

#[test]
fn clusters_are_told_to_each_plugin_and_to_people_whether_they_can_be_used() {
    world().run(async |w: &World| {
        let _alone = w.clusters.lock().await;
        w.apply("travels", json!({})).await;
        w.observed("travels", 1).await;
        let (_first, one) = start_hearing(w, "travels", "pod").await;
        one.ends_with("Added home", 1).await;
        let secrets = w.system::<Secret>();
        let good = fs::read_to_string(std::env::var_os("KITE_TEST_KUBECONFIG").unwrap()).unwrap();
        secret(&secrets, "far", CLUSTER, &json!({"kubeconfig": good})).await;
        one.ends_with("Added far", 1).await;
        let reachable = |value: u8| {
            let line = format!("kite_operator_cluster_reachable{{cluster=\"far\"}} {value}\n");
            move |page: &str| page.contains(&line)
        };
        w.told("/metrics", reachable(1)).await;

        // What is none is told on its Secret.
        secret(&secrets, "none", CLUSTER, &json!({"kubeconfig": "hunter2: ["})).await;
        let refusals = w.events_in(w.places().system, "none", 1).await;
        let (reason, note) = &refusals[0];
        assert_eq!(reason, "ClusterRefused");
        let is_safe = note.contains("failed to read the kubeconfig") && !note.contains("hunter2");
        assert!(is_safe, "{note}");
        w.merge(&secrets, "far", json!({"stringData": nowhere()})).await;
        one.ends_with("Updated far", 1).await;
        w.told("/metrics", reachable(0)).await;
        let events = w.events_in(w.places().system, "far", 1).await;
        assert_eq!(events[0].0, "ClusterUnreachable", "{events:?}");
        let label = json!({"metadata": {"labels": {"kite.dev/cluster": null}}});
        w.merge(&secrets, "far", label).await;
        one.ends_with("Removed far", 1).await;
        let all = ["Added home", "Added far", "Updated far", "Removed far"];
        assert_eq!(one.lines(false), all);

        // One that comes later is told what there is.
        secret(&secrets, "near", CLUSTER, &nowhere()).await;
        one.ends_with("Added near", 1).await;
        let (_second, two) = start_hearing(w, "travels", "other").await;
        two.ends_with("Added near", 1).await;
        assert_eq!(two.lines(false), ["Added home", "Added near"]);
        for name in ["near", "none", "far"] {
            secrets.delete(name, &DeleteParams::default()).await.unwrap();
        }
        two.ends_with("Removed near", 1).await;
    });
}

/// Gives the plugin these settings, and returns what it is to be told.
async fn set(w: &World, name: &str, a: u8) -> String {
    let schema = json!({"properties": {"a": {"type": "integer"}}});
    let settings = json!({"a": a});
    let fields = json!({"replicas": 2, "settings": settings, "settingsSchema": schema});
    w.apply(name, fields).await;
    settings.to_string()
}

#[test]
fn a_replica_that_never_answers_is_told_of_and_holds_up_neither_the_others_nor_another_plugin() {
    world().run(async |w: &World| {
        let alone = w.clusters.lock().await;
        let first = set(w, "hearkens", 1).await;
        set(w, "unhindered", 1).await;
        for name in ["hearkens", "unhindered"] {
            w.observed(name, 1).await;
        }
        let (_good, one) = start_hearing(w, "hearkens", "pod").await;
        let (stuck, two) = start_hearing(w, "hearkens", "other").await;
        let (_beside, other) = start_hearing(w, "unhindered", "pod").await;
        for heard in [&one, &two, &other] {
            heard.reaches(&first, 1).await;
            heard.reaches("Added home", 1).await;
        }
        serves(w, "hearkens", 1).await;

        stuck.sticks();
        let second = set(w, "hearkens", 2).await;
        set(w, "unhindered", 2).await;
        all_hear(&[&one, &two, &other], &second).await;
        let began = Instant::now();
        let secrets = w.system::<Secret>();
        secret(&secrets, "beyond", CLUSTER, &nowhere()).await;
        all_hear(&[&one, &two, &other], "Added beyond").await;
        secrets.delete("beyond", &DeleteParams::default()).await.unwrap();
        all_hear(&[&one, &other], "Removed beyond").await;
        let waits = two.times("Removed beyond") == 0 || began.elapsed() > DEADLINE;
        assert!(waits, "it is told one after the other");
        drop(alone);

        let why = format!(
            "but pod {} could not be given them: failed to get an answer within {} s",
            stuck.pod(),
            DEADLINE.as_secs()
        );
        let is_told = |plugin: &KitePlugin| {
            conditions(plugin).contains(&String::from("SettingsAccepted=True Accepted"))
                && messages(plugin).contains(&why)
        };
        let plugins = w.everywhere::<KitePlugin>();
        w.seen(&plugins, "hearkens", is_told).await;
        let took = began.elapsed();
        assert!(took < 2 * DEADLINE, "{took:?}");
        // Nobody asks it any more.
        plugins.delete("hearkens", &DeleteParams::default()).await.unwrap();
    });
}
