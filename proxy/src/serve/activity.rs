//! What becomes of the requests of one connection: whether there are any, and whether callers wait for their answers.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::rt::Executor;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{given::taken, limits::MAX_ABANDONED};

/// The requests of one connection.
pub(super) struct Activity {
    open: AtomicUsize,
    /// Since when there is none.
    idle: Mutex<Instant>,
    abandoned: AtomicUsize,
    flooded: Notify,
    /// Whether there was a request.
    begun: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            idle: Mutex::new(Instant::now()),
            abandoned: AtomicUsize::new(0),
            flooded: Notify::new(),
            begun: AtomicBool::new(false),
        })
    }

    /// When there was no stream for so long.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let since = *self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let end = if self.open.load(Ordering::Relaxed) == 0 {
                since + limit
            } else {
                Instant::now() + limit
            };
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }

    /// When no request came at all for so long.
    pub(super) async fn silent(&self, limit: Duration) {
        sleep(limit).await;
        if self.begun.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    /// When the peer makes requests only to take them back.
    pub(super) async fn flooded(&self) {
        self.flooded.notified().await;
    }

    /// One more request, whose answer is awaited until [`Asked::answered`].
    pub(super) fn asked(self: &Arc<Self>) -> Asked {
        self.begun.store(true, Ordering::Relaxed);
        Asked(Some(Arc::clone(self)))
    }

    fn opened(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }
}

/// A stream that is open until this is dropped.
struct Open(Arc<Activity>);

impl Drop for Open {
    fn drop(&mut self) {
        *self.0.idle.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request that has no answer yet. Dropped so, it was abandoned.
pub(super) struct Asked(Option<Arc<Activity>>);

impl Asked {
    pub(super) fn answered(mut self) {
        if let Some(activity) = self.0.take() {
            let one_less = |abandoned: usize| abandoned.checked_sub(1);
            // Fails at none, which is what it should be.
            let _ = activity
                .abandoned
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(activity) = self.0.take()
            && activity.abandoned.fetch_add(1, Ordering::Relaxed) >= MAX_ABANDONED
        {
            activity.flooded.notify_one();
        }
    }
}

/// Runs the HTTP/2 streams of a connection, each in a task. One whose client does not take its answer is reset, and with it go the
/// plugin's stream and all that waits to be taken.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) activity: Arc<Activity>,
    pub(super) stalled: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (open, stalled) = (self.activity.opened(), self.stalled);
        tokio::spawn(async move {
            if !taken(stream, stalled).await {
                tracing::debug!("a client does not take its answer: the stream is reset");
            }
            drop(open);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt as _;
    use tokio::time::timeout;

    use super::*;

    /// For a time that has to pass.
    const SHORT: Duration = Duration::from_millis(40);

    #[tokio::test]
    async fn a_connection_is_idle_only_without_streams() {
        let activity = Activity::new();
        let open = activity.opened();
        let mut idle = pin!(activity.idle(SHORT));
        assert!(timeout(SHORT * 3, idle.as_mut()).await.is_err());
        drop(open);
        let ended = Instant::now();
        idle.await;
        assert!(ended.elapsed() >= SHORT);
    }

    #[tokio::test]
    async fn who_only_takes_requests_back_is_told_apart_from_who_reads_answers() {
        let activity = Activity::new();
        for _ in 0..MAX_ABANDONED * 4 {
            drop(activity.asked());
            activity.asked().answered();
        }
        assert!(
            activity.flooded().now_or_never().is_none(),
            "half of the answers were read"
        );
        for _ in 0..MAX_ABANDONED {
            drop(activity.asked());
        }
        assert!(activity.flooded().now_or_never().is_none());
        drop(activity.asked());
        assert!(activity.flooded().now_or_never().is_some());
    }
}
