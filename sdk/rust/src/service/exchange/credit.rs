//! How much more of a reply the gateway takes.

use std::sync::Arc;

use kite_proto::MAX_CREDIT;
use tokio::sync::Semaphore;

/// Bytes that may be sent: what was given and not used.
#[derive(Clone, Debug)]
pub(super) struct Credit(Arc<Semaphore>);

impl Default for Credit {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Credit {
    /// Whether so much may be given.
    pub(super) fn give(&self, bytes: u32) -> bool {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let fits = self.0.available_permits().saturating_add(bytes) <= MAX_CREDIT;
        if fits {
            self.0.add_permits(bytes);
        }
        fits
    }

    /// Covers all that is still to come: nobody is there to give more.
    pub(super) fn cover(&self) {
        self.0.close();
    }

    /// Uses up to `wanted` bytes, one at least, once there are any. There is one who takes.
    pub(super) async fn take(&self, wanted: usize) -> usize {
        if wanted == 0 {
            return 0;
        }
        match self.0.acquire().await {
            Ok(first) => first.forget(),
            // All is covered.
            Err(_) => return wanted,
        }
        let more = self.0.available_permits().min(wanted - 1);
        let taken = u32::try_from(more)
            .ok()
            .and_then(|more| self.0.try_acquire_many(more).ok());
        match taken {
            Some(permits) => {
                permits.forget();
                more + 1
            }
            None => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn what_was_given_is_used_once_and_no_more() {
        let credit = Credit::default();
        assert_eq!(credit.take(0).now_or_never(), Some(0));
        assert_eq!(credit.take(10).now_or_never(), None);
        assert!(credit.give(4) && credit.give(3));
        assert_eq!(credit.take(5).now_or_never(), Some(5));
        assert_eq!(credit.take(5).now_or_never(), Some(2));
        assert_eq!(credit.take(5).now_or_never(), None);
    }

    #[test]
    fn what_is_covered_needs_no_more() {
        let credit = Credit::default();
        credit.cover();
        assert_eq!(credit.take(100_000).now_or_never(), Some(100_000));
    }

    #[test]
    fn more_than_can_be_used_is_not_given() {
        let credit = Credit::default();
        let most = u32::try_from(MAX_CREDIT).unwrap();
        assert!(credit.give(most) && !credit.give(1));
        assert_eq!(credit.take(1).now_or_never(), Some(1));
        assert!(credit.give(1) && !credit.give(u32::MAX));
    }
}
