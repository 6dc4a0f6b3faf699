//! What each process of a plugin has been told, and what it is to be told next. Values in, values out.
//!
//! A process is told by three lanes, so that one that is slow to answer in one of them goes on in the others: settings, events of clusters, and
//! that it is about to be stopped. In a lane there is one call at a time, so that what is told keeps its order.

mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use self::state::State;
use super::{
    clusters::{ClusterEvent, Clusters},
    news::{News, Process, Settings, Taken, Told},
};

/// Settings, with a number that grows with each change: no process is told a smaller one after a greater.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Numbered {
    number: u64,
    settings: Settings,
}

/// Something that a process is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Act {
    Settings(Numbered),
    Event(ClusterEvent),
    /// It is about to be stopped.
    Stop,
}

impl Numbered {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// A call to make.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    pub process: Process,
    /// The address of its pod.
    pub ip: String,
    pub act: Act,
}

/// What a process answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It has taken note.
    Taken,
    /// It does not take the settings, for this reason.
    Refused(String),
}

/// What is known of a revision's settings.
#[derive(Clone, Debug, Default)]
struct Wishes {
    wanted: Option<Numbered>,
    /// What a process has accepted last.
    accepted: Option<Numbered>,
    /// Whether a process has refused what is wanted.
    is_refused: bool,
}

/// What the processes of one plugin have been told.
#[derive(Debug, Default)]
pub struct Ledger {
    news: News,
    clusters: Arc<Clusters>,
    /// Boxed, because a map has room for eleven, and most plugins have one process.
    states: BTreeMap<Process, Box<State>>,
    wishes: BTreeMap<i64, Wishes>,
    /// How many changes of settings there were.
    changes: u64,
}

impl Ledger {
    /// Takes in what is known of the plugin.
    pub fn learn(&mut self, news: News) {
        for (revision, settings) in &news.settings {
            let wishes = self.wishes.entry(*revision).or_default();
            let before = wishes.wanted.as_ref().map(|wanted| &wanted.settings);
            if before != settings.as_ref() {
                self.changes += 1;
                wishes.is_refused = false;
                wishes.wanted = settings.clone().map(|settings| Numbered {
                    number: self.changes,
                    settings,
                });
            }
        }
        self.wishes.retain(|revision, _| news.settings.contains_key(revision));
        let listening: BTreeMap<&Process, _> = news.listeners.iter().map(|it| (&it.process, it)).collect();
        let listening_pods: BTreeSet<&str> = listening.keys().map(|process| process.pod.as_str()).collect();
        self.states.retain(|process, _| {
            // Of a pod that listens, another process is an earlier one.
            listening.contains_key(process)
                || (news.pods.contains(&process.pod) && !listening_pods.contains(process.pod.as_str()))
        });
        for state in self.states.values_mut() {
            state.is_listening = false;
        }
        for listener in &news.listeners {
            let state = self.states.entry(listener.process.clone());
            state
                .or_insert_with(|| Box::new(State::new(listener.clone())))
                .listens(listener.clone());
        }
        self.news = news;
    }

    /// Takes in what clusters there are.
    pub fn learn_clusters(&mut self, clusters: Arc<Clusters>) {
        self.clusters = clusters;
    }

    /// What is to be told at `now`. It is under way from now on.
    pub fn due(&mut self, now: Instant) -> Vec<Call> {
        let mut calls = Vec::new();
        for (process, state) in &mut self.states {
            let revision = state.revision();
            let acts = if self.news.stopping.contains(&revision) {
                [state.begin_stop(), None]
            } else {
                let wishes = self.wishes.get(&revision);
                [
                    wishes.and_then(|wishes| state.begin_settings(wishes, now)),
                    state.begin_event(&self.clusters, now),
                ]
            };
            calls.extend(acts.into_iter().flatten().map(|act| Call {
                process: process.clone(),
                ip: state.ip().to_owned(),
                act,
            }));
        }
        calls
    }

    /// A call has ended at `now`.
    pub fn ended(&mut self, call: &Call, outcome: Result<Answer, String>, now: Instant) {
        // A process that is gone needs nothing.
        let Some(state) = self.states.get_mut(&call.process) else {
            return;
        };
        match &call.act {
            Act::Settings(told) => {
                let wishes = self.wishes.get_mut(&state.revision());
                if let (Some(wishes), Ok(answer)) = (wishes, &outcome) {
                    wishes.answered(told, answer);
                }
                state.settings_ended(told, outcome, now);
            }
            Act::Event(event) => state.event_ended(event, outcome.map(drop), now),
            Act::Stop => state.stop_ended(),
        }
    }

    /// How long until something that failed is to be tried again.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let tried = self.states.values().filter(|state| !self.is_stopping(state));
        tried
            .filter_map(|state| state.wait(self.wishes.get(&state.revision()), now))
            .min()
    }

    /// What came of all that by now.
    pub fn told(&self) -> Told {
        let mut told = Told {
            version: self.news.version,
            ..Told::default()
        };
        for state in self.states.values() {
            if self.is_stopping(state) {
                told.releasing += usize::from(state.is_to_release());
            } else if let Some(wanted) = self.wanted(state) {
                let taken: &mut Taken = told.settings.entry(state.revision()).or_default();
                state.tell(wanted, taken);
            }
        }
        told
    }

    fn is_stopping(&self, state: &State) -> bool {
        self.news.stopping.contains(&state.revision())
    }

    fn wanted(&self, state: &State) -> Option<&Numbered> {
        self.wishes.get(&state.revision())?.wanted.as_ref()
    }
}

impl Wishes {
    /// A process has answered to what it was told.
    fn answered(&mut self, told: &Numbered, answer: &Answer) {
        match answer {
            Answer::Taken => {
                let is_newer = self.accepted.as_ref().is_none_or(|it| it.number <= told.number);
                if is_newer {
                    self.accepted = Some(told.clone());
                }
            }
            Answer::Refused(_) => {
                let is_wanted = self.wanted.as_ref().is_some_and(|it| it.number == told.number);
                self.is_refused |= is_wanted;
            }
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod tests;
