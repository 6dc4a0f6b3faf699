//! The caller's request as messages of the protocol, read only as fast as the plugin takes them.

use std::{
    collections::VecDeque,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::Stream;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use kite_proto::{HttpRequest, HttpRequestHead, MAX_CHUNK};
use tokio::sync::oneshot;

use super::turn::Turn;
use crate::{
    BoxError,
    pipeline::{RequestBody, headers},
};

/// Most bytes that are kept of what was sent, so that they can be sent once more.
const MAX_KEPT: usize = MAX_CHUNK;

/// Head, pieces of the body and trailers. What is there already goes with the head, so that a small request is one
/// message. A request that breaks off ends without `end`.
pub(super) struct Messages {
    /// Taken by the first message.
    head: Option<HttpRequestHead>,
    body: RequestBody,
    /// What of a frame is larger than a message may be.
    rest: Bytes,
    ended: bool,
    taken: Taken,
    broken: bool,
}

impl Messages {
    pub(super) fn new(head: HttpRequestHead, body: RequestBody) -> Self {
        Self {
            head: Some(head),
            body,
            rest: Bytes::new(),
            ended: false,
            taken: Taken::default(),
            broken: false,
        }
    }

    /// The whole body once more, with what was taken of it, if that is still there.
    fn back(mut self) -> Option<RequestBody> {
        let mut pieces = self.taken.pieces?;
        if pieces.is_empty() && self.rest.is_empty() && !self.ended {
            return Some(self.body);
        }
        if !self.rest.is_empty() {
            pieces.push_back(mem::take(&mut self.rest));
        }
        let body = Repeated {
            pieces,
            rest: (!self.ended).then_some(self.body),
        };
        Some(body.boxed_unsync())
    }

    fn message(&mut self, data: Bytes, trailers: Vec<kite_proto::Header>, end: bool) -> HttpRequest {
        self.ended = end;
        if trailers.is_empty() {
            self.taken.keep(&data);
        } else {
            self.taken.pieces = None;
        }
        HttpRequest {
            head: self.head.take(),
            data,
            trailers,
            end,
            ..HttpRequest::default()
        }
    }

    /// Nothing more comes, and the request is not complete.
    fn break_off(&mut self) {
        self.ended = true;
        self.taken.pieces = None;
    }
}

/// What was taken of a body.
struct Taken {
    /// As long as it is little enough to be kept.
    pieces: Option<VecDeque<Bytes>>,
    bytes: usize,
}

impl Default for Taken {
    fn default() -> Self {
        Self {
            pieces: Some(VecDeque::new()),
            bytes: 0,
        }
    }
}

impl Taken {
    fn keep(&mut self, data: &Bytes) {
        self.bytes = self.bytes.saturating_add(data.len());
        if self.bytes > MAX_KEPT {
            self.pieces = None;
        } else if let Some(pieces) = self.pieces.as_mut().filter(|_| !data.is_empty()) {
            pieces.push_back(data.clone());
        }
    }
}

/// A body of which something was taken, from its beginning.
pub(super) struct Repeated {
    pub(super) pieces: VecDeque<Bytes>,
    /// What was not taken, unless all was.
    pub(super) rest: Option<RequestBody>,
}

impl Body for Repeated {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match (this.pieces.pop_front(), &mut this.rest) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            (None, Some(rest)) => Pin::new(rest).poll_frame(cx),
            (None, None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }
}

impl Stream for Messages {
    type Item = HttpRequest;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<HttpRequest>> {
        let this = self.get_mut();
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            if !this.rest.is_empty() {
                let data = this.rest.split_to(this.rest.len().min(MAX_CHUNK));
                let end = this.rest.is_empty() && this.body.is_end_stream();
                return Poll::Ready(Some(this.message(data, Vec::new(), end)));
            }
            let frame = match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(_))) => {
                    this.broken = true;
                    this.break_off();
                    return Poll::Ready(None);
                }
                Poll::Ready(None) => return Poll::Ready(Some(this.message(Bytes::new(), Vec::new(), true))),
                Poll::Pending if this.head.is_some() => {
                    return Poll::Ready(Some(this.message(Bytes::new(), Vec::new(), false)));
                }
                Poll::Pending => return Poll::Pending,
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Poll::Ready(Some(this.message(Bytes::new(), headers::to_plugin(&trailers), true)));
                }
            }
        }
    }
}

/// Messages lent to a connection. When it lets go of them the body comes back, if it can still be sent from its beginning.
pub(super) struct Lent {
    /// Until they come back.
    messages: Option<Messages>,
    turn: Turn,
    back: Option<oneshot::Sender<RequestBody>>,
}

impl Lent {
    pub(super) fn new(messages: Messages, turn: Turn) -> (Self, oneshot::Receiver<RequestBody>) {
        let (back, returned) = oneshot::channel();
        let lent = Self {
            messages: Some(messages),
            turn,
            back: Some(back),
        };
        (lent, returned)
    }
}

impl Stream for Lent {
    type Item = HttpRequest;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<HttpRequest>> {
        let this = self.get_mut();
        let Some(messages) = &mut this.messages else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut *messages).poll_next(cx);
        if messages.broken {
            this.turn.broke_off();
        }
        if polled.is_pending() {
            this.turn.waits_for_caller();
        } else {
            this.turn.handed_over();
        }
        polled
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let body = self.messages.take().and_then(Messages::back);
        if let (Some(body), Some(back)) = (body, self.back.take()) {
            // Mostly nobody wants it any more.
            let _ = back.send(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use http::{HeaderMap, HeaderValue};
    use http_body_util::{Empty, Full, StreamBody};

    use super::*;

    async fn messages(body: RequestBody) -> Vec<HttpRequest> {
        Messages::new(HttpRequestHead::default(), body).collect().await
    }

    fn frames(frames: Vec<Result<Frame<Bytes>, BoxError>>) -> RequestBody {
        StreamBody::new(stream::iter(frames)).boxed_unsync()
    }

    #[tokio::test]
    async fn a_small_request_is_one_message() {
        let head = Some(HttpRequestHead::default());
        let empty = Empty::new().map_err(|never| match never {}).boxed_unsync();
        assert_eq!(
            messages(empty).await,
            [HttpRequest {
                head: head.clone(),
                end: true,
                ..HttpRequest::default()
            }]
        );
        let small = Full::new(Bytes::from("hi"))
            .map_err(|never| match never {})
            .boxed_unsync();
        let expected = HttpRequest {
            head,
            data: Bytes::from("hi"),
            end: true,
            ..HttpRequest::default()
        };
        assert_eq!(messages(small).await, [expected]);
    }

    #[tokio::test]
    async fn a_large_frame_is_several_messages() {
        let large = Full::new(Bytes::from(vec![7; 2 * MAX_CHUNK + 1]))
            .map_err(|never| match never {})
            .boxed_unsync();
        let messages = messages(large).await;
        let shape: Vec<_> = messages
            .iter()
            .map(|m| (m.head.is_some(), m.data.len(), m.end))
            .collect();
        assert_eq!(
            shape,
            [(true, MAX_CHUNK, false), (false, MAX_CHUNK, false), (false, 1, true)]
        );
    }

    #[tokio::test]
    async fn trailers_end_a_request() {
        let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))]);
        let body = frames(vec![Ok(Frame::data(Bytes::from("a"))), Ok(Frame::trailers(trailers))]);
        let messages = messages(body).await;
        let shape: Vec<_> = messages
            .iter()
            .map(|m| (m.data.len(), m.trailers.len(), m.end))
            .collect();
        assert_eq!(shape, [(1, 0, false), (0, 1, true)]);
    }

    #[tokio::test]
    async fn a_request_that_breaks_off_has_no_end() {
        let broken = frames(vec![Ok(Frame::data(Bytes::from("a"))), Err("gone".into())]);
        assert!(messages(broken).await.iter().all(|message| !message.end));
    }

    #[tokio::test]
    async fn the_head_does_not_wait_for_a_body_that_has_not_come() {
        let endless = StreamBody::new(stream::pending::<Result<Frame<Bytes>, BoxError>>()).boxed_unsync();
        let mut messages = Messages::new(HttpRequestHead::default(), endless);
        let first = messages.next().await.unwrap();
        assert!(first.head.is_some() && !first.end);
        assert!(futures::FutureExt::now_or_never(messages.next()).is_none());
    }

    /// Takes `messages` of a body that is lent, and gives what comes back of it then.
    async fn back(body: RequestBody, messages: usize) -> Option<RequestBody> {
        let (mut lent, mut returned) = Lent::new(Messages::new(HttpRequestHead::default(), body), Turn::new());
        for _ in 0..messages {
            lent.next().await;
        }
        drop(lent);
        returned.try_recv().ok()
    }

    fn piece(size: usize) -> Frame<Bytes> {
        Frame::data(Bytes::from(vec![7; size]))
    }

    #[tokio::test]
    async fn a_body_comes_back_whole_whatever_was_taken_of_it() {
        let body = || frames(vec![Ok(piece(2)), Ok(piece(MAX_CHUNK - 3)), Ok(piece(1))]);
        let expected = body().collect().await.unwrap().to_bytes();
        for taken in 0..=4 {
            let back = back(body(), taken).await.unwrap();
            assert!(back.collect().await.unwrap().to_bytes() == expected, "after {taken}");
        }
    }

    #[tokio::test]
    async fn a_frame_that_was_taken_in_part_comes_back_whole() {
        let large = || frames(vec![Ok(piece(3 * MAX_CHUNK))]);
        let back = back(large(), 1).await.unwrap();
        assert_eq!(back.collect().await.unwrap().to_bytes().len(), 3 * MAX_CHUNK);
        assert!(self::back(large(), 2).await.is_none(), "more is not kept");
    }

    #[tokio::test]
    async fn a_body_that_comes_back_is_sent_like_another() {
        let small = Full::new(Bytes::from("hi")).map_err(|never| match never {});
        let again = back(small.boxed_unsync(), 1).await.unwrap();
        let expected = HttpRequest {
            head: Some(HttpRequestHead::default()),
            data: Bytes::from("hi"),
            end: true,
            ..HttpRequest::default()
        };
        assert_eq!(messages(again).await, [expected]);
    }

    #[tokio::test]
    async fn what_broke_off_or_had_trailers_does_not_come_back() {
        for taken in 1..=2 {
            assert!(back(frames(vec![Err("gone".into())]), taken).await.is_none());
        }
        let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))]);
        let body = || frames(vec![Ok(piece(1)), Ok(Frame::trailers(trailers.clone()))]);
        assert!(back(body(), 1).await.is_some());
        assert!(back(body(), 2).await.is_none());
    }
}
