//! What the kubelet told about a pod as Events, of which nothing stands in the pod's status.

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Event, apimachinery::pkg::apis::meta::v1::Time};

use super::{Cause, Kind, SETTLE};

/// A probe that failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Told {
    /// Which of them: startup, readiness or liveness.
    pub(super) probe: &'static str,
    /// What came of it.
    pub(super) words: String,
}

/// The probes, as the kubelet calls them at the beginning of a sentence and within one.
const PROBES: [(&str, &str); 3] = [
    ("Readiness", "readiness"),
    ("Liveness", "liveness"),
    ("Startup", "startup"),
];

/// The probe whose failure was told last.
pub(super) fn probe_failure(events: &[&Event]) -> Option<Told> {
    latest(events, "Unhealthy").find_map(|message| {
        PROBES.iter().find_map(|(capital, probe)| {
            let rest = message.strip_prefix(capital)?.strip_prefix(" probe ")?;
            let words = rest.strip_prefix("failed: ").unwrap_or(rest).to_owned();
            Some(Told { probe, words })
        })
    })
}

/// The same, of a process that was started at this time and has got over its start. If its startup probe failed a moment ago, it is only about to
/// be ready. Later that counts: of a pod that fails often the kubelet does not tell every failure, so that those after the start may be missing.
pub(super) fn probe_failure_since(events: &[&Event], started: Option<&Time>, now: Timestamp) -> Option<Told> {
    let mut told: Vec<&Event> = events
        .iter()
        .copied()
        .filter(|event| is_since(event, started))
        .collect();
    let failures = told.iter().filter(|event| is_of_start(event));
    let last = failures.filter_map(|event| at(event)).max();
    if last.is_some_and(|last| now.duration_since(last) < SETTLE) {
        told.retain(|event| !is_of_start(event));
    }
    probe_failure(&told)
}

/// The probe for which the kubelet ended a process that was started at this time.
pub(super) fn killed_for(events: &[&Event], started: Option<&Time>) -> Option<&'static str> {
    let killings = events.iter().filter(|event| event.reason.as_deref() == Some("Killing"));
    let since = killings.filter(|event| is_since(event, started));
    let mut messages = since.filter_map(|event| event.message.as_deref());
    messages.find_map(|message| {
        let mut probes = PROBES.iter();
        probes.find_map(|(_, probe)| message.contains(&format!("failed {probe} probe")).then_some(*probe))
    })
}

/// Why no container could be made of the pod yet.
pub(super) fn not_started(events: &[&Event]) -> Option<Cause> {
    // Once the image is asked for, the rest is there.
    let is_past = |event: &&&Event| matches!(event.reason.as_deref(), Some("Pulling" | "Pulled"));
    let past = events.iter().filter(is_past).filter_map(|event| at(event)).max();
    let events: Vec<&Event> = events.iter().copied().filter(|event| at(event) >= past).collect();
    let words = |reason| latest(&events, reason).next();
    if let Some(words) = words("FailedMount") {
        return Some(missing(words).unwrap_or_else(|| {
            let sentence = String::from("what the plugin's pod mounts cannot be mounted");
            Cause::new(Kind::NotStarted, sentence).said("the kubelet", Some(words))
        }));
    }
    let words = words("FailedCreatePodSandBox")?;
    let sentence = String::from("the node cannot make the plugin's pod");
    Some(Cause::new(Kind::NotStarted, sentence).said("the kubelet", Some(words)))
}

/// The cause, if these words say that a Secret, a `ConfigMap` or a key in one is missing.
pub(super) fn missing(words: &str) -> Option<Cause> {
    let lower = words.to_lowercase();
    let is_missing = [
        " not found",
        "couldn't find key",
        "references non-existent secret key",
        "references non-existent config key",
    ];
    let is_of_data = lower.contains("secret") || lower.contains("configmap") || lower.contains("config key");
    if !is_of_data || !is_missing.iter().any(|it| lower.contains(it)) {
        return None;
    }
    let what = if lower.contains("key") {
        "a key in a Secret or ConfigMap"
    } else {
        "a Secret or ConfigMap"
    };
    let sentence = format!("{what} that the plugin's pod needs is not there");
    Some(Cause::new(Kind::SecretMissing, sentence).said("the kubelet", Some(words)))
}

/// The messages of the Events of this reason, the latest first.
fn latest<'a>(events: &[&'a Event], reason: &str) -> impl Iterator<Item = &'a str> {
    let mut found: Vec<&Event> = events
        .iter()
        .copied()
        .filter(|event| event.reason.as_deref() == Some(reason))
        .collect();
    found.sort_by_key(|event| std::cmp::Reverse(at(event)));
    found.into_iter().filter_map(|event| event.message.as_deref())
}

fn is_of_start(event: &Event) -> bool {
    let message = event.message.as_deref().unwrap_or_default();
    message.starts_with("Startup probe ")
}

/// Whether it was told of a process that was started at this time, and of none before.
fn is_since(event: &Event, started: Option<&Time>) -> bool {
    match (at(event), started) {
        (Some(at), Some(started)) => at >= started.0,
        _ => true,
    }
}

/// When it was told last.
fn at(event: &Event) -> Option<Timestamp> {
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    last.or_else(|| event.event_time.as_ref().map(|time| time.0))
}
