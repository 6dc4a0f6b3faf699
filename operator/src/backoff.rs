//! How long to wait before what failed is tried again: doubled each time, per object, up to a cap; and what is told of
//! the failure meanwhile.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use backon::ExponentialBuilder;
use kube::runtime::{utils::Backoff, watcher::ExponentialBackoff};

use crate::controller::object::Version;

/// Wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST: Duration = Duration::from_mins(5);

/// Wait after the `failures`-th failure in a row, counted from 1.
pub fn delay(failures: u32) -> Duration {
    FIRST
        .saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)))
        .min(LONGEST)
}

/// How long a watch that failed waits before it asks again: 0.8 s at first, twice as long each time, 5 s at the longest, and up to as much again by
/// chance. Where the API server was away, or the kind was not installed, nobody notices for so long that it is back. A watch that has brought
/// something, or begins to list, begins anew.
pub fn of_watches() -> impl Backoff + use<> {
    let waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(800))
        .with_max_delay(Duration::from_secs(5))
        .with_factor(2.0)
        .without_max_times()
        .with_jitter();
    ExponentialBackoff::from(waits)
}

/// Something that failed, and stands as it was first told until it is due to be tried again. It may be tried before,
/// because something else has changed; if that changed the text, each telling would wake who tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure<T> {
    pub told: T,
    count: u32,
    due: Instant,
}

impl<T> Failure<T> {
    /// The failure `told` at `now`, after `before`.
    pub fn after(before: Option<&Self>, told: T, now: Instant) -> Self {
        let count = before.map_or(0, |before| before.count).saturating_add(1);
        Self {
            told,
            count,
            due: now + delay(count),
        }
    }

    /// What is left of the wait.
    pub fn wait(&self, now: Instant) -> Duration {
        self.due.saturating_duration_since(now)
    }

    /// Whether the wait is over.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due <= now
    }
}

/// What is to be told of an object that fails.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trouble {
    /// Whether it takes a change to end it.
    pub refused: bool,
    pub message: String,
}

/// An object's last failure.
#[derive(Debug)]
struct Entry {
    /// The object and the generation that failed. Another one is tried as if nothing had been.
    version: Version,
    failure: Failure<Trouble>,
    /// It went well since.
    healed: bool,
}

/// The failures of objects, by name.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<String, Entry>>);

impl Failures {
    /// Counts one more failure of `name`, unless the wait for the last one is not over: then that one stands. Returns
    /// what is to be told; nothing, if telling it could go to and fro with what was told already.
    pub fn failed(&self, name: &str, version: Version, trouble: Trouble, now: Instant) -> Option<Trouble> {
        let mut entries = self.lock();
        let before = entries.get(name).filter(|before| before.version == version);
        if let Some(before) = before.filter(|before| !before.failure.is_due(now)) {
            let stands = !before.healed && before.failure.told.refused == trouble.refused;
            return stands.then(|| before.failure.told.clone());
        }
        let in_a_row = before.filter(|before| !before.healed).map(|before| &before.failure);
        let entry = Entry {
            version,
            failure: Failure::after(in_a_row, trouble.clone(), now),
            healed: false,
        };
        entries.insert(name.to_owned(), entry);
        Some(trouble)
    }

    /// Forgets the failure of `name`, when its wait is over.
    pub fn succeeded(&self, name: &str, now: Instant) {
        let mut entries = self.lock();
        match entries.get_mut(name) {
            Some(entry) if !entry.failure.is_due(now) => entry.healed = true,
            Some(_) => _ = entries.remove(name),
            None => {}
        }
    }

    /// What is left of the wait of `name`.
    pub fn wait(&self, name: &str, now: Instant) -> Duration {
        self.lock().get(name).map_or(FIRST, |entry| entry.failure.wait(now))
    }

    /// Forgets all objects but those for which `exists` holds.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| exists(name));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // An entry is whole whatever panicked while it was held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> Trouble {
        Trouble {
            refused: true,
            message: message.to_owned(),
        }
    }

    /// An object of this uid, at this generation.
    fn version(uid: &str, generation: i64) -> Version {
        Version {
            uid: Some(uid.to_owned()),
            generation: Some(generation),
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let seconds: Vec<u64> = [1, 2, 3, 9, 10, 100, u32::MAX].map(|n| delay(n).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 256, 300, 300, 300]);
    }

    #[test]
    fn a_message_stands_until_its_wait_is_over() {
        let (failures, start) = (Failures::default(), Instant::now());
        let failed = |text, after| failures.failed("a", version("u-1", 1), refused(text), start + seconds(after));
        assert_eq!(failed("request 1", 0), Some(refused("request 1")));
        assert_eq!(failed("request 2", 0), Some(refused("request 1")));
        assert_eq!(failures.wait("a", start), seconds(1), "it is not counted twice");
        assert_eq!(failed("request 3", 1), Some(refused("request 3")));
        assert_eq!(failures.wait("a", start + seconds(1)), seconds(2));
    }

    #[test]
    fn another_generation_is_told_at_once_and_counted_from_one() {
        let (failures, start) = (Failures::default(), Instant::now());
        failures.failed("a", version("u-1", 1), refused("x"), start);
        failures.failed("a", version("u-1", 1), refused("x"), start + seconds(1));
        let told = failures.failed("a", version("u-1", 2), refused("y"), start + seconds(1));
        assert_eq!(told, Some(refused("y")));
        assert_eq!(failures.wait("a", start + seconds(1)), seconds(1));
    }

    #[test]
    fn another_object_of_the_same_name_is_told_at_once_and_counted_from_one() {
        let (failures, start) = (Failures::default(), Instant::now());
        for after in [0, 1, 3, 7] {
            failures.failed("a", version("u-1", 1), refused("x"), start + seconds(after));
        }
        let now = start + seconds(8);
        assert_eq!(failures.wait("a", now), seconds(7));
        let replaced = |text| failures.failed("a", version("u-2", 1), refused(text), now);
        assert_eq!(replaced("y"), Some(refused("y")));
        assert_eq!(failures.wait("a", now), seconds(1));
        assert_eq!(replaced("z"), Some(refused("y")), "it is the same from then on");
    }

    #[test]
    fn what_goes_to_and_fro_is_not_told_each_time() {
        let (failures, start) = (Failures::default(), Instant::now());
        failures.failed("a", version("u-1", 1), refused("x"), start);
        let other = Trouble {
            refused: false,
            message: String::from("no answer"),
        };
        assert_eq!(failures.failed("a", version("u-1", 1), other.clone(), start), None);
        failures.succeeded("a", start);
        assert_eq!(failures.failed("a", version("u-1", 1), refused("x"), start), None);
        assert_eq!(
            failures.failed("a", version("u-1", 1), other.clone(), start + seconds(1)),
            Some(other)
        );
        assert_eq!(
            failures.wait("a", start + seconds(1)),
            seconds(1),
            "success was between"
        );
    }

    #[test]
    fn each_object_has_its_own_wait_and_success_ends_it() {
        let (failures, start) = (Failures::default(), Instant::now());
        failures.failed("a", version("u-1", 1), refused("x"), start);
        failures.failed("a", version("u-1", 1), refused("x"), start + seconds(1));
        failures.failed("b", version("u-2", 1), refused("x"), start + seconds(1));
        assert_eq!(failures.wait("a", start + seconds(1)), seconds(2));
        assert_eq!(failures.wait("b", start + seconds(1)), seconds(1));
        failures.succeeded("a", start + seconds(3));
        failures.failed("a", version("u-1", 1), refused("x"), start + seconds(3));
        assert_eq!(failures.wait("a", start + seconds(3)), seconds(1));
        failures.retain(|name| name == "b");
        failures.failed("a", version("u-1", 1), refused("y"), start + seconds(3));
        assert_eq!(failures.wait("b", start + seconds(1)), seconds(1));
    }
}
