//! Revisions: what makes one, how one takes over from another, and what stays of them.

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, Deployment},
        core::v1::Service,
    },
    apimachinery::pkg::runtime::RawExtension,
};
use kite_api::{KitePlugin, KitePluginStatus, Phase, RevisionState};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::support::{
    World, conditions,
    plugin::{self, DIGEST},
    world,
};

/// The plugin wants this version, with these fields beside.
async fn want(w: &World, name: &str, version: &str, fields: Value) -> KitePlugin {
    let mut all = json!({"version": version, "image": format!("registry.invalid/hello:{version}")});
    if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
        all.extend(fields);
    }
    w.apply(name, all).await
}

/// The status, once this revision serves.
pub(crate) async fn serves(w: &World, name: &str, number: i64) -> KitePluginStatus {
    let is_active = |plugin: &KitePlugin| plugin.status.as_ref().and_then(|it| it.active_revision) == Some(number);
    w.seen(&w.everywhere(), name, is_active)
        .await
        .status
        .unwrap_or_default()
}

pub(crate) fn has_pods(wanted: i32) -> impl Fn(&Deployment) -> bool {
    move |deployment| deployment.spec.as_ref().and_then(|spec| spec.replicas) == Some(wanted)
}

/// Waits until that many pods are wanted of a revision.
pub(crate) async fn runs(w: &World, name: &str, number: i64, pods: i32) {
    w.seen(&w.plugins(), &format!("kite-plugin-{name}-{number}"), has_pods(pods))
        .await;
}

fn states(status: &KitePluginStatus) -> Vec<(i64, RevisionState)> {
    status.revisions.iter().map(|it| (it.number, it.state)).collect()
}

async fn recorded(w: &World, name: &str) -> Vec<i64> {
    let of_plugin = ListParams::default().labels(&format!("kite.dev/plugin={name}"));
    let records = w
        .plugins::<ControllerRevision>()
        .list(&of_plugin)
        .await
        .expect("the records");
    let mut numbers: Vec<i64> = records.items.iter().map(|record| record.revision).collect();
    numbers.sort_unstable();
    numbers
}

/// The plugin, of which the first revision serves.
async fn first(w: &World, name: &str, fields: Value) {
    want(w, name, "0.1.0", fields).await;
    w.observed(name, 1).await;
    let _running = plugin::start(w, name, "0.1.0").await;
    serves(w, name, 1).await;
}

#[test]
fn a_new_version_runs_beside_the_old_one_takes_over_and_leaves_it_to_drain() {
    world().run(async |w: &World| {
        let drains = json!({"drainSeconds": 0});
        first(w, "rolled", drains.clone()).await;
        want(w, "rolled", "0.2.0", drains).await;
        runs(w, "rolled", 2, 1).await;
        w.get::<Service>("kite-plugin-rolled-2").await;
        let beside = w.observed("rolled", 2).await;
        let status = beside.status.clone().unwrap();
        assert_eq!(
            (status.active_revision, status.version.as_deref()),
            (Some(1), Some("0.1.0"))
        );
        assert_eq!(
            states(&status),
            [(1, RevisionState::Active), (2, RevisionState::Starting)]
        );
        assert!(conditions(&beside).contains(&String::from("Ready=True Loaded")));
        assert!(conditions(&beside).contains(&String::from("Reconciling=True Progressing")));
        runs(w, "rolled", 1, 1).await;

        let _running = plugin::start_revision(w, "rolled", 2, "0.2.0").await;
        let status = serves(w, "rolled", 2).await;
        assert_eq!(
            (status.phase, status.version.as_deref()),
            (Some(Phase::Loaded), Some("0.2.0"))
        );
        assert_eq!(
            states(&status),
            [(1, RevisionState::Stopped), (2, RevisionState::Active)]
        );
        assert_eq!(status.active().unwrap().digest.as_deref(), Some(DIGEST));
        let since = status.revisions[0].draining_since.clone();
        assert!(since.is_some(), "its pods stay until every gateway knows");
        assert!(has_pods(1)(&w.get("kite-plugin-rolled-1").await));
        runs(w, "rolled", 1, 0).await;
        let settled = |plugin: &KitePlugin| plugin.status.as_ref().unwrap().revisions[0].draining_since.is_none();
        w.seen(&w.everywhere(), "rolled", settled).await;
        assert_eq!(recorded(w, "rolled").await, [1, 2]);
    });
}

#[test]
fn one_that_is_of_another_version_or_name_is_told_and_mending_it_completes() {
    world().run(async |w: &World| {
        first(w, "botched", json!({})).await;
        want(w, "botched", "0.2.0", json!({})).await;
        runs(w, "botched", 2, 1).await;
        let _wrong = plugin::start_revision(w, "botched", 2, "0.9.9").await;
        let tells = |plugin: &KitePlugin| conditions(plugin).contains(&String::from("Stalled=True VersionMismatch"));
        let told = w.seen(&w.everywhere(), "botched", tells).await;
        assert!(
            conditions(&told).contains(&String::from("Ready=True Loaded")),
            "{told:#?}"
        );
        let status = told.status.unwrap();
        assert_eq!((status.phase, status.active_revision), (Some(Phase::Loaded), Some(1)));
        assert!(status.revisions[1].message.as_deref().unwrap().contains("0.9.9"));
        assert!(
            has_pods(1)(&w.get("kite-plugin-botched-2").await),
            "it is left for inspection"
        );

        want(w, "botched", "0.3.0", json!({})).await;
        runs(w, "botched", 3, 1).await;
        runs(w, "botched", 2, 0).await;
        let _right = plugin::start_revision(w, "botched", 3, "0.3.0").await;
        let status = serves(w, "botched", 3).await;
        assert_eq!(states(&status)[1], (2, RevisionState::Stopped));
    });
}

#[test]
fn edits_during_a_roll_out_end_in_the_last_and_at_most_one_runs_beside_the_old() {
    world().run(async |w: &World| {
        first(w, "hasty", json!({})).await;
        for version in ["0.2.0", "0.3.0", "0.4.0"] {
            want(w, "hasty", version, json!({})).await;
        }
        let last = w
            .observed("hasty", 4)
            .await
            .status
            .unwrap()
            .revisions
            .last()
            .unwrap()
            .clone();
        assert_eq!(last.version, "0.4.0");
        runs(w, "hasty", last.number, 1).await;
        let of_plugin = ListParams::default().labels("kite.dev/plugin=hasty");
        let deployments = w.plugins::<Deployment>().list(&of_plugin).await.unwrap();
        let running: Vec<String> = deployments
            .items
            .iter()
            .filter(|it| !has_pods(0)(it))
            .map(ResourceExt::name_any)
            .collect();
        assert_eq!(
            running,
            [
                "kite-plugin-hasty-1".to_owned(),
                format!("kite-plugin-hasty-{}", last.number)
            ]
        );
        let _running = plugin::start_revision(w, "hasty", last.number, "0.4.0").await;
        serves(w, "hasty", last.number).await;
    });
}

#[test]
fn going_back_is_a_new_number_with_the_old_record() {
    world().run(async |w: &World| {
        let drains = json!({"drainSeconds": 0});
        first(w, "returned", drains.clone()).await;
        want(w, "returned", "0.2.0", drains.clone()).await;
        runs(w, "returned", 2, 1).await;
        let _second = plugin::start_revision(w, "returned", 2, "0.2.0").await;
        serves(w, "returned", 2).await;
        let record: ControllerRevision = w.get("kite-plugin-returned-1").await;
        want(w, "returned", "0.1.0", drains).await;
        runs(w, "returned", 3, 1).await;
        let again: ControllerRevision = w.get("kite-plugin-returned-3").await;
        assert_eq!((again.revision, &again.data), (3, &record.data));
        let _third = plugin::start_revision(w, "returned", 3, "0.1.0").await;
        serves(w, "returned", 3).await;
        // The one that it repeats is not kept.
        w.gone(&w.plugins::<ControllerRevision>(), "kite-plugin-returned-1")
            .await;
        w.gone(&w.plugins::<Deployment>(), "kite-plugin-returned-1").await;
        w.gone(&w.plugins::<Service>(), "kite-plugin-returned-1").await;
        runs(w, "returned", 2, 0).await;
        took_over(w).await;
    });
}

/// That each time another revision took over was told once.
async fn took_over(w: &World) {
    let mut told = w.events("returned", 3).await;
    told.retain(|(reason, _)| reason == "RevisionTookOver");
    let notes: Vec<_> = told.iter().map(|(_, note)| note.as_str()).collect();
    assert_eq!(
        notes,
        [
            "revision 2 (version 0.2.0) takes the traffic, and revision 1 (version 0.1.0) drains",
            "revision 3 (version 0.1.0) takes the traffic, and revision 2 (version 0.2.0) drains",
        ]
    );
}

#[test]
fn no_more_is_kept_than_the_object_says() {
    world().run(async |w: &World| {
        let one = json!({"revisionHistoryLimit": 1, "drainSeconds": 0});
        first(w, "limited", one.clone()).await;
        for (number, version) in [(2, "0.2.0"), (3, "0.3.0")] {
            want(w, "limited", version, one.clone()).await;
            runs(w, "limited", number, 1).await;
            let _running = plugin::start_revision(w, "limited", number, version).await;
            serves(w, "limited", number).await;
            runs(w, "limited", number - 1, 0).await;
        }
        w.gone(&w.plugins::<ControllerRevision>(), "kite-plugin-limited-1")
            .await;
        assert_eq!(recorded(w, "limited").await, [2, 3]);
        let forgotten = |plugin: &KitePlugin| plugin.status.as_ref().unwrap().revisions.len() == 2;
        w.seen(&w.everywhere(), "limited", forgotten).await;
    });
}

/// As when an operator ends while it deletes what is not kept, and more is to be kept from then on.
#[test]
fn a_revision_that_is_half_gone_goes_whole() {
    world().run(async |w: &World| {
        let fields = json!({"drainSeconds": 0});
        first(w, "half", fields.clone()).await;
        want(w, "half", "0.2.0", fields.clone()).await;
        runs(w, "half", 2, 1).await;
        let _running = plugin::start_revision(w, "half", 2, "0.2.0").await;
        serves(w, "half", 2).await;
        runs(w, "half", 1, 0).await;
        assert_eq!(recorded(w, "half").await, [1, 2]);
        let deployments = w.plugins::<Deployment>();
        let params = DeleteParams::background();
        deployments.delete("kite-plugin-half-1", &params).await.unwrap();
        w.gone(&w.plugins::<ControllerRevision>(), "kite-plugin-half-1").await;
        w.gone(&w.plugins::<Service>(), "kite-plugin-half-1").await;
        assert_eq!(recorded(w, "half").await, [2]);
    });
}

#[test]
fn what_holds_at_once_makes_no_revision_and_what_belongs_to_one_does() {
    world().run(async |w: &World| {
        let base = || json!({"version": "0.1.0"});
        w.apply("fields", base()).await;
        w.observed("fields", 1).await;
        let mut generation = 1;
        for at_once in [
            json!({"description": "other"}),
            json!({"replicas": 2}),
            json!({"limits": {"inFlight": 5}}),
            json!({"drainSeconds": 1}),
            json!({"settings": {"a": 1}}),
        ] {
            let mut all = base();
            all.as_object_mut()
                .unwrap()
                .extend(at_once.as_object().unwrap().clone());
            w.apply("fields", all).await;
            generation += 1;
            w.observed("fields", generation).await;
            assert_eq!(recorded(w, "fields").await, [1], "{at_once}");
        }
        let route = json!({"routes": [{"path": "/a", "requires": [{"resource": "pods"}]}]});
        w.apply("fields", route).await;
        w.observed("fields", generation + 1).await;
        assert_eq!(recorded(w, "fields").await, [1, 2]);
        let record: ControllerRevision = w.get("kite-plugin-fields-2").await;
        assert_eq!(record.data.unwrap().0["spec"]["routes"][0]["path"], "/a");
    });
}

#[test]
fn a_first_right_makes_a_revision_and_the_old_one_says_what_it_lost() {
    world().run(async |w: &World| {
        let pods = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]});
        let nodes = json!({"apiGroups": [""], "resources": ["services"], "verbs": ["list"]});
        first(w, "lacking", json!({"permissions": [pods.clone(), nodes]})).await;
        // A narrower grant is no other revision.
        want(w, "lacking", "0.1.0", json!({"permissions": [pods.clone()]})).await;
        let narrowed = w.observed("lacking", 2).await;
        assert_eq!(recorded(w, "lacking").await, [1]);
        assert!(
            conditions(&narrowed).contains(&String::from("InEffect=True InEffect")),
            "{narrowed:#?}"
        );
        // While another is to take over, it is told.
        want(w, "lacking", "0.2.0", json!({"permissions": [pods]})).await;
        let told = w.observed("lacking", 3).await;
        assert!(
            conditions(&told).contains(&String::from("InEffect=False OldRevisionLacksRights")),
            "{told:#?}"
        );
        let _running = plugin::start_revision(w, "lacking", 2, "0.2.0").await;
        let status = serves(w, "lacking", 2).await;
        assert!(
            status
                .conditions
                .iter()
                .any(|it| it.type_ == "InEffect" && it.status == "True")
        );
    });
}

#[test]
fn what_ran_before_revisions_were_recorded_is_taken_over() {
    world().run(async |w: &World| {
        first(w, "before", json!({})).await;
        let before: Deployment = w.get("kite-plugin-before-1").await;
        let records = w.plugins::<ControllerRevision>();
        records
            .delete("kite-plugin-before-1", &DeleteParams::default())
            .await
            .unwrap();
        w.seen(&records, "kite-plugin-before-1", |_| true).await;
        let after: Deployment = w.get("kite-plugin-before-1").await;
        assert_eq!(
            (after.uid(), after.metadata.generation),
            (before.uid(), before.metadata.generation)
        );
        assert_eq!(serves(w, "before", 1).await.phase, Some(Phase::Loaded));
    });
}

#[test]
fn the_record_of_what_serves_is_made_again_and_nothing_restarts() {
    world().run(async |w: &World| {
        first(w, "forgotten", json!({})).await;
        want(w, "forgotten", "0.2.0", json!({})).await;
        runs(w, "forgotten", 2, 1).await;
        let _running = plugin::start_revision(w, "forgotten", 2, "0.2.0").await;
        serves(w, "forgotten", 2).await;
        let before: Deployment = w.get("kite-plugin-forgotten-2").await;
        let records = w.plugins::<ControllerRevision>();
        let uid = records.get("kite-plugin-forgotten-2").await.unwrap().uid();
        records
            .delete("kite-plugin-forgotten-2", &DeleteParams::default())
            .await
            .unwrap();
        w.seen(&records, "kite-plugin-forgotten-2", |record| record.uid() != uid)
            .await;
        let after: Deployment = w.get("kite-plugin-forgotten-2").await;
        assert_eq!(
            (after.uid(), after.metadata.generation),
            (before.uid(), before.metadata.generation)
        );
        assert_eq!(serves(w, "forgotten", 2).await.phase, Some(Phase::Loaded));
    });
}

#[test]
fn what_is_no_record_of_ours_keeps_no_name_and_what_is_not_understood_stops_nothing() {
    world().run(async |w: &World| {
        let records = w.plugins::<ControllerRevision>();
        let mut unlabelled = ControllerRevision {
            revision: 2,
            data: Some(RawExtension(json!({}))),
            ..ControllerRevision::default()
        };
        unlabelled.metadata.name = Some(String::from("kite-plugin-taken-2"));
        first(w, "taken", json!({})).await;
        records.create(&PostParams::default(), &unlabelled).await.unwrap();
        want(w, "taken", "0.2.0", json!({})).await;
        runs(w, "taken", 2, 1).await;
        let _running = plugin::start_revision(w, "taken", 2, "0.2.0").await;
        serves(w, "taken", 2).await;
        // Of a later operator.
        let mut later = records.get("kite-plugin-taken-2").await.unwrap();
        later.metadata.name = Some(String::from("kite-plugin-taken-3"));
        later.metadata.resource_version = None;
        later.revision = 3;
        later.data = Some(RawExtension(json!({"shape": "another"})));
        records.create(&PostParams::default(), &later).await.unwrap();
        want(w, "taken", "0.3.0", json!({})).await;
        runs(w, "taken", 4, 1).await;
        let _running = plugin::start_revision(w, "taken", 4, "0.3.0").await;
        serves(w, "taken", 4).await;
        assert_eq!(recorded(w, "taken").await, [1, 2, 3, 4]);
    });
}

#[test]
fn a_disabled_plugin_comes_back_with_the_revision_that_its_object_wants() {
    world().run(async |w: &World| {
        first(w, "switched", json!({})).await;
        want(w, "switched", "0.1.0", json!({"enabled": false})).await;
        runs(w, "switched", 1, 0).await;
        w.observed("switched", 2).await;
        want(w, "switched", "0.1.0", json!({})).await;
        runs(w, "switched", 1, 1).await;
        serves(w, "switched", 1).await;
        want(w, "switched", "0.1.0", json!({"enabled": false})).await;
        w.observed("switched", 4).await;
        want(w, "switched", "0.2.0", json!({})).await;
        runs(w, "switched", 2, 1).await;
        assert!(
            has_pods(0)(&w.get("kite-plugin-switched-1").await),
            "what was replaced meanwhile does not come back"
        );
    });
}

#[test]
fn a_rolling_restart_by_hand_stays_and_makes_no_revision() {
    world().run(async |w: &World| {
        first(w, "restarted", json!({})).await;
        let deployments = w.plugins::<Deployment>();
        let annotation =
            json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}});
        deployments
            .patch(
                "kite-plugin-restarted-1",
                &PatchParams::default(),
                &kube::api::Patch::Strategic(annotation),
            )
            .await
            .unwrap();
        want(w, "restarted", "0.1.0", json!({"description": "looked at again"})).await;
        w.observed("restarted", 2).await;
        let after: Deployment = w.get("kite-plugin-restarted-1").await;
        let annotations = after.spec.unwrap().template.metadata.unwrap().annotations.unwrap();
        assert_eq!(annotations["kubectl.kubernetes.io/restartedAt"], "now");
        assert_eq!(recorded(w, "restarted").await, [1]);
    });
}
