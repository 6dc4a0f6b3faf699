//! Whose turn it is in an exchange that has no answer yet, and since when.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

/// Who has to do something next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Party {
    /// To go on with the body.
    Caller,
    /// To take what was sent, or to answer.
    Plugin,
}

/// Whose turn it is, written by whoever moves the caller's body and read by whoever waits for the plugin's answer.
#[derive(Clone)]
pub(super) struct Turn {
    party: Arc<Mutex<(Party, Instant)>>,
    /// Whether the caller's body broke off.
    broken: Arc<AtomicBool>,
}

/// What a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long until its answer begins, counted from when it is forwarded, whoever has it take so long.
    pub plugin: Duration,
    /// How long the caller may keep the plugin waiting for more of the body, each time.
    pub caller: Duration,
    /// Most bytes of its body.
    pub body: u64,
}

impl Turn {
    pub(super) fn new() -> Self {
        Self {
            party: Arc::new(Mutex::new((Party::Plugin, Instant::now()))),
            broken: Arc::default(),
        }
    }

    /// The caller's body has no end.
    pub(super) fn broke_off(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// The plugin was given something, all that there is perhaps.
    pub(super) fn handed_over(&self) {
        self.set((Party::Plugin, Instant::now()));
    }

    /// The plugin wants more than the caller has sent.
    pub(super) fn waits_for_caller(&self) {
        if self.get().0 == Party::Plugin {
            self.set((Party::Caller, Instant::now()));
        }
    }

    /// What `answer` gives, or who let their time pass: the caller the `patience` with it, or whose turn it is at the `deadline`.
    pub(super) async fn within<T>(
        &self,
        deadline: Instant,
        patience: Duration,
        answer: impl Future<Output = T>,
    ) -> Result<T, Party> {
        let mut answer = std::pin::pin!(answer);
        loop {
            let (party, since) = self.get();
            let end = match party {
                Party::Caller => deadline.min(since + patience),
                Party::Plugin => deadline,
            };
            // Nobody tells of a new turn, but none that begins after this look ends before so much has passed.
            if let Ok(answer) = timeout_at(end.min(Instant::now() + patience), &mut answer).await {
                return Ok(answer);
            }
            let now = Instant::now();
            if now >= deadline || (self.get() == (party, since) && now >= end) {
                return Err(self.get().0);
            }
        }
    }

    fn get(&self) -> (Party, Instant) {
        *self.party.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, turn: (Party, Instant)) {
        *self.party.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, poll_fn},
        task::Poll,
    };

    use super::*;

    const LONG: Duration = Duration::from_mins(1);
    const SHORT: Duration = Duration::from_millis(10);

    fn soon() -> Instant {
        Instant::now() + SHORT
    }

    fn late() -> Instant {
        Instant::now() + LONG
    }

    #[tokio::test]
    async fn who_lets_their_time_pass_is_named() {
        let turn = Turn::new();
        assert_eq!(turn.within(soon(), LONG, pending::<()>()).await, Err(Party::Plugin));
        turn.waits_for_caller();
        assert_eq!(turn.within(soon(), LONG, pending::<()>()).await, Err(Party::Caller));
        assert_eq!(turn.within(late(), SHORT, pending::<()>()).await, Err(Party::Caller));
        assert_eq!(turn.within(late(), SHORT, async { 1 }).await, Ok(1));
    }

    #[test]
    fn only_what_is_handed_over_begins_a_new_turn() {
        let turn = Turn::new();
        turn.waits_for_caller();
        let waiting = turn.get();
        assert_eq!(waiting.0, Party::Caller);
        turn.waits_for_caller();
        assert_eq!(turn.get(), waiting, "being asked again gives the caller no new time");
        turn.handed_over();
        let (party, since) = turn.get();
        assert!(party == Party::Plugin && since >= waiting.1);
    }

    #[tokio::test]
    async fn time_that_passed_before_the_turn_does_not_count() {
        let turn = Turn::new();
        turn.waits_for_caller();
        let mut polls = 0;
        let answer = poll_fn(|_| {
            polls += 1;
            match polls {
                1 => Poll::Pending,
                // The caller's time is up just as the plugin is given more.
                2 => {
                    turn.handed_over();
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        });
        assert_eq!(turn.within(late(), SHORT, answer).await, Ok(()));
    }

    #[tokio::test]
    async fn a_caller_who_sends_a_little_at_a_time_has_no_more_time_than_others() {
        let turn = Turn::new();
        let trickle = async {
            loop {
                turn.waits_for_caller();
                tokio::task::yield_now().await;
                turn.handed_over();
                tokio::task::yield_now().await;
            }
        };
        let ended = turn.within::<()>(soon(), LONG, trickle).await;
        assert!(ended.is_err(), "{ended:?}");
    }
}
