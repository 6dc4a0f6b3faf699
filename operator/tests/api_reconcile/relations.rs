//! Plugins that need others: who starts when, who is told what, and that it does not matter who came first.

use k8s_openapi::api::{apps::v1::Deployment, rbac::v1::ClusterRole};
use kite_api::{KitePlugin, Phase};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{
    pods,
    support::{
        World, conditions,
        early::{self, EARLY},
        plugin, world,
    },
};

fn phase(wanted: Phase) -> impl Fn(&KitePlugin) -> bool {
    move |plugin| plugin.status.as_ref().and_then(|status| status.phase) == Some(wanted)
}

fn has(condition: &'static str) -> impl Fn(&KitePlugin) -> bool {
    move |plugin| conditions(plugin).iter().any(|it| it == condition)
}

fn message(plugin: &KitePlugin, kind: &str) -> String {
    let conditions = plugin.status.iter().flat_map(|status| &status.conditions);
    let mut of_kind = conditions.filter(|condition| condition.type_ == kind);
    of_kind.next().map(|it| it.message.clone()).unwrap_or_default()
}

fn needs(name: &str, version: &str) -> Value {
    json!([{"name": name, "version": version}])
}

fn replicas(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref().and_then(|spec| spec.replicas)
}

/// All that an admin sees of a plugin, without its prefix and without times.
async fn picture(w: &World, prefix: &str, name: &str) -> Value {
    let whole = format!("{prefix}-{name}");
    let plugin = w.plugin(&whole).await;
    let mut status = serde_json::to_value(plugin.status.unwrap()).unwrap();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition.as_object_mut().unwrap().remove("lastTransitionTime");
    }
    let deployment: Deployment = w.get(&format!("kite-plugin-{whole}-1")).await;
    let picture = json!({"status": status, "replicas": replicas(&deployment)});
    serde_json::from_str(&picture.to_string().replace(&format!("{prefix}-"), "")).unwrap()
}

/// Starts the one plugin that others need, and waits until they have seen it.
async fn settle(w: &World, prefix: &str) {
    let lib = format!("{prefix}-lib");
    w.observed(&lib, 1).await;
    // It need not go on answering: what it said holds as long as its pod.
    let _running = plugin::start(w, &lib, "1.4.2").await;
    w.seen(&w.everywhere(), &lib, phase(Phase::Loaded)).await;
    let starts = |deployment: &Deployment| replicas(deployment) == Some(1);
    w.seen(&w.plugins(), &format!("kite-plugin-{prefix}-user-1"), starts)
        .await;
    for (name, condition) in [
        ("user", "DependenciesSatisfied=True Satisfied"),
        ("far", "DependenciesSatisfied=False VersionMismatch"),
    ] {
        w.seen(&w.everywhere(), &format!("{prefix}-{name}"), has(condition))
            .await;
    }
}

/// The reason that a picture's condition of the dependencies gives.
fn reason(picture: &Value) -> String {
    let mut conditions = picture["status"]["conditions"].as_array().into_iter().flatten();
    let dependencies = conditions.find(|condition| condition["type"] == "DependenciesSatisfied");
    dependencies.unwrap()["reason"].as_str().unwrap().to_owned()
}

#[test]
fn in_whatever_order_they_come_and_before_the_operator_or_after_all_end_alike() {
    world().run(async |w: &World| {
        let late = "late";
        // The other way round, each dependency before who needs it, where there is such an order.
        for (name, spec) in early::plugins(late).into_iter().rev() {
            early::apply_one(&w.client, late, name, &spec).await;
        }
        for prefix in [EARLY, late] {
            settle(w, prefix).await;
        }
        let mut told = Vec::new();
        for (name, _) in early::plugins(late) {
            let [first, second] = [picture(w, EARLY, name).await, picture(w, late, name).await];
            assert_eq!(first, second, "{name}");
            let phase = first["status"]["phase"].as_str().unwrap().to_owned();
            told.push((name, reason(&first), phase, first["replicas"].clone()));
        }
        let row = |name, reason: &str, phase: &str, replicas: i32| {
            (name, reason.to_owned(), phase.to_owned(), json!(replicas))
        };
        assert_eq!(
            told,
            [
                row("user", "Satisfied", "Pending", 1),
                row("far", "VersionMismatch", "Failed", 0),
                row("lost", "Missing", "Failed", 0),
                row("a", "Cycle", "Failed", 0),
                row("b", "Cycle", "Failed", 0),
                row("behind", "NotReady", "Pending", 0),
                row("optional", "Satisfied", "Pending", 1),
                row("new", "HostVersion", "Failed", 0),
                row("needs-off", "NotReady", "Failed", 0),
                row("off", "Satisfied", "Disabled", 0),
                row("lib", "Satisfied", "Loaded", 1),
            ]
        );
        let cycle = message(&w.plugin("early-a").await, "DependenciesSatisfied");
        assert!(cycle.contains("early-a → early-b → early-a"), "{cycle}");
    });
}

/// A plugin that runs, and one that runs because of it.
async fn needed_and_needing(w: &World) {
    w.apply("needed", json!({"version": "1.4.2"})).await;
    w.observed("needed", 1).await;
    let _needed = plugin::start(w, "needed", "1.4.2").await;
    w.seen(&w.everywhere(), "needed", phase(Phase::Loaded)).await;
    w.apply("needing", json!({"dependencies": needs("needed", "^1.0")}))
        .await;
    let starts = |deployment: &Deployment| replicas(deployment) == Some(1);
    w.seen(&w.plugins(), "kite-plugin-needing-1", starts).await;
    let _needing = plugin::start(w, "needing", "0.1.0").await;
    let loaded = w.seen(&w.everywhere(), "needing", phase(Phase::Loaded)).await;
    assert_eq!(
        serde_json::to_value(&loaded.status.unwrap().dependencies).unwrap(),
        json!([{"name": "needed", "required": "^1.0", "found": "1.4.2", "ready": true}])
    );
}

async fn both_are_told(w: &World) {
    let of_needing = w.events("needing", 4).await;
    let reasons: Vec<_> = of_needing.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(
        reasons,
        ["Granted", "DependencyLost", "DependencyLost", "DependencyLost"],
        "{of_needing:#?}"
    );
    let of_needed = w.events("needed", 4).await;
    let notes: Vec<_> = of_needed
        .iter()
        .filter(|(reason, _)| reason == "NeededByOthers")
        .collect();
    let told = |word: &str| notes.iter().any(|(_, note)| note.contains(word));
    assert!(
        told("it is disabled") && told("out of that range") && told("it was deleted"),
        "{of_needed:#?}"
    );
}

#[test]
fn deleting_disabling_and_downgrading_what_others_need_is_told_on_both_sides() {
    world().run(async |w: &World| {
        needed_and_needing(w).await;

        // Disabled: who runs goes on.
        w.apply("needed", json!({"version": "1.4.2", "enabled": false})).await;
        let told = w
            .seen(&w.everywhere(), "needing", has("DependenciesSatisfied=False NotReady"))
            .await;
        assert!(
            message(&told, "DependenciesSatisfied").contains("disabled"),
            "{told:#?}"
        );
        assert_eq!(told.status.unwrap().active_revision, Some(1));
        let says = |word: &'static str| {
            move |plugin: &KitePlugin| {
                message(plugin, "Ready").contains("needing (requires ^1.0") && message(plugin, "Ready").contains(word)
            }
        };
        w.seen(&w.everywhere(), "needed", says("disabled")).await;

        // Downgraded: what runs is no longer in range.
        w.apply("needed", json!({"version": "0.9.0"})).await;
        let told = w
            .seen(
                &w.everywhere(),
                "needing",
                has("DependenciesSatisfied=False VersionMismatch"),
            )
            .await;
        assert!(message(&told, "DependenciesSatisfied").contains("0.9.0"), "{told:#?}");
        let status = told.status.unwrap();
        assert_eq!((status.phase, status.active_revision), (Some(Phase::Failed), None));
        w.seen(&w.everywhere(), "needed", says("out of that range")).await;

        // Put right: it resumes with the pods that it has.
        w.apply("needed", json!({"version": "1.4.2"})).await;
        let resumes = |plugin: &KitePlugin| plugin.status.as_ref().and_then(|status| status.active_revision) == Some(1);
        w.seen(&w.everywhere(), "needing", resumes).await;

        // Deleted.
        let plugins = w.everywhere::<KitePlugin>();
        plugins.delete("needed", &DeleteParams::background()).await.unwrap();
        let told = w
            .seen(&plugins, "needing", has("DependenciesSatisfied=False Missing"))
            .await;
        assert_eq!(told.status.unwrap().active_revision, None);

        both_are_told(w).await;
    });
}

#[test]
fn a_version_that_lacks_something_leaves_the_one_that_runs() {
    world().run(async |w: &World| {
        w.apply("updated", json!({})).await;
        w.observed("updated", 1).await;
        let _running = plugin::start(w, "updated", "0.1.0").await;
        w.seen(&w.everywhere(), "updated", phase(Phase::Loaded)).await;
        let before: Deployment = w.get("kite-plugin-updated-1").await;
        let newer = json!({"version": "0.2.0", "image": "registry.invalid/hello:0.2.0", "compatibility": {"kubernetes": ">=9"}});
        w.apply("updated", newer).await;
        let told = w.seen(&w.everywhere(), "updated", has("DependenciesSatisfied=False HostVersion")).await;
        let message = message(&told, "DependenciesSatisfied");
        assert!(message.contains("until then version 0.1.0 goes on"), "{message}");
        let status = told.status.unwrap();
        assert_eq!((status.version.as_deref(), status.active_revision), (Some("0.1.0"), Some(1)));
        let image = |deployment: &Deployment| {
            let spec = deployment.spec.as_ref().unwrap();
            spec.template.spec.as_ref().unwrap().containers[0].image.clone()
        };
        let after: Deployment = w.get("kite-plugin-updated-1").await;
        assert_eq!(image(&after), image(&before));
        assert_eq!(after.metadata.generation, before.metadata.generation, "nothing is restarted");

        // Hand edits are put back meanwhile.
        w.merge(&w.plugins::<Deployment>(), "kite-plugin-updated-1", json!({"spec": {"replicas": 0}})).await;
        w.put_back(&w.plugins(), "kite-plugin-updated-1", |it: &Deployment| replicas(it) == Some(1)).await;

        w.apply("updated", json!({"version": "0.2.0", "image": "registry.invalid/hello:0.2.0"})).await;
        let goes_on = |deployment: &Deployment| image(deployment).is_some_and(|image| image.ends_with("0.2.0"));
        w.seen(&w.plugins(), "kite-plugin-updated-2", |it| goes_on(it) && replicas(it) == Some(1)).await;
        assert_eq!(replicas(&w.get("kite-plugin-updated-1").await), Some(1), "until the new one takes over");
    });
}

#[test]
fn a_change_of_one_wakes_only_those_that_it_concerns() {
    world().run(async |w: &World| {
        w.apply("wakes", json!({"version": "1.0.0"})).await;
        w.apply("woken", json!({"dependencies": needs("wakes", "^1.0")})).await;
        w.apply("asleep", json!({})).await;
        for name in ["wakes", "woken", "asleep"] {
            w.observed(name, 1).await;
        }
        w.seen(&w.everywhere(), "woken", has("DependenciesSatisfied=False NotReady"))
            .await;
        let before = w.plugin("asleep").await.metadata.resource_version;
        w.apply("wakes", json!({"version": "2.0.0"})).await;
        w.seen(
            &w.everywhere(),
            "woken",
            has("DependenciesSatisfied=False VersionMismatch"),
        )
        .await;
        assert_eq!(w.plugin("asleep").await.metadata.resource_version, before);
    });
}

#[test]
fn settings_and_what_has_no_effect_are_told() {
    world().run(async |w: &World| {
        let fields = json!({
            "settings": {"currency": "gold"},
            "settingsSchema": {"properties": {"currency": {"enum": ["EUR", "USD"]}}},
            "env": [{"name": "A", "value": "a"}],
            "frontend": {"remoteEntry": "a.js", "injections": [{"slot": "moon", "module": "./A"}]},
        });
        w.apply("told", fields).await;
        let told = w.observed("told", 1).await;
        assert!(conditions(&told).contains(&String::from("SettingsAccepted=False SchemaViolation")));
        let settings = message(&told, "SettingsAccepted");
        assert!(
            settings.contains("/currency") && settings.contains("EUR") && !settings.contains("gold"),
            "{settings}"
        );
        assert!(conditions(&told).contains(&String::from("InEffect=False NotYetBuilt")));
        let effect = message(&told, "InEffect");
        assert!(effect.contains("spec.frontend") && effect.contains("moon"), "{effect}");
    });
}

#[test]
fn the_grant_and_its_changes_are_told_in_words() {
    world().run(async |w: &World| {
        w.apply("worded", json!({"permissions": pods()})).await;
        let granted = w.observed("worded", 1).await;
        let words = message(&granted, "PermissionsGranted");
        assert!(words.contains("get and list pods"), "{words}");
        let secrets = json!({
            "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "namespaces": ["elsewhere"],
            "acknowledgeDangerous": true,
        });
        w.apply("worded", json!({"permissions": [secrets], "calls": ["told"]}))
            .await;
        w.observed("worded", 2).await;
        let events = w.events("worded", 2).await;
        let [(first, first_note), (second, second_note)] = events.as_slice() else {
            panic!("two events: {events:#?}")
        };
        assert_eq!((first.as_str(), second.as_str()), ("Granted", "GrantChanged"));
        assert!(first_note.contains("get and list pods"), "{first_note}");
        assert!(
            second_note.contains("secrets") && second_note.contains("told"),
            "{second_note}"
        );
        let role = w.everywhere::<ClusterRole>().get("kite-plugin-worded").await.unwrap();
        assert_eq!(role.rules.unwrap()[0].resource_names, Some(vec![String::from("told")]));
    });
}
