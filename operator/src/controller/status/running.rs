//! The status of a plugin that should run: from its pods, and from what they say.

use kite_api::{
    KitePluginStatus, Phase, RevisionState, RevisionStatus, ToolStatus,
    conditions::{
        DEPENDENCIES_SATISFIED, DESCRIBED, PERMISSIONS_GRANTED, READY, RECONCILING, SETTINGS_ACCEPTED, STALLED,
        WORKLOAD_AVAILABLE, reasons,
    },
};

use super::{
    also_needed,
    condition::{Fact, Truth},
    facts, revision,
    workload::{Trouble, Workload},
};
use crate::controller::{build::REVISION, describe::Verdict, findings::Findings};

/// The status of a plugin that should run, and the conditions that it has.
pub(super) fn running(
    previous: &KitePluginStatus,
    workload: &Workload,
    verdict: &Verdict,
    version: &str,
    findings: &Findings,
) -> (KitePluginStatus, Vec<Fact>) {
    let available = available(workload, findings);
    let described = described(previous, verdict);
    let facts = [
        facts::dependencies(findings),
        facts::permissions(findings),
        available,
        described,
        facts::settings(findings),
    ];
    let ready = ready(&facts, findings);
    let is_ready = ready.truth == Truth::True;
    let outlook = outlook(&facts, workload, verdict, findings);
    let progress = progress(workload, &ready, outlook);

    let mut status = traffic(previous, workload, verdict, version, &ready);
    if findings.standing.is_fatal() {
        take_traffic(&mut status, &ready);
    }
    status.phase = Some(match (outlook, is_ready, previous.phase) {
        (Outlook::Failed, ..) => Phase::Failed,
        (_, true, _) | (_, false, Some(Phase::Loaded)) => Phase::Loaded,
        (Outlook::Stuck, false, _) => Phase::Failed,
        (Outlook::Open, false, _) => Phase::Pending,
    });
    status.replicas = Some(workload.replicas);
    status.ready_replicas = Some(workload.ready);
    let rest = [facts::effect(findings), ready].into_iter().chain(progress);
    (status, facts.into_iter().chain(rest).collect())
}

/// What is to be expected of a plugin that is not ready.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outlook {
    /// Time may do.
    Open,
    /// It takes a change; what runs goes on meanwhile.
    Stuck,
    /// It takes a change, and what runs is not to be relied on.
    Failed,
}

fn outlook(facts: &[Fact], workload: &Workload, verdict: &Verdict, findings: &Findings) -> Outlook {
    let mismatch = matches!(verdict, Verdict::Mismatch { .. });
    let refused = !workload.available && workload.trouble.as_ref().is_some_and(Trouble::is_refusal);
    if mismatch || refused || findings.standing.is_fatal() {
        return Outlook::Failed;
    }
    let is_false = |kind| facts.iter().any(|fact| fact.kind == kind && fact.truth == Truth::False);
    let waits = findings.unmet.is_empty() && findings.standing.waits();
    let takes_a_change =
        (is_false(DEPENDENCIES_SATISFIED) && !waits) || is_false(PERMISSIONS_GRANTED) || is_false(SETTINGS_ACCEPTED);
    if takes_a_change { Outlook::Stuck } else { Outlook::Open }
}

/// How the pods are. That there are none is as it should be while the plugin waits for what it needs.
fn available(workload: &Workload, findings: &Findings) -> Fact {
    if findings.may_start() || workload.wants_pods() {
        return workload.fact();
    }
    Fact::new(
        WORKLOAD_AVAILABLE,
        Truth::False,
        reasons::PROGRESSING,
        "it is not started before it has what it needs",
    )
}

/// All holds, or the first thing that does not.
fn ready(facts: &[Fact], findings: &Findings) -> Fact {
    let told = |truth, reason, message: &str| {
        let message = also_needed(message, &findings.standing);
        Fact::new(READY, truth, reason, &message)
    };
    facts.iter().find(|fact| fact.truth != Truth::True).map_or_else(
        || told(Truth::True, reasons::LOADED, "the plugin is loaded"),
        |failing| told(Truth::False, &failing.reason, &failing.message),
    )
}

/// What runs is kept from callers: a plugin that it needs is gone, or is not what it needs.
fn take_traffic(status: &mut KitePluginStatus, ready: &Fact) {
    status.active_revision = None;
    status.tools = Vec::new();
    for entry in &mut status.revisions {
        entry.state = RevisionState::Starting;
        entry.message = Some(ready.message.clone());
    }
}

fn described(previous: &KitePluginStatus, verdict: &Verdict) -> Fact {
    let fact = |truth, reason, message: &str| Fact::new(DESCRIBED, truth, reason, message);
    match verdict {
        Verdict::Described { unanswered: None, .. } => fact(
            Truth::True,
            reasons::DESCRIBED,
            "the running plugin is what the object says",
        ),
        Verdict::Described {
            unanswered: Some(message),
            ..
        } => fact(
            Truth::True,
            reasons::DESCRIBED,
            &format!("the running plugin is what the object says, but {message}"),
        ),
        Verdict::Unreachable { message } => fact(Truth::False, reasons::UNREACHABLE, message),
        Verdict::Mismatch { reason, message, .. } => fact(Truth::False, reason, message),
        // While pods come and go, what was said of them stays true.
        Verdict::NotAsked => previous
            .active_revision
            .and_then(|_| Fact::kept(&previous.conditions, DESCRIBED))
            .unwrap_or_else(|| fact(Truth::Unknown, reasons::PROGRESSING, "no pod is ready to be asked yet")),
    }
}

/// The conditions by which kstatus tells work from defeat.
fn progress(workload: &Workload, ready: &Fact, outlook: Outlook) -> Option<Fact> {
    if outlook != Outlook::Open {
        return Some(Fact {
            kind: STALLED,
            truth: Truth::True,
            ..ready.clone()
        });
    }
    match &workload.trouble {
        // New pods fail while old ones serve.
        Some(trouble) if workload.available && !workload.rolled_out => {
            Some(Fact::new(STALLED, Truth::True, trouble.reason, &trouble.message))
        }
        _ if ready.truth != Truth::True => Some(Fact {
            kind: RECONCILING,
            truth: Truth::True,
            ..ready.clone()
        }),
        _ if !workload.rolled_out => Some(Fact::new(
            RECONCILING,
            Truth::True,
            reasons::PROGRESSING,
            "not all pods are up to date and available yet",
        )),
        _ => None,
    }
}

/// Which revision takes traffic, and what is recorded of it. Once it does, it goes on while pods come and go; it ends
/// when no pod that is what the object says offers what is recorded.
fn traffic(
    previous: &KitePluginStatus,
    workload: &Workload,
    verdict: &Verdict,
    version: &str,
    ready: &Fact,
) -> KitePluginStatus {
    let recorded = previous.active();
    let starting = || revision(version, None, RevisionState::Starting, Some(ready.message.clone()));
    let (active, entry, tools, version): (_, _, &[ToolStatus], _) = match verdict {
        Verdict::Described { hash, tools, .. } if recorded.is_some() || workload.available => {
            let entry = revision(version, Some(hash.clone()), RevisionState::Active, None);
            (true, entry, tools, Some(version.to_owned()))
        }
        // Ready, and the Deployment has not counted it yet.
        Verdict::Described { .. } => (false, starting(), &[], Some(version.to_owned())),
        Verdict::NotAsked | Verdict::Unreachable { .. } => match recorded {
            Some(entry) => (true, entry.clone(), &previous.tools, previous.version.clone()),
            None => (false, starting(), &[], None),
        },
        Verdict::Mismatch {
            version: said, hashes, ..
        } => {
            let still_there = |entry: &&RevisionStatus| {
                entry
                    .definitions_hash
                    .as_ref()
                    .is_some_and(|hash| hashes.contains(hash))
            };
            match recorded.filter(still_there) {
                Some(entry) => (true, entry.clone(), &previous.tools, previous.version.clone()),
                None => (false, starting(), &[], said.clone()),
            }
        }
    };
    KitePluginStatus {
        version,
        active_revision: active.then_some(REVISION),
        revisions: vec![entry],
        tools: tools.to_vec(),
        ..KitePluginStatus::default()
    }
}
