//! Which plugins wait to be looked at, and since when.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The plugins that something has woken and that have not been looked at since: a plugin that is just being looked at waits until
/// that has ended.
#[derive(Clone, Debug, Default)]
pub struct Queue(Arc<Mutex<HashMap<String, Instant>>>);

impl Queue {
    /// Something has woken the plugin.
    pub fn woken(&self, plugin: &str) {
        let mut waiting = self.lock();
        if !waiting.contains_key(plugin) {
            waiting.insert(plugin.to_owned(), Instant::now());
        }
    }

    /// Whether something has woken the plugin since it was looked at.
    pub fn waits(&self, plugin: &str) -> bool {
        self.lock().contains_key(plugin)
    }

    /// The plugin is looked at now.
    pub fn begins(&self, plugin: &str) {
        self.lock().remove(plugin);
    }

    /// The plugin was not found, and so is not looked at. One that has come to exist since waits for its look.
    pub fn passed_over(&self, plugin: &str, exists: impl FnOnce() -> bool) {
        let mut waiting = self.lock();
        // Asked under the lock: what comes to exist after that is woken after that, too.
        if !exists() {
            waiting.remove(plugin);
        }
    }

    /// Nothing waits: nobody would look at it.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// How many of those for which `exists` holds wait, and for how long the first of them has.
    pub fn standing(&self, exists: impl Fn(&str) -> bool) -> (usize, Duration) {
        let mut waiting = self.lock();
        // What wakes a plugin that is gone, as its dependents do on their way out, is never answered.
        waiting.retain(|plugin, _| exists(plugin));
        let oldest = waiting.values().min().map_or(Duration::ZERO, Instant::elapsed);
        (waiting.len(), oldest)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        // An entry is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_waits_from_what_woke_it_first_until_it_is_looked_at() {
        let queue = Queue::default();
        assert_eq!(queue.standing(|_| true), (0, Duration::ZERO));
        queue.woken("a");
        let first = queue.lock()["a"];
        queue.woken("a");
        queue.woken("b");
        assert_eq!(queue.lock()["a"], first);
        assert_eq!(queue.standing(|_| true).0, 2);
        queue.begins("a");
        assert!(!queue.waits("a") && queue.waits("b"));
        queue.woken("a");
        assert!(queue.lock()["a"] >= first, "it is woken anew while it is looked at");
        assert_eq!(queue.standing(|plugin| plugin == "b").0, 1);
        queue.clear();
        assert_eq!(queue.standing(|_| true), (0, Duration::ZERO));
    }

    #[test]
    fn what_is_no_plugin_waits_for_nothing() {
        let queue = Queue::default();
        for name in ["never-was", "just-made", "other"] {
            queue.woken(name);
        }
        queue.passed_over("never-was", || false);
        queue.passed_over("just-made", || true);
        assert!(!queue.waits("never-was") && queue.waits("just-made") && queue.waits("other"));
    }
}
