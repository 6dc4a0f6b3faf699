//! What a status says of each revision.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kite_api::{KitePluginStatus, RevisionState, RevisionStatus};

use crate::controller::{describe::OnRecord, plan::Drain};

/// A revision, as a status names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named {
    pub number: i64,
    pub version: String,
}

/// The revisions that are kept, the oldest first, and how long pages go on with one that served.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct History {
    pub kept: Vec<Named>,
    pub drain: Duration,
}

/// An entry of `status.revisions`, as it stood or as it begins.
pub(super) fn entry(previous: &KitePluginStatus, named: &Named) -> RevisionStatus {
    let before = previous.revisions.iter().find(|entry| entry.number == named.number);
    let mut entry = before.cloned().unwrap_or_else(|| RevisionStatus {
        number: named.number,
        version: named.version.clone(),
        digest: None,
        definitions_hash: None,
        state: RevisionState::Starting,
        draining_since: None,
        message: None,
    });
    entry.version.clone_from(&named.version);
    entry.message = None;
    entry
}

/// The entries of all revisions: those that are `told`, and the others as time has left them. From the one that was `relieved` another has
/// just taken the traffic.
pub(super) fn entries(
    previous: &KitePluginStatus,
    history: &History,
    told: &[RevisionStatus],
    relieved: Option<i64>,
    now: Timestamp,
) -> Vec<RevisionStatus> {
    let one = |named: &Named| {
        if let Some(told) = told.iter().find(|told| told.number == named.number) {
            return told.clone();
        }
        let mut entry = entry(previous, named);
        if relieved == Some(named.number) {
            entry.draining_since = Some(Time(now));
        }
        past(entry, history.drain, now)
    };
    history.kept.iter().map(one).collect()
}

/// A revision that takes no traffic any longer, or never did.
fn past(mut entry: RevisionStatus, drain: Duration, now: Timestamp) -> RevisionStatus {
    let drain = Drain::of(&entry, drain);
    entry.state = if drain.is_some_and(|drain| drain.goes_on(now)) {
        RevisionState::Draining
    } else {
        RevisionState::Stopped
    };
    if drain.is_some_and(|drain| drain.is_settled(now)) {
        entry.draining_since = None;
    }
    entry
}

/// The entries of all revisions of a plugin that does not run.
pub(super) fn all_stopped(previous: &KitePluginStatus, history: &History) -> Vec<RevisionStatus> {
    let stopped = history.kept.iter().map(|named| RevisionStatus {
        state: RevisionState::Stopped,
        draining_since: None,
        ..entry(previous, named)
    });
    stopped.collect()
}

/// What is recorded of a revision that takes traffic, or that only something beside it or in its pods keeps from it.
pub fn on_record(status: &KitePluginStatus, number: i64) -> Option<OnRecord<'_>> {
    let entry = status.revisions.iter().find(|entry| entry.number == number)?;
    Some(OnRecord {
        hash: known_hash(entry)?,
        digest: entry.digest.as_deref(),
    })
}

/// Hash of the definitions that pods of the revision must offer. A revision that was stopped is recorded anew when it starts again.
pub(super) fn known_hash(entry: &RevisionStatus) -> Option<&str> {
    let lives = matches!(entry.state, RevisionState::Active | RevisionState::Starting);
    entry.definitions_hash.as_deref().filter(|_| lives)
}

/// Digest of the revision's image, of whose pods this one is seen: what is recorded stays with the definitions.
pub(super) fn digest_of(entry: &RevisionStatus, seen: Option<String>) -> Option<String> {
    let before = entry.digest.clone();
    if known_hash(entry).is_some() {
        before.or(seen)
    } else {
        seen.or(before)
    }
}
