//! What several rounds say together.

use std::{fmt, time::Duration};

/// The median of several rounds, and the least and the most of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of nothing there is none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values.get(middle.checked_sub(1)?)? + values.get(middle)?) / 2.0,
            _ => *values.get(middle)?,
        };
        Some(Self {
            median,
            least: *values.first()?,
            most: *values.last()?,
        })
    }
}

/// With as many digits as say something, the range in brackets.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = match self.median {
            100.0.. => 0,
            10.0.. => 1,
            _ => 2,
        };
        let [median, least, most] = [self.median, self.least, self.most].map(|it| format!("{it:.decimals$}"));
        write!(f, "{median} ({least}–{most})")
    }
}

/// The time below which this part of all times lies; the slowest of none is none.
pub(crate) fn percentile(times: &mut [Duration], part: f64) -> Option<Duration> {
    times.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a place in a list that fits into memory"
    )]
    let place = (times.len() as f64 * part).ceil() as usize;
    times.get(place.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_the_range_around_it() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[]), None);
        let three = Spread {
            median: 2.0,
            least: 1.0,
            most: 9.0,
        };
        assert_eq!(spread(&[9.0, 1.0, 2.0]), Some(three));
        assert_eq!(spread(&[4.0, 2.0]).unwrap().to_string(), "3.00 (2.00–4.00)");
        assert_eq!(spread(&[1234.4]).unwrap().to_string(), "1234 (1234–1234)");
    }

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let mut times: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut times, 0.5), Some(Duration::from_millis(50)));
        assert_eq!(percentile(&mut times, 0.99), Some(Duration::from_millis(99)));
        assert_eq!(percentile(&mut times[..1], 0.99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&mut [], 0.99), None);
    }
}
