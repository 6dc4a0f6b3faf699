//! What the garbage collector has left of plugins that are gone. Where a CRD is deleted and installed again, the collector sees nothing of its
//! kind for up to a minute; and of what is deleted with a CRD meanwhile it never hears.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::Place;

/// How often it is looked what there is of plugins that are gone. What is there at two looks in a row the collector has left.
const EVERY: Duration = Duration::from_secs(10);

/// What there was of plugins that are gone.
#[derive(Debug, Default)]
pub(super) struct Uncollected {
    before: HashSet<Place>,
    looked: Option<Instant>,
}

impl Uncollected {
    /// Whether it is time to look again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.looked.is_none_or(|looked| now.duration_since(looked) >= EVERY)
    }

    /// What was there at the look before, too.
    pub(super) fn of(&mut self, there: HashSet<Place>, now: Instant) -> Vec<Place> {
        let left = there.intersection(&self.before).cloned().collect();
        (self.before, self.looked) = (there, Some(now));
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        ("Role".into(), (None, name.to_owned()))
    }

    #[test]
    fn the_collector_has_its_time() {
        let (mut uncollected, began) = (Uncollected::default(), Instant::now());
        assert!(uncollected.is_due(began));
        assert!(uncollected.of([place("a"), place("b")].into(), began).is_empty());
        assert!(!uncollected.is_due(began + EVERY / 2));
        assert!(uncollected.is_due(began + EVERY));
        assert_eq!(uncollected.of([place("b"), place("c")].into(), began), [place("b")]);
        assert_eq!(uncollected.of([place("c")].into(), began), [place("c")]);
        assert!(uncollected.of(HashSet::new(), began).is_empty());
        assert!(uncollected.of([place("c")].into(), began).is_empty());
    }
}
