//! Points in time that outlive a process: what is told to others, or kept by them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

const MINUTE: Duration = Duration::from_mins(1);

/// Seconds since 1970 in UTC, without leap seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Moment(u64);

impl Moment {
    /// After every other.
    pub const NEVER: Self = Self(u64::MAX);

    pub fn now() -> Self {
        Self(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
        )
    }

    pub const fn of(seconds: u64) -> Self {
        Self(seconds)
    }

    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// How long ago `earlier` was; nothing if it is yet to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// When it has come. A clock that is set is noticed within a minute.
    pub async fn come(self) {
        loop {
            let left = self.since(Self::now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(MINUTE)).await;
        }
    }

    /// As RFC 3339 writes it, if it lies within the years that it has.
    pub fn text(self) -> Option<String> {
        let seconds = i64::try_from(self.0).ok()?;
        Some(jiff::Timestamp::from_second(seconds).ok()?.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_counted_in_seconds_and_never_overflow() {
        let moment = Moment::of(1_700_000_000);
        assert_eq!(
            moment.after(Duration::from_mins(1)).since(moment),
            Duration::from_mins(1)
        );
        assert_eq!(moment.since(moment.after(Duration::from_mins(1))), Duration::ZERO);
        assert_eq!(Moment::NEVER.after(Duration::from_secs(1)), Moment::NEVER);
        assert_eq!(moment.text().unwrap(), "2023-11-14T22:13:20Z");
        assert_eq!(Moment::NEVER.text(), None);
    }

    #[tokio::test]
    async fn a_moment_comes_and_not_before() {
        let soon = Moment::now().after(Duration::from_secs(1));
        tokio::time::timeout(MINUTE, soon.come()).await.unwrap();
        assert!(Moment::now() >= soon);
        Moment::of(0).come().await;
    }
}
