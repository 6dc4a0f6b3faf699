//! The status of a plugin that should run: from its pods, and from what they say.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kite_api::{
    KitePluginStatus, Phase, RevisionState, RevisionStatus, ToolStatus,
    conditions::{
        DEPENDENCIES_SATISFIED, DESCRIBED, PERMISSIONS_GRANTED, READY, RECONCILING, SETTINGS_ACCEPTED, STALLED,
        WORKLOAD_AVAILABLE, reasons,
    },
};

use super::{
    Before, Seen, also_needed,
    condition::{Fact, Truth},
    facts,
    revisions::{History, Named, digest_of, entries, entry, known_hash},
    workload::{self, Workload},
};
use crate::{
    controller::{
        causes::Cause,
        describe::Verdict,
        findings::Findings,
        object::{digest, is_ready},
        plan::until_announced,
    },
    push::news::Taken,
};

/// What is seen of a revision.
pub(super) struct Look<'a> {
    pub(super) named: &'a Named,
    pub(super) workload: Workload,
    pub(super) verdict: &'a Verdict,
    pub(super) digest: Option<String>,
    /// For how long it has been known what its pods are.
    pub(super) known_for: Option<Duration>,
    /// What its pods say to their settings.
    pub(super) taken: &'a Taken,
    /// Whether the object wants another revision in its place.
    is_relieved: bool,
}

impl<'a> Look<'a> {
    pub(super) fn of(seen: &'a Seen, is_relieved: bool, now: Timestamp) -> Self {
        Self {
            named: &seen.named,
            workload: workload::look(seen.applied.deployment(), &seen.pods, &seen.events, now),
            verdict: &seen.verdict,
            digest: digest_that_serves(&seen.pods),
            known_for: seen.known_for,
            taken: &seen.taken,
            is_relieved,
        }
    }

    /// The same, of one that goes on while what the object wants cannot be made.
    pub(super) fn of_before(before: &'a Before, is_relieved: bool, now: Timestamp) -> Self {
        Self {
            named: &before.named,
            workload: workload::look(&before.deployment, &before.pods, &[], now),
            verdict: &before.verdict,
            digest: digest_that_serves(&before.pods),
            known_for: before.known_for,
            taken: &before.taken,
            is_relieved,
        }
    }

    /// The revision in words.
    fn words(&self) -> String {
        let Named { number, version } = self.named;
        format!("revision {number} (version {version})")
    }
}

fn digest_that_serves(pods: &[Pod]) -> Option<String> {
    pods.iter().filter(|pod| is_ready(pod)).find_map(digest)
}

/// The status of a plugin that should run, and the conditions that it has. They speak of the revision that serves, or of the one that is
/// to. If the `next` can take over, it does so here, with all that it brings.
pub(super) fn running(
    previous: &KitePluginStatus,
    lead: &Look<'_>,
    next: Option<&Look<'_>>,
    history: &History,
    findings: &Findings,
    now: Timestamp,
) -> (KitePluginStatus, Vec<Fact>) {
    let obstacle = next.and_then(|next| Obstacle::to(next, findings));
    if let (Some(next), None) = (next, &obstacle) {
        let relieved = Some(lead.named.number);
        let Led { mut status, facts, .. } = led(previous, next, &findings.of_next());
        status.revisions = entries(previous, history, &status.revisions, relieved, now);
        return (status, facts);
    }
    let Led {
        mut status,
        mut facts,
        progress,
    } = led(previous, lead, findings);
    let mut told = status.revisions;
    let progress = match next.zip(obstacle) {
        None => progress,
        Some((next, obstacle)) => {
            let mut entry = entry(previous, next.named);
            entry.state = RevisionState::Starting;
            entry.definitions_hash = None;
            entry.digest = next.digest.clone().or(entry.digest);
            let (fact, message) = obstacle.told(next, lead);
            entry.message = Some(message);
            told.push(entry);
            // What is wrong beside the pods holds up both, and does not end because there is another revision.
            let holds = progress.filter(|_| !findings.may_start());
            Some(holds.filter(|_| fact.kind != STALLED).unwrap_or(fact))
        }
    };
    facts.extend(progress);
    status.revisions = entries(previous, history, &told, None, now);
    (status, facts)
}

/// What keeps a revision from taking over.
enum Obstacle {
    /// Time may do.
    Passing { message: String },
    /// It takes a change.
    Lasting { reason: String, message: String },
}

impl Obstacle {
    /// What keeps `next` from taking over. `None`: it can.
    fn to(next: &Look<'_>, findings: &Findings) -> Option<Self> {
        let Look { workload, verdict, .. } = next;
        let passing = |message: &str| {
            Some(Self::Passing {
                message: message.to_owned(),
            })
        };
        let stuck = |reason: &str, message: &str| {
            Some(Self::Lasting {
                reason: reason.to_owned(),
                message: message.to_owned(),
            })
        };
        if !findings.may_start() {
            return passing("it has not all that it needs, as DependenciesSatisfied says");
        }
        if let Verdict::Mismatch { reason, message, .. } = verdict {
            return stuck(reason, message);
        }
        if let Some(cause) = findings.withheld.as_ref().or(workload.cause.as_ref()) {
            return stuck(cause.reason(), &cause.message());
        }
        let settings = facts::settings_of(&findings.settings_of_next, next.taken);
        if settings.truth == Truth::False && settings.reason != reasons::UNREACHABLE {
            return stuck(&settings.reason, &settings.message);
        }
        match verdict {
            Verdict::Described { unanswered: None, .. } if workload.rolled_out && workload.available => {
                if !next.taken.is_whole() {
                    return passing(&settings.message);
                }
                let announced = until_announced(next.known_for);
                announced.and_then(|_| passing("the gateways learn where its pods are"))
            }
            Verdict::Described {
                unanswered: Some(message),
                ..
            }
            | Verdict::Awaited { message }
            | Verdict::Unreachable { message } => passing(message),
            _ => passing("not all of its pods are available yet"),
        }
    }

    /// The condition that tells it, and what the revision's own entry tells.
    fn told(self, next: &Look<'_>, lead: &Look<'_>) -> (Fact, String) {
        let (next, lead) = (next.words(), lead.words());
        match self {
            Self::Lasting { reason, message } => {
                let text = format!("{next} does not come up, and {lead} goes on: {message}");
                (Fact::new(STALLED, Truth::True, &reason, &text), message)
            }
            Self::Passing { message } => {
                let text = format!("{next} is starting, and {lead} goes on until then: {message}");
                (
                    Fact::new(RECONCILING, Truth::True, reasons::PROGRESSING, &text),
                    message,
                )
            }
        }
    }
}

/// What one revision makes of the plugin.
struct Led {
    /// With the entry of this revision alone.
    status: KitePluginStatus,
    facts: Vec<Fact>,
    progress: Option<Fact>,
}

fn led(previous: &KitePluginStatus, look: &Look<'_>, findings: &Findings) -> Led {
    let Look { workload, verdict, .. } = look;
    let available = available(workload, findings);
    let serves = previous.active_revision == Some(look.named.number);
    let described = described(previous, serves, verdict);
    let facts = [
        facts::dependencies(findings),
        facts::permissions(findings),
        available,
        described,
        settings(previous, look, findings),
    ];
    let ready = ready(&facts, findings);
    let is_ready = ready.truth == Truth::True;
    // What the object needs now the revision that is to take over may need, and the one that serves not: that one goes on.
    let is_fatal = findings.standing.is_fatal() && !(look.is_relieved && serves);
    let outlook = outlook(&facts, workload, verdict, findings, is_fatal);
    let progress = progress(workload, &ready, outlook);

    let mut status = traffic(previous, look, &ready);
    if is_fatal {
        take_traffic(&mut status, &ready);
    }
    status.phase = Some(match (outlook, is_ready, previous.phase) {
        (Outlook::Failed, ..) => Phase::Failed,
        (_, true, _) | (_, false, Some(Phase::Loaded)) => Phase::Loaded,
        (Outlook::Stuck, false, _) => Phase::Failed,
        // Of what keeps its pods from being ready nothing goes away without a change, or none that can be counted on.
        (Outlook::Open, false, _) if !workload.available && workload.cause.is_some() => Phase::Failed,
        (Outlook::Open, false, _) => Phase::Pending,
    });
    status.replicas = Some(workload.replicas);
    status.ready_replicas = Some(workload.ready);
    let rest = [facts::effect(findings), ready];
    Led {
        status,
        facts: facts.into_iter().chain(rest).collect(),
        progress,
    }
}

/// Whether the pods have accepted the settings. What was said of this generation stands until they say something: an operator that has just
/// started knows of none of them.
fn settings(previous: &KitePluginStatus, look: &Look<'_>, findings: &Findings) -> Fact {
    let fact = facts::settings_of(&findings.settings, look.taken);
    let serves = previous.active_revision == Some(look.named.number);
    let mut known = previous.conditions.iter();
    let is_known = known.any(|condition| {
        condition.type_ == SETTINGS_ACCEPTED && condition.observed_generation == Some(findings.generation)
    });
    if fact.truth == Truth::Unknown && serves && is_known {
        return Fact::kept(&previous.conditions, SETTINGS_ACCEPTED).unwrap_or(fact);
    }
    fact
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

fn outlook(facts: &[Fact], workload: &Workload, verdict: &Verdict, findings: &Findings, is_fatal: bool) -> Outlook {
    let mismatch = matches!(verdict, Verdict::Mismatch { .. });
    let refused = !workload.available && workload.cause.as_ref().is_some_and(|cause| cause.kind.is_refusal());
    if mismatch || refused || is_fatal {
        return Outlook::Failed;
    }
    // A pod that does not answer may in time.
    let is_false = |kind| {
        let mut told = facts.iter().filter(|fact| fact.reason != reasons::UNREACHABLE);
        told.any(|fact| fact.kind == kind && fact.truth == Truth::False)
    };
    let waits = findings.unmet.is_empty() && findings.standing.waits();
    let takes_a_change =
        (is_false(DEPENDENCIES_SATISFIED) && !waits) || is_false(PERMISSIONS_GRANTED) || is_false(SETTINGS_ACCEPTED);
    if takes_a_change { Outlook::Stuck } else { Outlook::Open }
}

/// How the pods are. That there are none is as it should be while the plugin waits for what it needs.
fn available(workload: &Workload, findings: &Findings) -> Fact {
    if workload.wants_pods() {
        return workload.fact();
    }
    if findings.may_start() {
        let told = |cause: &Cause| Fact::new(WORKLOAD_AVAILABLE, Truth::False, cause.reason(), &cause.message());
        return findings.withheld.as_ref().map_or_else(|| workload.fact(), told);
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

fn described(previous: &KitePluginStatus, serves: bool, verdict: &Verdict) -> Fact {
    let fact = |truth, reason, message: &str| Fact::new(DESCRIBED, truth, reason, message);
    // While pods come and go, and until they answer an operator that has just started, what was said of them stays true.
    let standing = |message: &str| {
        let kept = serves.then(|| Fact::kept(&previous.conditions, DESCRIBED)).flatten();
        kept.unwrap_or_else(|| fact(Truth::Unknown, reasons::PROGRESSING, message))
    };
    match verdict {
        Verdict::Described {
            unanswered,
            other_image,
            ..
        } => {
            let notes = [unanswered, other_image].into_iter().flatten();
            let notes = notes.map(|note| format!(", but {note}"));
            let message: String = [String::from("the running plugin is what the object says")]
                .into_iter()
                .chain(notes)
                .collect();
            fact(Truth::True, reasons::DESCRIBED, &message)
        }
        Verdict::Unreachable { message } => fact(Truth::False, reasons::UNREACHABLE, message),
        Verdict::Mismatch { reason, message, .. } => fact(Truth::False, reason, message),
        Verdict::NotAsked => standing("no pod is ready to be asked yet"),
        Verdict::Awaited { message } => standing(message),
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
    match &workload.cause {
        // Whether or not older pods serve, and as for a revision that is to take over.
        Some(cause) if !workload.rolled_out => Some(Fact::new(STALLED, Truth::True, cause.reason(), &cause.message())),
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

/// Whether the revision takes traffic, and what is recorded of it. Once it does, it goes on while pods come and go; it ends
/// when no pod that is what the object says offers what is recorded, and goes on when one does again.
fn traffic(previous: &KitePluginStatus, look: &Look<'_>, ready: &Fact) -> KitePluginStatus {
    let Named { number, version } = look.named;
    let recorded = previous.active().filter(|entry| entry.number == *number);
    let mut entry = entry(previous, look.named);
    let known = known_hash(&entry).map(str::to_owned);
    entry.digest = digest_of(&entry, look.digest.clone());
    entry.draining_since = None;
    let (active, hash, tools, version): (bool, Option<String>, &[ToolStatus], _) = match look.verdict {
        Verdict::Described { hash, tools, .. }
            if known.as_ref().is_none_or(|known| known == hash) && (recorded.is_some() || look.workload.available) =>
        {
            (true, Some(hash.clone()), tools, Some(version.clone()))
        }
        // Ready, and the Deployment has not counted it yet.
        Verdict::Described { .. } if recorded.is_none() => (false, known, &[], Some(version.clone())),
        // What was judged before something was recorded says no more than silence.
        Verdict::NotAsked | Verdict::Awaited { .. } | Verdict::Unreachable { .. } | Verdict::Described { .. } => {
            match recorded {
                Some(entry) => (
                    true,
                    entry.definitions_hash.clone(),
                    &previous.tools,
                    previous.version.clone(),
                ),
                // One that only something beside it keeps from callers is still known by its hash.
                None => (false, known, &[], None),
            }
        }
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
                Some(entry) => (
                    true,
                    entry.definitions_hash.clone(),
                    &previous.tools,
                    previous.version.clone(),
                ),
                None => (false, known, &[], said.clone()),
            }
        }
    };
    entry.definitions_hash = hash;
    entry.state = if active {
        RevisionState::Active
    } else {
        RevisionState::Starting
    };
    entry.message = (!active).then(|| ready.message.clone());
    KitePluginStatus {
        version,
        active_revision: active.then_some(*number),
        revisions: vec![entry],
        tools: tools.to_vec(),
        ..KitePluginStatus::default()
    }
}
