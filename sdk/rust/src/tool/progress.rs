//! How far a tool has come, between the tool and its caller's stream.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

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
    more: Notify,
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
        self.0.more.notify_one();
    }

    /// The next message, if there is one already.
    pub(crate) fn take(&self) -> Option<kite_proto::Progress> {
        self.told().waiting.pop_front()
    }

    /// The next message, once there is one.
    pub(crate) async fn next(&self) -> kite_proto::Progress {
        loop {
            if let Some(message) = self.take() {
                return message;
            }
            // Keeps what was told between the two, so that nothing is missed.
            self.0.more.notified().await;
        }
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
