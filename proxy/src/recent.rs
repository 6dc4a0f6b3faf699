//! Answers of the API server that are not asked for again at once: who a token is of, and what a caller may do.

mod decisions;
mod identities;

use std::{
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use moka::future::Cache;
use tokio::{
    sync::Semaphore,
    time::{error::Elapsed, timeout},
};

use crate::metrics::{Found, Lookups};

pub use self::{
    decisions::RecentDecisions,
    identities::{RandomError, RecentIdentities},
};

/// Most questions of a kind that are asked at once: whoever sends one unknown token after another shall not use up what the API server
/// has for the gateway.
const AT_ONCE: usize = 64;
/// How long a question that has a former answer to fall back on is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long after a question that nobody answered former answers are taken without asking again.
const PAUSE: Duration = Duration::from_secs(1);

/// For how long answers hold.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// One that says yes. A right that is withdrawn is good for so long.
    pub yes: Duration,
    /// One that says no. Whoever is given a right waits for so long.
    pub no: Duration,
    /// Any, while the API server does not answer.
    pub outage: Duration,
}

/// Answers by question. The same question is asked once at a time, whoever waits for it.
struct Recent<K, V> {
    known: Cache<K, Known<V>>,
    /// Who waits for the same answer. Nothing stays in it.
    asking: Cache<K, V>,
    lifetimes: Lifetimes,
    is_yes: fn(&V) -> bool,
    /// Who asks now. The API server has others to answer too.
    turns: Semaphore,
    /// When a question last remained without an answer.
    unanswered: Mutex<Option<Instant>>,
    lookups: Arc<Lookups>,
}

#[derive(Clone)]
struct Known<V> {
    value: V,
    /// When it was asked. While nobody answers, it holds from then on.
    asked: Instant,
    /// Until then it holds without asking.
    fresh_until: Instant,
}

impl<V> Known<V> {
    fn fresh(self) -> Option<V> {
        (Instant::now() < self.fresh_until).then_some(self.value)
    }
}

impl<K, V> Recent<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Answers of which `most` are kept. The least used go first.
    fn new(most: u64, lifetimes: Lifetimes, is_yes: fn(&V) -> bool, lookups: Arc<Lookups>) -> Self {
        let longest = lifetimes.yes.max(lifetimes.no).max(lifetimes.outage);
        Self {
            known: Cache::builder().max_capacity(most).time_to_live(longest).build(),
            asking: Cache::builder().max_capacity(most).time_to_live(Duration::ZERO).build(),
            lifetimes,
            is_yes,
            turns: Semaphore::new(AT_ONCE),
            unanswered: Mutex::default(),
            lookups,
        }
    }

    /// The answer to `key` that holds, or else the one that `ask` gives.
    async fn answer<E, F>(&self, key: K, ask: impl FnOnce() -> F + Send) -> Result<V, E>
    where
        E: Clone + From<Elapsed> + Send + Sync + 'static,
        F: Future<Output = Result<V, E>> + Send,
    {
        match self.holding(&key).await {
            Some(value) => {
                self.lookups.found(Found::Fresh);
                Ok(value)
            }
            // Boxed, so that a request whose answers are known does not carry the room for asking.
            None => Box::pin(self.anew(key, ask)).await,
        }
    }

    /// The answer to `key` that holds without asking.
    async fn holding(&self, key: &K) -> Option<V> {
        self.known.get(key).await.and_then(Known::fresh)
    }

    async fn anew<E, F>(&self, key: K, ask: impl FnOnce() -> F + Send) -> Result<V, E>
    where
        E: Clone + From<Elapsed> + Send + Sync + 'static,
        F: Future<Output = Result<V, E>> + Send,
    {
        let former = self.former(&key).await;
        if let Some(value) = former.clone().filter(|_| self.is_pausing()) {
            self.lookups.found(Found::Former);
            return Ok(value);
        }
        let asked = async {
            // Another may have asked and gone since.
            if let Some(value) = self.holding(&key).await {
                return Ok(value);
            }
            // What was true at the end was true at the beginning too, or came after it.
            let mut began = Instant::now();
            let asking = async {
                // It is never closed.
                let _turn = self.turns.acquire().await.ok();
                began = Instant::now();
                ask().await
            };
            // Whoever has a former answer waits for a turn no longer than for the answer.
            let answer = if former.is_some() {
                timeout(PATIENCE, asking).await.unwrap_or_else(|late| Err(late.into()))
            } else {
                asking.await
            };
            self.lookups.asked(began.elapsed(), answer.is_ok());
            let value = answer?;
            let lifetime = if (self.is_yes)(&value) {
                self.lifetimes.yes
            } else {
                self.lifetimes.no
            };
            let known = Known {
                value: value.clone(),
                asked: began,
                fresh_until: Instant::now() + lifetime,
            };
            self.known.insert(key.clone(), known).await;
            Ok(value)
        };
        let answer = self.asking.try_get_with(key.clone(), asked).await;
        *self.unanswered.lock().unwrap_or_else(PoisonError::into_inner) = answer.is_err().then(Instant::now);
        let answer = match answer {
            Ok(value) => {
                self.lookups.found(Found::Asked);
                return Ok(value);
            }
            Err(error) => self.former(&key).await.ok_or_else(|| E::clone(&error)),
        };
        self.lookups
            .found(if answer.is_ok() { Found::Former } else { Found::Asked });
        answer
    }

    async fn former(&self, key: &K) -> Option<V> {
        let Known { value, asked, .. } = self.known.get(key).await?;
        (asked.elapsed() < self.lifetimes.outage).then_some(value)
    }

    fn is_pausing(&self) -> bool {
        let unanswered = *self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        unanswered.is_some_and(|at| at.elapsed() < PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LONG: Duration = Duration::from_mins(10);

    /// An API server that answers as it is told, if it is let.
    struct Asked {
        recent: Recent<u32, bool>,
        answer: Mutex<Result<bool, Failed>>,
        times: AtomicUsize,
        turns: Semaphore,
    }

    #[derive(Clone, Debug, Eq, PartialEq)]
    enum Failed {
        Down,
        Late,
    }

    impl From<Elapsed> for Failed {
        fn from(_: Elapsed) -> Self {
            Self::Late
        }
    }

    fn asked(yes: Duration, no: Duration, outage: Duration) -> Arc<Asked> {
        Arc::new(Asked {
            recent: Recent::new(100, Lifetimes { yes, no, outage }, |yes| *yes, Arc::default()),
            answer: Mutex::new(Ok(true)),
            times: AtomicUsize::new(0),
            turns: Semaphore::new(1000),
        })
    }

    impl Asked {
        async fn ask(&self, key: u32) -> Result<bool, Failed> {
            let ask = || async {
                self.times.fetch_add(1, Ordering::Relaxed);
                self.turns.acquire().await.unwrap().forget();
                self.answer.lock().unwrap().clone()
            };
            self.recent.answer(key, ask).await
        }

        fn will(&self, answer: Result<bool, Failed>) {
            *self.answer.lock().unwrap() = answer;
        }

        fn times(&self) -> usize {
            self.times.swap(0, Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn an_answer_holds_for_its_time_and_for_its_question() {
        let api = asked(LONG, Duration::ZERO, LONG);
        for _ in 0..3 {
            assert_eq!(api.ask(1).await, Ok(true));
        }
        assert_eq!(api.times(), 1);
        api.will(Ok(false));
        assert_eq!(api.ask(1).await, Ok(true));
        // Another question is asked, and a refusal has a time of its own.
        for _ in 0..3 {
            assert_eq!(api.ask(2).await, Ok(false));
        }
        assert_eq!(api.times(), 3);
        api.will(Ok(true));
        assert_eq!(api.ask(2).await, Ok(true));
    }

    #[tokio::test]
    async fn a_question_is_asked_once_for_all_who_wait() {
        let api = asked(LONG, LONG, LONG);
        api.turns.forget_permits(1000);
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let api = Arc::clone(&api);
                tokio::spawn(async move { api.ask(1).await })
            })
            .collect();
        let asked = async {
            while api.times.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), asked).await.unwrap();
        api.turns.add_permits(1);
        for one in waiting {
            assert_eq!(one.await.unwrap(), Ok(true));
        }
        assert_eq!(api.times(), 1);
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_if_the_one_who_asked_goes() {
        let api = asked(LONG, LONG, LONG);
        api.turns.forget_permits(1000);
        let ask = || {
            let api = Arc::clone(&api);
            tokio::spawn(async move { api.ask(1).await })
        };
        let (first, second) = (ask(), ask());
        tokio::task::yield_now().await;
        first.abort();
        api.turns.add_permits(1);
        assert_eq!(
            timeout(Duration::from_secs(10), second).await.unwrap().unwrap(),
            Ok(true)
        );
    }

    #[tokio::test]
    async fn a_former_answer_holds_while_nobody_answers_and_no_longer() {
        let api = asked(Duration::ZERO, Duration::ZERO, LONG);
        assert_eq!(api.ask(1).await, Ok(true));
        api.will(Ok(false));
        assert_eq!(api.ask(2).await, Ok(false));
        api.will(Err(Failed::Down));
        assert_eq!((api.ask(1).await, api.ask(2).await), (Ok(true), Ok(false)));
        assert_eq!(api.times(), 3, "for a moment nobody is asked again");
        assert_eq!(
            api.ask(3).await,
            Err(Failed::Down),
            "what was never answered is not known"
        );
        let short = asked(Duration::ZERO, Duration::ZERO, Duration::ZERO);
        assert_eq!(short.ask(1).await, Ok(true));
        short.will(Err(Failed::Down));
        assert_eq!(short.ask(1).await, Err(Failed::Down));
    }

    #[tokio::test]
    async fn a_former_answer_is_not_kept_waiting_for() {
        let api = asked(Duration::ZERO, Duration::ZERO, LONG);
        assert_eq!(api.ask(1).await, Ok(true));
        api.turns.forget_permits(1000);
        api.will(Ok(false));
        assert_eq!(timeout(3 * PATIENCE, api.ask(1)).await.unwrap(), Ok(true));
    }

    #[tokio::test]
    async fn the_end_of_an_outage_is_seen() {
        let api = asked(Duration::ZERO, Duration::ZERO, LONG);
        assert_eq!(api.ask(1).await, Ok(true));
        api.will(Err(Failed::Down));
        assert_eq!(api.ask(1).await, Ok(true));
        api.will(Ok(false));
        let seen = async {
            while api.ask(1).await == Ok(true) {
                tokio::task::yield_now().await;
            }
        };
        timeout(3 * PAUSE, seen).await.unwrap();
    }

    #[tokio::test]
    async fn where_answers_came_from_is_counted() {
        let api = asked(LONG, Duration::ZERO, LONG);
        let counts = || api.recent.lookups.counts().map(|(_, count)| count).collect::<Vec<_>>();
        assert_eq!(api.ask(1).await, Ok(true));
        assert_eq!(api.ask(1).await, Ok(true));
        api.will(Ok(false));
        assert_eq!(api.ask(2).await, Ok(false));
        assert_eq!((counts(), api.recent.lookups.failures()), (vec![1, 0, 2], 0));
        let (answered, unanswered) = api.recent.lookups.last();
        assert!(answered.is_some() && unanswered.is_none());
        api.will(Err(Failed::Down));
        assert_eq!(api.ask(2).await, Ok(false));
        assert_eq!(api.ask(3).await, Err(Failed::Down));
        assert_eq!(counts(), [1, 1, 3]);
        assert!(api.recent.lookups.failures() >= 1 && api.recent.lookups.last().1.is_some());
    }
}
