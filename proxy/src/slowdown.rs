//! Slows down whoever sends one unknown token after another, by their address, and nobody whose token is known; and whoever begins one
//! session after another, whose ends every gateway has to remember.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock as _};
use moka::future::Cache;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::pipeline::authenticate::Identity;

/// Failed attempts of one source that nobody minds: some mistyped tokens of many people behind one address.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// Failed attempts of one source a second after that.
const A_SECOND: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// Most attempts of one source under way at once, so that many at once do not pass before the first has failed.
const TURNS: usize = 8;
/// How long an attempt waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most sources that are remembered, the least used forgotten first.
const MOST: u64 = 100_000;
/// After which a source is forgotten that does nothing: by then it may do all again anyway.
const FORGOTTEN: Duration = Duration::from_mins(1);

/// Sessions that one caller may begin at once, as many people do who share a token.
const SESSIONS_AT_ONCE: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// After which there may be another session. With it nobody fills the list of ended sessions alone before it forgets them.
const SESSION_EVERY: Duration = Duration::from_secs(30);
/// After which a caller who begins no session is forgotten: by then they may begin all again.
const CALLER_FORGOTTEN: Duration = Duration::from_hours(1);

/// Remembers sources of failed attempts, and who begins sessions.
pub struct Slowdown {
    sources: Cache<IpAddr, Arc<Source>>,
    sessions: Cache<Identity, Arc<DefaultDirectRateLimiter>>,
}

struct Source {
    failures: DefaultDirectRateLimiter,
    turns: Arc<Semaphore>,
    closed_until: Mutex<Option<Instant>>,
}

/// An attempt to log in, or to use a token that is not known.
pub struct Attempt {
    source: Arc<Source>,
    /// Whether it counts against its source.
    fails: bool,
    _turn: OwnedSemaphorePermit,
}

/// Why an attempt is not made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("failed to let another attempt of this source through")]
pub struct TooMany {
    /// After which it may be tried again.
    pub wait: Duration,
}

impl Default for Slowdown {
    fn default() -> Self {
        let callers = Cache::builder().max_capacity(MOST).time_to_idle(CALLER_FORGOTTEN);
        Self {
            sources: Cache::builder().max_capacity(MOST).time_to_idle(FORGOTTEN).build(),
            sessions: callers.build(),
        }
    }
}

impl Slowdown {
    /// Lets the source at `address` make an attempt, if it has not failed too often.
    pub async fn attempt(&self, address: IpAddr) -> Result<Attempt, TooMany> {
        let source = self
            .sources
            .get_with(network(address), async { Arc::new(Source::new()) })
            .await;
        source.is_open()?;
        let turn = timeout(PATIENCE, Arc::clone(&source.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(TooMany {
                wait: Duration::from_secs(1),
            });
        };
        // Those that went before may have failed meanwhile.
        source.is_open()?;
        Ok(Attempt {
            source,
            fails: true,
            _turn: turn,
        })
    }
}

impl Slowdown {
    /// Lets this caller begin another session, if they have not begun too many.
    pub async fn session(&self, caller: Identity) -> Result<(), TooMany> {
        let quota = Quota::with_period(SESSION_EVERY).unwrap_or(Quota::per_minute(NonZeroU32::MIN));
        let fresh = async { Arc::new(RateLimiter::direct(quota.allow_burst(SESSIONS_AT_ONCE))) };
        let begun = self.sessions.get_with(caller, fresh).await;
        begun.check().map_err(|until| TooMany {
            wait: until.wait_time_from(begun.clock().now()),
        })
    }
}

impl Attempt {
    /// Does not count against its source. One of which nobody waited for the end does.
    pub fn succeeded(mut self) {
        self.fails = false;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.fails {
            return;
        }
        let failures = &self.source.failures;
        if let Err(until) = failures.check() {
            let wait = until.wait_time_from(failures.clock().now());
            let mut closed = self.source.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
            *closed = Some(Instant::now() + wait);
        }
    }
}

impl Source {
    fn new() -> Self {
        Self {
            failures: RateLimiter::direct(Quota::per_second(A_SECOND).allow_burst(AT_ONCE)),
            turns: Arc::new(Semaphore::new(TURNS)),
            closed_until: Mutex::default(),
        }
    }

    fn is_open(&self) -> Result<(), TooMany> {
        let closed = *self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = closed.map(|until| until.saturating_duration_since(Instant::now()));
        match wait {
            Some(wait) if !wait.is_zero() => Err(TooMany { wait }),
            _ => Ok(()),
        }
    }
}

/// What counts as one source: of IPv6 the network that a subscriber gets, in which they may have any address.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::authenticate::Caller;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    /// Fails until the source is slowed down; how often that took.
    async fn exhaust(slowdown: &Slowdown, source: IpAddr) -> u32 {
        for failed in 0..1_000 {
            match slowdown.attempt(source).await {
                Ok(attempt) => drop(attempt),
                Err(_) => return failed,
            }
        }
        panic!("nobody is slowed down");
    }

    #[tokio::test]
    async fn a_source_that_fails_too_often_is_slowed_down_and_no_other() {
        let slowdown = Slowdown::default();
        let failed = exhaust(&slowdown, HERE).await;
        assert!(failed > AT_ONCE.get(), "{failed}");
        let refused = slowdown.attempt(HERE).await.err().unwrap();
        assert!(refused.wait <= Duration::from_secs(1), "{refused:?}");
        assert!(slowdown.attempt(THERE).await.is_ok());
    }

    #[tokio::test]
    async fn a_source_may_try_again_after_the_time_that_it_was_told() {
        let slowdown = Slowdown::default();
        exhaust(&slowdown, HERE).await;
        let again = async {
            while slowdown.attempt(HERE).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), again).await.unwrap();
    }

    #[tokio::test]
    async fn attempts_that_succeed_do_not_count() {
        let slowdown = Slowdown::default();
        for _ in 0..10 * AT_ONCE.get() {
            slowdown
                .attempt(HERE)
                .await
                .unwrap_or_else(|_| panic!("slowed down"))
                .succeeded();
        }
    }

    #[tokio::test]
    async fn a_caller_begins_so_many_sessions_and_others_are_free() {
        let slowdown = Slowdown::default();
        let caller = |name: &str| Caller::new(name.to_owned(), String::new(), vec![], [].into()).identity();
        for _ in 0..SESSIONS_AT_ONCE.get() {
            assert_eq!(slowdown.session(caller("jane")).await, Ok(()));
        }
        let refused = slowdown.session(caller("jane")).await.unwrap_err();
        assert!(refused.wait <= SESSION_EVERY && !refused.wait.is_zero(), "{refused:?}");
        assert_eq!(slowdown.session(caller("ann")).await, Ok(()));
    }

    #[tokio::test]
    async fn attempts_that_wait_for_others_to_fail_are_slowed_down_too() {
        let slowdown = Arc::new(Slowdown::default());
        let attempts: Vec<_> = (0..500)
            .map(|_| {
                let slowdown = Arc::clone(&slowdown);
                tokio::spawn(async move {
                    let attempt = slowdown.attempt(HERE).await;
                    // Whoever asks the API server lets others on.
                    tokio::task::yield_now().await;
                    attempt.map(drop).is_ok()
                })
            })
            .collect();
        let mut passed = 0;
        for attempt in attempts {
            passed += usize::from(attempt.await.unwrap());
        }
        assert!(passed < 100, "{passed} passed");
    }

    #[test]
    fn a_subscribers_network_is_one_source() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
