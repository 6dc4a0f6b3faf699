//! One test per situation that a status tells.

use serde_json::json;

use super::*;

const HASH: &str = "sha256:1";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn applied(replicas: i32, available: i32) -> Applied {
    let value = json!({
        "metadata": {"generation": 1},
        "spec": {"replicas": replicas, "selector": {}, "template": {}},
        "status": {
            "observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas,
            "readyReplicas": available, "availableReplicas": available,
        },
    });
    Applied::of(serde_json::from_value(value).unwrap())
}

fn described() -> Verdict {
    let tool = ToolStatus {
        name: "plugin_hello_hello".into(),
        description: "Greets.".into(),
        hash: "sha256:2".into(),
    };
    Verdict::Described {
        hash: HASH.to_owned(),
        tools: vec![tool],
        unanswered: None,
    }
}

fn mismatch(reason: &'static str, hashes: &[&str]) -> Verdict {
    let hashes = hashes.iter().map(|hash| (*hash).to_owned()).collect();
    Verdict::Mismatch {
        reason,
        message: String::from("it differs"),
        version: Some(String::from("9.9.9")),
        hashes,
    }
}

fn running_with(available: i32, verdict: Verdict) -> Situation {
    Situation::Running {
        applied: applied(1, available),
        pods: Vec::new(),
        verdict,
        version: String::from("0.1.0"),
    }
}

fn after(previous: &KitePluginStatus, situation: &Situation) -> KitePluginStatus {
    decide(previous, Some(1), situation, at(2))
}

fn loaded() -> KitePluginStatus {
    decide(
        &KitePluginStatus::default(),
        Some(1),
        &running_with(1, described()),
        at(1),
    )
}

/// Type, status and reason of each condition.
fn conditions(status: &KitePluginStatus) -> Vec<String> {
    status
        .conditions
        .iter()
        .map(|it| format!("{}={} {}", it.type_, it.status, it.reason))
        .collect()
}

#[test]
fn a_plugin_that_is_available_and_described_is_loaded() {
    insta::assert_yaml_snapshot!(loaded());
}

#[test]
fn nothing_new_changes_nothing() {
    assert_eq!(after(&loaded(), &running_with(1, described())), loaded());
}

#[test]
fn a_plugin_is_pending_until_it_is_ready() {
    let status = after(&KitePluginStatus::default(), &running_with(0, Verdict::NotAsked));
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Pending), None));
    assert_eq!(
        conditions(&status),
        [
            "WorkloadAvailable=False Progressing",
            "Described=Unknown Progressing",
            "Ready=False Progressing",
            "Reconciling=True Progressing"
        ]
    );
    assert_eq!(status.revisions[0].state, RevisionState::Starting);
}

#[test]
fn traffic_goes_on_while_pods_come_and_go() {
    let status = after(&loaded(), &running_with(0, Verdict::NotAsked));
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Loaded), Some(1)));
    assert_eq!(status.active().unwrap().definitions_hash.as_deref(), Some(HASH));
    assert_eq!(status.tools, loaded().tools);
    assert_eq!(
        conditions(&status),
        [
            "WorkloadAvailable=False Progressing",
            "Described=True Described",
            "Ready=False Progressing",
            "Reconciling=True Progressing"
        ]
    );
}

#[test]
fn an_unreachable_plugin_keeps_its_revision() {
    let unreachable = Verdict::Unreachable {
        message: String::from("no answer"),
    };
    let status = after(&loaded(), &running_with(1, unreachable));
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Loaded), Some(1)));
    assert!(conditions(&status).contains(&String::from("Ready=False Unreachable")));
}

#[test]
fn what_is_not_what_the_object_says_takes_no_traffic() {
    let status = after(&loaded(), &running_with(1, mismatch("VersionMismatch", &[])));
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Failed), None));
    assert_eq!(status.version.as_deref(), Some("9.9.9"));
    assert!(status.tools.is_empty());
    assert_eq!(
        conditions(&status),
        [
            "WorkloadAvailable=True Available",
            "Described=False VersionMismatch",
            "Ready=False VersionMismatch",
            "Stalled=True VersionMismatch"
        ]
    );
}

#[test]
fn replicas_that_differ_leave_the_traffic_to_those_that_are_recorded() {
    let with = |hashes: &[&str]| after(&loaded(), &running_with(1, mismatch("ReplicaMismatch", hashes)));
    assert_eq!(with(&[HASH, "sha256:9"]).active_revision, Some(1));
    assert_eq!(with(&["sha256:8", "sha256:9"]).active_revision, None);
}

#[test]
fn a_disabled_plugin_is_ready_and_nothing_else() {
    let situation = Situation::Disabled {
        applied: applied(0, 0),
        version: String::from("0.1.0"),
    };
    let status = after(&loaded(), &situation);
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Disabled), None));
    assert_eq!(conditions(&status), ["Ready=True Disabled"]);
}

#[test]
fn a_refusal_fails_a_plugin_that_does_not_run() {
    let situation = Situation::Refused {
        message: String::from("quota"),
    };
    let status = after(&KitePluginStatus::default(), &situation);
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(
        conditions(&status),
        [
            "WorkloadAvailable=False Refused",
            "Ready=False Refused",
            "Stalled=True Refused"
        ]
    );
}

#[test]
fn a_refusal_leaves_a_plugin_that_runs() {
    for situation in [
        Situation::Refused {
            message: String::from("quota"),
        },
        Situation::Invalid {
            message: String::from("spec.image is empty"),
        },
    ] {
        let status = after(&loaded(), &situation);
        assert_eq!((status.phase, status.active_revision), (Some(Phase::Loaded), Some(1)));
        assert_eq!(
            conditions(&status),
            [
                "WorkloadAvailable=True Available",
                "Described=True Described",
                "Ready=True Loaded",
                "Stalled=True Refused"
            ]
        );
    }
}

#[test]
fn a_plugin_that_is_being_deleted_is_stopped() {
    let status = after(&loaded(), &Situation::Deleting);
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Stopped), None));
    assert_eq!(conditions(&status), ["Ready=False Stopped"]);
}

#[test]
fn the_patch_speaks_of_every_field() {
    let mut full = loaded();
    full.revisions[0].message = Some(String::from("m"));
    let Value::Object(fields) = serde_json::to_value(&full).unwrap() else {
        panic!("an object")
    };
    assert_eq!(
        fields
            .keys()
            .map(String::as_str)
            .collect::<std::collections::BTreeSet<_>>(),
        FIELDS.into()
    );
    let object: Object = serde_json::from_value(crate::controller::validate::tests::hello()).unwrap();
    let patch = patch(&object, &KitePluginStatus::default()).unwrap();
    assert_eq!(patch["metadata"]["uid"], json!("u-1"));
    assert!(
        FIELDS
            .iter()
            .all(|field| patch["status"].get(field).is_some_and(Value::is_null))
    );
}
