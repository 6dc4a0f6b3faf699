//! The order in which those that wait come to their turn: what was changed comes early, and everybody comes in the end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::urgency::Urgency;

/// How many of each urgency stand in line at once. The line goes on in its order. Whoever has come to its turn makes place for the next of the same
/// urgency, in the order in which these have asked, at the end of the line. So of seven turns in a row each urgency has one at least as long as
/// anybody of it waits, and nobody waits for ever, however many come whose look is more urgent, and however often.
const CHANGED: usize = 4;
const UNDER_WAY: usize = 2;
const SETTLED: usize = 1;

/// A number of turns, and those that wait for one. Turns and places are permits: whoever stops waiting gives back what it has, or has been given
/// without knowing yet.
#[derive(Debug)]
pub(super) struct Line {
    turns: Semaphore,
    /// The places in line, by urgency.
    changed: Semaphore,
    under_way: Semaphore,
    settled: Semaphore,
    /// Those that have no place yet, each with what calls it forward.
    waiting: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Line {
    /// One in which so many have a turn at once.
    pub(super) fn new(turns: usize) -> Self {
        Self {
            turns: Semaphore::new(turns),
            changed: Semaphore::new(CHANGED),
            under_way: Semaphore::new(UNDER_WAY),
            settled: Semaphore::new(SETTLED),
            waiting: Mutex::default(),
        }
    }

    /// Waits for a turn. `None`: there are no more.
    pub(super) async fn take(&self, plugin: &str, urgency: impl FnOnce() -> Urgency) -> Option<SemaphorePermit<'_>> {
        // It is another's when the turn has come. Nobody who has a turn waits for a place.
        let _place = self.place(plugin, urgency).await?;
        self.turns.acquire().await.ok()
    }

    /// The plugin was changed: if it waits for a place among those that were not, it waits among those that were from now on. Who stands in
    /// line already has at most six before it.
    pub(super) fn call_forward(&self, plugin: &str) {
        if let Some(call) = self.lock().get(plugin) {
            call.notify_one();
        }
    }

    /// Nobody gets a turn any more.
    pub(super) fn close(&self) {
        for permits in [&self.turns, &self.changed, &self.under_way, &self.settled] {
            permits.close();
        }
    }

    /// Waits for a place in line.
    async fn place(&self, plugin: &str, urgency: impl FnOnce() -> Urgency) -> Option<SemaphorePermit<'_>> {
        // Before the urgency is asked for, so that what is changed after that is called.
        let called = self.can_be_called(plugin);
        let urgency = urgency();
        let place = self.places(urgency).acquire();
        if urgency == Urgency::Changed {
            return place.await.ok();
        }
        tokio::select! {
            biased;
            place = place => place.ok(),
            () = called.call.notified() => self.places(Urgency::Changed).acquire().await.ok(),
        }
    }

    fn places(&self, urgency: Urgency) -> &Semaphore {
        match urgency {
            Urgency::Changed => &self.changed,
            Urgency::UnderWay => &self.under_way,
            Urgency::Settled => &self.settled,
        }
    }

    fn can_be_called<'a>(&'a self, plugin: &'a str) -> Called<'a> {
        let call = Arc::new(Notify::new());
        self.lock().insert(plugin.to_owned(), Arc::clone(&call));
        Called {
            line: self,
            plugin,
            call,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        // An entry is replaced as a whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plugin that can be called forward, as long as this is kept. It is looked at once at a time, and so waits once.
struct Called<'a> {
    line: &'a Line,
    plugin: &'a str,
    call: Arc<Notify>,
}

impl Drop for Called<'_> {
    fn drop(&mut self) {
        self.line.lock().remove(self.plugin);
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use futures::{FutureExt as _, future::LocalBoxFuture};

    use super::*;

    /// Plugins that wait for the one turn that there is. They go on when they are told to, in the order in which they have come.
    struct Crowd<'a> {
        line: &'a Line,
        turn: Option<SemaphorePermit<'a>>,
        waiting: Vec<(&'a str, LocalBoxFuture<'a, Option<SemaphorePermit<'a>>>)>,
    }

    impl<'a> Crowd<'a> {
        /// Nobody yet, but one who has the turn.
        fn at(line: &'a Line) -> Self {
            let turn = line.take("first", || Urgency::Settled).now_or_never().unwrap();
            assert!(turn.is_some());
            Self {
                line,
                turn,
                waiting: Vec::new(),
            }
        }

        fn ask(&mut self, plugin: &'a str, urgency: impl FnOnce() -> Urgency + 'a) {
            let line = self.line;
            self.waiting.push((plugin, line.take(plugin, urgency).boxed_local()));
            assert_eq!(self.go_on(), None, "there is one turn");
        }

        /// Those of these names ask, whose first letters say how urgent they are.
        fn all_ask(&mut self, plugins: impl IntoIterator<Item = &'a str>) {
            for plugin in plugins {
                self.ask(plugin, move || match plugin.chars().next() {
                    Some('c') => Urgency::Changed,
                    Some('u') => Urgency::UnderWay,
                    _ => Urgency::Settled,
                });
            }
        }

        /// All go on as far as they can. Who has come to its turn, or to an end?
        fn go_on(&mut self) -> Option<&'a str> {
            let mut came = None;
            self.waiting.retain_mut(|(plugin, waits)| {
                let Some(turn) = waits.now_or_never() else {
                    return true;
                };
                self.turn = turn;
                came = Some(*plugin);
                false
            });
            came
        }

        /// The turn is given back. Who has it next?
        fn comes_next(&mut self) -> Option<&'a str> {
            self.turn = None;
            let next = self.go_on();
            assert_eq!(self.go_on(), None, "there is one turn");
            next
        }

        /// All that have not come yet, as they come.
        fn come(&mut self) -> Vec<&'a str> {
            iter::from_fn(|| self.comes_next()).collect()
        }
    }

    fn named(letter: char, count: usize) -> Vec<String> {
        (0..count).map(|number| format!("{letter}{number}")).collect()
    }

    fn letters(plugins: &[&str]) -> String {
        plugins.iter().filter_map(|plugin| plugin.chars().next()).collect()
    }

    /// Turns and places that nobody has.
    fn free(line: &Line) -> [usize; 4] {
        [&line.turns, &line.changed, &line.under_way, &line.settled].map(Semaphore::available_permits)
    }

    #[test]
    fn what_was_changed_comes_after_those_who_stand_in_line_and_before_all_who_wait() {
        let line = Line::new(1);
        let mut crowd = Crowd::at(&line);
        crowd.all_ask(["s0", "s1", "s2", "s3", "u0", "c0", "c1"]);
        assert_eq!(crowd.come(), ["s0", "u0", "c0", "c1", "s1", "s2", "s3"]);
    }

    #[test]
    fn of_seven_turns_four_are_for_what_was_changed_two_for_what_is_under_way_and_one_for_what_is_settled() {
        let line = Line::new(1);
        let (settled, under_way, changed) = (named('s', 3), named('u', 6), named('c', 12));
        let mut crowd = Crowd::at(&line);
        for plugins in [&settled, &under_way, &changed] {
            crowd.all_ask(plugins.iter().map(String::as_str));
        }
        assert_eq!(letters(&crowd.come()), "suucccc".repeat(3));
    }

    #[test]
    fn nobody_starves_however_many_were_changed_before() {
        let line = Line::new(1);
        let (changed, settled) = (named('c', 100), named('s', 10));
        let mut crowd = Crowd::at(&line);
        for plugins in [&changed, &settled] {
            crowd.all_ask(plugins.iter().map(String::as_str));
        }
        let first: Vec<&str> = (0..50).filter_map(|_| crowd.comes_next()).collect();
        assert_eq!(letters(&first), "ccccs".repeat(10));
    }

    #[test]
    fn what_is_changed_while_it_waits_comes_forward() {
        let line = Line::new(1);
        let mut crowd = Crowd::at(&line);
        crowd.all_ask(["s0", "s1", "s2", "s3", "u0", "u1", "u2"]);
        for plugin in ["s3", "u2", "nobody"] {
            line.call_forward(plugin);
            assert_eq!(crowd.go_on(), None);
        }
        assert_eq!(crowd.come(), ["s0", "u0", "u1", "s3", "u2", "s1", "s2"]);
        assert!(line.lock().is_empty());
    }

    #[test]
    fn what_is_changed_while_its_urgency_is_asked_for_comes_forward() {
        let line = Line::new(1);
        let mut crowd = Crowd::at(&line);
        crowd.all_ask(["s0", "s1"]);
        crowd.ask("s2", || {
            line.call_forward("s2");
            Urgency::Settled
        });
        assert_eq!(crowd.come(), ["s0", "s2", "s1"]);
    }

    #[test]
    fn what_is_changed_again_while_it_waits_keeps_its_place() {
        let line = Line::new(1);
        let changed = named('c', 7);
        let mut crowd = Crowd::at(&line);
        crowd.all_ask(changed.iter().map(String::as_str));
        for plugin in &changed {
            line.call_forward(plugin);
            assert_eq!(crowd.go_on(), None);
        }
        assert_eq!(crowd.come(), changed);
    }

    #[test]
    fn who_stops_waiting_wherever_it_stands_takes_no_turn_and_no_place_along() {
        let plugins = ["s0", "s1", "s2", "u0", "c0", "c1", "c2", "c3", "c4"];
        for (index, gone) in plugins.iter().enumerate() {
            let line = Line::new(1);
            let mut crowd = Crowd::at(&line);
            crowd.all_ask(plugins);
            // One was called forward and one has been given the turn, and neither knows.
            line.call_forward("s2");
            crowd.turn = None;
            drop(crowd.waiting.remove(index));
            let mut came = crowd.come();
            came.sort_unstable();
            let mut others: Vec<&str> = plugins.into_iter().filter(|plugin| plugin != gone).collect();
            others.sort_unstable();
            assert_eq!(came, others);
            assert_eq!(free(&line), [1, CHANGED, UNDER_WAY, SETTLED], "without {gone}");
            assert!(line.lock().is_empty(), "without {gone}");
        }
    }

    #[test]
    fn nobody_waits_when_there_are_no_more_turns() {
        let line = Line::new(1);
        let mut crowd = Crowd::at(&line);
        crowd.all_ask(["s0", "s1", "u0", "c0", "c1", "c2", "c3", "c4"]);
        line.close();
        assert!(crowd.go_on().is_some());
        assert!(crowd.waiting.is_empty() && crowd.turn.is_none());
        let later = line.take("later", || Urgency::Changed);
        assert!(later.now_or_never().unwrap().is_none());
    }
}
