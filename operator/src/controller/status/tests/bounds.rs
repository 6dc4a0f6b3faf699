//! However much plugins and the API server say, the status is small enough to be written.

use kite_api::error_chain;
use tonic::Status;

use super::*;
use crate::controller::{
    describe::{
        ask::AskError,
        judge::{PodAnswer, Silence, judge},
    },
    validate::tests::plugin,
};

/// Much less than an API server takes of an object.
const SMALL: usize = 64 * 1024;
/// Longer than an API server takes of an object.
const HUGE: usize = 2 * 1024 * 1024;
/// Most bytes of a message.
const LONGEST: usize = 32_768;

/// As many pods as a plugin may have, all of which say as much as they can instead of what they are.
fn loud() -> Verdict {
    let error = AskError::Call(Box::new(Status::unavailable("é".repeat(8 * 1024))));
    let answer = |n: usize| PodAnswer {
        pod: format!("kite-plugin-hello-1-6d5c9b7f4-{n}"),
        digest: None,
        result: Err(Silence::Failed(error_chain(&error))),
    };
    let answers: Vec<PodAnswer> = (0..100).map(answer).collect();
    let plugin = plugin(|_| {});
    judge(&plugin.name, &plugin.version, None, &answers)
}

/// One that says this instead of what it is.
fn unreachable(message: &str) -> Verdict {
    Verdict::Unreachable {
        message: message.to_owned(),
    }
}

/// The first revision serves, and of the second this is to be said.
fn beside(verdict: Verdict) -> Situation {
    Situation::Running {
        lead: Box::new(seen(1, 1, described())),
        next: Some(Box::new(seen(2, 1, verdict))),
        history: history(2),
        findings: Findings::default(),
    }
}

/// An object was refused in these words.
fn refused(words: &str, deployment: Option<Deployment>) -> Situation {
    match refusal(true, deployment) {
        Situation::Refused { refusal, .. } => Situation::Refused {
            message: words.to_owned(),
            refusal,
        },
        other => other,
    }
}

#[test]
fn many_pods_that_say_much_make_a_small_status() {
    for situation in [running_with(1, loud()), beside(loud())] {
        for before in [KitePluginStatus::default(), loaded()] {
            let status = after(&before, &situation);
            let text = serde_json::to_string(&status).unwrap();
            assert!(text.contains("; and 92 more"), "{text}");
            assert!(text.len() < SMALL, "{} bytes", text.len());
        }
    }
}

#[test]
fn what_is_told_of_a_revision_is_bounded_whoever_says_it() {
    let huge = "a".repeat(HUGE);
    let situations = [
        running_with(1, unreachable(&huge)),
        beside(unreachable(&huge)),
        refused(&huge, None),
        refused(&huge, Some(deployment(1, 0))),
    ];
    for situation in situations {
        let status = after(&KitePluginStatus::default(), &situation);
        let messages = status.revisions.iter().filter_map(|entry| entry.message.as_ref());
        assert_eq!(messages.map(String::len).max(), Some(LONGEST));
        assert!(serde_json::to_vec(&status).unwrap().len() < 8 * LONGEST);
        assert_eq!(after(&status, &situation), status, "it stands as it was told");
    }
}
