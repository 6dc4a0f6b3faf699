//! What becomes of the requests of one connection: whether there are any, whether callers wait for their answers, and whether
//! they take them.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{limits::MAX_ABANDONED, unread::Next};

tokio::task_local! {
    /// Whose turn it is on the HTTP/2 stream that a task carries.
    static TURN: Arc<Turn>;
}

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

/// Whether `stream` ended before its client had left a piece of its answer where it is for `stalled`.
async fn taken(stream: impl Future<Output = ()>, stalled: Duration) -> bool {
    let turn = Arc::new(Turn::default());
    let mut stream = pin!(TURN.scope(Arc::clone(&turn), stream));
    let (mut seen, mut timer) = (0, None);
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        let given = turn.0.load(Ordering::Relaxed);
        if given == 0 {
            timer = None;
            return Poll::Pending;
        }
        // A piece that is taken gives new time for the next.
        let running = timer.take().filter(|_| given == seen);
        let mut running = running.unwrap_or_else(|| Box::pin(sleep(stalled)));
        seen = given;
        let over = running.as_mut().poll(cx);
        timer = Some(running);
        over.map(|()| false)
    })
    .await
}

/// Most bytes that are given at once: HTTP/2 takes a piece whole, however little of it the client does.
const PIECE: usize = 64 * 1024;

/// How many pieces of an answer were given to the client since it waited for one; none while it waits.
#[derive(Default)]
struct Turn(AtomicUsize);

/// The body of an answer, that tells whose turn it is.
pub(super) struct Given<B> {
    body: B,
    /// What of a piece was not given yet.
    rest: Bytes,
    turn: Option<Arc<Turn>>,
    /// Held until it is over, where that is of interest.
    _next: Option<Arc<Next>>,
}

impl<B> Given<B> {
    pub(super) fn new(body: B, next: Option<Arc<Next>>) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            // HTTP/1.1 has no streams: there TCP tells.
            turn: TURN.try_with(Arc::clone).ok(),
            _next: next,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Given<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = if this.rest.is_empty() {
            Pin::new(&mut this.body).poll_frame(cx).map_ok(|frame| {
                let rest = &mut this.rest;
                frame.map_data(|mut data| {
                    *rest = data.split_off(data.len().min(PIECE));
                    data
                })
            })
        } else {
            let piece = this.rest.split_to(this.rest.len().min(PIECE));
            Poll::Ready(Some(Ok(Frame::data(piece))))
        };
        if let Some(turn) = &this.turn {
            match polled {
                Poll::Pending => turn.0.store(0, Ordering::Relaxed),
                Poll::Ready(_) => {
                    turn.0.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (left, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = left.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint.set_lower(left.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use futures::{FutureExt as _, StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};
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

    /// A stream with an answer of one piece, and then `more` that come late, to a client that takes each at once.
    async fn stream(more: usize) {
        let later = stream::iter(0..more).then(async |_| sleep(SHORT * 2).await);
        let pieces = stream::iter([()])
            .chain(later)
            .map(|()| Ok::<_, Infallible>(Frame::data(Bytes::from("x"))));
        let mut given = Given::new(StreamBody::new(pieces).boxed_unsync(), None);
        for _ in 0..=more {
            given.frame().await;
        }
        pending::<()>().await;
    }

    #[tokio::test]
    async fn a_client_that_leaves_its_answer_where_it_is_loses_it() {
        for more in [0, 2] {
            let began = Instant::now();
            assert!(!taken(stream(more), SHORT).await);
            let plugins = SHORT * 2 * u32::try_from(more).unwrap();
            assert!(
                began.elapsed() >= plugins + SHORT,
                "the plugin's time is not the client's"
            );
        }
    }

    #[tokio::test]
    async fn a_large_piece_is_given_in_small_ones() {
        let large = http_body_util::Full::new(Bytes::from(vec![7; 2 * PIECE + 1]));
        let mut given = Given::new(large, None);
        let mut sizes = Vec::new();
        let mut left = given.size_hint().exact();
        while let Some(frame) = given.frame().await {
            let length = frame.unwrap().into_data().unwrap().len();
            left = left.map(|left| left - length as u64);
            assert_eq!(given.size_hint().exact(), left);
            assert_eq!(given.is_end_stream(), left == Some(0));
            sizes.push(length);
        }
        assert_eq!(sizes, [PIECE, PIECE, 1]);
    }

    #[tokio::test]
    async fn a_client_that_waits_for_the_plugin_is_not_in_its_way() {
        let silent = async {
            let pieces = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from("x")))]).chain(stream::pending());
            let mut given = Given::new(StreamBody::new(pieces).boxed_unsync(), None);
            while given.frame().await.is_some() {}
        };
        assert!(timeout(SHORT * 3, taken(silent, SHORT)).await.is_err());
        assert!(taken(async {}, SHORT).await);
    }
}
