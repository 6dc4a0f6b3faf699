//! When a plugin is looked at: a few at a time, what was changed before what was not, and once for all that has woken it before.

mod line;
mod urgency;

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::runtime::controller::Action;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use self::{line::Line, urgency::Urgency};
use super::object::{self, Object};

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
    changing: Line,
    /// From when on work takes long.
    long: Duration,
    /// When those are due whose last look went well; nothing: when they are woken.
    due: Mutex<HashMap<String, Option<Instant>>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            reading: Semaphore::new(READ),
            changing: Line::new(CHANGED),
            long: LONG,
            due: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits for a turn: the sooner the more urgent it is by the plugin's `object` as it is now, and among equals in the order of asking. When a
    /// replica has come to lead, the runtime begins with all plugins at once and in no order: who comes first is decided here. What happens
    /// meanwhile needs no other look. `None`: there are no more.
    pub async fn take(&self, plugin: &str, object: impl FnOnce() -> Option<Arc<Object>>) -> Option<Turn<'_>> {
        // Of one that is gone nothing is to be looked at.
        let urgency = || object().as_deref().map_or(Urgency::Settled, Urgency::of);
        // The one that is kept comes first, so that nothing is read that is old when it may be changed.
        let changing = self.changing.take(plugin, urgency).await?;
        // In the order of coming: before it are only some of the few that have the other.
        let reading = self.reading.acquire().await.ok()?;
        Some(Turn {
            reading: Some(reading),
            changing: Some(changing),
            long: self.long,
        })
    }

    /// The watch has brought the plugin's object. If it was changed while the plugin waits already, that one comes forward.
    pub fn take_in(&self, object: &Object) {
        if Urgency::of(object) == Urgency::Changed {
            self.changing.call_forward(object::name(object));
        }
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
    use futures::{FutureExt as _, future::LocalBoxFuture};
    use serde_json::json;
    use tokio::sync::oneshot;

    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    /// A turn for anybody.
    async fn take(turns: &Turns) -> Option<Turn<'_>> {
        turns.take("a", || None).await
    }

    /// A plugin of which all was told, or that was changed since.
    fn plugin(name: &str, was_changed: bool) -> Object {
        let object = json!({
            "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin",
            "metadata": {"name": name, "generation": 1 + i64::from(was_changed)},
            "spec": {"version": "1.0.0", "image": "a"},
            "status": {"observedGeneration": 1},
        });
        serde_json::from_value(object).unwrap()
    }

    /// Waits for the turn of a plugin of which all was told when it asked.
    fn waits<'a>(turns: &'a Turns, name: &'a str) -> LocalBoxFuture<'a, Option<Turn<'a>>> {
        let object = move || Some(Arc::new(plugin(name, false)));
        turns.take(name, object).boxed_local()
    }

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
            taken.push(take(&turns).await.unwrap());
        }
        assert!(take(&turns).now_or_never().is_none());
        drop(taken.pop());
        assert!(take(&turns).now_or_never().unwrap().is_some());
        turns.close();
        assert!(take(&turns).now_or_never().unwrap().is_none());
    }

    #[tokio::test]
    async fn no_more_are_read_than_can_be_changed() {
        let turns = Turns::default();
        let mut changed = Vec::new();
        for _ in 0..CHANGED {
            let mut turn = take(&turns).await.unwrap();
            turn.was_read();
            changed.push(turn);
        }
        // The runtime lets a task ask for so much at a time and no more.
        tokio::task::yield_now().await;
        assert!(take(&turns).now_or_never().is_none());
        changed[0].give_back();
        assert!(take(&turns).now_or_never().unwrap().is_some());
    }

    #[tokio::test]
    async fn what_takes_long_keeps_no_turn() {
        let turns = Turns {
            changing: Line::new(1),
            long: Duration::from_millis(10),
            ..Turns::default()
        };
        let mut turn = take(&turns).await.unwrap();
        assert_eq!(turn.during(async { 7 }).await, 7);
        assert!(take(&turns).now_or_never().is_none());
        let (end, ended) = oneshot::channel();
        let hangs = turn.during(ended);
        let another = async {
            let another = take(&turns).await.unwrap();
            end.send(7).unwrap();
            drop(another);
        };
        let (outcome, ()) = tokio::join!(hangs, another);
        assert_eq!(outcome, Ok(7));
    }

    #[test]
    fn a_plugin_that_is_changed_while_it_waits_is_looked_at_before_those_that_were_not() {
        let turns = Turns {
            changing: Line::new(1),
            ..Turns::default()
        };
        let first = take(&turns).now_or_never().unwrap();
        let (mut a, mut b, mut c) = (waits(&turns, "a"), waits(&turns, "b"), waits(&turns, "c"));
        for waiting in [&mut a, &mut b, &mut c] {
            assert!(waiting.now_or_never().is_none());
        }
        turns.take_in(&plugin("b", false));
        turns.take_in(&plugin("c", true));
        for waiting in [&mut a, &mut b, &mut c] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(first);
        // The first stood in line already. Each gives its turn back at once.
        assert!(a.now_or_never().unwrap().is_some());
        assert!(b.as_mut().now_or_never().is_none());
        assert!(c.now_or_never().unwrap().is_some());
        assert!(b.now_or_never().unwrap().is_some());
    }
}
