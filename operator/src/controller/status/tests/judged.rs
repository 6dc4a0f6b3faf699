//! A plugin's object in everything that can become of it, as others get to see it who judge whether all is well.
//!
//! The snapshot is read by the tests of `kite-e2e` too, which have kstatus and the health check for Argo CD judge the objects in it.

use std::collections::BTreeMap;

use kite_api::dependencies::Problem;
use serde_json::Value;

use super::{findings::needing, *};

/// A pod that has no image.
fn without_image() -> Pod {
    let value = json!({
        "metadata": {"name": "p", "namespace": "kite-plugins", "uid": "u-1"},
        "status": {"containerStatuses": [{
            "name": "plugin", "image": "registry.example/hello:0.1.0", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull", "message": "registry.example/hello:0.1.0: not found"}},
        }]},
    });
    serde_json::from_value(value).unwrap()
}

/// A pod of which the process ended and has just been started again in place, as after its node was.
fn started_again() -> Pod {
    let value = json!({
        "metadata": {"name": "p", "namespace": "kite-plugins", "uid": "u-1"},
        "status": {"containerStatuses": [{
            "name": "plugin", "image": "registry.example/hello:0.1.0", "imageID": "", "ready": false, "restartCount": 1,
            "state": {"running": {"startedAt": "1970-01-01T00:00:01Z"}},
            "lastState": {"terminated": {"exitCode": 255, "reason": "Unknown"}},
        }]},
    });
    serde_json::from_value(value).unwrap()
}

fn starting_again() -> Seen {
    Seen {
        pods: vec![started_again()],
        ..seen(1, 0, Verdict::NotAsked)
    }
}

fn failing_to_start(number: i64) -> Seen {
    Seen {
        pods: vec![without_image()],
        ..seen(number, 0, Verdict::NotAsked)
    }
}

fn lead(lead: Seen) -> Situation {
    Situation::Running {
        lead: Box::new(lead),
        next: None,
        history: history(1),
        findings: Findings::default(),
    }
}

fn beside(next: Seen) -> Situation {
    Situation::Running {
        lead: Box::new(seen(1, 1, described())),
        next: Some(Box::new(next)),
        history: history(2),
        findings: Findings::default(),
    }
}

fn one_of_two() -> Seen {
    Seen {
        applied: applied(2, 1),
        ..seen(1, 1, described())
    }
}

fn unreachable() -> Situation {
    let message = String::from("no answer");
    running_with(1, Verdict::Unreachable { message })
}

fn refused_settings() -> Findings {
    let violation = kite_api::settings::SettingsError::Violation(vec![String::from("/a: no")]);
    Findings {
        settings: Err(crate::controller::settings::SettingsFault::Check(violation)),
        ..Findings::default()
    }
}

fn disabled(pods: i32) -> Situation {
    Situation::Disabled {
        pods,
        history: history(1),
        findings: Findings::default(),
    }
}

fn failing() -> Situation {
    let message = String::from("the API server is away");
    Situation::Failing { message }
}

fn deleting() -> Situation {
    let standing = Standing::default();
    Situation::Deleting { standing }
}

/// The object of this generation, with this status.
fn object(generation: i64, status: &KitePluginStatus) -> Value {
    json!({
        "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin",
        "metadata": {"name": "hello", "generation": generation},
        "status": status,
    })
}

type Told = Vec<(&'static str, Value)>;

fn new() -> Told {
    let told = |situation: &Situation| object(1, &after(&KitePluginStatus::default(), situation));
    let schema_default = KitePluginStatus {
        observed_generation: Some(-1),
        phase: Some(Phase::Pending),
        ..KitePluginStatus::default()
    };
    let waits = running_and(0, Verdict::NotAsked, needing(Problem::NotReady));
    let lacks = running_and(0, Verdict::NotAsked, needing(Problem::Missing));
    vec![
        ("new, not seen yet", object(1, &schema_default)),
        ("new, starting", told(&running_with(0, Verdict::NotAsked))),
        ("new, without its image", told(&lead(failing_to_start(1)))),
        ("new, refused", told(&refusal(true, None))),
        ("new, waits for another", told(&waits)),
        ("new, lacks another", told(&lacks)),
        ("new, not told because of a failure", told(&failing())),
    ]
}

fn was_ready() -> Told {
    let told = |situation: &Situation| object(1, &after(&loaded(), situation));
    let mut deleted = told(&deleting());
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-12T09:31:07Z");
    let other = running_with(1, mismatch("VersionMismatch", &[]));
    let needs = running_and(1, described(), needing(Problem::NotReady));
    let lost = running_and(1, described(), needing(Problem::Missing));
    vec![
        ("loaded", object(1, &loaded())),
        ("was ready, its pod starts again", told(&lead(starting_again()))),
        ("was ready, its pod has no image", told(&lead(failing_to_start(1)))),
        ("was ready, one pod of two", told(&lead(one_of_two()))),
        ("was ready, does not answer", told(&unreachable())),
        ("was ready, is another", told(&other)),
        ("was ready, needs another that is not", told(&needs)),
        ("was ready, lost another", told(&lost)),
        ("was ready, a failure", told(&failing())),
        ("was ready, deleted", deleted),
    ]
}

fn changed() -> Told {
    let told = |situation: &Situation| object(2, &decide(&loaded(), Some(2), situation, at(2)));
    let starts = beside(seen(2, 0, Verdict::NotAsked));
    let settings = running_and(1, described(), refused_settings());
    let refused = refusal(true, Some(deployment(1, 1)));
    vec![
        ("changed, not seen yet", object(2, &loaded())),
        ("changed, not told because of a failure", told(&failing())),
        ("changed, the next one starts", told(&starts)),
        ("changed, the next one has no image", told(&beside(failing_to_start(2)))),
        (
            "changed, the next one took over",
            told(&beside(seen(2, 1, described()))),
        ),
        ("changed, refused settings", told(&settings)),
        ("changed, refused", told(&refused)),
        ("changed, disabled, its pod ends", told(&disabled(1))),
        ("changed, disabled", told(&disabled(0))),
        ("changed, disabled, refused", told(&refusal(false, None))),
    ]
}

#[test]
fn others_get_to_see_this() {
    let all = [new(), was_ready(), changed()].into_iter().flatten();
    insta::assert_json_snapshot!(all.collect::<BTreeMap<_, _>>());
}

#[test]
fn what_keeps_pods_from_being_ready_is_a_failure_before_and_after_they_have_been() {
    for (before, phase) in [(KitePluginStatus::default(), Phase::Failed), (loaded(), Phase::Loaded)] {
        let status = after(&before, &lead(failing_to_start(1)));
        assert_eq!(status.phase, Some(phase));
        assert_eq!(
            status.active_revision, before.active_revision,
            "traffic does not depend on it"
        );
        let told = conditions(&status);
        assert!(told.contains(&String::from("Stalled=True ImagePullFailed")), "{told:?}");
        assert!(!told.iter().any(|it| it.starts_with("Reconciling")), "{told:?}");
    }
    let failed = after(&KitePluginStatus::default(), &lead(failing_to_start(1)));
    let mended = after(&failed, &running_with(0, Verdict::NotAsked));
    assert_eq!(mended.phase, Some(Phase::Pending));
    assert!(conditions(&mended).contains(&String::from("Reconciling=True Progressing")));
}
