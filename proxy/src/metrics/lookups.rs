//! What is counted of the answers of the API server, asked for and remembered.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use jiff::Timestamp;

use super::Times;

/// Where an answer came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// It was remembered and held.
    Fresh,
    /// It was remembered, and held because the API server did not answer.
    Former,
    /// The API server was asked, or somebody else's question waited for.
    Asked,
}

impl Found {
    pub const ALL: [Self; 3] = [Self::Fresh, Self::Former, Self::Asked];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Former => "former",
            Self::Asked => "asked",
        }
    }
}

/// The figures of one sort of question.
#[derive(Debug, Default)]
pub struct Lookups {
    found: [AtomicU64; Found::ALL.len()],
    times: Times,
    failed: AtomicU64,
    /// Seconds since the epoch; zero is never.
    answered: AtomicI64,
    unanswered: AtomicI64,
}

impl Lookups {
    pub fn found(&self, found: Found) {
        if let Some(count) = self.found.get(found as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The API server was asked, took so long, and answered or did not.
    pub fn asked(&self, took: Duration, answered: bool) {
        self.times.took(took);
        let now = Timestamp::now().as_second();
        if answered {
            self.answered.store(now, Ordering::Relaxed);
        } else {
            self.failed.fetch_add(1, Ordering::Relaxed);
            self.unanswered.store(now, Ordering::Relaxed);
        }
    }

    /// When it last answered a question, and when it last did not.
    pub fn last(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        (super::known(&self.answered), super::known(&self.unanswered))
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = (Found, u64)> {
        let counts = self.found.iter().map(|count| count.load(Ordering::Relaxed));
        Found::ALL.into_iter().zip(counts)
    }

    pub(super) fn times(&self) -> &Times {
        &self.times
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}
