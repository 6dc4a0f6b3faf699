//! What is promised to be over within a time, and how long it took.

use std::time::Duration;

use crate::spread::Spread;

/// The head of the table of promises.
pub(super) const HEAD: &str = "| what happens | times | median s | most s | promised |\n|---|---|---|---|---|\n";

/// A bound on time, and what was measured of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Promise {
    /// What happens, and until when is waited.
    pub(super) what: String,
    pub(super) within: Duration,
    /// How long it took each time.
    pub(super) times: Vec<Duration>,
}

impl Promise {
    /// A row of the table.
    pub(super) fn row(&self) -> String {
        let verdict = if self.broken(1).is_none() { "kept" } else { "not kept" };
        let (what, times, within) = (&self.what, self.times.len(), self.within.as_secs());
        let [median, most] = self.figures();
        format!("| {what} | {times} | {median} | {most} | {within} s: {verdict} |\n")
    }

    /// What was measured, in words.
    pub(super) fn in_words(&self) -> String {
        let [median, most] = self.figures();
        format!("{}: {median} s in the median, {most} s at the most", self.what)
    }

    /// That it was not kept, in words, if it was not even with the time that is promised stretched so.
    pub(super) fn broken(&self, patience: u32) -> Option<String> {
        let most = self.times.iter().max()?;
        let within = self.within.saturating_mul(patience);
        (*most > within).then(|| {
            let (most, within) = (most.as_secs_f64(), within.as_secs());
            format!("{}: that took {most:.2} s, and may take {within} s", self.what)
        })
    }

    /// The median and the most in seconds; nothing, where nothing was measured.
    fn figures(&self) -> [String; 2] {
        let spread = Spread::of(self.times.iter().map(Duration::as_secs_f64));
        let figures = spread.map(|it| [it.median, it.most].map(|seconds| format!("{seconds:.2}")));
        figures.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(milliseconds: &[u64]) -> Promise {
        Promise {
            what: String::from("it changes, until it is told"),
            within: Duration::from_secs(2),
            times: milliseconds.iter().copied().map(Duration::from_millis).collect(),
        }
    }

    #[test]
    fn a_promise_is_broken_by_the_slowest_time_and_not_before_it_is_over() {
        assert_eq!(promise(&[2000, 100]).broken(1), None);
        assert_eq!(promise(&[]).broken(1), None);
        let slow = promise(&[100, 2010, 100]);
        let told = "it changes, until it is told: that took 2.01 s, and may take 2 s";
        assert_eq!(slow.broken(1).as_deref(), Some(told));
        assert_eq!(slow.broken(3), None);
        let slower = promise(&[6001]);
        let told = "it changes, until it is told: that took 6.00 s, and may take 6 s";
        assert_eq!(slower.broken(3).as_deref(), Some(told));
    }

    #[test]
    fn a_row_has_the_median_the_most_and_the_verdict() {
        let kept = "| it changes, until it is told | 3 | 0.26 | 0.30 | 2 s: kept |\n";
        assert_eq!(promise(&[300, 100, 260]).row(), kept);
        let late = promise(&[100, 2500]);
        let not_kept = "| it changes, until it is told | 2 | 1.30 | 2.50 | 2 s: not kept |\n";
        assert_eq!(late.row(), not_kept);
        let words = "it changes, until it is told: 1.30 s in the median, 2.50 s at the most";
        assert_eq!(late.in_words(), words);
    }
}
