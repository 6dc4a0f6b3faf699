//! How one CA follows another, and nobody who is believed ceases to be: what is done next, by the time and by what everybody has.
//!
//! Whoever has to believe certificates of a CA is given the next one first, beside it. Only when all have had both for long enough is
//! the next one issued from, and the old one stays with them until the last of its certificates has ended.

#[cfg(test)]
mod properties;

use std::time::{Duration, SystemTime};

use super::validity::{CLOCK_SKEW, Validity};

/// What can issue certificates.
pub trait Ca {
    /// What believing it takes.
    type Root: Clone;

    fn root(&self) -> Self::Root;

    fn validity(&self) -> Validity;
}

/// The CA that issues, and those that are believed beside it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rotation<C: Ca> {
    pub issuing: C,
    pub next: Option<Next<C>>,
    pub old: Option<Old<C::Root>>,
}

/// The CA that is to issue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Next<C> {
    pub ca: C,
    /// Since when it has been in every Secret from which it is read.
    pub since: Option<SystemTime>,
}

/// A CA that has issued.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Old<R> {
    pub root: R,
    /// When the last of its certificates has ended.
    pub until: SystemTime,
}

/// What a rotation keeps to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// How long certificates are valid.
    pub certificate: Duration,
    /// For how long the next CA is in every Secret before it issues.
    pub notice: Duration,
}

/// Who has all the CAs that are to be believed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Spread {
    /// Not all Secrets, as one at least could not be written.
    Lacking,
    /// All Secrets, but one at least only since now.
    Fresh,
    /// All Secrets had them already.
    Whole,
}

/// What decides, beside the rotation itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Facts {
    pub now: SystemTime,
    /// Whether somebody asks for another CA.
    pub requested: bool,
    /// Absent if it has not been looked at yet.
    pub spread: Option<Spread>,
}

/// What is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The next CA is made.
    Begin,
    /// The time counts from now in which everybody reads the Secrets.
    Count,
    /// It does not count any more, as somebody lacks the next CA.
    Recount,
    /// The next CA issues.
    Promote,
    /// The next CA is forgotten, as it has ended before it was used.
    Discard,
    /// The old CA is not believed any more.
    Drop,
    /// The CA that issues has ended, and with it all that it has issued, so that another issues at once.
    Replace,
}

/// How far a rotation is, for people.
#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Stage {
    /// There is one CA.
    Steady,
    /// The next CA is being given to all.
    Spreading,
    /// All Secrets have it, and are given the time to be read.
    Waiting,
    /// It issues, and the old one is believed still.
    Retiring,
}

impl<C: Ca> Rotation<C> {
    /// One CA alone.
    pub fn of(issuing: C) -> Self {
        Self {
            issuing,
            next: None,
            old: None,
        }
    }

    pub fn stage(&self) -> Stage {
        match (&self.next, &self.old) {
            (Some(Next { since: None, .. }), _) => Stage::Spreading,
            (Some(Next { since: Some(_), .. }), _) => Stage::Waiting,
            (None, Some(_)) => Stage::Retiring,
            (None, None) => Stage::Steady,
        }
    }

    /// What is to be done next, if anything is.
    pub fn step(&self, facts: &Facts, rules: &Rules) -> Option<Step> {
        let now = facts.now;
        if self.issuing.validity().is_over(now) {
            return Some(Step::Replace);
        }
        if self.old.as_ref().is_some_and(|old| old.until <= now) {
            return Some(Step::Drop);
        }
        match &self.next {
            Some(next) if next.ca.validity().is_over(now) => Some(Step::Discard),
            // Two that have issued are never believed beside a third: what is under way comes to its end first.
            Some(next) => next.step(facts, rules, self.old.is_none()),
            None => {
                let is_due = facts.requested || self.issuing.validity().renewal() <= now;
                (is_due && self.old.is_none()).then_some(Step::Begin)
            }
        }
    }

    /// How long nothing is to be done because of the time alone.
    pub fn wait(&self, now: SystemTime, rules: &Rules) -> Duration {
        let since = self.next.as_ref().and_then(|next| next.since);
        let times = [
            self.old.as_ref().map(|old| old.until),
            since.filter(|_| self.old.is_none()).map(|since| since + rules.notice),
            Some(self.issuing.validity().to),
            (self.next.is_none() && self.old.is_none()).then(|| self.issuing.validity().renewal()),
        ];
        let first = times.into_iter().flatten().min().unwrap_or(now);
        first.duration_since(now).unwrap_or_default()
    }

    /// What it is after `step`; `make` makes a CA.
    pub fn after<E>(
        self,
        step: Step,
        now: SystemTime,
        rules: &Rules,
        make: impl FnOnce() -> Result<C, E>,
    ) -> Result<Self, E> {
        let since = |next: Option<Next<C>>, since| next.map(|next| Next { since, ..next });
        Ok(match step {
            Step::Begin => Self {
                next: Some(Next {
                    ca: make()?,
                    since: None,
                }),
                ..self
            },
            Step::Count => Self {
                next: since(self.next, Some(now)),
                ..self
            },
            Step::Recount => Self {
                next: since(self.next, None),
                ..self
            },
            Step::Discard => Self { next: None, ..self },
            Step::Drop => Self { old: None, ..self },
            Step::Promote => match self.next {
                Some(Next { ca, .. }) => Self {
                    old: Some(Old {
                        root: self.issuing.root(),
                        until: now + rules.certificate + CLOCK_SKEW,
                    }),
                    issuing: ca,
                    next: None,
                },
                None => self,
            },
            Step::Replace => Self {
                issuing: match self.next {
                    Some(next) if !next.ca.validity().is_over(now) => next.ca,
                    _ => make()?,
                },
                next: None,
                old: self.old,
            },
        })
    }
}

impl<C> Next<C> {
    fn step(&self, facts: &Facts, rules: &Rules, is_alone: bool) -> Option<Step> {
        let now = facts.now;
        match (facts.spread?, self.since) {
            (Spread::Lacking, since) => since.map(|_| Step::Recount),
            (Spread::Fresh, _) | (Spread::Whole, None) => Some(Step::Count),
            // By another clock, which ran ahead of this one.
            (Spread::Whole, Some(since)) if since > now => Some(Step::Count),
            (Spread::Whole, Some(since)) => (is_alone && since + rules.notice <= now).then_some(Step::Promote),
        }
    }
}
