//! From what was seen to the status that tells it.

pub mod condition;
mod running;
pub mod workload;
pub mod write;

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kite_api::{
    KitePluginStatus, Phase, RevisionState, RevisionStatus,
    conditions::{DESCRIBED, READY, RECONCILING, STALLED, WORKLOAD_AVAILABLE, reasons},
};

pub use self::write::{StatusError, standing, tell};
use self::{
    condition::{Fact, Truth},
    running::running,
    workload::Workload,
};
use super::{apply::Applied, build::REVISION, describe::Verdict};

/// The conditions that speak of what runs, and hold until it is looked at again.
const KEPT: [&str; 3] = [WORKLOAD_AVAILABLE, DESCRIBED, READY];

/// What a reconcile came upon.
#[derive(Debug)]
pub enum Situation {
    /// Somebody deleted the object, and its dependents are going.
    Deleting,
    /// The object cannot be used.
    Invalid { message: String },
    /// Something failed that is tried again.
    Failing { message: String },
    /// The API server refused one of the plugin's objects.
    Refused { message: String, refusal: Refusal },
    /// It should not run.
    Disabled { applied: Applied, version: String },
    /// It should run.
    Running {
        applied: Applied,
        pods: Vec<Pod>,
        verdict: Verdict,
        version: String,
    },
}

/// What there is of a plugin of which an object was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub enabled: bool,
    /// What the object says.
    pub version: String,
    /// What was there before, which goes on.
    pub deployment: Option<Deployment>,
    /// The pods of that Deployment's template.
    pub pods: Vec<Pod>,
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
        Situation::Deleting => deleting(previous),
        Situation::Invalid { message } => stuck(previous, message),
        Situation::Refused { message, refusal } => refused(previous, message, refusal),
        Situation::Disabled { applied, version } => disabled(&workload::look(applied.deployment(), &[]), version),
        Situation::Running {
            applied,
            pods,
            verdict,
            version,
        } => running(previous, &workload::look(applied.deployment(), pods), verdict, version),
    };
    status.observed_generation = generation;
    status.tool_count = status.active_revision.and(i32::try_from(status.tools.len()).ok());
    status.conditions = condition::write(&previous.conditions, facts, generation, now);
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

fn deleting(previous: &KitePluginStatus) -> (KitePluginStatus, Vec<Fact>) {
    let status = KitePluginStatus {
        phase: Some(Phase::Stopped),
        active_revision: None,
        tools: Vec::new(),
        revisions: Vec::new(),
        ..previous.clone()
    };
    (
        status,
        vec![Fact::new(
            READY,
            Truth::False,
            reasons::STOPPED,
            "the plugin is being deleted",
        )],
    )
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
        return (previous.clone(), kept.chain([stalled(message)]).collect());
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

/// What should be cannot be made. What was there before goes on, and is looked at as ever; nobody is asked.
fn refused(previous: &KitePluginStatus, message: &str, refusal: &Refusal) -> (KitePluginStatus, Vec<Fact>) {
    let (mut status, mut facts) = match (&refusal.deployment, refusal.enabled) {
        (deployment, false) => {
            let deployment = deployment.clone().unwrap_or_default();
            disabled(&workload::look(&deployment, &[]), &refusal.version)
        }
        (Some(deployment), true) => {
            let workload = workload::look(deployment, &refusal.pods);
            running(previous, &workload, &Verdict::NotAsked, &refusal.version)
        }
        (None, true) => {
            let entry = revision(
                &refusal.version,
                None,
                RevisionState::Starting,
                Some(message.to_owned()),
            );
            let status = KitePluginStatus {
                phase: Some(Phase::Failed),
                revisions: vec![entry],
                replicas: Some(0),
                ready_replicas: Some(0),
                ..KitePluginStatus::default()
            };
            return (status, nothing_runs(message));
        }
    };
    facts.retain(|fact| KEPT.contains(&fact.kind));
    if refusal.enabled && status.active_revision.is_some() {
        status.phase = previous.phase;
    } else if refusal.enabled {
        status.phase = Some(Phase::Failed);
        facts.retain(|fact| fact.kind != READY);
        facts.push(Fact::new(READY, Truth::False, reasons::REFUSED, message));
    }
    facts.push(stalled(message));
    (status, facts)
}

fn disabled(workload: &Workload, version: &str) -> (KitePluginStatus, Vec<Fact>) {
    let mut facts = vec![Fact::new(
        READY,
        Truth::True,
        reasons::DISABLED,
        "the plugin is disabled: set spec.enabled to true to run it",
    )];
    if workload.replicas > 0 {
        facts.push(Fact::new(
            RECONCILING,
            Truth::True,
            reasons::PROGRESSING,
            "the plugin's pods are stopping",
        ));
    }
    let status = KitePluginStatus {
        phase: Some(Phase::Disabled),
        revisions: vec![revision(version, None, RevisionState::Stopped, None)],
        replicas: Some(workload.replicas),
        ready_replicas: Some(workload.ready),
        ..KitePluginStatus::default()
    };
    (status, facts)
}

fn revision(version: &str, hash: Option<String>, state: RevisionState, message: Option<String>) -> RevisionStatus {
    RevisionStatus {
        number: REVISION,
        version: version.to_owned(),
        definitions_hash: hash,
        state,
        message,
    }
}

#[cfg(test)]
mod tests;
