//! How long to wait before what failed is tried again: doubled each time, per object, up to a cap.

use std::{collections::HashMap, sync::Mutex, time::Duration};

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

/// Failures in a row, by the name of the object that fails.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<String, u32>>);

impl Failures {
    /// Counts one more failure of `name`, and tells how long to wait.
    pub fn failed(&self, name: &str) -> Duration {
        let mut counts = self.lock();
        let count = counts.entry(name.to_owned()).or_default();
        *count = count.saturating_add(1);
        delay(*count)
    }

    /// Forgets the failures of `name`.
    pub fn succeeded(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Forgets all objects but those for which `exists` holds.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| exists(name));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, u32>> {
        // A counter is whole whatever panicked while it was held.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let seconds: Vec<u64> = [1, 2, 3, 9, 10, 100, u32::MAX].map(|n| delay(n).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 256, 300, 300, 300]);
    }

    #[test]
    fn each_object_has_its_own_count_and_success_ends_it() {
        let failures = Failures::default();
        failures.failed("a");
        assert_eq!(failures.failed("a").as_secs(), 2);
        assert_eq!(failures.failed("b").as_secs(), 1);
        failures.succeeded("a");
        assert_eq!(failures.failed("a").as_secs(), 1);
        failures.retain(|name| name == "b");
        assert_eq!(failures.failed("a").as_secs(), 1);
        assert_eq!(failures.failed("b").as_secs(), 2);
    }
}
