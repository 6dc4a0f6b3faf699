//! When a plugin is looked at: a few at a time, and once for all that has woken it before.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::runtime::controller::Action;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How many plugins are read at once. Each asks for a dozen things together.
const READ: usize = 8;
/// How many are changed at once, of each of which there is in memory what was read and what is to be. As many as may be written at once
/// ([`crate::leadership::term`]): more would wait there.
const CHANGED: usize = 64;

/// When a plugin is to be looked at next, though nothing happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// Not before something happens.
    Woken,
    /// After so long.
    After(Duration),
}

impl From<Next> for Action {
    fn from(next: Next) -> Self {
        match next {
            Next::Woken => Self::await_change(),
            Next::After(wait) => Self::requeue(wait),
        }
    }
}

/// Whose turn it is, and when that of each plugin comes again.
#[derive(Debug)]
pub struct Turns {
    reading: Semaphore,
    changing: Semaphore,
    /// When those are due whose last look went well; nothing: when they are woken.
    due: Mutex<HashMap<String, Option<Instant>>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            reading: Semaphore::new(READ),
            changing: Semaphore::new(CHANGED),
            due: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits for a turn to read what there is, in the order of asking. What happens meanwhile needs no other look. `None`: there are no more.
    pub async fn take(&self) -> Option<Turn<'_>> {
        let permit = self.reading.acquire().await.ok()?;
        Some(Turn {
            turns: self,
            permit: Some(permit),
        })
    }

    /// Nobody gets a turn any more. Whoever has one comes to an end.
    pub fn close(&self) {
        self.reading.close();
    }

    /// What is left to wait, if a plugin that nothing has woken since it was looked at last is not due.
    pub fn rest(&self, plugin: &str, now: Instant) -> Option<Next> {
        match self.lock().get(plugin)? {
            None => Some(Next::Woken),
            Some(due) => {
                let rest = due.saturating_duration_since(now);
                (!rest.is_zero()).then_some(Next::After(rest))
            }
        }
    }

    /// A look has ended, and whether it went well.
    pub fn ended(&self, plugin: &str, next: Option<Next>, now: Instant) {
        let mut due = self.lock();
        match next {
            Some(Next::Woken) => _ = due.insert(plugin.to_owned(), None),
            Some(Next::After(wait)) => _ = due.insert(plugin.to_owned(), Some(now + wait)),
            None => _ = due.remove(plugin),
        }
    }

    /// Forgets all plugins but those that exist.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|plugin, _| exists(plugin));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Option<Instant>>> {
        // An entry is replaced as a whole.
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of a plugin, to be read and then to be changed. It is for asking the API server: whoever waits for a plugin gives it back before, so
/// that no plugin holds up another.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    permit: Option<SemaphorePermit<'a>>,
}

impl Turn<'_> {
    /// All was read: waits until the plugin may be changed. Until then no other is read in its place, so that what was read is not old by then.
    pub async fn change(&mut self) {
        self.permit = self.turns.changing.acquire().await.ok();
    }

    /// It is another's from now on.
    pub fn give_back(&mut self) {
        self.permit = None;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    #[test]
    fn who_was_looked_at_well_rests_until_due() {
        let turns = Turns::default();
        let now = Instant::now();
        assert_eq!(turns.rest("a", now), None, "never looked at");
        turns.ended("a", Some(Next::After(WAIT)), now);
        assert_eq!(turns.rest("a", now + WAIT / 2), Some(Next::After(WAIT / 2)));
        assert_eq!(turns.rest("a", now + WAIT), None, "due");
        turns.ended("a", Some(Next::Woken), now);
        assert_eq!(turns.rest("a", now + WAIT), Some(Next::Woken));
        turns.ended("a", None, now);
        assert_eq!(turns.rest("a", now), None, "it failed");
        turns.ended("a", Some(Next::Woken), now);
        turns.retain(|_| false);
        assert_eq!(turns.rest("a", now), None);
    }

    #[tokio::test]
    async fn only_so_many_have_a_turn_at_once() {
        let turns = Turns::default();
        let mut taken = Vec::new();
        for _ in 0..READ {
            taken.push(turns.take().await.unwrap());
        }
        assert!(turns.take().now_or_never().is_none());
        drop(taken.pop());
        assert!(turns.take().now_or_never().unwrap().is_some());
        turns.close();
        assert!(turns.take().now_or_never().unwrap().is_none());
    }

    #[tokio::test]
    async fn no_more_are_read_than_can_be_changed() {
        let turns = Turns::default();
        let mut changed = Vec::new();
        for _ in 0..CHANGED {
            let mut turn = turns.take().await.unwrap();
            turn.change().await;
            changed.push(turn);
        }
        let mut read = Vec::new();
        for _ in 0..READ {
            read.push(turns.take().await.unwrap());
        }
        for turn in &mut read {
            assert!(turn.change().now_or_never().is_none());
        }
        assert!(
            turns.take().now_or_never().is_none(),
            "those that wait are still being read"
        );
        changed[0].give_back();
        assert!(read[0].change().now_or_never().is_some());
        assert!(turns.take().now_or_never().unwrap().is_some());
    }
}
