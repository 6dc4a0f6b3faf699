//! How long things took, as a histogram that is counted without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper ends of the buckets, in microseconds: from what the gateway itself takes to the limit of a plugin's answer.
const ENDS: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000,
    30_000_000,
];

/// Counts durations.
#[derive(Debug, Default)]
pub struct Times {
    /// Of each bucket by itself, and of what is longer than all.
    counts: [AtomicU64; ENDS.len() + 1],
    micros: AtomicU64,
}

impl Times {
    pub fn took(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = ENDS.partition_point(|end| *end < micros);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The sum in seconds, how many there are, and each bucket by its end in seconds.
    #[expect(clippy::cast_precision_loss, reason = "these are far below 2^52")]
    pub(super) fn seen(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let seconds = |micros: u64| micros as f64 / 1e6;
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let ends = ENDS.iter().map(|end| seconds(*end)).chain([f64::INFINITY]);
        let buckets: Vec<_> = ends.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        (seconds(self.micros.load(Ordering::Relaxed)), count, buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_is_not_shorter() {
        let times = Times::default();
        for micros in [0, 250, 251, 30_000_000, 30_000_001] {
            times.took(Duration::from_micros(micros));
        }
        let (sum, count, buckets) = times.seen();
        assert!((sum - 60.000_502).abs() < 1e-9, "{sum}");
        assert_eq!(count, 5);
        let filled: Vec<_> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.000_25, 2), (0.000_5, 1), (30.0, 1), (f64::INFINITY, 1)]);
    }
}
