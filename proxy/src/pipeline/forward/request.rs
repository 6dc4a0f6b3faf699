//! The caller's request as messages of the protocol, read only as fast as the plugin takes them.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::Stream;
use http_body::Body as _;
use kite_proto::{HttpRequest, HttpRequestHead, MAX_CHUNK};

use super::turn::Turn;
use crate::pipeline::{RequestBody, headers};

/// Head, pieces of the body and trailers. What is there already goes with the head, so that a small request is one
/// message. A request that breaks off ends without `end`.
pub(super) struct Messages {
    /// Taken by the first message.
    head: Option<HttpRequestHead>,
    body: RequestBody,
    /// What of a frame is larger than a message may be.
    rest: Bytes,
    ended: bool,
    broken: bool,
}

impl Messages {
    pub(super) fn new(head: HttpRequestHead, body: RequestBody) -> Self {
        Self {
            head: Some(head),
            body,
            rest: Bytes::new(),
            ended: false,
            broken: false,
        }
    }

    /// Whether all is still there: the first message takes the head, and a body that broke off has none.
    fn is_untouched(&self) -> bool {
        self.head.is_some() && !self.ended
    }

    fn message(&mut self, data: Bytes, trailers: Vec<kite_proto::Header>, end: bool) -> HttpRequest {
        self.ended = end;
        HttpRequest {
            head: self.head.take(),
            data,
            trailers,
            end,
            ..HttpRequest::default()
        }
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
                    (this.ended, this.broken) = (true, true);
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

/// Messages lent to a connection, which come back if it never asked for one. It has then sent nothing of the request: all
/// that a plugin is told is in the messages.
pub(super) struct Lent {
    /// Until they come back.
    messages: Option<Messages>,
    turn: Turn,
    back: Arc<Mutex<Option<Messages>>>,
}

impl Lent {
    pub(super) fn new(messages: Messages, turn: Turn, back: Arc<Mutex<Option<Messages>>>) -> Self {
        Self {
            messages: Some(messages),
            turn,
            back,
        }
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
        if let Some(messages) = self.messages.take().filter(Messages::is_untouched) {
            *self.back.lock().unwrap_or_else(PoisonError::into_inner) = Some(messages);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use http::{HeaderMap, HeaderValue};
    use http_body::Frame;
    use http_body_util::{BodyExt as _, Empty, Full, StreamBody};

    use super::*;
    use crate::BoxError;

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

    #[tokio::test]
    async fn messages_come_back_only_if_none_was_taken() {
        let fresh = || {
            let empty = Empty::new().map_err(|never| match never {}).boxed_unsync();
            let back = Arc::default();
            let messages = Messages::new(HttpRequestHead::default(), empty);
            (Lent::new(messages, Turn::new(), Arc::clone(&back)), back)
        };
        let (lent, back) = fresh();
        drop(lent);
        assert!(back.lock().unwrap().is_some());
        let (mut lent, back) = fresh();
        lent.next().await.unwrap();
        drop(lent);
        assert!(back.lock().unwrap().is_none());
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_at_once_does_not_come_back() {
        let back = Arc::default();
        let broken = frames(vec![Err("gone".into())]);
        let mut lent = Lent::new(
            Messages::new(HttpRequestHead::default(), broken),
            Turn::new(),
            Arc::clone(&back),
        );
        assert_eq!(lent.next().await, None);
        drop(lent);
        assert!(back.lock().unwrap().is_none());
    }
}
