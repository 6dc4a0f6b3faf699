//! What a status tells of a plugin of which something is refused by the API server.

use super::*;

#[test]
fn a_refusal_fails_a_plugin_of_which_nothing_runs() {
    for before in [KitePluginStatus::default(), loaded()] {
        let status = after(&before, &refusal(true, None));
        assert_eq!((status.phase, status.active_revision), (Some(Phase::Failed), None));
        assert_eq!(
            (status.replicas, status.revisions[0].state),
            (Some(0), RevisionState::Starting)
        );
        assert_eq!(
            on_record(&status, 1).map(|it| it.hash),
            on_record(&before, 1).map(|it| it.hash)
        );
        assert_eq!(
            conditions(&status),
            [
                "WorkloadAvailable=False Refused",
                "Ready=False Refused",
                "Stalled=True Refused"
            ]
        );
    }
}

#[test]
fn a_refusal_leaves_a_plugin_that_runs() {
    let status = after(&loaded(), &refusal(true, Some(deployment(1, 1))));
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Loaded), Some(1)));
    assert_eq!((&status.version, &status.tools), (&loaded().version, &loaded().tools));
    assert_eq!(status.tool_count, Some(1));
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

#[test]
fn a_refusal_freezes_nothing_of_what_runs() {
    let status = after(&loaded(), &refusal(true, Some(deployment(2, 0))));
    assert_eq!((status.replicas, status.ready_replicas), (Some(2), Some(0)));
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Loaded), Some(1)));
    assert_eq!(
        conditions(&status),
        [
            "WorkloadAvailable=False Progressing",
            "Described=True Described",
            "Ready=False Progressing",
            "Stalled=True Refused"
        ]
    );
}

#[test]
fn a_refusal_fails_a_plugin_that_has_never_been_ready() {
    let status = after(&KitePluginStatus::default(), &refusal(true, Some(deployment(1, 0))));
    assert_eq!((status.phase, status.active_revision), (Some(Phase::Failed), None));
    assert_eq!(
        conditions(&status),
        [
            "WorkloadAvailable=False Progressing",
            "Described=Unknown Progressing",
            "Ready=False Refused",
            "Stalled=True Refused"
        ]
    );
}

#[test]
fn a_refusal_does_not_run_a_plugin_that_is_disabled() {
    for there in [None, Some(deployment(0, 0))] {
        let status = after(&loaded(), &refusal(false, there));
        assert_eq!((status.phase, status.active_revision), (Some(Phase::Disabled), None));
        assert_eq!(conditions(&status), ["Ready=True Disabled", "Stalled=True Refused"]);
    }
}
