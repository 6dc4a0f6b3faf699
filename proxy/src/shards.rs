//! Values that threads gather without waiting for one another.

use std::{
    array,
    cell::Cell,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// More than there are threads that serve, so that each mostly has one to itself.
const COUNT: usize = 16;

/// Several values of which each thread uses one.
pub(crate) struct Shards<T>([Mutex<T>; COUNT]);

/// Which one the next thread uses.
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static MINE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % COUNT);
}

impl<T: Default> Default for Shards<T> {
    fn default() -> Self {
        Self(array::from_fn(|_| Mutex::default()))
    }
}

impl<T: Default> Shards<T> {
    /// Uses this thread's value. Others wait only if more threads serve than there are values, or while one is taken.
    pub(crate) fn with<R>(&self, using: impl FnOnce(&mut T) -> R) -> R {
        let mine = self.0.get(MINE.get()).unwrap_or(&self.0[0]);
        using(&mut mine.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All values, of which empty ones take the place.
    pub(crate) fn take_all(&self) -> Vec<T> {
        let take = |value: &Mutex<T>| std::mem::take(&mut *value.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.iter().map(take).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_gather_is_all_there() {
        let shards = Shards::<Vec<usize>>::default();
        std::thread::scope(|scope| {
            for thread in 0..2 * COUNT {
                let shards = &shards;
                scope.spawn(move || shards.with(|mine| mine.push(thread)));
            }
        });
        let mut all = shards.take_all().concat();
        all.sort_unstable();
        assert_eq!(all, (0..2 * COUNT).collect::<Vec<_>>());
        assert!(shards.take_all().concat().is_empty());
    }
}
