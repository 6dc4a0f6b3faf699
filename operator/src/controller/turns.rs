//! When a plugin is looked at: a few at a time, and once for all that has woken it before.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::runtime::controller::Action;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// How many plugins are read at once. Each asks for a dozen things together.
const READ: usize = 8;
/// How many are read or changed at once, of each of which there is in memory what was read and what is to be. Each writes one thing at a time,
/// and twice as much may be written at once.
const CHANGED: usize = 32;
/// Nobody keeps a turn for much longer than this by what is written: it may be somebody's webhook that is waited for.
const LONG: Duration = Duration::from_secs(10);

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
    /// From when on work takes long.
    long: Duration,
    /// When those are due whose last look went well; nothing: when they are woken.
    due: Mutex<HashMap<String, Option<Instant>>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            reading: Semaphore::new(READ),
            changing: Semaphore::new(CHANGED),
            long: LONG,
            due: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits for a turn, in the order of asking. What happens meanwhile needs no other look. `None`: there are no more.
    pub async fn take(&self) -> Option<Turn<'_>> {
        // The one that is kept comes first, so that nothing is read that is old when it may be changed.
        let changing = self.changing.acquire().await.ok()?;
        let reading = self.reading.acquire().await.ok()?;
        Some(Turn {
            reading: Some(reading),
            changing: Some(changing),
            long: self.long,
        })
    }

    /// Nobody gets a turn any more. Whoever has one comes to an end.
    pub fn close(&self) {
        self.changing.close();
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
    reading: Option<SemaphorePermit<'a>>,
    changing: Option<SemaphorePermit<'a>>,
    long: Duration,
}

impl Turn<'_> {
    /// All was read, and another is read from now on.
    pub fn was_read(&mut self) {
        self.reading = None;
    }

    /// It is another's from now on.
    pub fn give_back(&mut self) {
        self.was_read();
        self.changing = None;
    }

    /// Does `work`. The turn is another's as soon as that takes long.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if let Ok(done) = timeout(self.long, work.as_mut()).await {
            return done;
        }
        self.give_back();
        work.await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::sync::oneshot;

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
            turn.was_read();
            changed.push(turn);
        }
        // The runtime lets a task ask for so much at a time and no more.
        tokio::task::yield_now().await;
        assert!(turns.take().now_or_never().is_none());
        changed[0].give_back();
        assert!(turns.take().now_or_never().unwrap().is_some());
    }

    #[tokio::test]
    async fn what_takes_long_keeps_no_turn() {
        let turns = Turns {
            changing: Semaphore::new(1),
            long: Duration::from_millis(10),
            ..Turns::default()
        };
        let mut turn = turns.take().await.unwrap();
        assert_eq!(turn.during(async { 7 }).await, 7);
        assert!(turns.take().now_or_never().is_none());
        let (end, ended) = oneshot::channel();
        let hangs = turn.during(ended);
        let another = async {
            let another = turns.take().await.unwrap();
            end.send(7).unwrap();
            drop(another);
        };
        let (outcome, ()) = tokio::join!(hangs, another);
        assert_eq!(outcome, Ok(7));
    }
}
