//! Slows down whoever sends one unknown token after another, by their address, and nobody whose token is known.

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

/// Remembers sources of failed attempts.
pub struct Slowdown(Cache<IpAddr, Arc<Source>>);

struct Source {
    failures: DefaultDirectRateLimiter,
    turns: Arc<Semaphore>,
    closed_until: Mutex<Option<Instant>>,
}

/// An attempt to log in, or to use a token that is not known.
pub struct Attempt {
    source: Arc<Source>,
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
        Self(Cache::builder().max_capacity(MOST).time_to_idle(FORGOTTEN).build())
    }
}

impl Slowdown {
    /// Lets the source at `address` make an attempt, if it has not failed too often.
    pub async fn attempt(&self, address: IpAddr) -> Result<Attempt, TooMany> {
        let source = self
            .0
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
        Ok(Attempt { source, _turn: turn })
    }
}

impl Attempt {
    /// Counts against its source.
    pub fn failed(self) {
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

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    /// Fails until the source is slowed down; how often that took.
    async fn exhaust(slowdown: &Slowdown, source: IpAddr) -> u32 {
        for failed in 0..1_000 {
            match slowdown.attempt(source).await {
                Ok(attempt) => attempt.failed(),
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
            assert!(slowdown.attempt(HERE).await.is_ok());
        }
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
                    attempt.map(Attempt::failed).is_ok()
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
