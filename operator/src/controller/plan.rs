//! Which revisions of a plugin there should be, and which of them should run: decided from what is recorded, what the object wants and what
//! the status says, and from nothing else.
//!
//! At most two revisions are kept running for long: the one that serves (`lead`), and one that is to take over (`wanted`). Those that served
//! before linger until the pages that were loaded from them have had their time.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kite_api::{KitePluginStatus, RevisionState, RevisionStatus};

use super::revision::{Revision, Wanted};

/// How long an old revision's pods stay when no page may use it any longer, so that every gateway knows of it before they are gone: two may
/// switch 5 seconds apart.
const SETTLING: Duration = Duration::from_secs(10);

/// For how long it is known of a new revision's pods what they are before it takes over, so that every gateway has learnt where they are.
const ANNOUNCED: Duration = Duration::from_secs(2);

/// How long a revision whose pods have all answered for so long has to wait before it takes over. `None`: no longer. It is measured by this
/// program's own clock: that of a node may be another.
pub fn until_announced(known_for: Option<Duration>) -> Option<Duration> {
    let left = ANNOUNCED.checked_sub(known_for?)?;
    (!left.is_zero()).then_some(left)
}

/// What of the object the plan goes by, beside what it wants to run.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether the plugin should run.
    pub enabled: bool,
    /// How many revisions are kept beside the active one.
    pub history: usize,
    /// How long pages that were loaded from an old revision go on with it.
    pub drain: Duration,
    /// The highest number of which there is a record, be it understood or not.
    pub given: Option<i64>,
}

/// Which revisions there should be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// The one that serves, or that would if nothing kept it from callers.
    pub lead: Option<i64>,
    /// The one that the object wants.
    pub wanted: i64,
    /// Whether that has to be recorded first.
    pub is_new: bool,
    /// An older one that is the same as the new one, whose record it takes over.
    pub like: Option<i64>,
    /// Those whose pods stay as they are for a while.
    pub lingering: BTreeSet<i64>,
    /// Those that are kept no longer.
    pub forgotten: Vec<i64>,
    /// The newest that is recorded, which stays so that its number is not given again.
    newest: Option<i64>,
    /// How long until time alone changes the plan, or what is told of it.
    pub wait: Option<Duration>,
}

impl Plan {
    /// The one that runs beside the lead, to take over.
    pub fn next(&self) -> Option<i64> {
        self.lead.filter(|lead| *lead != self.wanted).map(|_| self.wanted)
    }

    /// Those that should have as many pods as the object says, the one that serves first.
    pub fn running(&self) -> impl Iterator<Item = i64> + use<> {
        let lead = self.lead.unwrap_or(self.wanted);
        [Some(lead), self.next()].into_iter().flatten()
    }

    /// Whether the revision stays, however many are kept.
    pub fn binds(&self, number: i64) -> bool {
        self.has_pods(number) || number == self.wanted || Some(number) == self.newest
    }

    /// Whether the revision may have pods.
    pub fn has_pods(&self, number: i64) -> bool {
        self.lingering.contains(&number) || self.running().any(|it| it == number)
    }
}

/// The plan for a plugin of which `recorded` is recorded, the oldest first.
pub fn plan(recorded: &[Revision], wanted: &Wanted, before: &KitePluginStatus, rules: Rules, now: Timestamp) -> Plan {
    let is_recorded = |number: i64| recorded.iter().any(|revision| revision.number == number);
    let lead = lead(before).filter(|number| rules.enabled && is_recorded(*number));
    let choice = choose(recorded, wanted, before, lead, rules.given);
    let mut plan = Plan {
        lead,
        wanted: choice.number,
        is_new: choice.is_new,
        like: choice.like,
        ..Plan::default()
    };
    for entry in before.revisions.iter().filter(|_| rules.enabled) {
        let is_free = Some(entry.number) != lead && entry.number != plan.wanted && is_recorded(entry.number);
        if let (true, Some(end)) = (is_free, Drain::of(entry, rules.drain)) {
            plan.wait = plan.wait.into_iter().chain(end.wait(now)).min();
            if !end.is_settled(now) {
                plan.lingering.insert(entry.number);
            }
        }
    }
    plan.newest = recorded.last().map(|revision| revision.number).filter(|_| !plan.is_new);
    plan.forgotten = forgotten(recorded, wanted, &plan, rules.history);
    plan
}

/// The revision that serves; if none does, the one that did, and that only something beside it keeps from callers.
fn lead(before: &KitePluginStatus) -> Option<i64> {
    let held = before
        .revisions
        .iter()
        .filter(|entry| entry.state == RevisionState::Starting && entry.definitions_hash.is_some());
    before.active_revision.or_else(|| held.map(|entry| entry.number).max())
}

struct Choice {
    number: i64,
    is_new: bool,
    like: Option<i64>,
}

/// The revision that the object wants: the one that serves, or the newest, which never has, if it is that; else a new one. A number is given
/// once, so that a page that was loaded from one revision never meets another under its number.
fn choose(
    recorded: &[Revision],
    wanted: &Wanted,
    before: &KitePluginStatus,
    lead: Option<i64>,
    given: Option<i64>,
) -> Choice {
    let newest = recorded.last();
    // What serves and is recorded nowhere, because it is older than the records or somebody deleted its own, gets its record again with the
    // pods that it has: as a stray it would go before another is up.
    let unrecorded = before
        .active_revision
        .filter(|active| recorded.iter().all(|revision| revision.number < *active));
    let serving = recorded.iter().find(|revision| Some(revision.number) == lead);
    let there = serving.into_iter().chain(newest).find(|revision| revision.is(wanted));
    if let (Some(there), None) = (there, unrecorded) {
        return Choice {
            number: there.number,
            is_new: false,
            like: None,
        };
    }
    let told = before.revisions.iter().map(|entry| entry.number);
    let last = told.chain(newest.map(|it| it.number)).chain(given).max();
    let number = unrecorded.unwrap_or_else(|| match last {
        // It was told before it could be recorded, or its record is gone: the number stands for nothing else.
        Some(last) if recorded.is_empty() && given.is_none() => last,
        last => last.unwrap_or(0) + 1,
    });
    let like = recorded.iter().rev().find(|revision| revision.is_just(wanted));
    Choice {
        number,
        is_new: true,
        like: like.map(|revision| revision.number),
    }
}

/// What is kept no longer: first what a newer one repeats, then the oldest.
fn forgotten(recorded: &[Revision], wanted: &Wanted, plan: &Plan, history: usize) -> Vec<i64> {
    let is_repeated = |revision: &Revision| {
        let mut newer = recorded.iter().filter(|other| other.number > revision.number);
        (plan.is_new && revision.is_just(wanted)) || newer.any(|other| other.is_like(revision))
    };
    let past = recorded.iter().filter(|revision| !plan.binds(revision.number));
    let (repeated, unique): (Vec<_>, Vec<_>) = past.partition(|revision| is_repeated(revision));
    let surplus = unique.len().saturating_sub(history);
    let mut forgotten: Vec<i64> = repeated
        .iter()
        .chain(unique.iter().take(surplus))
        .map(|it| it.number)
        .collect();
    forgotten.sort_unstable();
    forgotten
}

/// The time that an old revision has.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// When no page may use it any longer.
    until: Timestamp,
    /// When its pods go.
    settled: Timestamp,
}

impl Drain {
    /// That of a revision from which another has taken the traffic.
    pub fn of(entry: &RevisionStatus, drain: Duration) -> Option<Self> {
        let since = entry.draining_since.as_ref()?.0;
        // A time beyond all times is as good as the last.
        let after = |time: Timestamp, wait: Duration| {
            let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
            time.checked_add(wait).unwrap_or(Timestamp::MAX)
        };
        let until = after(since, drain);
        Some(Self {
            until,
            settled: after(until, SETTLING),
        })
    }

    /// Whether pages may still use it.
    pub fn goes_on(self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Whether it needs no pods any longer.
    pub fn is_settled(self, now: Timestamp) -> bool {
        now >= self.settled
    }

    /// How long until one of its times.
    fn wait(self, now: Timestamp) -> Option<Duration> {
        let next = [self.until, self.settled].into_iter().find(|time| *time > now)?;
        Duration::try_from(next.duration_since(now)).ok()
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
