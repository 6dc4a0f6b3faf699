//! What is left of a request's body when it has its answer. Over HTTP/1.1 the next request stands behind it, so that it is read to its
//! end, and only then is a head expected; of one that is long, or comes slowly, the connection is closed.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::{runtime::Handle, time::timeout};

use super::lines::Expected;

/// Most bytes that are read for nobody.
const MOST: usize = 256 * 1024;
/// How long they may take.
const LONGEST: Duration = Duration::from_secs(5);

/// Held by a request's body and by its answer. When both are over, what comes next is a head.
pub(super) struct Next {
    expected: Expected,
    follows: AtomicU8,
}

/// What comes after a request and its answer.
const HEAD: u8 = 0;
/// What is no head, or one that is read already.
const OTHER: u8 = 1;
/// Nobody knows.
const UNKNOWN: u8 = 2;

impl Next {
    pub(super) fn new(expected: Expected) -> Arc<Self> {
        Arc::new(Self {
            expected,
            follows: AtomicU8::new(HEAD),
        })
    }

    /// What comes is no head, or the head is read already.
    pub(super) fn never(&self) {
        self.follows.store(OTHER, Ordering::Relaxed);
    }

    /// Nobody knows where the next head begins: the connection ends with the answer.
    fn lost(&self) {
        self.follows.store(UNKNOWN, Ordering::Relaxed);
    }
}

/// What is held of the last request of a connection.
#[derive(Default)]
pub(super) struct Last(Mutex<Weak<Next>>);

impl Last {
    /// Another request is the last now; gives what is still held of the one before.
    pub(super) fn replace(&self, next: Option<&Arc<Next>>) -> Option<Arc<Next>> {
        let next = next.map(Arc::downgrade).unwrap_or_default();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *last, next).upgrade()
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        match *self.follows.get_mut() {
            HEAD => self.expected.expect(),
            UNKNOWN => self.expected.end(),
            _ => {}
        }
    }
}

/// A request's body that is read to its end, whoever has asked for it.
pub(super) struct Taken<B: Body<Data = Bytes> + Send + Unpin + 'static>
where
    B::Error: Send,
{
    /// Until its end.
    left: Option<(B, Arc<Next>)>,
    /// Whether the client may be waiting to be told to send it.
    waits: bool,
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Taken<B>
where
    B::Error: Send,
{
    pub(super) fn new(body: B, next: Arc<Next>, waits: bool) -> Self {
        let left = (!body.is_end_stream()).then_some((body, next));
        Self { left, waits }
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Body for Taken<B>
where
    B::Error: Send,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let Some((body, next)) = &mut this.left else {
            return Poll::Ready(None);
        };
        // Whoever reads has had the client told.
        this.waits = false;
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        if matches!(frame, Some(Err(_))) {
            next.lost();
        }
        if !matches!(frame, Some(Ok(_))) || body.is_end_stream() {
            this.left = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.left {
            Some((body, _)) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Drop for Taken<B>
where
    B::Error: Send,
{
    fn drop(&mut self) {
        let Some((body, next)) = self.left.take() else { return };
        match Handle::try_current() {
            Ok(runtime) if !self.waits => {
                runtime.spawn(read(body, next, LONGEST));
            }
            // A client that was never told may send its body or not: nobody knows where the next head is.
            _ => next.lost(),
        }
    }
}

/// Reads what is left of a body, if it does not take longer than that.
async fn read<B: Body<Data = Bytes> + Unpin>(body: B, next: Arc<Next>, longest: Duration) {
    if !matches!(timeout(longest, is_read(body)).await, Ok(true)) {
        next.lost();
    }
}

/// Reads a body to its end; not one of more bytes than that.
async fn is_read<B: Body<Data = Bytes> + Unpin>(mut body: B) -> bool {
    let mut left = MOST;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(length) else {
            return false;
        };
        left = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body_util::StreamBody;

    use super::*;

    fn pieces(sizes: &[usize]) -> impl Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static {
        let frames = sizes.iter().map(|size| Ok(Frame::data(Bytes::from(vec![b'a'; *size]))));
        StreamBody::new(stream::iter(frames.collect::<Vec<_>>()))
    }

    fn taken<B>(body: B, waits: bool) -> (Taken<B>, Expected)
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
    {
        let expected = Expected::default();
        (Taken::new(body, Next::new(expected.clone()), waits), expected)
    }

    async fn settled() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_head_is_expected_when_the_body_is_read() {
        let (mut body, expected) = taken(pieces(&[1, 2]), false);
        for _ in 0..2 {
            assert!(body.frame().await.unwrap().is_ok());
            assert!(!expected.is_expected());
        }
        assert!(body.frame().await.is_none());
        assert!(expected.is_expected());
    }

    #[tokio::test]
    async fn what_nobody_reads_is_read_up_to_a_bound() {
        for (sizes, is_expected) in [(vec![1, 2], true), (vec![MOST], true), (vec![MOST, 1], false)] {
            let (body, expected) = taken(pieces(&sizes), false);
            drop(body);
            settled().await;
            assert_eq!(expected.is_expected(), is_expected, "{sizes:?}");
            assert_eq!(expected.has_ended(), !is_expected, "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn what_does_not_come_is_not_waited_for() {
        let expected = Expected::default();
        let never = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        read(never, Next::new(expected.clone()), Duration::from_millis(10)).await;
        assert!(expected.has_ended());
    }

    #[tokio::test]
    async fn a_client_that_was_not_told_to_send_has_no_next_head() {
        let (body, expected) = taken(pieces(&[1]), true);
        drop(body);
        settled().await;
        assert!(expected.has_ended());
    }

    #[test]
    fn what_is_held_of_a_request_expects_nothing_when_another_has_come() {
        let (expected, last) = (Expected::default(), Last::default());
        let first = Next::new(expected.clone());
        assert!(last.replace(Some(&first)).is_none());
        let second = Next::new(expected.clone());
        last.replace(Some(&second)).unwrap().never();
        drop(first);
        assert!(!expected.is_expected());
        drop(second);
        assert!(expected.is_expected());
        assert!(last.replace(None).is_none());
    }

    #[test]
    fn an_answer_that_is_over_waits_for_the_body() {
        let expected = Expected::default();
        let next = Next::new(expected.clone());
        let body = Taken::new(pieces(&[1]), Arc::clone(&next), false);
        drop(next);
        assert!(!expected.is_expected());
        // Outside of a runtime nobody reads.
        drop(body);
        assert!(expected.has_ended());
        let expected = Expected::default();
        let next = Next::new(expected.clone());
        next.never();
        drop(next);
        assert!(!expected.is_expected());
        drop(Next::new(expected.clone()));
        assert!(expected.is_expected());
    }
}
