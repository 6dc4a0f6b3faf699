//! One call of gRPC: its messages both ways, and how it ends.

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, SendStream, client::ResponseFuture};
use http::HeaderMap;
use kite_api::error_chain;
use percent_encoding::percent_decode;
use prost::Message;
use tokio::time::timeout;
use tonic::Code;

use super::Log;

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Most bytes of a message that is read: more than any may have.
const MAX_MESSAGE: usize = 8 * 1024 * 1024;
/// Most bytes and messages that are kept of one answer.
const MAX_ANSWER: usize = 80 * 1024 * 1024;
const MAX_MESSAGES: usize = 4096;
/// What HTTP/2 counts beside the bytes of a header field (RFC 9113, section 6.5.2).
const BESIDE_FIELD: usize = 32;

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// The next thing of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Message(Bytes),
    Ended(Status),
    /// The stream broke, or does not speak gRPC.
    Broken(String),
}

/// The end of a call that was waited for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ended {
    Status(Status),
    Broken(String),
    /// It did not end in time.
    Silent,
}

/// All messages of a call, each with its bytes on the wire, and its end.
#[derive(Clone, Debug)]
pub(crate) struct Answer<M> {
    pub(crate) messages: Vec<(M, usize)>,
    pub(crate) ended: Ended,
}

enum Response {
    Waiting(ResponseFuture),
    Open(RecvStream),
    Over(Event),
}

/// A call that is under way, and is reset when it is dropped.
pub(crate) struct Call {
    method: String,
    send: SendStream<Bytes>,
    response: Response,
    buffer: BytesMut,
    log: Arc<Log>,
}

impl Call {
    pub(super) fn new(method: String, send: SendStream<Bytes>, response: ResponseFuture, log: Arc<Log>) -> Self {
        Self {
            method,
            send,
            response: Response::Waiting(response),
            buffer: BytesMut::new(),
            log,
        }
    }

    /// Sends a message, and ends this side if it is the last. False: the plugin takes no more.
    pub(crate) async fn send(&mut self, message: &impl Message, last: bool) -> bool {
        self.send_raw(&message.encode_to_vec(), last).await
    }

    /// Sends bytes as a message, whatever they are.
    pub(crate) async fn send_raw(&mut self, message: &[u8], last: bool) -> bool {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.send_prefixed(length, message, last).await
    }

    /// Sends bytes behind a prefix that says that they are `length`.
    pub(crate) async fn send_prefixed(&mut self, length: u32, message: &[u8], last: bool) -> bool {
        let mut framed = BytesMut::with_capacity(PREFIX + message.len());
        frame(&mut framed, length, message);
        self.send_bytes(framed.freeze(), last).await
    }

    /// Sends messages one behind another, in as few frames of HTTP/2 as there is room for.
    pub(crate) async fn send_all(&mut self, messages: impl Iterator<Item = impl Message>) -> bool {
        let mut framed = BytesMut::new();
        for message in messages {
            let message = message.encode_to_vec();
            frame(&mut framed, u32::try_from(message.len()).unwrap_or(u32::MAX), &message);
        }
        self.send_bytes(framed.freeze(), false).await
    }

    async fn send_bytes(&mut self, mut rest: Bytes, last: bool) -> bool {
        while !rest.is_empty() {
            self.send.reserve_capacity(rest.len());
            let Some(Ok(capacity)) = poll_fn(|context| self.send.poll_capacity(context)).await else {
                return false;
            };
            let piece = rest.split_to(capacity.min(rest.len()));
            let end = last && rest.is_empty();
            if self.send.send_data(piece, end).is_err() {
                return false;
            }
        }
        true
    }

    /// Ends this side.
    pub(crate) fn finish(&mut self) -> bool {
        self.send.send_data(Bytes::new(), true).is_ok()
    }

    /// Resets the stream, as a host does that wants no answer any more.
    pub(crate) fn cancel(&mut self) {
        self.send.send_reset(h2::Reason::CANCEL);
    }

    /// What comes next. Nothing is lost if it is not waited for to its end.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            if let Response::Over(event) = &self.response {
                return event.clone();
            }
            match self.framed() {
                Ok(Some(message)) => return Event::Message(message),
                Ok(None) => {}
                Err(text) => return self.over(Event::Broken(text)),
            }
            let event = match &mut self.response {
                Response::Waiting(response) => match response.await {
                    Ok(response) => self.head(response),
                    Err(error) => Some(Event::Broken(error_chain(&error))),
                },
                Response::Open(body) => match body.data().await {
                    Some(Ok(data)) => {
                        // Fails only if the stream is gone, which its next reading tells.
                        let _ = body.flow_control().release_capacity(data.len());
                        self.buffer.extend_from_slice(&data);
                        None
                    }
                    Some(Err(error)) => Some(Event::Broken(error_chain(&error))),
                    None => Some(match body.trailers().await {
                        Ok(trailers) => self.status(&trailers.unwrap_or_default()),
                        Err(error) => Event::Broken(error_chain(&error)),
                    }),
                },
                Response::Over(event) => Some(event.clone()),
            };
            if let Some(event) = event {
                return self.over(event);
            }
        }
    }

    /// What comes next within `limit`; `None`: nothing does.
    pub(crate) async fn next_within(&mut self, limit: Duration) -> Option<Event> {
        timeout(limit, self.next()).await.ok()
    }

    /// All that comes within `limit`.
    pub(crate) async fn collect<M: Message + Default>(&mut self, limit: Duration) -> Answer<M> {
        let mut messages = Vec::new();
        let mut bytes = 0;
        let read = async {
            loop {
                match self.next().await {
                    Event::Message(message) => {
                        bytes += message.len();
                        if bytes > MAX_ANSWER || messages.len() == MAX_MESSAGES {
                            break Ended::Broken(format!("more than {MAX_MESSAGES} messages or {MAX_ANSWER} bytes"));
                        }
                        let length = message.len();
                        match M::decode(message) {
                            Ok(message) => messages.push((message, length)),
                            Err(error) => break Ended::Broken(error_chain(&error)),
                        }
                    }
                    Event::Ended(status) => break Ended::Status(status),
                    Event::Broken(text) => break Ended::Broken(text),
                }
            }
        };
        let ended = timeout(limit, read).await.unwrap_or(Ended::Silent);
        Answer { messages, ended }
    }

    fn over(&mut self, event: Event) -> Event {
        self.response = Response::Over(event.clone());
        event
    }

    fn head(&mut self, response: http::Response<RecvStream>) -> Option<Event> {
        let (parts, body) = response.into_parts();
        let kind = parts
            .headers
            .get(http::header::CONTENT_TYPE)
            .map_or(&[][..], |kind| kind.as_bytes());
        // A status that comes at once stands in the only header fields.
        if parts.headers.contains_key("grpc-status") {
            return Some(self.status(&parts.headers));
        }
        self.log.note(&self.method, None, size(&parts.headers));
        if parts.status != http::StatusCode::OK || !kind.starts_with(b"application/grpc") {
            return Some(Event::Broken(format!(
                "HTTP status {} without gRPC",
                parts.status.as_u16()
            )));
        }
        self.response = Response::Open(body);
        None
    }

    fn status(&self, fields: &HeaderMap) -> Event {
        let text = |name: &str| fields.get(name).map_or(&[][..], |value| value.as_bytes());
        let message = percent_decode(text("grpc-message")).decode_utf8_lossy().into_owned();
        self.log.note(&self.method, Some(message.len()), size(fields));
        if !self.buffer.is_empty() {
            return Event::Broken(String::from("the stream ends within a message"));
        }
        match fields.get("grpc-status") {
            Some(code) => Event::Ended(Status {
                code: Code::from_bytes(code.as_bytes()),
                message,
            }),
            None => Event::Broken(String::from("the stream ends without a status")),
        }
    }

    /// The message that has come whole.
    fn framed(&mut self) -> Result<Option<Bytes>, String> {
        let Some(mut prefix) = self.buffer.get(..PREFIX) else {
            return Ok(None);
        };
        if prefix.get_u8() != 0 {
            return Err(String::from(
                "a message is compressed, which was not asked for, or is not framed as gRPC's are",
            ));
        }
        let length = usize::try_from(prefix.get_u32()).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE {
            return Err(format!("a message of {length} bytes"));
        }
        if self.buffer.len() < PREFIX + length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

/// Puts a message behind its prefix, which says that it is not compressed and has so many bytes.
fn frame(framed: &mut BytesMut, length: u32, message: &[u8]) {
    framed.put_u8(0);
    framed.put_u32(length);
    framed.put_slice(message);
}

/// As HTTP/2 counts them, with the status that stands before them.
fn size(fields: &HeaderMap) -> usize {
    let status = ":status".len() + "200".len() + BESIDE_FIELD;
    let field =
        |(name, value): (&http::HeaderName, &http::HeaderValue)| name.as_str().len() + value.len() + BESIDE_FIELD;
    fields.iter().map(field).sum::<usize>() + status
}
