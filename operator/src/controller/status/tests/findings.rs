//! What a status tells of what is known beside the pods.

use kite_api::{
    NamespaceStatus, PluginName, Requirement,
    dependencies::{Need, NeededBy, Problem},
    effect::WithoutEffect,
};

use super::*;
use crate::controller::{
    causes::{Cause, Kind},
    namespaces::Places,
    settings::SettingsFault,
};

pub(super) fn needing(problem: Problem) -> Findings {
    let need = Need {
        name: PluginName::parse("lib").unwrap(),
        requirement: Requirement::parse("^1.0").unwrap(),
        optional: false,
        found: None,
        ready: false,
        problem: Some(problem),
    };
    Findings {
        standing: Standing {
            needs: vec![need],
            ..Standing::default()
        },
        ..Findings::default()
    }
}

/// Phase, whether it takes traffic, and the conditions of a plugin that runs and of one that has not started.
fn both(findings: &Findings) -> [(Option<Phase>, bool, Vec<String>); 2] {
    let told = |status: &KitePluginStatus| (status.phase, status.active_revision.is_some(), conditions(status));
    let runs = after(&loaded(), &running_and(1, described(), findings.clone()));
    let held = Situation::Running {
        lead: Box::new(Seen {
            applied: applied(0, 0),
            ..seen(1, 0, Verdict::NotAsked)
        }),
        next: None,
        history: history(1),
        findings: findings.clone(),
    };
    [told(&runs), told(&after(&KitePluginStatus::default(), &held))]
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_dependency_that_is_only_unready_holds_up_the_start_and_no_traffic() {
    let [runs, held] = both(&needing(Problem::NotReady));
    let told = [
        "DependenciesSatisfied=False NotReady",
        "WorkloadAvailable=True Available",
        "Described=True Described",
        "Ready=False NotReady",
        "Reconciling=True NotReady",
    ];
    assert_eq!(runs, (Some(Phase::Loaded), true, texts(&told)));
    let told = [
        "DependenciesSatisfied=False NotReady",
        "WorkloadAvailable=False Progressing",
        "Described=Unknown Progressing",
        "Ready=False NotReady",
        "Reconciling=True NotReady",
    ];
    assert_eq!(held, (Some(Phase::Pending), false, texts(&told)));
}

#[test]
fn a_dependency_that_is_disabled_takes_no_traffic_and_does_not_end_by_itself() {
    let [runs, held] = both(&needing(Problem::Disabled));
    assert_eq!((runs.0, runs.1), (Some(Phase::Loaded), true));
    assert_eq!((held.0, held.1), (Some(Phase::Failed), false));
    for (.., conditions) in [runs, held] {
        assert_eq!(conditions.last().unwrap(), "Stalled=True NotReady");
    }
}

#[test]
fn a_dependency_that_is_gone_or_out_of_range_takes_the_traffic() {
    for (problem, reason) in [
        (Problem::Missing, "Missing"),
        (Problem::Deleting, "Missing"),
        (Problem::VersionMismatch, "VersionMismatch"),
        (Problem::Cycle, "Cycle"),
    ] {
        for (phase, traffic, conditions) in both(&needing(problem)) {
            assert_eq!((phase, traffic), (Some(Phase::Failed), false), "{problem:?}");
            assert_eq!(conditions[0], format!("DependenciesSatisfied=False {reason}"));
            assert_eq!(conditions.last().unwrap(), &format!("Stalled=True {reason}"));
        }
    }
    let lost = after(&loaded(), &running_and(1, described(), needing(Problem::Missing)));
    assert_eq!(lost.tools, []);
    assert_eq!(
        after(&lost, &running_with(1, described())).phase,
        Some(Phase::Loaded),
        "it resumes"
    );
}

#[test]
fn a_host_of_another_version_holds_up_the_start_and_no_traffic() {
    let unmet = kite_api::host::Unmet {
        part: kite_api::host::HostPart::Kubernetes,
        required: Requirement::parse(">=1.40").unwrap(),
        found: semver::Version::new(1, 34, 4),
    };
    let findings = Findings {
        unmet: vec![unmet],
        ..Findings::default()
    };
    let [runs, held] = both(&findings);
    assert_eq!((runs.0, runs.1), (Some(Phase::Loaded), true));
    assert_eq!((held.0, held.1), (Some(Phase::Failed), false));
    assert_eq!(held.2[0], "DependenciesSatisfied=False HostVersion");
}

#[test]
fn settings_and_namespaces_lower_ready_and_take_no_traffic() {
    let settings = Findings {
        settings: Err(SettingsFault::Check(kite_api::settings::SettingsError::Violation(
            texts(&["/a: no"]),
        ))),
        ..Findings::default()
    };
    let replaced = Findings {
        places: Places {
            replaced: texts(&["shop"]),
            ..Places::default()
        },
        ..Findings::default()
    };
    for (findings, reason) in [(settings, "SchemaViolation"), (replaced, "NamespaceReplaced")] {
        let [runs, _] = both(&findings);
        assert_eq!((runs.0, runs.1), (Some(Phase::Loaded), true));
        assert!(runs.2.contains(&format!("Ready=False {reason}")), "{:?}", runs.2);
        assert_eq!(runs.2.last().unwrap(), &format!("Stalled=True {reason}"));
    }
}

#[test]
fn what_has_no_effect_does_not_lower_ready() {
    let findings = Findings {
        without_effect: WithoutEffect {
            not_yet_built: vec!["env"],
            unknown_slots: Vec::new(),
        },
        ..Findings::default()
    };
    let [runs, _] = both(&findings);
    assert_eq!((runs.0, runs.1), (Some(Phase::Loaded), true));
    assert_eq!(runs.2[2..], texts(&["InEffect=False NotYetBuilt", "Ready=True Loaded"]));
}

#[test]
fn the_plugin_that_others_need_says_so_itself() {
    let mut findings = Findings::default();
    findings.standing.needed_by.push(NeededBy {
        name: PluginName::parse("user").unwrap(),
        requirement: Requirement::parse("^2.0").unwrap(),
        problem: Problem::VersionMismatch,
    });
    let message = |situation: &Situation| {
        let conditions = after(&loaded(), situation).conditions;
        let ready = conditions.into_iter().find(|condition| condition.type_ == READY);
        ready.unwrap().message
    };
    let needed = "other plugins need it and cannot have it: user (requires ^2.0; its version is out of that range)";
    let standing = findings.standing.clone();
    for situation in [
        running_and(1, described(), findings.clone()),
        running_and(0, Verdict::NotAsked, findings.clone()),
        Situation::Deleting { standing },
        stopped(findings),
    ] {
        let message = message(&situation);
        assert!(message.ends_with(needed), "{message}");
    }
}

#[test]
fn a_refused_role_is_told_of_the_grant() {
    let Situation::Refused { message, mut refusal } = refusal(true, None) else {
        panic!("a refusal")
    };
    refusal.findings.rights_refused = Some(message.clone());
    let status = after(&KitePluginStatus::default(), &Situation::Refused { message, refusal });
    assert!(conditions(&status).contains(&String::from("PermissionsGranted=False Refused")));
}

#[test]
fn dependencies_namespaces_and_selector_stand_in_the_status() {
    let mut findings = needing(Problem::Missing);
    findings.places.record = vec![NamespaceStatus {
        name: String::from("shop"),
        uid: String::from("1"),
    }];
    let status = after(&loaded(), &running_and(1, described(), findings.clone()));
    assert_eq!(status.dependencies[0].name, "lib");
    assert_eq!(
        (status.dependencies[0].required.as_str(), status.dependencies[0].ready),
        ("^1.0", false)
    );
    assert_eq!(status.namespaces, findings.places.record);
    assert_eq!(status.selector.as_deref(), Some("kite.dev/plugin=hello"));
    let failing = after(
        &status,
        &Situation::Failing {
            message: String::from("no"),
        },
    );
    assert_eq!(
        failing.namespaces, findings.places.record,
        "not forgotten while something fails"
    );
}

#[test]
fn what_the_object_names_and_may_not_have_holds_up_the_start_of_what_names_it() {
    let sentence = String::from("Secret prices is not there");
    let cause = Cause::new(Kind::SecretMissing, sentence);
    let findings = Findings {
        withheld: Some(cause),
        ..Findings::default()
    };
    let [_, held] = both(&findings);
    let told = [
        "WorkloadAvailable=False SecretMissing",
        "Described=Unknown Progressing",
        "Ready=False SecretMissing",
        "Reconciling=True SecretMissing",
    ];
    assert_eq!(held, (Some(Phase::Pending), false, texts(&told)));

    // The revision that serves goes on without what the next one names.
    let next = Seen {
        applied: applied(0, 0),
        ..seen(2, 0, Verdict::NotAsked)
    };
    let situation = Situation::Running {
        lead: Box::new(seen(1, 1, described())),
        next: Some(Box::new(next)),
        history: history(2),
        findings,
    };
    let status = after(&loaded(), &situation);
    assert_eq!(status.active_revision, Some(1));
    let told = [
        "WorkloadAvailable=True Available",
        "Described=True Described",
        "Ready=True Loaded",
        "Stalled=True SecretMissing",
    ];
    assert_eq!(conditions(&status), texts(&told));
}
