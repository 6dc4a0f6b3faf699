//! What the garbage collector has left of plugins that are gone. Where a CRD is deleted and installed again, the collector sees nothing of its
//! kind for up to a minute; and of what is deleted with a CRD meanwhile it never hears.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{Place, State, rank};

/// How often it is looked what there is of plugins that are gone. What is there at two looks in a row the collector has left.
const EVERY: Duration = Duration::from_secs(10);
/// How much is taken up at a look. The collector may be behind, and not blind.
const MOST: usize = 100;

/// What there was of plugins that are gone.
#[derive(Debug, Default)]
pub(super) struct Uncollected {
    before: HashMap<Place, State>,
    looked: Option<Instant>,
    /// What is not to go, as it was then.
    staying: HashMap<Place, State>,
}

impl Uncollected {
    /// Whether it is time to look again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.looked.is_none_or(|looked| now.duration_since(looked) >= EVERY)
    }

    /// It was looked, and what was found was taken up.
    pub(super) fn looked(&mut self, now: Instant) {
        self.looked = Some(now);
    }

    /// The object is not to go, as long as it is as it is.
    pub(super) fn stays(&mut self, place: Place, state: State) {
        self.staying.insert(place, state);
    }

    /// What was there at the look before, too, and may be to go: the first of it, in the order in which it goes.
    pub(super) fn of(&mut self, there: HashMap<Place, State>) -> Vec<(Place, State)> {
        self.staying.retain(|place, _| there.contains_key(place));
        let is_left = |(place, state): &(&Place, &State)| {
            self.before.contains_key(*place) && self.staying.get(*place) != Some(*state)
        };
        let left = there.iter().filter(is_left);
        let mut left: Vec<(Place, State)> = left.map(|(place, state)| (place.clone(), state.clone())).collect();
        left.sort_by_cached_key(|(place, _)| rank(&place.0));
        left.truncate(MOST);
        self.before = there;
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(kind: &'static str, names: &[&str], version: &str) -> HashMap<Place, State> {
        let place = |name: &&str| (kind.into(), (None, (*name).to_owned()));
        let state = State {
            uid: Some(String::from("u")),
            version: Some(version.to_owned()),
        };
        names.iter().map(|name| (place(name), state.clone())).collect()
    }

    fn roles(names: &[&str]) -> HashMap<Place, State> {
        there("Role", names, "1")
    }

    fn names(left: &[(Place, State)]) -> Vec<&str> {
        left.iter().map(|(place, _)| place.1.1.as_str()).collect()
    }

    #[test]
    fn the_collector_has_its_time() {
        let (mut uncollected, began) = (Uncollected::default(), Instant::now());
        assert!(uncollected.is_due(began));
        uncollected.looked(began);
        assert!(!uncollected.is_due(began + EVERY / 2));
        assert!(uncollected.is_due(began + EVERY));
        assert!(uncollected.of(roles(&["a", "b"])).is_empty());
        assert_eq!(names(&uncollected.of(roles(&["b", "c"]))), ["b"]);
        assert_eq!(names(&uncollected.of(roles(&["c"]))), ["c"]);
        assert!(uncollected.of(HashMap::new()).is_empty());
        assert!(uncollected.of(roles(&["c"])).is_empty());
    }

    #[test]
    fn what_stays_is_taken_up_again_when_it_changes() {
        let mut uncollected = Uncollected::default();
        uncollected.of(roles(&["a"]));
        let (place, state) = uncollected.of(roles(&["a"])).remove(0);
        assert_eq!(names(&uncollected.of(roles(&["a"]))), ["a"], "it could not be read");
        uncollected.stays(place, state);
        assert!(uncollected.of(roles(&["a"])).is_empty());
        assert_eq!(names(&uncollected.of(there("Role", &["a"], "2"))), ["a"]);
    }

    #[test]
    fn of_much_the_rights_are_taken_up_first() {
        let many: Vec<String> = (0..MOST).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let all = || {
            there("Service", &many, "1")
                .into_iter()
                .chain(roles(&["a"]))
                .collect::<HashMap<_, _>>()
        };
        let mut uncollected = Uncollected::default();
        uncollected.of(all());
        let left = uncollected.of(all());
        assert_eq!((left.len(), names(&left)[0]), (MOST, "a"));
    }
}
