//! What is counted of the requests for one plugin, or for none.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;

use super::Times;
use crate::account::{Class, Doing};

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Code {
    Informational,
    Successful,
    Redirection,
    ClientError,
    ServerError,
    /// Nobody waited for the answer.
    Cancelled,
}

impl Code {
    pub const ALL: [Self; 6] = [
        Self::Informational,
        Self::Successful,
        Self::Redirection,
        Self::ClientError,
        Self::ServerError,
        Self::Cancelled,
    ];

    pub fn of(status: Option<StatusCode>) -> Self {
        match status.map(|status| status.as_u16() / 100) {
            Some(1) => Self::Informational,
            Some(2) => Self::Successful,
            Some(3) => Self::Redirection,
            Some(4) => Self::ClientError,
            Some(_) => Self::ServerError,
            None => Self::Cancelled,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Successful => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The figures.
#[derive(Debug, Default)]
pub struct Figures {
    classes: [OfClass; Class::ALL.len()],
    pub(super) in_flight: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) endpoint_failures: AtomicU64,
    /// By the last part of the problem's type. A lock, but for those alone who are refused.
    problems: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Debug, Default)]
struct OfClass {
    requests: [[AtomicU64; Code::ALL.len()]; Doing::ALL.len()],
    times: Times,
}

impl Figures {
    /// A request ended so.
    pub fn ended(&self, class: Class, doing: Doing, code: Code) {
        let of_class = self.classes.get(class as usize);
        let count = of_class.and_then(|of| of.requests.get(doing as usize)?.get(code as usize));
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The head of an answer took so long.
    pub fn took(&self, class: Class, duration: Duration) {
        if let Some(of_class) = self.classes.get(class as usize) {
            of_class.times.took(duration);
        }
    }

    /// So many bytes of bodies came and went.
    pub fn passed(&self, received: u64, sent: u64) {
        self.received.fetch_add(received, Ordering::Relaxed);
        self.sent.fetch_add(sent, Ordering::Relaxed);
    }

    pub fn problem(&self, slug: &'static str) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        *problems.entry(slug).or_default() += 1;
    }

    /// An endpoint could not be used.
    pub fn endpoint_failed(&self) {
        self.endpoint_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// All counts of requests that are not zero.
    pub(super) fn requests(&self) -> impl Iterator<Item = (Class, Doing, Code, u64)> {
        Class::ALL
            .into_iter()
            .zip(&self.classes)
            .flat_map(|(class, of_class)| {
                let doings = Doing::ALL.into_iter().zip(&of_class.requests);
                doings.flat_map(move |(doing, codes)| {
                    let counts = Code::ALL.into_iter().zip(codes);
                    counts.map(move |(code, count)| (class, doing, code, count.load(Ordering::Relaxed)))
                })
            })
            .filter(|(.., count)| *count > 0)
    }

    /// The times of all classes that have any.
    pub(super) fn times(&self) -> impl Iterator<Item = (Class, &Times)> {
        let all = Class::ALL.into_iter().zip(&self.classes);
        all.map(|(class, of_class)| (class, &of_class.times))
    }

    pub(super) fn problems(&self) -> BTreeMap<&'static str, u64> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counts a request as under way until it is dropped.
pub struct UnderWay(Arc<Figures>);

impl UnderWay {
    pub fn of(figures: Arc<Figures>) -> Self {
        figures.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(figures)
    }

    pub fn figures(&self) -> &Figures {
        &self.0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
