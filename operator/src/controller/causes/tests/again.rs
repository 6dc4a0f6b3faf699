//! Of a process that has ended before: whether it ends again and again, and what is told of the one that runs.

use super::*;

/// A process that runs since then and is not ready, after one that ran from `START` on.
fn runs_again(began: &str, ended: &str, restarts: i32) -> Value {
    let last = json!({"exitCode": 3, "reason": "Error", "startedAt": START, "finishedAt": ended});
    let mut status = container(
        &json!({"running": {"startedAt": began}}),
        &json!({"terminated": last}),
        restarts,
    );
    status["containerStatuses"][0]["started"] = json!(true);
    status
}

#[test]
fn a_process_that_ended_is_not_told_to_end_again_and_again_unless_it_does() {
    let month = "2026-02-12T09:31:07Z";
    let since = |seconds: i64| (time(month) + SignedDuration::from_secs(seconds)).to_string();
    let (soon, nearly, reset, next) = (since(20), since(599), since(600), since(24 * 60 * 60));
    // After a minute, and after a month.
    let early = |restarts| runs_again(month, LATER, restarts);
    let late = |restarts| runs_again(month, month, restarts);
    let ended = |finished: &str, restarts| {
        let present = json!({"exitCode": 3, "reason": "Error", "startedAt": START, "finishedAt": finished});
        container(&json!({"terminated": present}), &json!({}), restarts)
    };
    let not_begun = json!({"exitCode": 128, "startedAt": "1970-01-01T00:00:00Z", "finishedAt": month});
    let made_anew = container(
        &json!({"waiting": {"reason": "ContainerCreating"}}),
        &json!({"terminated": {"exitCode": 255, "reason": "Unknown", "startedAt": START, "finishedAt": month}}),
        2,
    );
    let crash = Some(Kind::Crash);
    let rows = [
        ("it ended once", early(1), &soon, None),
        ("its node was started again", late(1), &soon, None),
        ("its node was started again, as before", late(5), &soon, None),
        ("the same, and it is not begun yet", made_anew, &soon, None),
        ("it ends fast and runs just now", early(2), &soon, crash),
        ("the same, until it is forgotten", early(2), &nearly, crash),
        ("the same, when it is forgotten", early(2), &reset, None),
        ("it ended twice long ago", early(2), &next, None),
        ("it ended the first time just now", ended(LATER, 0), &soon, None),
        ("it ended fast once more just now", ended(LATER, 1), &soon, crash),
        ("it ended once more after a month", ended(month, 1), &soon, None),
        (
            "it cannot be started",
            container(&json!({"terminated": not_begun}), &json!({}), 1),
            &soon,
            crash,
        ),
    ];
    for (what, status, now, kind) in rows {
        assert_eq!(at(now, &status, &[]).map(|cause| cause.kind), kind, "{what}");
    }
}

#[test]
fn a_process_that_takes_too_much_memory_each_time_is_told_so_while_it_runs() {
    let mut status = runs_again(LATER, LATER, 3);
    status["containerStatuses"][0]["lastState"]["terminated"]["reason"] = json!("OOMKilled");
    assert_eq!(of_pod(&status, &[]).unwrap().kind, Kind::OutOfMemory);
}

#[test]
fn a_process_that_is_ended_for_its_probe_each_time_is_told_so_while_it_runs() {
    let killing = "Container plugin failed liveness probe, will be restarted";
    let events = [event("Killing", LATER, killing)];
    let message = of_pod(&runs_again(LATER, LATER, 2), &events).unwrap().message();
    assert!(message.contains("its liveness probe fails (2 restarts)"), "{message}");
}

#[test]
fn a_probe_that_fails_is_told_of_the_process_that_runs_though_another_ended_before() {
    let month = "2026-02-12T09:31:07Z";
    let later = "2026-02-12T09:32:07Z";
    let readiness = |at| [event("Unhealthy", at, "Readiness probe failed: timeout")];
    let status = runs_again(LATER, LATER, 1);
    let message = at(later, &status, &readiness(month)).unwrap().message();
    assert!(
        message.contains("pod p runs, and its readiness probe fails") && !message.contains("--previous"),
        "{message}"
    );
    let often = at(later, &runs_again(LATER, LATER, 7), &readiness(month));
    assert_eq!(often.unwrap().kind, Kind::Probe);
    assert_eq!(
        at(later, &runs_again(month, month, 1), &readiness(LATER)),
        None,
        "it was told of the one before"
    );
}

#[test]
fn a_probe_that_failed_until_the_process_had_begun_counts_only_if_nothing_follows() {
    let early = event("Unhealthy", LATER, "Startup probe failed: connection refused");
    let begun = |now: &str| at(now, &runs(true), std::slice::from_ref(&early));
    assert_eq!(begun("2026-01-12T09:32:09Z"), None);
    assert_eq!(begun(NOW).unwrap().kind, Kind::Probe);
    let events = [early, event("Unhealthy", LATER, "Readiness probe failed: timeout")];
    let message = at("2026-01-12T09:32:09Z", &runs(true), &events).unwrap().message();
    assert!(message.contains("its readiness probe fails"), "{message}");
}
