//! One test per situation that a status tells.

use std::time::Duration;

use kite_api::ToolStatus;
use serde_json::json;

use super::*;

mod bounds;
mod findings;
mod judged;
mod refused;
mod takeover;

const HASH: &str = "sha256:1";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn deployment(replicas: i32, available: i32) -> Deployment {
    let value = json!({
        "metadata": {"generation": 1},
        "spec": {"replicas": replicas, "selector": {}, "template": {}},
        "status": {
            "observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas,
            "readyReplicas": available, "availableReplicas": available,
        },
    });
    serde_json::from_value(value).unwrap()
}

fn applied(replicas: i32, available: i32) -> Applied {
    Applied::of(deployment(replicas, available))
}

fn named(number: i64) -> Named {
    Named {
        number,
        version: format!("0.{number}.0"),
    }
}

/// The revisions up to this number are kept.
fn history(last: i64) -> History {
    History {
        kept: (1..=last).map(named).collect(),
        drain: Duration::from_mins(5),
    }
}

fn refusal(enabled: bool, deployment: Option<Deployment>) -> Situation {
    Situation::Refused {
        message: String::from("quota"),
        refusal: Refusal {
            enabled,
            wanted: named(1),
            before: deployment.map(|deployment| {
                Box::new(Before {
                    named: named(1),
                    deployment,
                    pods: Vec::new(),
                    verdict: Verdict::NotAsked,
                    known_for: None,
                    taken: Taken::default(),
                })
            }),
            pods: 0,
            history: history(1),
            findings: Findings::default(),
        },
    }
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
        other_image: None,
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
    running_and(available, verdict, Findings::default())
}

fn seen(number: i64, available: i32, verdict: Verdict) -> Seen {
    Seen {
        named: named(number),
        applied: applied(1, available),
        pods: Vec::new(),
        events: Vec::new(),
        verdict,
        known_for: None,
        taken: Taken::default(),
    }
}

fn running_and(available: i32, verdict: Verdict, findings: Findings) -> Situation {
    Situation::Running {
        lead: Box::new(seen(1, available, verdict)),
        next: None,
        history: history(1),
        findings,
    }
}

fn stopped(findings: Findings) -> Situation {
    Situation::Disabled {
        pods: 0,
        history: history(1),
        findings,
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

/// Type, status and reason of each condition, but of what is as it should be beside the pods.
fn conditions(status: &KitePluginStatus) -> Vec<String> {
    let beside = [
        DEPENDENCIES_SATISFIED,
        PERMISSIONS_GRANTED,
        SETTINGS_ACCEPTED,
        IN_EFFECT,
    ];
    status
        .conditions
        .iter()
        .filter(|it| !(beside.contains(&it.type_.as_str()) && it.status == "True"))
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
fn what_was_said_of_a_plugin_stands_until_its_pods_have_answered_or_failed_to() {
    let awaited = || Verdict::Awaited {
        message: String::from("pod a has not answered yet"),
    };
    assert_eq!(after(&loaded(), &running_with(1, awaited())), loaded());
    let status = after(&KitePluginStatus::default(), &running_with(1, awaited()));
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Pending), None));
    assert_eq!(
        conditions(&status),
        [
            "WorkloadAvailable=True Available",
            "Described=Unknown Progressing",
            "Ready=False Progressing",
            "Reconciling=True Progressing"
        ]
    );
    let message = status.revisions[0].message.as_deref();
    assert_eq!(message, Some("pod a has not answered yet"));
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
fn one_wrong_pod_leaves_the_traffic_to_a_good_one_that_offers_what_is_recorded() {
    let status = after(&loaded(), &running_with(1, mismatch("VersionMismatch", &[HASH])));
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Failed), Some(1)));
    assert_eq!(status.version.as_deref(), Some("0.1.0"));
    assert_eq!(status.tools, loaded().tools);
    assert_eq!(status.active().unwrap().definitions_hash.as_deref(), Some(HASH));
    assert!(conditions(&status).contains(&String::from("Described=False VersionMismatch")));
    let other = after(&loaded(), &running_with(1, mismatch("VersionMismatch", &["sha256:9"])));
    assert_eq!(other.active_revision, None);
}

#[test]
fn what_is_recorded_stays_while_no_pod_offers_it_and_serves_again_when_one_does() {
    let changed = after(
        &loaded(),
        &running_with(1, mismatch("DefinitionsChanged", &["sha256:9"])),
    );
    assert_eq!((changed.phase, changed.active_revision), (Some(Phase::Failed), None));
    assert!(changed.tools.is_empty());
    assert!(conditions(&changed).contains(&String::from("Stalled=True DefinitionsChanged")));
    // Its pod goes, and another comes.
    let gone = after(&changed, &running_with(0, Verdict::NotAsked));
    for status in [&changed, &gone] {
        let on_record = on_record(status, 1).unwrap();
        assert_eq!(
            (on_record.hash, status.revisions[0].state),
            (HASH, RevisionState::Starting)
        );
    }
    let again = after(&gone, &running_with(1, described()));
    assert_eq!((again.phase, again.active_revision), (Some(Phase::Loaded), Some(1)));
    assert_eq!(again.tools, loaded().tools);
    let other = Verdict::Described {
        hash: String::from("sha256:9"),
        tools: Vec::new(),
        unanswered: None,
        other_image: None,
    };
    // By a look that began before something was recorded.
    let late = after(&loaded(), &running_with(1, other));
    assert_eq!(
        (on_record(&late, 1).unwrap().hash, &late.tools),
        (HASH, &loaded().tools)
    );
    let off = after(&changed, &stopped(Findings::default()));
    assert!(
        on_record(&off, 1).is_none(),
        "a plugin that was stopped is recorded anew"
    );
}

#[test]
fn where_none_serves_pods_must_offer_what_is_recorded_unless_the_plugin_was_disabled() {
    for (phase, hash) in [("Failed", Some(HASH)), ("Evolving", Some(HASH)), ("Disabled", None)] {
        // In a word of another version.
        let status = kite_api::understood::status(&json!({
            "phase": phase,
            "revisions": [{"number": 1, "version": "0.1.0", "definitionsHash": HASH, "state": "Withheld"}],
        }));
        assert_eq!(on_record(&status, 1).map(|it| it.hash), hash, "{phase}");
    }
}

#[test]
fn the_digest_on_record_stays_and_another_is_told() {
    let pod = |digit: char| {
        let digest = format!("registry.example/hello@sha256:{}", digit.to_string().repeat(64));
        let value = json!({
            "metadata": {"name": "p", "namespace": "kite-plugins", "uid": "u-1"},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{
                    "name": "plugin", "image": "hello", "imageID": digest, "ready": true, "restartCount": 0,
                }],
            },
        });
        serde_json::from_value::<Pod>(value).unwrap()
    };
    let with = |digit: char, verdict: Verdict| Situation::Running {
        lead: Box::new(Seen {
            pods: vec![pod(digit)],
            ..seen(1, 1, verdict)
        }),
        next: None,
        history: history(1),
        findings: Findings::default(),
    };
    let first = after(&KitePluginStatus::default(), &with('a', described()));
    let other = match described() {
        Verdict::Described {
            hash,
            tools,
            unanswered,
            ..
        } => Verdict::Described {
            hash,
            tools,
            unanswered,
            other_image: Some(String::from("pod p runs another image")),
        },
        other => other,
    };
    let then = after(&first, &with('b', other));
    assert_eq!(then.active().unwrap().digest, first.active().unwrap().digest);
    assert_eq!((then.phase, then.active_revision), (Some(Phase::Loaded), Some(1)));
    let described = then.conditions.iter().find(|it| it.type_ == DESCRIBED).unwrap();
    assert!(
        described.message.ends_with(", but pod p runs another image"),
        "{}",
        described.message
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
    let situation = stopped(Findings::default());
    let status = after(&loaded(), &situation);
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Disabled), None));
    assert_eq!(conditions(&status), ["Ready=True Disabled"]);
}

#[test]
fn an_object_that_cannot_be_used_leaves_a_plugin_that_runs() {
    let situation = Situation::Invalid {
        message: String::from("spec.image is empty"),
    };
    let status = after(&loaded(), &situation);
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Loaded), Some(1)));
    assert!(conditions(&status).contains(&String::from("Stalled=True Refused")));
}

#[test]
fn a_failure_is_told_beside_what_was_said_before() {
    let situation = Situation::Failing {
        message: String::from("no answer"),
    };
    let status = decide(&loaded(), Some(2), &situation, at(2));
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Loaded), Some(1)));
    assert_eq!(
        status.observed_generation,
        Some(1),
        "the second one has not been reached"
    );
    assert_eq!(
        conditions(&status),
        [
            "WorkloadAvailable=True Available",
            "Described=True Described",
            "Ready=True Loaded",
            "Reconciling=True Progressing"
        ]
    );
    let last = status.conditions.last().unwrap();
    assert_eq!(
        (last.message.as_str(), last.observed_generation),
        ("no answer", Some(2))
    );
    assert_eq!(decide(&status, Some(2), &situation, at(3)), status, "told once");
    let first = decide(&KitePluginStatus::default(), Some(1), &situation, at(2));
    assert_eq!(first.phase, Some(Phase::Pending));
    let after_refusal = after(&loaded(), &refusal(true, Some(deployment(1, 1))));
    let then = decide(&after_refusal, Some(2), &situation, at(3));
    assert!(!conditions(&then).contains(&String::from("Stalled=True Refused")));
}

#[test]
fn a_plugin_that_is_being_deleted_is_stopped() {
    let status = after(
        &loaded(),
        &Situation::Deleting {
            standing: Standing::default(),
        },
    );
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Stopped), None));
    assert_eq!(conditions(&status), ["Ready=False Stopped"]);
}
