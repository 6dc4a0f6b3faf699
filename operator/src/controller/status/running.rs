//! The status of a plugin that should run: from its pods, and from what they say.

use kite_api::{
    KitePluginStatus, Phase, RevisionState, RevisionStatus, ToolStatus,
    conditions::{DESCRIBED, READY, RECONCILING, STALLED, reasons},
};

use super::{
    condition::{Fact, Truth},
    revision,
    workload::{Trouble, Workload},
};
use crate::controller::{build::REVISION, describe::Verdict};

/// The status of a plugin that should run, and the conditions that it has.
pub(super) fn running(
    previous: &KitePluginStatus,
    workload: &Workload,
    verdict: &Verdict,
    version: &str,
) -> (KitePluginStatus, Vec<Fact>) {
    let available = workload.fact();
    let described = described(previous, verdict);
    let ready = ready(&available, &described);
    let is_ready = ready.truth == Truth::True;
    let mismatch = matches!(verdict, Verdict::Mismatch { .. });
    let refused = !workload.available && workload.trouble.as_ref().is_some_and(Trouble::is_refusal);
    let failed = mismatch || refused;
    let progress = progress(workload, &ready, failed);

    let mut status = traffic(previous, workload, verdict, version, &ready);
    status.phase = Some(match (failed, is_ready, previous.phase) {
        (true, ..) => Phase::Failed,
        (false, true, _) | (false, false, Some(Phase::Loaded)) => Phase::Loaded,
        (false, false, _) => Phase::Pending,
    });
    status.replicas = Some(workload.replicas);
    status.ready_replicas = Some(workload.ready);
    (
        status,
        [available, described, ready].into_iter().chain(progress).collect(),
    )
}

/// All holds, or the first thing that does not.
fn ready(available: &Fact, described: &Fact) -> Fact {
    match [available, described]
        .into_iter()
        .find(|fact| fact.truth != Truth::True)
    {
        Some(failing) => Fact {
            kind: READY,
            truth: Truth::False,
            ..failing.clone()
        },
        None => Fact::new(READY, Truth::True, reasons::LOADED, "the plugin is loaded"),
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
fn progress(workload: &Workload, ready: &Fact, failed: bool) -> Option<Fact> {
    if failed {
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
