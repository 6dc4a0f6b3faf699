//! What a status says of each revision.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use kite_api::{KitePluginStatus, RevisionState, RevisionStatus};

use crate::controller::{object::is_ready, plan::Drain};

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

/// The digest of the image that the pods run, as the kubelet says.
pub(super) fn digest(pods: &[Pod]) -> Option<String> {
    let statuses = pods
        .iter()
        .filter(|pod| is_ready(pod))
        .filter_map(|pod| pod.status.as_ref());
    let mut images = statuses.flat_map(|status| status.container_statuses.iter().flatten());
    images.find_map(|container| digest_of(&container.image_id))
}

/// The digest in an image's id, which is a reference by digest, or the digest of a local image alone.
fn digest_of(image_id: &str) -> Option<String> {
    let digest = image_id.rsplit('@').next()?;
    let hex = digest.strip_prefix("sha256:")?;
    let is_digest = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| digest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_what_the_kubelet_says() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for id in [
            digest.clone(),
            format!("registry.example:5000/hello@{digest}"),
            format!("docker-pullable://registry.example/hello@{digest}"),
        ] {
            assert_eq!(digest_of(&id), Some(digest.clone()), "{id}");
        }
        for id in ["", "registry.example/hello:1", "sha256:abc", "hello@sha256:xyz"] {
            assert_eq!(digest_of(id), None, "{id}");
        }
    }
}
