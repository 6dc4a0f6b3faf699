//! The bodies of answers as they are given to clients: in pieces, in turn, and to none that does not take them.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::sleep;

use super::{
    line::{Line, Ticket},
    unread::Next,
};

tokio::task_local! {
    /// Whose turn it is on the HTTP/2 stream that a task carries.
    static TURN: Arc<Turn>;
}

/// Whether `stream` ended before its client had left a piece of its answer where it is for `stalled`.
pub(super) async fn taken(stream: impl Future<Output = ()>, stalled: Duration) -> bool {
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

/// The body of an answer, that tells whose turn it is. Whatever is longer than a piece waits in the `line` of its runtime before it goes on.
pub(super) struct Given<B> {
    body: B,
    /// What of a piece was not given yet.
    rest: Bytes,
    turn: Option<Arc<Turn>>,
    line: Line,
    place: Option<Ticket>,
    /// Bytes that were given since it was let on.
    passed: usize,
    /// Held until it is over, where that is of interest.
    _next: Option<Arc<Next>>,
}

impl<B> Given<B> {
    pub(super) fn new(body: B, line: Line, next: Option<Arc<Next>>) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            // HTTP/1.1 has no streams: there TCP tells.
            turn: TURN.try_with(Arc::clone).ok(),
            line,
            place: None,
            passed: 0,
            _next: next,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Given<B> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.passed >= PIECE {
            ready!(self.line.poll(&mut self.place, cx));
            self.passed = 0;
        }
        if self.rest.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)?) else {
                return Poll::Ready(None);
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.passed += piece.len();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Given<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = this.poll_piece(cx);
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

    use futures::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::{Instant, timeout};

    use super::*;

    /// For a time that has to pass.
    const SHORT: Duration = Duration::from_millis(40);

    /// A stream with an answer of one piece, and then `more` that come late, to a client that takes each at once.
    async fn stream(more: usize) {
        let later = stream::iter(0..more).then(async |_| sleep(SHORT * 2).await);
        let pieces = stream::iter([()])
            .chain(later)
            .map(|()| Ok::<_, Infallible>(Frame::data(Bytes::from("x"))));
        let mut given = Given::new(StreamBody::new(pieces).boxed_unsync(), Line::default(), None);
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
    async fn all_but_the_first_piece_waits_for_its_turn() {
        let bytes = Bytes::from(vec![7; PIECE / 2]);
        let pieces = stream::iter(0..5).map(|_| Ok::<_, Infallible>(Frame::data(bytes.clone())));
        let mut given = Given::new(StreamBody::new(pieces), Line::default(), None);
        let mut at_once = Vec::new();
        loop {
            let mut polls = 0;
            let frame = poll_fn(|cx| {
                polls += 1;
                Pin::new(&mut given).poll_frame(cx)
            });
            let is_over = frame.await.is_none();
            at_once.push(polls == 1);
            if is_over {
                break;
            }
        }
        assert_eq!(at_once, [true, true, false, true, false, true]);
    }

    #[tokio::test]
    async fn a_large_piece_is_given_in_small_ones() {
        let large = http_body_util::Full::new(Bytes::from(vec![7; 2 * PIECE + 1]));
        let mut given = Given::new(large, Line::default(), None);
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
            let mut given = Given::new(StreamBody::new(pieces).boxed_unsync(), Line::default(), None);
            while given.frame().await.is_some() {}
        };
        assert!(timeout(SHORT * 3, taken(silent, SHORT)).await.is_err());
        assert!(taken(async {}, SHORT).await);
    }
}
