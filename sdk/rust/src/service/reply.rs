//! The plugin's half of an HTTP exchange: a response in, messages of bounded size out.

use std::panic::AssertUnwindSafe;

use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode},
};
use bytes::Bytes;
use futures::{FutureExt as _, Stream, stream};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use kite_api::error_chain;
use kite_proto::{Header, HttpResponse, HttpResponseHead};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tracing::error;

use super::{headers, panic_text};
use crate::RequestId;

/// What a caller gets instead of an answer whose head no message can carry.
const HEAD_TOO_LARGE: &str = "the plugin answered with more or larger header fields than can be sent\n";

/// What is left to be said.
struct Reply {
    /// Goes with the first message.
    head: Option<HttpResponseHead>,
    body: Body,
    /// What was read of the body and not sent yet.
    data: Bytes,
    deadline: Option<Instant>,
    request_id: RequestId,
    /// Most bytes of data in a message.
    chunk: usize,
    ended: bool,
}

type Message = Result<HttpResponse, Status>;

/// The messages of a response. A small one is one message; one whose body fails on the way ends with a status.
pub(super) fn messages(
    response: Response<Body>,
    deadline: Option<Instant>,
    request_id: RequestId,
    chunk: usize,
) -> impl Stream<Item = Message> + Send + use<> {
    let (parts, mut body) = response.into_parts();
    // The protocol has final statuses only; to switch protocols is none of its messages.
    let status = if parts.status.is_informational() {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        parts.status
    };
    let (status, headers) = match headers::write(&parts.headers) {
        Ok(headers) => (status, headers),
        Err(error) => {
            error!(request_id = %request_id, error = %error, "the head of a response cannot be sent");
            // The answer to HEAD has no body, whatever its status.
            if !body.is_end_stream() {
                body = Body::from(HEAD_TOO_LARGE);
            }
            (StatusCode::INTERNAL_SERVER_ERROR, Vec::new())
        }
    };
    let head = Some(HttpResponseHead {
        status: status.as_u16().into(),
        headers,
    });
    let reply = Reply {
        head,
        body,
        data: Bytes::new(),
        deadline,
        request_id,
        chunk,
        ended: false,
    };
    stream::unfold(reply, |mut reply| async move {
        reply.next().await.map(|message| (message, reply))
    })
}

impl Reply {
    async fn next(&mut self) -> Option<Message> {
        if self.ended {
            return None;
        }
        let message = self.message().await;
        self.ended = message.as_ref().map_or(true, |message| message.end);
        Some(message)
    }

    async fn message(&mut self) -> Message {
        while self.data.is_empty() {
            let frame = match self.frame().await? {
                Read::Frame(frame) => frame,
                // The head does not wait for a body that is not there yet: it may be a stream of events.
                Read::NotYet => {
                    return Ok(HttpResponse {
                        head: self.head.take(),
                        ..HttpResponse::default()
                    });
                }
                Read::End => {
                    return Ok(HttpResponse {
                        head: self.head.take(),
                        end: true,
                        ..HttpResponse::default()
                    });
                }
            };
            match frame.into_data() {
                Ok(data) => self.data = data,
                Err(frame) => {
                    let trailers = self.trailers(&frame.into_trailers().unwrap_or_default())?;
                    return Ok(HttpResponse {
                        head: self.head.take(),
                        data: Bytes::new(),
                        trailers,
                        end: true,
                        ..HttpResponse::default()
                    });
                }
            }
        }
        let data = self.data.split_to(self.data.len().min(self.chunk));
        let end = self.data.is_empty() && self.body.is_end_stream();
        Ok(HttpResponse {
            head: self.head.take(),
            data,
            trailers: Vec::new(),
            end,
            ..HttpResponse::default()
        })
    }

    fn trailers(&self, trailers: &HeaderMap) -> Result<Vec<Header>, Status> {
        headers::write(trailers).map_err(|error| {
            error!(request_id = %self.request_id, error = %error, "the trailers of a response cannot be sent");
            Status::internal("the trailers of the response cannot be sent")
        })
    }

    /// The body's next frame; while the head is still to be sent, only one that is there already.
    async fn frame(&mut self) -> Result<Read, Status> {
        let next = AssertUnwindSafe(self.body.frame()).catch_unwind();
        let read = if self.head.is_some() {
            match next.now_or_never() {
                Some(read) => read,
                None => return Ok(Read::NotYet),
            }
        } else {
            match self.deadline {
                Some(deadline) => timeout_at(deadline, next).await.map_err(|_| too_late())?,
                None => next.await,
            }
        };
        match read {
            Ok(Some(Ok(frame))) => Ok(Read::Frame(frame)),
            Ok(None) => Ok(Read::End),
            Ok(Some(Err(error))) => {
                error!(request_id = %self.request_id, error = error_chain(&error), "the body of a response failed");
                Err(Status::internal("the body of the response failed"))
            }
            Err(panic) => {
                error!(request_id = %self.request_id, panic = panic_text(&*panic), "the body of a response panicked");
                Err(Status::internal("the body of the response failed"))
            }
        }
    }
}

enum Read {
    Frame(Frame<Bytes>),
    NotYet,
    End,
}

/// The time that the caller gave is up.
pub(super) fn too_late() -> Status {
    Status::deadline_exceeded("the plugin did not answer in time")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use futures::StreamExt as _;
    use http_body_util::{Full, StreamBody};
    use kite_proto::{MAX_CHUNK, MAX_FIELDS, MAX_HEAD};
    use prost::Message as _;

    use super::*;

    async fn of(body: Body) -> Vec<Message> {
        messages(Response::new(body), None, RequestId::default(), MAX_CHUNK)
            .collect()
            .await
    }

    fn sizes(messages: &[Message]) -> Vec<(bool, usize, bool)> {
        let size = |message: &HttpResponse| (message.head.is_some(), message.data.len(), message.end);
        messages.iter().map(|message| size(message.as_ref().unwrap())).collect()
    }

    #[tokio::test]
    async fn a_small_reply_is_one_message() {
        assert_eq!(sizes(&of(Body::empty()).await), [(true, 0, true)]);
        assert_eq!(sizes(&of(Body::from("hello")).await), [(true, 5, true)]);
    }

    #[tokio::test]
    async fn a_large_reply_comes_in_chunks() {
        let messages = of(Body::new(Full::new(Bytes::from(vec![0; MAX_CHUNK * 2 + 1])))).await;
        assert_eq!(
            sizes(&messages),
            [(true, MAX_CHUNK, false), (false, MAX_CHUNK, false), (false, 1, true)]
        );
    }

    #[tokio::test]
    async fn the_head_does_not_wait_for_the_body() {
        let body = StreamBody::new(stream::once(async {
            tokio::task::yield_now().await;
            Ok::<_, std::io::Error>(Frame::data(Bytes::from("late")))
        }));
        assert_eq!(
            sizes(&of(Body::new(body)).await),
            [(true, 0, false), (false, 4, false), (false, 0, true)]
        );
    }

    #[tokio::test]
    async fn trailers_come_last() {
        let trailers = HeaderMap::from_iter([("a".parse().unwrap(), "1".parse().unwrap())]);
        let frames = [Frame::data(Bytes::from("x")), Frame::trailers(trailers)].map(Ok::<_, std::io::Error>);
        let messages = of(Body::new(StreamBody::new(stream::iter(frames)))).await;
        assert_eq!(sizes(&messages), [(true, 1, false), (false, 0, true)]);
        assert_eq!(messages[1].as_ref().unwrap().trailers.len(), 1);
    }

    #[tokio::test]
    async fn a_body_that_fails_or_panics_ends_without_end() {
        let failing = stream::iter([Ok(Frame::data(Bytes::from("x"))), Err(std::io::Error::other("broken"))]);
        let messages = of(Body::new(StreamBody::new(failing))).await;
        assert_eq!(
            (messages.len(), messages[1].as_ref().unwrap_err().code()),
            (2, tonic::Code::Internal)
        );
        let panicking = stream::iter([0]).map(|_| -> Result<Frame<Bytes>, std::io::Error> { panic!("on purpose") });
        let messages = of(Body::new(StreamBody::new(panicking))).await;
        assert_eq!(
            (messages.len(), messages[0].as_ref().unwrap_err().code()),
            (1, tonic::Code::Internal)
        );
    }

    #[tokio::test]
    async fn a_body_that_takes_too_long_ends_with_a_status() {
        let body = Body::new(StreamBody::new(
            stream::pending::<Result<Frame<Bytes>, std::io::Error>>(),
        ));
        let messages: Vec<_> = messages(
            Response::new(body),
            Some(Instant::now()),
            RequestId::default(),
            MAX_CHUNK,
        )
        .collect()
        .await;
        assert_eq!(
            (messages.len(), messages[1].as_ref().unwrap_err().code()),
            (2, tonic::Code::DeadlineExceeded)
        );
    }

    /// Fields whose values have `bytes` bytes together.
    fn fields(count: usize, bytes: usize) -> HeaderMap {
        let value = HeaderValue::from_bytes(&vec![b'a'; bytes / count]).unwrap();
        let name = |n: usize| format!("x-{n}").parse().unwrap();
        (0..count).map(|n| (name(n), value.clone())).collect()
    }

    #[tokio::test]
    async fn a_head_that_is_too_large_is_the_answer_500_that_says_so() {
        let of = async |headers: HeaderMap, body: Vec<u8>| {
            let mut response = Response::new(Body::from(body));
            *response.headers_mut() = headers;
            let messages: Vec<_> = messages(response, None, RequestId::default(), MAX_CHUNK)
                .collect()
                .await;
            let first = messages.into_iter().next().unwrap().unwrap();
            assert!(first.encoded_len() <= MAX_CHUNK + MAX_HEAD);
            (first.head.unwrap().status, first.data)
        };
        let full = || vec![0; MAX_CHUNK];
        assert_eq!(of(fields(1, MAX_HEAD - 64), full()).await, (200, full().into()));
        assert_eq!(of(fields(MAX_FIELDS, MAX_FIELDS), full()).await, (200, full().into()));
        for headers in [fields(1, MAX_HEAD), fields(MAX_FIELDS + 1, MAX_FIELDS + 1)] {
            assert_eq!(of(headers.clone(), full()).await, (500, HEAD_TOO_LARGE.into()));
            assert_eq!(of(headers, Vec::new()).await, (500, Bytes::new()));
        }
    }

    #[tokio::test]
    async fn trailers_that_are_too_large_end_without_end() {
        for trailers in [fields(1, MAX_HEAD), fields(MAX_FIELDS + 1, MAX_FIELDS + 1)] {
            let frames = [Frame::data(Bytes::from("x")), Frame::trailers(trailers)].map(Ok::<_, std::io::Error>);
            let messages = of(Body::new(StreamBody::new(stream::iter(frames)))).await;
            assert_eq!(
                (messages.len(), messages[1].as_ref().unwrap_err().code()),
                (2, tonic::Code::Internal)
            );
        }
    }
}
