//! From what was seen to the status that tells it.

pub mod condition;
mod facts;
mod running;
pub mod workload;
pub mod write;

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kite_api::{
    KitePluginStatus, Phase, RevisionState, RevisionStatus,
    conditions::{
        DEPENDENCIES_SATISFIED, DESCRIBED, IN_EFFECT, PERMISSIONS_GRANTED, READY, RECONCILING, SETTINGS_ACCEPTED,
        STALLED, WORKLOAD_AVAILABLE, reasons,
    },
    dependencies::Standing,
};

use self::{
    condition::{Fact, Truth},
    running::running,
    workload::Workload,
};
pub use self::{
    facts::needed_by,
    write::{StatusError, record, recorded, tell},
};
use super::{apply::Applied, build::REVISION, describe::Verdict, findings::Findings};

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
        applied: Applied,
        version: String,
        findings: Findings,
    },
    /// It should run.
    Running {
        applied: Applied,
        pods: Vec<Pod>,
        verdict: Verdict,
        version: String,
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
    pub findings: Findings,
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
        Situation::Refused { message, refusal } => refused(previous, message, refusal),
        Situation::Disabled {
            applied,
            version,
            findings,
        } => disabled(&workload::look(applied.deployment(), &[]), version, findings),
        Situation::Running {
            applied,
            pods,
            verdict,
            version,
            findings,
        } => running(
            previous,
            &workload::look(applied.deployment(), pods),
            verdict,
            version,
            findings,
        ),
    };
    if let Some(findings) = situation.findings() {
        status.dependencies = facts::dependency_list(&findings.standing);
        status.namespaces.clone_from(&findings.places.record);
        status.selector = Some(findings.selector.clone());
    }
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
            disabled(&workload::look(&deployment, &[]), &refusal.version, &refusal.findings)
        }
        (Some(deployment), true) => {
            let workload = workload::look(deployment, &refusal.pods);
            running(
                previous,
                &workload,
                &Verdict::NotAsked,
                &refusal.version,
                &refusal.findings,
            )
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
            let facts = [
                facts::dependencies(&refusal.findings),
                facts::permissions(&refusal.findings),
            ];
            return (status, facts.into_iter().chain(nothing_runs(message)).collect());
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

fn disabled(workload: &Workload, version: &str, findings: &Findings) -> (KitePluginStatus, Vec<Fact>) {
    let message = also_needed(
        "the plugin is disabled: set spec.enabled to true to run it",
        &findings.standing,
    );
    let mut facts = vec![
        facts::dependencies(findings),
        Fact::new(READY, Truth::True, reasons::DISABLED, &message),
    ];
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

/// The message, and who needs the plugin and has nothing of it.
fn also_needed(message: &str, standing: &Standing) -> String {
    match needed_by(standing) {
        Some(needed) => format!("{message}; {needed}"),
        None => message.to_owned(),
    }
}

fn revision(version: &str, hash: Option<String>, state: RevisionState, message: Option<String>) -> RevisionStatus {
    RevisionStatus {
        number: REVISION,
        version: version.to_owned(),
        digest: None,
        definitions_hash: hash,
        state,
        message,
    }
}

#[cfg(test)]
mod tests;
