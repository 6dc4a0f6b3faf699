//! What a status tells while one revision is to take over from another, and after it did.

use kite_api::dependencies::Problem;

use super::{findings::needing, *};
use crate::{
    controller::{
        plan::{Plan, Rules, plan},
        settings::SettingsFault,
    },
    push::news::Taken,
};

fn beside(next: Seen, findings: Findings) -> Situation {
    Situation::Running {
        lead: Box::new(seen(1, 1, described())),
        next: Some(Box::new(next)),
        history: history(2),
        findings,
    }
}

fn pair(next: Seen) -> Situation {
    beside(next, Findings::default())
}

fn states(status: &KitePluginStatus) -> Vec<(i64, RevisionState)> {
    status
        .revisions
        .iter()
        .map(|entry| (entry.number, entry.state))
        .collect()
}

/// The status after the second revision took over at second 10.
fn taken_over() -> KitePluginStatus {
    decide(&loaded(), Some(2), &pair(seen(2, 1, described())), at(10))
}

/// The second revision runs alone, at that second.
fn alone(previous: &KitePluginStatus, second: i64, drain: u64) -> KitePluginStatus {
    let situation = Situation::Running {
        lead: Box::new(seen(2, 1, described())),
        next: None,
        history: History {
            drain: Duration::from_secs(drain),
            ..history(2)
        },
        findings: Findings::default(),
    };
    decide(previous, Some(2), &situation, at(second))
}

#[test]
fn a_revision_that_is_available_and_described_takes_over_with_all_that_it_brings() {
    let status = taken_over();
    assert_eq!(
        (status.active_revision, status.version.as_deref()),
        (Some(2), Some("0.2.0"))
    );
    assert_eq!(
        states(&status),
        [(1, RevisionState::Draining), (2, RevisionState::Active)]
    );
    assert_eq!(status.revisions[0].draining_since.as_ref().unwrap().0, at(10));
    assert_eq!(
        conditions(&status),
        [
            "WorkloadAvailable=True Available",
            "Described=True Described",
            "Ready=True Loaded"
        ]
    );
}

#[test]
fn an_old_revision_drains_for_its_time_and_is_stopped_then() {
    let status = alone(&taken_over(), 309, 300);
    assert_eq!(states(&status)[0], (1, RevisionState::Draining));
    let over = alone(&status, 310, 300);
    assert_eq!(states(&over)[0], (1, RevisionState::Stopped));
    assert!(
        over.revisions[0].draining_since.is_some(),
        "its pods are there for a moment"
    );
    let settled = alone(&over, 320, 300);
    assert_eq!(settled.revisions[0].draining_since, None);
    assert_eq!(
        states(&alone(&taken_over(), 10, 0))[0],
        (1, RevisionState::Stopped),
        "the object says for how long"
    );
    assert_eq!(alone(&settled, 321, 300), settled);
}

#[test]
fn one_that_is_not_yet_available_or_described_takes_nothing() {
    let silent = Verdict::Unreachable {
        message: String::from("no answer"),
    };
    let awaited = Verdict::Awaited {
        message: String::from("no answer yet"),
    };
    for next in [
        seen(2, 0, described()),
        seen(2, 1, Verdict::NotAsked),
        seen(2, 1, awaited),
        seen(2, 1, silent),
    ] {
        let status = after(&loaded(), &pair(next));
        assert_eq!((status.active_revision, status.phase), (Some(1), Some(Phase::Loaded)));
        assert_eq!(
            states(&status),
            [(1, RevisionState::Active), (2, RevisionState::Starting)]
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
    }
}

#[test]
fn one_whose_pods_have_just_become_ready_waits_until_every_gateway_knows_them() {
    let known_for = |milliseconds| {
        let next = Seen {
            known_for: Some(Duration::from_millis(milliseconds)),
            ..seen(2, 1, described())
        };
        after(&loaded(), &pair(next)).active_revision
    };
    assert_eq!(
        (known_for(0), known_for(1999), known_for(2000)),
        (Some(1), Some(1), Some(2))
    );
}

#[test]
fn what_the_object_needs_now_takes_nothing_from_the_one_that_served_before() {
    for problem in [Problem::Missing, Problem::VersionMismatch] {
        let situation = beside(seen(2, 0, Verdict::NotAsked), needing(problem));
        let status = after(&loaded(), &situation);
        assert_eq!((status.active_revision, status.phase), (Some(1), Some(Phase::Loaded)));
        let alone = after(&loaded(), &running_and(1, described(), needing(problem)));
        assert_eq!((alone.active_revision, alone.phase), (None, Some(Phase::Failed)));
    }
}

#[test]
fn one_that_is_kept_from_callers_is_still_known_when_its_pod_is_another() {
    let held = after(&loaded(), &running_and(1, described(), needing(Problem::Missing)));
    assert_eq!(held.revisions[0].definitions_hash.as_deref(), Some(HASH));
    for verdict in [Verdict::NotAsked, described()] {
        let again = after(&held, &running_and(0, verdict, needing(Problem::Missing)));
        assert_eq!(again.revisions[0].definitions_hash.as_deref(), Some(HASH));
    }
}

#[test]
fn one_of_several_pods_is_not_enough_to_take_over() {
    let mut next = seen(2, 1, described());
    next.applied = applied(2, 1);
    assert_eq!(after(&loaded(), &pair(next)).active_revision, Some(1));
}

#[test]
fn one_that_does_not_come_up_is_told_and_the_old_serves() {
    let next = seen(2, 1, mismatch("NameMismatch", &[]));
    let status = after(&loaded(), &pair(next));
    assert_eq!((status.active_revision, status.phase), (Some(1), Some(Phase::Loaded)));
    assert_eq!(
        conditions(&status),
        [
            "WorkloadAvailable=True Available",
            "Described=True Described",
            "Ready=True Loaded",
            "Stalled=True NameMismatch"
        ]
    );
    assert_eq!(
        status.conditions.last().unwrap().message,
        "revision 2 (version 0.2.0) does not come up, and revision 1 (version 0.1.0) goes on: it differs"
    );
    assert_eq!(status.revisions[1].message.as_deref(), Some("it differs"));
}

#[test]
fn one_whose_schema_the_settings_fail_takes_nothing_and_the_old_is_not_blamed() {
    let violation = kite_api::settings::SettingsError::Violation(vec![String::from("/a: no")]);
    let violation = SettingsFault::Check(violation);
    let findings = Findings {
        settings_of_next: Err(violation),
        ..Findings::default()
    };
    let status = after(&loaded(), &beside(seen(2, 1, described()), findings));
    assert_eq!(status.active_revision, Some(1));
    assert!(conditions(&status).contains(&String::from("Stalled=True SchemaViolation")));
    assert!(conditions(&status).contains(&String::from("Ready=True Loaded")));
}

#[test]
fn one_that_has_not_taken_its_settings_waits_and_one_that_refuses_them_takes_nothing() {
    let told = |taken| {
        let next = Seen {
            taken,
            ..seen(2, 1, described())
        };
        let status = after(&loaded(), &beside(next, Findings::default()));
        (
            status.active_revision,
            conditions(&status).last().cloned().unwrap_or_default(),
        )
    };
    let accepted = Taken {
        accepted: 1,
        ..Taken::default()
    };
    let waiting = Taken {
        waiting: 1,
        ..Taken::default()
    };
    let refused = Taken {
        refused: [(String::from("a"), String::from("no"))].into(),
        ..Taken::default()
    };
    assert_eq!(told(accepted).0, Some(2));
    assert_eq!(told(waiting), (Some(1), String::from("Reconciling=True Progressing")));
    assert_eq!(told(refused), (Some(1), String::from("Stalled=True Refused")));
}

#[test]
fn what_was_said_of_the_settings_stands_until_the_pods_say_something() {
    let told = |generation| {
        let lead = Seen {
            taken: Taken {
                waiting: 1,
                ..Taken::default()
            },
            ..seen(1, 1, described())
        };
        let situation = Situation::Running {
            lead: Box::new(lead),
            next: None,
            history: history(1),
            findings: Findings {
                generation,
                ..Findings::default()
            },
        };
        conditions(&decide(&loaded(), Some(generation), &situation, at(10)))
    };
    assert_eq!(conditions(&loaded()), told(1), "an operator has just started");
    assert!(told(2).contains(&String::from("SettingsAccepted=Unknown Progressing")));
    assert!(told(2).contains(&String::from("Ready=False Progressing")));
}

#[test]
fn a_refusal_of_the_new_revision_is_told_in_its_entry() {
    let Situation::Refused { message, mut refusal } = refusal(true, Some(deployment(1, 1))) else {
        panic!("a refusal")
    };
    refusal.wanted = named(2);
    refusal.history = history(2);
    let status = after(&loaded(), &Situation::Refused { message, refusal });
    assert_eq!(status.active_revision, Some(1));
    assert_eq!(
        states(&status),
        [(1, RevisionState::Active), (2, RevisionState::Starting)]
    );
    assert_eq!(status.revisions[1].message.as_deref(), Some("quota"));
}

#[test]
fn a_refusal_of_the_new_revision_takes_nothing_from_the_one_that_served_before() {
    for problem in [Problem::Missing, Problem::VersionMismatch] {
        let refused = |wanted| {
            let Situation::Refused { message, mut refusal } = refusal(true, Some(deployment(1, 1))) else {
                panic!("a refusal")
            };
            refusal.wanted = named(wanted);
            refusal.history = history(wanted);
            refusal.findings = needing(problem);
            after(&loaded(), &Situation::Refused { message, refusal })
        };
        let beside = refused(2);
        assert_eq!((beside.active_revision, beside.phase), (Some(1), Some(Phase::Loaded)));
        let alone = refused(1);
        assert_eq!((alone.active_revision, alone.phase), (None, Some(Phase::Failed)));
    }
}

#[test]
fn a_disabled_plugin_has_no_revision_that_drains() {
    let situation = Situation::Disabled {
        pods: 0,
        history: history(2),
        findings: Findings::default(),
    };
    let status = after(&taken_over(), &situation);
    assert_eq!(
        states(&status),
        [(1, RevisionState::Stopped), (2, RevisionState::Stopped)]
    );
    assert!(status.revisions.iter().all(|entry| entry.draining_since.is_none()));
}

#[test]
fn plan_and_status_agree_on_who_serves_and_who_lingers() {
    let recorded = [1, 2].map(|number| {
        let mut revision = crate::controller::revision::tests::revision(number, |_| {});
        revision.record.spec.version = format!("0.{number}.0");
        revision
    });
    let wanted = crate::controller::revision::Wanted {
        spec: recorded[1].record.spec.clone(),
        tokens: recorded[1].record.tokens,
    };
    let rules = Rules {
        enabled: true,
        history: 5,
        drain: Duration::from_mins(5),
        given: None,
    };
    let plan_at = |status: &KitePluginStatus, second| -> Plan { plan(&recorded, &wanted, status, rules, at(second)) };
    let before = plan_at(&loaded(), 9);
    assert_eq!((before.lead, before.next()), (Some(1), Some(2)));
    let after = plan_at(&taken_over(), 10);
    assert_eq!((after.lead, after.next(), after.has_pods(1)), (Some(2), None, true));
    assert_eq!(after.wait, Some(Duration::from_mins(5)));
    assert!(plan_at(&taken_over(), 319).has_pods(1));
    assert!(!plan_at(&taken_over(), 320).has_pods(1));
}
