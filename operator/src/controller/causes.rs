//! Why a plugin has no pod that can be used, as one cause of a closed list, from what the cluster says of its pods.

mod container;
mod image;
mod kind;
mod scheduling;
mod told;
pub(crate) mod words;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Event, Pod},
};

pub use self::kind::Kind;
use self::words::bounded;
use super::object::is_ready;

/// A pod that is not ready after this time is looked at closer: what keeps it stands in Events, which wake nobody.
const SETTLE: SignedDuration = SignedDuration::from_secs(5);
/// How often it is looked at from then on.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

/// What is wrong with a pod, or with the making of pods.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cause {
    pub kind: Kind,
    /// What happened, in a sentence without its end.
    sentence: String,
    /// Who said what, if that adds something.
    said: Option<String>,
    /// What to do where that depends on more than the kind.
    next_step: Option<String>,
}

impl Cause {
    pub(super) fn new(kind: Kind, sentence: String) -> Self {
        Self {
            kind,
            sentence,
            said: None,
            next_step: None,
        }
    }

    /// With the words of whoever found it. They may be anybody's, so they are made short and printable.
    fn said(mut self, who: &str, text: Option<&str>) -> Self {
        let text = text.map(bounded).filter(|text| !text.is_empty());
        self.said = text.map(|text| format!("{who} says: {text}"));
        self
    }

    pub(super) fn next_step(mut self, text: String) -> Self {
        self.next_step = Some(text);
        self
    }

    /// The reason of the condition that tells it.
    pub fn reason(&self) -> &'static str {
        self.kind.reason()
    }

    /// What happened, what to do about it, where that is explained, and what the cluster says.
    pub fn message(&self) -> String {
        let next_step = self.next_step.as_deref().unwrap_or_else(|| self.kind.next_step());
        let message = format!("{}: {next_step}; see {}", self.sentence, self.kind.page());
        match &self.said {
            Some(said) => format!("{message}; {said}"),
            None => message,
        }
    }
}

/// The gravest cause that the Deployment, its pods and the Events about them tell at this time. `None`: nothing is wrong, or time may do.
pub fn find(deployment: &Deployment, pods: &[Pod], events: &[Event], now: Timestamp) -> Option<Cause> {
    let refused = scheduling::refused(deployment);
    let of_pods = pods.iter().filter(|pod| !is_ready(pod)).filter_map(|pod| {
        let own: Vec<&Event> = events.iter().filter(|event| is_about(event, pod)).collect();
        scheduling::unscheduled(pod).or_else(|| container::cause(pod, &own, now))
    });
    refused.into_iter().chain(of_pods).min_by_key(|cause| cause.kind)
}

/// The pods about which the Events are to be read: those that are not ready though they had time to be.
pub fn unsettled(pods: &[Pod], now: Timestamp) -> impl Iterator<Item = &Pod> {
    pods.iter()
        .filter(move |pod| !is_ready(pod) && age(pod, now).is_some_and(|age| age >= SETTLE))
}

/// How long to wait before pods that are not ready are looked at again, though nothing of them has changed: what was told of them may have, and
/// a process that ended again and again ceases to count as such when it has run for long.
pub fn look_again(pods: &[Pod], now: Timestamp) -> Option<Duration> {
    let waits = pods.iter().filter(|pod| !is_ready(pod)).filter_map(|pod| {
        let left = SETTLE - age(pod, now)?;
        Some(
            Duration::try_from(left)
                .ok()
                .filter(|left| !left.is_zero())
                .unwrap_or(AGAIN),
        )
    });
    waits.min()
}

fn age(pod: &Pod, now: Timestamp) -> Option<SignedDuration> {
    let made = pod.metadata.creation_timestamp.as_ref()?;
    Some(now.duration_since(made.0))
}

fn is_about(event: &Event, pod: &Pod) -> bool {
    event.involved_object.uid.is_some() && event.involved_object.uid == pod.metadata.uid
}

#[cfg(test)]
mod tests;
