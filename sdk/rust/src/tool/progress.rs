//! How far a tool has come, between the tool and its caller's stream.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::task::AtomicWaker;

/// Messages that wait for a caller who reads slowly; beyond that the last is replaced.
const WAITING: usize = 16;
/// Most bytes of what is being done.
const MAX_MESSAGE: usize = 1024;

/// Shared by a tool, which tells, and its caller's stream, which takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    told: Mutex<Told>,
    /// Of the stream, which is polled by one task at a time.
    stream: AtomicWaker,
}

#[derive(Debug, Default)]
struct Told {
    furthest: Option<f64>,
    waiting: VecDeque<kite_proto::Progress>,
}

impl Progress {
    /// Notes a message, if it goes beyond the last.
    pub(super) fn tell(&self, fraction: f64, mut message: String) {
        let fraction = fraction.clamp(0.0, 1.0);
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        let mut told = self.told();
        // What is not a number is beyond nothing.
        let beyond = told.furthest.map_or(fraction >= 0.0, |furthest| fraction > furthest);
        if !beyond {
            return;
        }
        told.furthest = Some(fraction);
        if told.waiting.len() == WAITING {
            told.waiting.pop_back();
        }
        told.waiting.push_back(kite_proto::Progress { fraction, message });
        drop(told);
        self.0.stream.wake();
    }

    /// The next message, if there is one already.
    fn take(&self) -> Option<kite_proto::Progress> {
        self.told().waiting.pop_front()
    }

    /// The next message; if there is none, the task is woken by the next.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<kite_proto::Progress> {
        // Before the look: what is told in between wakes already.
        self.0.stream.register(context.waker());
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// What was noted is whole at all times, so that a panic elsewhere spoils nothing.
    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(progress: &Progress) -> Vec<(f64, String)> {
        std::iter::from_fn(|| progress.take())
            .map(|message| (message.fraction, message.message))
            .collect()
    }

    #[test]
    fn only_what_goes_further_is_told() {
        let progress = Progress::default();
        for fraction in [f64::NAN, -1.0, 0.0, 0.5, 0.5, 0.2, f64::NAN, 7.0, 8.0] {
            progress.tell(fraction, String::new());
        }
        let fractions: Vec<f64> = taken(&progress).into_iter().map(|(fraction, _)| fraction).collect();
        assert_eq!(fractions, [0.0, 0.5, 1.0]);
    }

    #[test]
    fn a_caller_who_reads_slowly_is_told_the_latest() {
        let progress = Progress::default();
        for step in 0..100 {
            progress.tell(f64::from(step) / 100.0, step.to_string());
        }
        let told = taken(&progress);
        assert_eq!(told.len(), WAITING);
        assert_eq!(told.last().unwrap().1, "99");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let progress = Progress::default();
        progress.tell(0.0, "ä".repeat(MAX_MESSAGE));
        assert_eq!(taken(&progress)[0].1, "ä".repeat(MAX_MESSAGE / 2));
    }
}
