//! What one process has been told.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use kite_api::name::ClusterName;

use super::{Act, Answer, Numbered, Wishes};
use crate::{
    backoff::Failure,
    push::{
        clusters::{Change, ClusterEvent, Clusters, KEPT},
        news::{Listener, Taken},
    },
};

/// One call at a time, and a wait after one that failed.
#[derive(Debug, Default)]
struct Lane {
    is_busy: bool,
    failure: Option<Failure<String>>,
}

impl Lane {
    fn is_free(&self, now: Instant) -> bool {
        !self.is_busy && self.failure.as_ref().is_none_or(|failure| failure.is_due(now))
    }

    fn ended(&mut self, outcome: Result<(), String>, now: Instant) {
        self.is_busy = false;
        self.failure = outcome
            .err()
            .map(|error| Failure::after(self.failure.as_ref(), error, now));
    }

    fn wait(&self, now: Instant) -> Option<Duration> {
        let failure = self.failure.as_ref().filter(|_| !self.is_busy)?;
        Some(failure.wait(now))
    }
}

/// What one process has been told.
#[derive(Debug)]
pub(super) struct State {
    listener: Listener,
    /// Whether it is of a revision that is active or to take over, and ready.
    pub(super) is_listening: bool,
    settings: Lane,
    /// The last settings that it was told, whether or not it answered.
    sent: Option<Numbered>,
    /// The last settings to which it answered, and what: the reason of a refusal.
    answered: Option<(Numbered, Result<(), String>)>,
    events: Lane,
    /// How many events of clusters it has been told of, or waits to be. `None`: it has not been told what there is.
    count: Option<u64>,
    /// What it is to be told.
    pending: VecDeque<ClusterEvent>,
    /// How many of these may wait: what was listed last, and so many events after it.
    most: usize,
    /// What it may take to be there.
    known: BTreeSet<ClusterName>,
    is_stopping: bool,
    is_released: bool,
}

impl State {
    pub(super) fn new(listener: Listener) -> Self {
        Self {
            listener,
            is_listening: true,
            settings: Lane::default(),
            sent: None,
            answered: None,
            events: Lane::default(),
            count: None,
            pending: VecDeque::new(),
            most: KEPT,
            known: BTreeSet::new(),
            is_stopping: false,
            is_released: false,
        }
    }

    pub(super) fn listens(&mut self, listener: Listener) {
        self.listener = listener;
        self.is_listening = true;
    }

    pub(super) fn revision(&self) -> i64 {
        self.listener.revision
    }

    pub(super) fn ip(&self) -> &str {
        &self.listener.ip
    }

    /// Whether it is told settings, where its revision has some.
    fn is_told_settings(&self) -> bool {
        self.is_listening && self.listener.supports.settings && !self.is_stopping
    }

    /// Whether it is told what happens to clusters.
    fn is_told_events(&self) -> bool {
        self.is_listening && self.listener.supports.cluster_events && !self.is_stopping
    }

    /// What it has answered to these settings, if it was told nothing since: of what it did not answer it may have taken note.
    fn answer_to(&self, settings: &Numbered) -> Option<&Result<(), String>> {
        let (told, answer) = self.answered.as_ref()?;
        let is_last = self.sent.as_ref().is_some_and(|sent| sent.number == told.number);
        (is_last && told.settings == settings.settings).then_some(answer)
    }

    /// The settings that it is to be told next, if any.
    fn next_settings<'a>(&self, wishes: &'a Wishes) -> Option<&'a Numbered> {
        // One that knows nothing gets what the others go on with, where these do not take what is wanted, or there is no such thing.
        let is_fallback = |accepted: &&Numbered| {
            let wanted = wishes.wanted.as_ref();
            self.sent.is_none()
                && wanted.is_none_or(|wanted| wishes.is_refused && wanted.number > accepted.number)
                && !wanted.is_some_and(|wanted| wanted.settings == accepted.settings)
        };
        let fallback = wishes.accepted.as_ref().filter(is_fallback);
        fallback
            .or(wishes.wanted.as_ref())
            .filter(|next| self.answer_to(next).is_none())
    }

    /// Begins to tell it settings, if that is due.
    pub(super) fn begin_settings(&mut self, wishes: &Wishes, now: Instant) -> Option<Act> {
        if !self.is_told_settings() {
            return None;
        }
        let next = self.next_settings(wishes).cloned();
        let sent = self.sent.as_ref().map(|sent| sent.number);
        if !self.settings.is_busy && next.as_ref().map(|next| next.number) != sent {
            // What failed before was something else.
            self.settings.failure = None;
        }
        let next = next.filter(|_| self.settings.is_free(now))?;
        self.settings.is_busy = true;
        self.sent = Some(next.clone());
        Some(Act::Settings(next))
    }

    pub(super) fn settings_ended(&mut self, told: &Numbered, outcome: Result<Answer, String>, now: Instant) {
        let answer = outcome.map(|answer| match answer {
            Answer::Taken => Ok(()),
            Answer::Refused(reason) => Err(reason),
        });
        self.settings
            .ended(answer.as_ref().map(drop).map_err(Clone::clone), now);
        if let Ok(answer) = answer {
            self.answered = Some((told.clone(), answer));
        }
    }

    /// Begins to tell it what has happened to a cluster, if that is due.
    pub(super) fn begin_event(&mut self, clusters: &Clusters, now: Instant) -> Option<Act> {
        if !self.is_told_events() || self.events.is_busy || clusters.is_awaited() {
            return None;
        }
        self.catch_up(clusters);
        if self.pending.is_empty() {
            self.events.failure = None;
        }
        let next = self.pending.front().filter(|_| self.events.is_free(now))?.clone();
        if next.change != Change::Removed {
            self.known.insert(next.cluster.clone());
        }
        self.events.is_busy = true;
        Some(Act::Event(next))
    }

    pub(super) fn event_ended(&mut self, event: &ClusterEvent, outcome: Result<(), String>, now: Instant) {
        if outcome.is_ok() {
            if event.change == Change::Removed {
                self.known.remove(&event.cluster);
            }
            self.pending.pop_front();
        }
        self.events.ended(outcome, now);
    }

    /// Adds to what waits what it has not been told of.
    fn catch_up(&mut self, clusters: &Clusters) {
        let missed = self.count.and_then(|count| clusters.since(count));
        if let Some(missed) = missed {
            self.pending.extend(missed.cloned());
        }
        let is_behind = self.count.is_none_or(|count| clusters.since(count).is_none());
        if is_behind || self.pending.len() > self.most {
            self.pending = self.difference(clusters);
            self.most = self.pending.len() + KEPT;
        }
        self.count = Some(clusters.count());
    }

    /// What makes the clusters that it knows those that there are. What of them has changed is not known: it is told of each.
    fn difference(&self, clusters: &Clusters) -> VecDeque<ClusterEvent> {
        let present: BTreeSet<&ClusterName> = clusters.present().collect();
        let gone = self.known.iter().filter(|cluster| !present.contains(cluster)).collect();
        let (known, new) = present.iter().partition(|cluster| self.known.contains(**cluster));
        // New ones come first: of the others it knows something.
        let told = all(Change::Removed, gone)
            .chain(all(Change::Added, new))
            .chain(all(Change::Updated, known));
        let mut events: VecDeque<ClusterEvent> = told.collect();
        if let Some(last) = events.back_mut() {
            last.present = present.into_iter().cloned().collect();
        }
        events
    }

    /// Begins to tell it that it is about to be stopped, once. From then on it is told nothing else.
    pub(super) fn begin_stop(&mut self) -> Option<Act> {
        let begins = self.is_to_release() && !self.is_stopping;
        self.is_stopping |= begins;
        begins.then_some(Act::Stop)
    }

    pub(super) fn stop_ended(&mut self) {
        self.is_released = true;
    }

    /// Whether it has still to release what it holds.
    pub(super) fn is_to_release(&self) -> bool {
        self.listener.supports.shutdown && !self.is_released
    }

    /// How long until something that failed is tried again. What it is not told any more would be due for good, and does not count.
    pub(super) fn wait(&self, wishes: Option<&Wishes>, now: Instant) -> Option<Duration> {
        let settings = wishes.filter(|_| self.is_told_settings()).map(|_| &self.settings);
        let events = self.is_told_events().then_some(&self.events);
        let lanes = [settings, events].into_iter().flatten();
        lanes.filter_map(|lane| lane.wait(now)).min()
    }

    /// Tells what it says to the settings that are `wanted`.
    pub(super) fn tell(&self, wanted: &Numbered, taken: &mut Taken) {
        if !self.is_told_settings() {
            return;
        }
        let pod = || self.listener.name.clone();
        let failure = self.settings.failure.as_ref();
        let failure = failure.filter(|_| self.sent.as_ref().is_some_and(|sent| sent.number == wanted.number));
        match (self.answer_to(wanted), failure) {
            (Some(Ok(())), _) => taken.accepted += 1,
            (Some(Err(reason)), _) => _ = taken.refused.insert(pod(), reason.clone()),
            (None, Some(failure)) => _ = taken.failed.insert(pod(), failure.told.clone()),
            (None, None) => taken.waiting += 1,
        }
    }
}

/// The same change of each of these.
fn all(change: Change, clusters: Vec<&ClusterName>) -> impl Iterator<Item = ClusterEvent> {
    let clusters = clusters.into_iter().cloned();
    clusters.map(move |cluster| ClusterEvent::new(change, cluster))
}
