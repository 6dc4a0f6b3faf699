//! How many requests to each plugin are under way, whatever endpoint has them, and the bound on that: a plugin that answers
//! nothing keeps no more of the gateway than its object gives it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use kite_api::PluginName;

/// The places of all plugins. Reading takes no lock.
#[derive(Default)]
pub(super) struct Places(ArcSwap<HashMap<PluginName, Arc<AtomicUsize>>>);

/// A place among the requests to a plugin, until its last copy is dropped.
#[derive(Clone)]
pub struct Place {
    _taken: Arc<Taken>,
}

struct Taken(Arc<AtomicUsize>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    /// A place among at most `most`, or `None` if all are taken.
    pub(super) fn take(&self, plugin: &PluginName, most: usize) -> Option<Place> {
        let count = self.count(plugin);
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < most).then_some(taken + 1)
            })
            .ok()?;
        Some(Place {
            _taken: Arc::new(Taken(count)),
        })
    }

    fn count(&self, plugin: &PluginName) -> Arc<AtomicUsize> {
        if let Some(count) = self.0.load().get(plugin) {
            return Arc::clone(count);
        }
        let fresh = Arc::<AtomicUsize>::default();
        let before = self.0.rcu(|counts| {
            let mut counts = HashMap::clone(counts);
            counts.entry(plugin.clone()).or_insert_with(|| Arc::clone(&fresh));
            counts
        });
        // Whoever was first has put theirs in.
        before.get(plugin).map_or(fresh, Arc::clone)
    }

    /// Forgets the plugins that are not `known`. One that is under way there still counts until it ends.
    pub(super) fn keep_only(&self, known: impl Fn(&PluginName) -> bool) {
        let is_known = |name: &PluginName, count: &Arc<AtomicUsize>| known(name) || count.load(Ordering::Relaxed) > 0;
        if self.0.load().iter().all(|(name, count)| is_known(name, count)) {
            return;
        }
        self.0.rcu(|counts| {
            let mut counts = HashMap::clone(counts);
            counts.retain(|name, count| is_known(name, count));
            counts
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PluginName {
        PluginName::parse(text).unwrap()
    }

    #[test]
    fn no_more_are_under_way_than_may_be() {
        let (places, hello, other) = (Places::default(), name("hello"), name("other"));
        let (first, second) = (places.take(&hello, 2), places.take(&hello, 2));
        assert!(first.is_some() && second.is_some());
        assert!(places.take(&hello, 2).is_none());
        assert!(places.take(&other, 2).is_some(), "another plugin has its own");
        let copy = first.clone();
        drop(first);
        assert!(places.take(&hello, 2).is_none(), "a copy is the same place");
        drop(copy);
        let third = places.take(&hello, 2);
        assert!(third.is_some());
        assert!(places.take(&hello, 1).is_none(), "a lower bound holds at once");
        assert!(places.take(&hello, 3).is_some(), "and a higher one");
    }

    #[test]
    fn a_plugin_that_is_gone_is_forgotten_with_its_last_request() {
        let (places, hello) = (Places::default(), name("hello"));
        let place = places.take(&hello, 1);
        places.keep_only(|_| false);
        assert!(places.take(&hello, 1).is_none(), "it may come back");
        drop(place);
        places.keep_only(|_| true);
        assert_eq!(places.0.load().len(), 1);
        places.keep_only(|_| false);
        assert_eq!(places.0.load().len(), 0);
    }

    #[test]
    fn many_at_once_get_no_more_than_there_are() {
        let (places, hello) = (Places::default(), name("hello"));
        let take = || (0..100).filter_map(|_| places.take(&hello, 150)).collect::<Vec<_>>();
        let got: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(got.len(), 150);
    }
}
