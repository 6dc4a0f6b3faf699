//! Plugins that never answer: each keeps the operator waiting for as long as it may, and nobody else.

use std::time::{Duration, Instant};

use futures::{StreamExt, future::join_all, stream};
use kite_api::{KitePlugin, Phase};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::{
    revisions::{has_pods, runs, serves},
    support::{
        WITHIN_SECONDS, World, conditions,
        plugin::{self, ASKED, Heard},
        world,
    },
    trouble::{messages, phase},
};

/// More plugins than the operator looks at at once, and more than the requests by which it reads at once, even while some wait to be asked again.
const MUTE: usize = 40;
/// So many that by eights they would take longer than seconds.
const CLINGING: usize = 40;
/// How long a pod has to say what it is.
const QUESTION: Duration = Duration::from_secs(10);
/// How many are begun at once, so that the tests beside this one have their share of the machine.
const BEGUN: usize = 4;

fn named(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}

/// How long a plugin takes that does nothing wrong, from nothing to Loaded.
async fn comes(w: &World, name: &str) -> Duration {
    let began = Instant::now();
    w.apply(name, json!({})).await;
    w.observed(name, 1).await;
    plugin::start(w, name, "0.1.0").await;
    w.seen(&w.everywhere(), name, phase(Phase::Loaded)).await;
    began.elapsed()
}

/// Takes the plugins away, so that nobody asks them any more.
async fn remove(w: &World, names: &[String]) {
    let plugins = w.everywhere::<KitePlugin>();
    for name in names {
        plugins.delete(name, &DeleteParams::default()).await.unwrap();
    }
}

#[test]
fn plugins_that_never_say_what_they_are_hold_up_no_other_and_are_asked_again() {
    world().run(async |w: &World| {
        let names = named("mute", MUTE);
        let started = stream::iter(&names).map(async |name| {
            w.apply(name, json!({})).await;
            w.observed(name, 1).await;
            plugin::start_mute(w, name).await
        });
        let all: Vec<Heard> = started.buffered(BEGUN).collect().await;
        for heard in &all {
            heard.reaches(ASKED, 1).await;
        }
        let took = comes(w, "lively").await;
        assert!(took < QUESTION, "beside {MUTE} that never answer: {took:?}");

        // Each question has its end, is told, and comes again.
        for (name, heard) in names.iter().zip(&all) {
            heard.reaches(ASKED, 2).await;
            let is_told = |plugin: &KitePlugin| {
                conditions(plugin).contains(&String::from("Described=False Unreachable"))
                    && messages(plugin).contains("failed to get an answer within 10 s")
            };
            w.seen(&w.everywhere(), name, is_told).await;
        }
        remove(w, &names).await;
    });
}

/// The plugin, with this setting.
async fn set(w: &World, name: &str, a: u8, fields: Value) {
    let schema = json!({"properties": {"a": {"type": "integer"}}});
    let mut all = json!({"replicas": 2, "settings": {"a": a}, "settingsSchema": schema});
    if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
        all.extend(fields);
    }
    w.apply(name, all).await;
}

#[test]
fn a_pod_that_never_says_what_it_is_puts_off_nothing_that_is_to_happen_to_its_plugin() {
    world().run(async |w: &World| {
        let name = "burdened";
        set(w, name, 1, json!({})).await;
        w.observed(name, 1).await;
        let (_good, heard) = plugin::start_hearing(w, name, "other").await;
        heard.ends_with(r#"{"a":1}"#, 1).await;
        serves(w, name, 1).await;
        let mute = plugin::start_mute(w, name).await;
        mute.reaches(ASKED, 1).await;
        let began = Instant::now();

        // It is told of, and takes nothing from the one that has answered.
        let is_told = |plugin: &KitePlugin| {
            conditions(plugin).contains(&String::from("Described=True Described"))
                && messages(plugin).contains("but pod burdened-1-pod has not answered yet")
        };
        w.seen(&w.everywhere(), name, is_told).await;
        set(w, name, 2, json!({})).await;
        let took = heard.ends_with(r#"{"a":2}"#, 1).await;
        assert!(took < QUESTION, "the settings after {took:?}");
        let is_once = || mute.times(ASKED) == 1 || began.elapsed() > QUESTION;
        assert!(is_once(), "one question at a time");
        set(w, name, 2, json!({"enabled": false})).await;
        heard.reaches("stop", 1).await;
        runs(w, name, 1, 0).await;
        let took = began.elapsed();
        assert!(took < QUESTION, "within the time of its first question: {took:?}");
        assert!(is_once(), "nor is it asked when it is to go");
        remove(w, &[String::from(name)]).await;
    });
}

/// A plugin that serves, knows what there is to know, and never answers when it is told that it is about to be stopped.
async fn clings(w: &World, name: &str) -> Heard {
    w.apply(name, json!({"drainSeconds": 0})).await;
    w.observed(name, 1).await;
    let heard = plugin::start_clinging(w, name).await;
    heard.reaches("Added home", 1).await;
    serves(w, name, 1).await;
    heard
}

/// Waits until revision 1 is told that it is about to be stopped, and is stopped though it does not answer; how long either took.
async fn stops(w: &World, name: &str, heard: &Heard) -> [Duration; 2] {
    let began = Instant::now();
    heard.reaches("stop", 1).await;
    let told = began.elapsed();
    assert!(
        has_pods(1)(&w.get(&format!("kite-plugin-{name}-1")).await),
        "it may answer before its pods go"
    );
    runs(w, name, 1, 0).await;
    assert_eq!(heard.times("stop"), 1);
    [told, began.elapsed().saturating_sub(told)]
}

#[test]
fn disabled_plugins_that_do_not_let_go_are_stopped_all_the_same_and_hold_up_no_other() {
    world().run(async |w: &World| {
        let names = named("clinging", CLINGING);
        let started = stream::iter(&names).map(async |name| clings(w, name).await);
        let all: Vec<Heard> = started.buffered(BEGUN).collect().await;
        let stopped = names.iter().zip(&all).map(async |(name, heard)| {
            w.apply(name, json!({"drainSeconds": 0, "enabled": false})).await;
            stops(w, name, heard).await
        });
        let (stopped, other) = tokio::join!(join_all(stopped), comes(w, "nimble"));
        for (name, took) in names.iter().zip(stopped) {
            assert!(took.iter().all(|it| *it < WITHIN_SECONDS), "{name}: {took:?}");
        }
        assert!(
            other < WITHIN_SECONDS,
            "beside {CLINGING} that do not let go: {other:?}"
        );
        remove(w, &names).await;
    });
}

#[test]
fn an_old_revision_that_does_not_let_go_is_stopped_all_the_same() {
    world().run(async |w: &World| {
        let heard = clings(w, "outstays").await;
        w.apply("outstays", json!({"drainSeconds": 0, "version": "0.2.0"}))
            .await;
        runs(w, "outstays", 2, 1).await;
        plugin::start_revision(w, "outstays", 2, "0.2.0").await;
        serves(w, "outstays", 2).await;
        assert_eq!(
            heard.times("stop"),
            0,
            "it is told when its time is over, and not before"
        );
        let [_, took] = stops(w, "outstays", &heard).await;
        assert!(took < WITHIN_SECONDS, "{took:?}");
        serves(w, "outstays", 2).await;
    });
}
