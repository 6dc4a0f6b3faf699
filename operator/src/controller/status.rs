//! From what was seen to the status that tells it.

pub mod condition;
mod facts;
mod revisions;
mod running;
pub mod workload;
pub mod write;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Event, Pod},
};
use kite_api::{
    KitePluginStatus, Phase, RevisionState,
    conditions::{
        DEPENDENCIES_SATISFIED, DESCRIBED, IN_EFFECT, PERMISSIONS_GRANTED, READY, RECONCILING, SETTINGS_ACCEPTED,
        STALLED, WORKLOAD_AVAILABLE, reasons,
    },
    dependencies::Standing,
};

use self::{
    condition::{Fact, Truth},
    revisions::{all_stopped, entries, entry, known_hash},
    running::{Look, running},
};
pub use self::{
    facts::needed_by,
    revisions::{History, Named, on_record},
    write::{Recorded, StatusError, record, recorded, tell},
};
use super::{apply::Applied, describe::Verdict, findings::Findings};
use crate::push::news::Taken;

/// The conditions that speak of what runs, and hold until it is looked at again.
const KEPT: [&str; 7] = [
    DEPENDENCIES_SATISFIED,
    PERMISSIONS_GRANTED,
    WORKLOAD_AVAILABLE,
    DESCRIBED,
    SETTINGS_ACCEPTED,
    IN_EFFECT,
    READY,
];

/// What a reconcile came upon.
#[derive(Debug)]
pub enum Situation {
    /// Somebody deleted the object, and its dependents are going.
    Deleting { standing: Standing },
    /// The object cannot be used.
    Invalid { message: String },
    /// Something failed that is tried again.
    Failing { message: String },
    /// The API server refused one of the plugin's objects.
    Refused { message: String, refusal: Refusal },
    /// It should not run.
    Disabled {
        /// What runs of it nevertheless.
        pods: i32,
        history: History,
        findings: Findings,
    },
    /// It should run.
    Running {
        /// The revision that serves, or the one that is to, and the one that is to take over from it.
        lead: Box<Seen>,
        next: Option<Box<Seen>>,
        history: History,
        findings: Findings,
    },
}

impl Situation {
    /// Whether the object's grant is in force.
    pub fn is_applied(&self) -> bool {
        matches!(self, Self::Disabled { .. } | Self::Running { .. })
    }

    /// How the plugin stands to others, where the object could be looked at.
    pub fn standing(&self) -> Option<&Standing> {
        match self {
            Self::Deleting { standing } => Some(standing),
            other => other.findings().map(|findings| &findings.standing),
        }
    }

    /// What is known beside the pods, where the object could be looked at.
    fn findings(&self) -> Option<&Findings> {
        match self {
            Self::Deleting { .. } | Self::Invalid { .. } | Self::Failing { .. } => None,
            Self::Refused { refusal, .. } => Some(&refusal.findings),
            Self::Disabled { findings, .. } | Self::Running { findings, .. } => Some(findings),
        }
    }
}

/// A revision of which the API server has accepted everything, and what was seen of it.
#[derive(Debug)]
pub struct Seen {
    pub named: Named,
    pub applied: Applied,
    /// The pods of its template.
    pub pods: Vec<Pod>,
    /// What was told of those of them that are not ready.
    pub events: Vec<Event>,
    pub verdict: Verdict,
    /// For how long all of that has been known of its pods.
    pub known_for: Option<Duration>,
    /// What they say to their settings.
    pub taken: Taken,
}

/// What there is of a plugin of which an object was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub enabled: bool,
    /// The revision that the object wants.
    pub wanted: Named,
    /// What was there before, which goes on.
    pub before: Option<Box<Before>>,
    /// Number of pods that run.
    pub pods: i32,
    pub history: History,
    pub findings: Findings,
}

/// A revision that goes on as it is.
#[derive(Clone, Debug)]
pub struct Before {
    pub named: Named,
    pub deployment: Deployment,
    /// The pods of that Deployment's template.
    pub pods: Vec<Pod>,
    pub verdict: Verdict,
    /// For how long all of that has been known of its pods.
    pub known_for: Option<Duration>,
    /// What they say to their settings.
    pub taken: Taken,
}

/// The present time, as precise as a condition can say it.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// The status that tells `situation`, after the status `previous`.
pub fn decide(
    previous: &KitePluginStatus,
    generation: Option<i64>,
    situation: &Situation,
    now: Timestamp,
) -> KitePluginStatus {
    let (mut status, facts) = match situation {
        Situation::Failing { message } => return failing(previous, generation, message, now),
        Situation::Deleting { standing } => deleting(previous, standing),
        Situation::Invalid { message } => stuck(previous, message),
        Situation::Refused { message, refusal } => refused(previous, message, refusal, now),
        Situation::Disabled {
            pods,
            history,
            findings,
        } => disabled(previous, *pods, history, findings),
        Situation::Running {
            lead,
            next,
            history,
            findings,
        } => {
            let lead = Look::of(lead, next.is_some(), now);
            let next = next.as_deref().map(|next| Look::of(next, false, now));
            running(previous, &lead, next.as_ref(), history, findings, now)
        }
    };
    if let Some(findings) = situation.findings() {
        status.dependencies = facts::dependency_list(&findings.standing);
        status.namespaces.clone_from(&findings.places.record);
        status.selector = Some(findings.selector.clone());
    }
    status.observed_generation = generation;
    status.tool_count = status.active_revision.and(i32::try_from(status.tools.len()).ok());
    status.conditions = condition::write(&previous.conditions, facts, generation, now);
    // Whatever has told a revision's state: the message may be anybody's, and a status that is too large is not written at all.
    for revision in &mut status.revisions {
        revision.message = revision.message.take().map(condition::bounded);
    }
    status
}

/// All that was said stays, and is said of the generation that it was said of: of this one nothing is known but that it
/// is being worked at.
fn failing(previous: &KitePluginStatus, generation: Option<i64>, message: &str, now: Timestamp) -> KitePluginStatus {
    let mut status = previous.clone();
    status.phase.get_or_insert_default();
    status
        .conditions
        .retain(|condition| KEPT.contains(&condition.type_.as_str()));
    let fact = Fact::new(RECONCILING, Truth::True, reasons::PROGRESSING, message);
    let written = condition::write(&previous.conditions, vec![fact], generation, now);
    status.conditions.extend(written);
    status
}

fn deleting(previous: &KitePluginStatus, standing: &Standing) -> (KitePluginStatus, Vec<Fact>) {
    let status = KitePluginStatus {
        phase: Some(Phase::Stopped),
        active_revision: None,
        tools: Vec::new(),
        revisions: Vec::new(),
        ..previous.clone()
    };
    let message = also_needed("the plugin is being deleted", standing);
    (status, vec![Fact::new(READY, Truth::False, reasons::STOPPED, &message)])
}

fn stalled(message: &str) -> Fact {
    Fact::new(STALLED, Truth::True, reasons::REFUSED, message)
}

/// The object cannot be used. What runs already goes on, as long as it does.
fn stuck(previous: &KitePluginStatus, message: &str) -> (KitePluginStatus, Vec<Fact>) {
    if previous.active_revision.is_some() {
        let kept = KEPT
            .into_iter()
            .filter_map(|kind| Fact::kept(&previous.conditions, kind));
        let mut status = previous.clone();
        status.phase.get_or_insert_default();
        return (status, kept.chain([stalled(message)]).collect());
    }
    let status = KitePluginStatus {
        phase: Some(Phase::Failed),
        tools: Vec::new(),
        ..previous.clone()
    };
    (status, nothing_runs(message))
}

fn nothing_runs(message: &str) -> Vec<Fact> {
    vec![
        Fact::new(WORKLOAD_AVAILABLE, Truth::False, reasons::REFUSED, message),
        Fact::new(READY, Truth::False, reasons::REFUSED, message),
        stalled(message),
    ]
}

/// What should be cannot be made. What was there before goes on, and is looked at as ever.
fn refused(
    previous: &KitePluginStatus,
    message: &str,
    refusal: &Refusal,
    now: Timestamp,
) -> (KitePluginStatus, Vec<Fact>) {
    let Refusal { history, findings, .. } = refusal;
    let (mut status, mut facts) = match (&refusal.before, refusal.enabled) {
        (_, false) => disabled(previous, refusal.pods, history, findings),
        (Some(before), true) => {
            // What the object needs now may be what the other one needs.
            let is_relieved = refusal.wanted.number != before.named.number;
            let look = Look::of_before(before, is_relieved, now);
            running(previous, &look, None, history, findings, now)
        }
        (None, true) => {
            let mut wanted = entry(previous, &refusal.wanted);
            wanted.definitions_hash = known_hash(&wanted).map(str::to_owned);
            wanted.state = RevisionState::Starting;
            wanted.message = Some(message.to_owned());
            let status = KitePluginStatus {
                phase: Some(Phase::Failed),
                revisions: entries(previous, history, &[wanted], None, now),
                replicas: Some(0),
                ready_replicas: Some(0),
                ..KitePluginStatus::default()
            };
            let facts = [facts::dependencies(findings), facts::permissions(findings)];
            return (status, facts.into_iter().chain(nothing_runs(message)).collect());
        }
    };
    facts.retain(|fact| KEPT.contains(&fact.kind));
    if refusal.enabled && status.active_revision.is_some() {
        // One that is not known, as a newer operator may have written it, is none.
        status.phase = previous.phase.or(status.phase);
    } else if refusal.enabled {
        status.phase = Some(Phase::Failed);
        facts.retain(|fact| fact.kind != READY);
        facts.push(Fact::new(READY, Truth::False, reasons::REFUSED, message));
    }
    if refusal.enabled && status.active_revision != Some(refusal.wanted.number) {
        let mut revisions = status.revisions.iter_mut();
        if let Some(wanted) = revisions.find(|entry| entry.number == refusal.wanted.number) {
            wanted.state = RevisionState::Starting;
            wanted.message = Some(message.to_owned());
        }
    }
    facts.push(stalled(message));
    (status, facts)
}

fn disabled(
    previous: &KitePluginStatus,
    pods: i32,
    history: &History,
    findings: &Findings,
) -> (KitePluginStatus, Vec<Fact>) {
    let message = also_needed(
        "the plugin is disabled: set spec.enabled to true to run it",
        &findings.standing,
    );
    let mut facts = vec![
        facts::dependencies(findings),
        Fact::new(READY, Truth::True, reasons::DISABLED, &message),
    ];
    if pods > 0 {
        facts.push(Fact::new(
            RECONCILING,
            Truth::True,
            reasons::PROGRESSING,
            "the plugin's pods are stopping",
        ));
    }
    let status = KitePluginStatus {
        phase: Some(Phase::Disabled),
        revisions: all_stopped(previous, history),
        replicas: Some(pods),
        ready_replicas: Some(0),
        ..KitePluginStatus::default()
    };
    (status, facts)
}

/// The message, and who needs the plugin and has nothing of it.
fn also_needed(message: &str, standing: &Standing) -> String {
    match needed_by(standing) {
        Some(needed) => format!("{message}; {needed}"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests;
