//! The plugin's messages as the answer to the caller. An answer that breaks off never looks complete.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::Stream as _;
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use kite_api::{PluginName, error_chain};
use kite_proto::{HttpResponse, MAX_CHUNK};
use tokio::sync::oneshot;
use tonic::Status;

use super::{carried::Answers, close};
use crate::{
    pipeline::{
        ResponseBody, full,
        headers::{self, InvalidHeader},
        location::{self, Base, LocationError},
    },
    request_id::RequestId,
    upstream::InFlight,
};

/// Why a plugin's answer cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("failed to find a head in the first message")]
    NoHead,
    #[error("failed to take {0} for a final status")]
    Status(u32),
    #[error("failed to read the header fields")]
    Headers(#[source] InvalidHeader),
    #[error("failed to find one Content-Length that is a number")]
    Length,
    #[error("failed to take the Location")]
    Location(#[source] LocationError),
    #[error("failed to find the subprotocol among those that the caller offered")]
    Protocol,
    #[error("failed to read the body")]
    Body(#[source] BodyError),
}

/// Why the body of a plugin's answer breaks off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("failed to read the plugin's stream to its end")]
    Broken(#[source] Box<Status>),
    #[error("failed to find the end of the answer before the end of the stream")]
    NoEnd,
    #[error("failed to find the head in the first message only")]
    SecondHead,
    #[error("failed to find trailers at the end only")]
    EarlyTrailers,
    #[error("failed to find as many bytes as Content-Length says")]
    Length,
    #[error("failed to find pieces of {MAX_CHUNK} bytes at most")]
    Chunk,
    #[error("failed to read the trailers")]
    Trailers(#[source] InvalidHeader),
}

/// What lives as long as the exchange.
pub(super) struct Kept {
    pub(super) id: RequestId,
    pub(super) in_flight: InFlight,
    pub(super) _stop: Option<oneshot::Sender<()>>,
}

impl Kept {
    /// The same once the answer is complete.
    fn left(mut self) -> Self {
        drop(self.in_flight.leave());
        self
    }
}

/// What an answer is to.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) plugin: &'a PluginName,
    pub(super) method: &'a Method,
    pub(super) base: Base<'a>,
}

/// The answer that begins with the message `first`.
pub(super) fn build(
    asked: Asked<'_>,
    first: Option<HttpResponse>,
    rest: Answers,
    kept: Kept,
) -> Result<Response<ResponseBody>, AnswerError> {
    let mut message = first.ok_or(AnswerError::NoHead)?;
    let head = message.head.take().ok_or(AnswerError::NoHead)?;
    let status = final_status(head.status)?;
    let mut headers = headers::to_caller(head.headers).map_err(AnswerError::Headers)?;
    let length = length(&headers)?;
    relocate(asked, &mut headers)?;
    headers::confine(&mut headers);
    let without_body =
        *asked.method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if without_body {
        close(rest, kept.left());
        full(Bytes::new())
    } else {
        let body = PluginBody::new(message, length, rest, kept).map_err(AnswerError::Body)?;
        body.boxed_unsync()
    };
    if status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    }
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn final_status(given: u32) -> Result<StatusCode, AnswerError> {
    let status = u16::try_from(given).ok().filter(|status| (200..600).contains(status));
    status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or(AnswerError::Status(given))
}

/// The length that the plugin says its body has. Two lengths would be two readings of one message.
fn length(headers: &HeaderMap) -> Result<Option<u64>, AnswerError> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(None) };
    let digits = length
        .to_str()
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|digits| digits.parse().ok()), lengths.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(AnswerError::Length),
    }
}

fn relocate(asked: Asked<'_>, headers: &mut HeaderMap) -> Result<(), AnswerError> {
    let mut locations = headers.get_all(header::LOCATION).iter();
    let Some(location) = locations.next() else {
        return Ok(());
    };
    if locations.next().is_some() {
        return Err(AnswerError::Location(LocationError::Several));
    }
    let location = location::rewrite(asked.plugin, asked.base, location).map_err(AnswerError::Location)?;
    headers.insert(header::LOCATION, location);
    Ok(())
}

/// The body of a plugin's answer.
struct PluginBody {
    /// What has come and is not passed on yet.
    data: Bytes,
    trailers: Option<HeaderMap>,
    /// How many bytes are still to come, where the plugin said how many there are.
    remaining: Option<u64>,
    /// Until the answer is complete or broken.
    source: Option<(Answers, Kept)>,
}

impl PluginBody {
    fn new(first: HttpResponse, length: Option<u64>, rest: Answers, kept: Kept) -> Result<Self, BodyError> {
        let mut body = Self {
            data: Bytes::new(),
            trailers: None,
            remaining: length,
            source: Some((rest, kept)),
        };
        body.take(first)?;
        Ok(body)
    }

    fn take(&mut self, message: HttpResponse) -> Result<(), BodyError> {
        if message.head.is_some() {
            return Err(BodyError::SecondHead);
        }
        if !message.end && !message.trailers.is_empty() {
            return Err(BodyError::EarlyTrailers);
        }
        if message.data.len() > MAX_CHUNK {
            return Err(BodyError::Chunk);
        }
        if let Some(remaining) = &mut self.remaining {
            let came = message.data.len() as u64;
            *remaining = remaining.checked_sub(came).ok_or(BodyError::Length)?;
            if message.end && *remaining != 0 {
                return Err(BodyError::Length);
            }
        }
        if message.end {
            if !message.trailers.is_empty() {
                self.trailers = Some(headers::to_caller(message.trailers).map_err(BodyError::Trailers)?);
            }
            if let Some((stream, kept)) = self.source.take() {
                close(stream, kept.left());
            }
        }
        self.data = message.data;
        Ok(())
    }

    /// Breaks the answer, so that the caller's connection or stream is reset.
    fn break_off(&mut self, error: BodyError) -> BodyError {
        if let Some((_, kept)) = self.source.take() {
            tracing::warn!(request_id = %kept.id, error = error_chain(&error), "the plugin's answer broke off");
        }
        error
    }
}

impl Body for PluginBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if !this.data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(mem::take(&mut this.data)))));
            }
            let Some((stream, _)) = &mut this.source else {
                return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            };
            let taken = match ready!(Pin::new(stream).poll_next(cx)) {
                Some(Ok(message)) => this.take(message),
                Some(Err(status)) => Err(BodyError::Broken(Box::new(status))),
                None => Err(BodyError::NoEnd),
            };
            if let Err(error) = taken {
                return Poll::Ready(Some(Err(this.break_off(error))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none() && self.data.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.source.is_none() && self.trailers.is_none() {
            SizeHint::with_exact(self.data.len() as u64)
        } else {
            SizeHint::default()
        }
    }
}
