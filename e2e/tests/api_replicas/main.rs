//! Replicas of the operator on a real API server without a node: killed, stopped, frozen and thawed, cut off, left in silence, and
//! started among objects that they cannot read. And how they log.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod line;
mod replica;
mod writes;

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::{apps::v1::Deployment, events::v1::Event},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    jiff::Timestamp,
};
use kite_e2e::testing::{
    PLUGINS, SOON, eventually,
    world::{World, object, plugins},
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use self::{
    line::Line,
    replica::{Replica, TAKEOVER, leads},
};

/// Sooner than the Lease of one that does not give way ends.
const AT_ONCE: Duration = Duration::from_secs(10);

/// These tests are about time, and each has an API server: one after the other.
static ALONE: Mutex<()> = Mutex::const_new(());

struct Place {
    world: World,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Place {
    async fn make(flags: &[&str]) -> Self {
        let alone = ALONE.lock().await;
        Self {
            world: World::start_with(flags).await,
            folder: tempfile::tempdir().unwrap(),
            _alone: alone,
        }
    }

    fn replica(&self, name: &'static str) -> Replica {
        self.replica_by(name, self.world.address())
    }

    fn replica_by(&self, name: &'static str, server: std::net::SocketAddr) -> Replica {
        Replica::start(&self.world, self.folder.path(), name, server)
    }

    /// Two replicas that are ready, the first of which leads.
    async fn two(&self) -> (Replica, Replica) {
        let a = self.replica("a");
        a.is_ready(true).await;
        let b = self.replica("b");
        b.is_ready(false).await;
        (a, b)
    }

    async fn given(&self, name: &str) {
        self.world.given(&object(name, json!({}))).await;
    }

    async fn describe_as(&self, name: &str, text: &str) {
        let patch = Patch::Merge(json!({"spec": {"description": text}}));
        let changed = plugins(&self.world.admin)
            .patch(name, &PatchParams::default(), &patch)
            .await;
        changed.unwrap();
    }

    /// Waits until somebody has looked at the plugin as it is now and made its Deployment; its status.
    async fn settled(&self, name: &str, limit: Duration) -> Value {
        let api = plugins(&self.world.admin);
        eventually(&format!("{name} is looked after"), limit, async || {
            let found = api.get(name).await.map_err(|error| error.to_string())?;
            let status = found.data.get("status").cloned().unwrap_or_default();
            if status["observedGeneration"].as_i64() == found.metadata.generation {
                Ok(status)
            } else {
                Err(status.to_string())
            }
        })
        .await
    }

    async fn deployment(&self, plugin: &str) -> Deployment {
        let api: Api<Deployment> = Api::namespaced(self.world.admin.clone(), PLUGINS);
        api.get(&format!("kite-plugin-{plugin}-1")).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_a_killed_leader_is_replaced() {
    let place = Place::make(&[]).await;
    let (a, b) = place.two().await;
    place.given("before").await;
    place.settled("before", SOON).await;
    let killed = Instant::now();
    a.signal(Signal::SIGKILL);
    place.given("after").await;
    place.settled("after", TAKEOVER).await;
    println!(
        "the other acted {:.1} s after the leader was killed",
        killed.elapsed().as_secs_f64()
    );
    assert_eq!(place.deployment("after").await.metadata.generation, Some(1));
    b.is_ready(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_a_stopped_leader_gives_way_at_once() {
    let place = Place::make(&[]).await;
    let (mut a, b) = place.two().await;
    a.signal(Signal::SIGTERM);
    leads(&place.world, &b, AT_ONCE).await;
    assert!(a.ends_well().await, "{}", a.log());
    place.given("after").await;
    place.settled("after", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_a_frozen_leader_that_thaws_writes_nothing() {
    let place = Place::make(&[]).await;
    let (a, b) = place.two().await;
    let names = ["one", "two", "three"];
    for name in names {
        place.given(name).await;
        place.settled(name, SOON).await;
    }
    // Whoever leads always has something to write. Each change is looked at before the next: from an object that is old already nothing is
    // begun.
    let noise = async {
        for n in 0_u32.. {
            for name in names {
                place.describe_as(name, &n.to_string()).await;
            }
            for name in names {
                place.settled(name, 2 * TAKEOVER).await;
            }
        }
    };
    let rounds = async {
        for (leader, other) in [(&a, &b), (&b, &a)] {
            let began = Timestamp::now();
            eventually("the leader writes", TAKEOVER, async || {
                let count = writes::after(&writes::of(&place.world, leader.name), began).len();
                if count > 20 { Ok(()) } else { Err(count.to_string()) }
            })
            .await;
            leader.signal(Signal::SIGSTOP);
            let frozen = Timestamp::now();
            leads(&place.world, other, TAKEOVER).await;
            other.is_ready(true).await;
            leader.signal(Signal::SIGCONT);
            leader.is_ready(false).await;
            let taken = writes::took_over(&writes::of(&place.world, other.name), frozen);
            let late = writes::of(&place.world, leader.name);
            let late = writes::after(&late, taken);
            assert!(late.is_empty(), "{} wrote after {taken}: {late:#?}", leader.name);
            eventually("the other writes", TAKEOVER, async || {
                let count = writes::after(&writes::of(&place.world, other.name), taken).len();
                if count > 20 { Ok(()) } else { Err(count.to_string()) }
            })
            .await;
            assert!(leader.log().contains("does not lead any more"), "{}", leader.log());
        }
    };
    tokio::select! {
        () = noise => panic!("it has no end"),
        () = rounds => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_catch_up_when_the_history_was_compacted_meanwhile() {
    // With a cache of what happened the API server would not need etcd's history.
    let place = Place::make(&["--watch-cache=false"]).await;
    let line = Line::to(place.world.address()).await;
    let a = place.replica_by("a", line.address);
    a.is_ready(true).await;
    place.given("before").await;
    place.settled("before", SOON).await;
    line.cut();
    place.describe_as("before", "changed").await;
    place.given("meanwhile").await;
    place.world.compact().await;
    line.mend();
    place.settled("before", TAKEOVER).await;
    place.settled("meanwhile", TAKEOVER).await;
    let log = a.log();
    assert!(
        log.contains("compacted") || log.contains("Expired"),
        "no watch was told so: {log}"
    );
    assert!(
        (a.figure("kite_operator_terms_total").await - 1.0).abs() < f64::EPSILON,
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_catch_up_with_an_api_server_that_restarts() {
    let place = Place::make(&[]).await;
    let a = place.replica("a");
    a.is_ready(true).await;
    place.given("before").await;
    place.settled("before", SOON).await;
    place.world.restart();
    place.describe_as("before", "changed").await;
    place.given("after").await;
    place.settled("before", TAKEOVER).await;
    place.settled("after", TAKEOVER).await;
    a.is_ready(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_notice_a_watch_that_silently_stops() {
    let place = Place::make(&[]).await;
    let line = Line::to(place.world.address()).await;
    let a = place.replica_by("a", line.address);
    a.is_ready(true).await;
    place.given("before").await;
    place.settled("before", SOON).await;
    line.silence();
    place.describe_as("before", "changed").await;
    place.given("meanwhile").await;
    place.settled("before", TAKEOVER).await;
    place.settled("meanwhile", TAKEOVER).await;
}

/// Has the API server accept any object, or those of the schema alone, and waits until it does.
async fn accept_anything(place: &Place, anything: bool) {
    let mut crd = serde_json::to_value(kite_api::crd()).unwrap();
    if anything {
        let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}});
        crd["spec"]["versions"][0]["schema"] = schema;
        crd["spec"]["versions"][0]["subresources"] = json!({"status": {}});
    }
    let api: Api<CustomResourceDefinition> = Api::all(place.world.admin.clone());
    let name = "kiteplugins.kite.dev";
    let mut wanted: CustomResourceDefinition = serde_json::from_value(crd).unwrap();
    wanted.metadata.resource_version = api.get(name).await.unwrap().resource_version();
    api.replace(name, &kube::api::PostParams::default(), &wanted)
        .await
        .unwrap();
    let bad = object("other", json!({"version": 7, "permissions": "all"}));
    let what = format!("that anything is accepted is {anything}");
    eventually(&what, SOON, async || {
        match place.world.create(&place.world.admin, &bad).await {
            Err(refusal) if anything => Err(refusal),
            Ok(()) if !anything => Err(String::from("it is accepted")),
            _ => Ok(()),
        }
    })
    .await;
}

/// What status and events say of a plugin.
async fn told_of(place: &Place, plugin: &str) -> String {
    let status = plugins(&place.world.admin).get(plugin).await.unwrap().data["status"].to_string();
    let events: Api<Event> = Api::namespaced(place.world.admin.clone(), "default");
    let mut events = events.list(&ListParams::default()).await.unwrap().items;
    events.retain(|event| event.regarding.as_ref().and_then(|it| it.name.as_deref()) == Some(plugin));
    let notes: Vec<_> = events.iter().filter_map(|event| event.note.as_deref()).collect();
    format!("{status}{notes:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_serve_the_good_objects_among_those_that_they_cannot_read() {
    let place = Place::make(&[]).await;
    accept_anything(&place, true).await;
    let broken = object("broken", json!({"version": 7, "permissions": "all"}));
    place.world.given(&broken).await;
    // Of a version of the API in which there were no images, and of one that has more phases.
    let mut older = object("older", json!({}));
    older["spec"].as_object_mut().unwrap().remove("image");
    place.world.given(&older).await;
    place.given("newer").await;
    let status = json!({"status": {"phase": "Evolving", "observedGeneration": 1, "conditions": [{"type": "Ready"}]}});
    let api = plugins(&place.world.admin);
    api.patch_status("newer", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    place.given("good").await;
    accept_anything(&place, false).await;

    let a = place.replica("a");
    a.is_ready(true).await;
    place.settled("good", SOON).await;
    place.deployment("good").await;
    let newer = eventually("the newer one is looked after", SOON, async || {
        let found = api.get("newer").await.unwrap().data["status"].clone();
        if found["phase"] == "Pending" {
            Ok(found)
        } else {
            Err(found.to_string())
        }
    })
    .await;
    assert_eq!(newer["observedGeneration"], 1);
    place.deployment("newer").await;
    // A status is refused with an object that the schema does not allow; then an event says it.
    for (bad, why) in [("broken", "expected a sequence"), ("older", "`image`")] {
        eventually(&format!("{bad} is told"), SOON, async || {
            let told = told_of(&place, bad).await;
            if told.contains(why) {
                Ok(())
            } else {
                Err(format!("{told}{}", a.log()))
            }
        })
        .await;
    }
    assert!((a.figure("kite_operator_unreadable_plugins").await - 2.0).abs() < f64::EPSILON);
    place.describe_as("good", "changed").await;
    place.settled("good", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_keep_what_serves_though_a_newer_one_told_it_in_other_words() {
    let place = Place::make(&[]).await;
    let mut newer = place.replica("newer");
    newer.is_ready(true).await;
    place.given("serving").await;
    place.settled("serving", SOON).await;
    newer.signal(Signal::SIGTERM);
    assert!(newer.ends_well().await, "{}", newer.log());
    // What it would have told of a revision that serves, and then another is wanted.
    accept_anything(&place, true).await;
    let entry = json!({"number": 1, "version": "1.0.0", "state": "Blooming", "definitionsHash": "sha256:1"});
    let status = json!({"status": {"phase": "Evolving", "activeRevision": 1, "revisions": [entry]}});
    let api = plugins(&place.world.admin);
    api.patch_status("serving", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
    let other = json!({"spec": {"version": "2.0.0", "image": "registry.example/plugin:2.0.0"}});
    api.patch("serving", &PatchParams::default(), &Patch::Merge(other))
        .await
        .unwrap();
    accept_anything(&place, false).await;

    let older = place.replica("older");
    older.is_ready(true).await;
    let status = place.settled("serving", SOON).await;
    assert_eq!(status["activeRevision"], 1, "{}", older.log());
    assert_eq!(status["phase"], "Pending");
    let known = json!({"number": 1, "version": "1.0.0", "state": "Active", "definitionsHash": "sha256:1"});
    assert_eq!(status["revisions"][0], known);
    assert_eq!(status["revisions"][1]["state"], "Starting");
    let deployment = place.deployment("serving").await;
    assert_eq!(deployment.spec.unwrap().replicas, Some(1), "it goes on");
}

/// Whether the line of a log was written during a look at the plugin as it was in this generation, and says so.
fn is_of(line: &Value, plugin: &str, generation: i64) -> bool {
    line["span"] == json!({"name": "reconcile", "plugin": plugin, "generation": generation})
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_log_json_and_what_is_about_a_plugin_has_its_name_and_generation() {
    let place = Place::make(&[]).await;
    let mut a = place.replica("a");
    a.is_ready(true).await;
    // What is granted, what is granted instead, and what the API server refuses are each worth a line.
    let grant = |verb: &str| json!({"permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]});
    place.world.given(&object("granted", grant("get"))).await;
    place.settled("granted", SOON).await;
    let other = Patch::Merge(json!({"spec": grant("list")}));
    let api = plugins(&place.world.admin);
    api.patch("granted", &PatchParams::default(), &other).await.unwrap();
    let impossible = json!({"limits": {"memory": "64Mi"}, "requests": {"memory": "128Mi"}});
    place
        .world
        .given(&object("refused", json!({"resources": impossible})))
        .await;
    let looks = [("granted", 1), ("granted", 2), ("refused", 1)];
    eventually("each of them has its line", SOON, async || {
        let log = a.log();
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let is_missing = |(plugin, generation): &&(&str, i64)| !lines.iter().any(|it| is_of(it, plugin, *generation));
        match looks.iter().find(is_missing) {
            None => Ok(()),
            Some(look) => Err(format!("nothing of {look:?} in {log}")),
        }
    })
    .await;

    a.signal(Signal::SIGTERM);
    assert!(a.ends_well().await, "{}", a.log());
    for line in a.log().lines() {
        let read: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for key in ["timestamp", "level", "target"] {
            assert!(read[key].is_string(), "no {key}: {line}");
        }
        if let Some(plugin) = read["fields"]["plugin"].as_str() {
            assert_eq!(read["span"]["plugin"], plugin, "{line}");
            assert!(read["span"]["generation"].is_i64(), "{line}");
        }
    }
}
