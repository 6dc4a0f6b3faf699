//! From when to when a certificate is valid, and when it is renewed.

use std::time::{Duration, SystemTime};

/// How far back validity begins, for clocks that run behind the operator's.
pub const CLOCK_SKEW: Duration = Duration::from_mins(5);

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    pub from: SystemTime,
    pub to: SystemTime,
}

impl Validity {
    /// That of a certificate which is issued at `now` for `life`.
    pub fn issued(now: SystemTime, life: Duration) -> Self {
        Self {
            from: now - CLOCK_SKEW,
            to: now + life,
        }
    }

    /// When it is renewed: at two thirds of its life, which begins when it was issued.
    pub fn renewal(self) -> SystemTime {
        let issued = (self.from + CLOCK_SKEW).min(self.to);
        let life = self.to.duration_since(issued).unwrap_or_default();
        issued + life * 2 / 3
    }

    /// Whether it has ended.
    pub fn is_over(self, now: SystemTime) -> bool {
        self.to <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(1000);
        let validity = Validity::issued(now, Duration::from_mins(30));
        assert_eq!(validity.renewal(), now + Duration::from_mins(20));
        assert!(!validity.is_over(now + Duration::from_mins(29)));
        assert!(validity.is_over(now + Duration::from_mins(30)));
    }

    #[test]
    fn one_that_was_not_valid_for_as_long_as_clocks_may_differ_is_renewed_when_it_ends() {
        let from = SystemTime::UNIX_EPOCH;
        let to = from + Duration::from_secs(1);
        assert_eq!(Validity { from, to }.renewal(), to);
    }
}
