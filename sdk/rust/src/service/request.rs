//! The caller's half of an HTTP exchange: messages in, a request with a streamed body out.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, Request, Uri, uri::PathAndQuery},
};
use bytes::Bytes;
use futures::FutureExt as _;
use http_body::Frame;
use http_body_util::StreamBody;
use kite_proto::{HttpRequest, HttpRequestHead, MAX_CHUNK};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{
    headers::{self, HeaderError},
    status,
};
use crate::{
    caller::{Context, ContextError},
    web_socket::Wanted,
};

/// Messages of a body that wait for the handler; a caller who sends faster is held back.
const WAITING: usize = 4;
/// How long the rest of a request is read that its handler does not want.
const DRAIN: Duration = Duration::from_secs(30);

/// Why a request is no good.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error("the first message has no head")]
    NoHead,
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error("the method is not valid")]
    Method,
    #[error("the protocol is not known")]
    Protocol,
    #[error("a WebSocket is a stream of its own")]
    Exchange,
    #[error("the first message of a WebSocket has more than a head")]
    MoreThanHead,
    #[error("a message has a frame of a WebSocket, and none was asked for")]
    Frame,
    #[error("the path is not valid")]
    Path,
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("a message after the first has a head")]
    SecondHead,
    #[error("a message has more than {MAX_CHUNK} bytes of data")]
    Chunk,
    #[error("a message has trailers and is not the last")]
    EarlyTrailers,
    #[error("the request ended before it was complete")]
    Incomplete,
    #[error("the request broke off")]
    Broken(#[source] Box<Status>),
}

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Self {
        status::invalid(&error)
    }
}

/// The head of an exchange: all of the request but its body.
pub(super) fn head(head: Option<HttpRequestHead>) -> Result<(Request<()>, Context), RequestError> {
    let head = head.ok_or(RequestError::NoHead)?;
    let context = Context::try_from(head.context)?;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method.as_bytes()).map_err(|_| RequestError::Method)?;
    let path = head.path_and_query;
    let rooted = PathAndQuery::try_from(path.as_str())
        .ok()
        .filter(|_| path.starts_with('/'));
    *request.uri_mut() = Uri::from(rooted.ok_or(RequestError::Path)?);
    *request.headers_mut() = headers::read(head.headers)?;
    if let Some(caller) = &context.caller {
        request.extensions_mut().insert(caller.clone());
    }
    request.extensions_mut().insert(context.request_id.clone());
    request.extensions_mut().insert(context.cluster.clone());
    match head.protocol.as_str() {
        "" => {}
        "websocket" if request.method() == Method::GET => {
            request.extensions_mut().insert(Wanted);
        }
        "websocket" => return Err(RequestError::Method),
        _ => return Err(RequestError::Protocol),
    }
    Ok((request, context))
}

/// The rest of a first message from which the head was taken, and which has no more if a WebSocket is asked for.
pub(super) fn head_alone(first: &HttpRequest) -> Result<(), RequestError> {
    if *first == HttpRequest::default() {
        Ok(())
    } else {
        Err(RequestError::MoreThanHead)
    }
}

/// The body that begins with `data` in the first message, and goes on in `rest` unless that was all.
pub(super) fn body(first: HttpRequest, mut rest: Streaming<HttpRequest>) -> Result<Body, RequestError> {
    let whole = first.end && first.trailers.is_empty();
    let data = first.data.clone();
    let frames = frames(HttpRequest { head: None, ..first })?;
    if whole {
        // The stream is read to its end in any case: what HTTP/2 receives for a stream that nobody reads any more counts
        // against the connection, which others share. Mostly the end is here already.
        if !matches!(rest.message().now_or_never(), Some(Ok(None))) {
            tokio::spawn(drain(rest));
        }
        return Ok(if data.is_empty() {
            Body::empty()
        } else {
            Body::from(data)
        });
    }
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let sent = pump(frames, &mut rest, &sender).await;
        if let Err(error) = sent {
            // A handler that reads no more has no use for the error.
            let _ = sender.send(Err(error)).await;
        }
        drop(sender);
        drain(rest).await;
    });
    Ok(Body::new(StreamBody::new(ReceiverStream::new(receiver))))
}

/// What a message holds of a body.
#[derive(Debug)]
struct Frames {
    data: Option<Frame<Bytes>>,
    trailers: Option<Frame<Bytes>>,
    end: bool,
}

fn frames(message: HttpRequest) -> Result<Frames, RequestError> {
    if message.head.is_some() {
        return Err(RequestError::SecondHead);
    }
    if message.frame.is_some() {
        return Err(RequestError::Frame);
    }
    if message.data.len() > MAX_CHUNK {
        return Err(RequestError::Chunk);
    }
    if !message.end && !message.trailers.is_empty() {
        return Err(RequestError::EarlyTrailers);
    }
    let trailers = (!message.trailers.is_empty())
        .then(|| headers::read(message.trailers))
        .transpose()?;
    Ok(Frames {
        data: (!message.data.is_empty()).then(|| Frame::data(message.data)),
        trailers: trailers.map(Frame::trailers),
        end: message.end,
    })
}

/// Hands the body on, as fast as the handler reads it. Ends when the body does, or the handler wants no more.
async fn pump(
    first: Frames,
    rest: &mut Streaming<HttpRequest>,
    handler: &mpsc::Sender<Result<Frame<Bytes>, RequestError>>,
) -> Result<(), RequestError> {
    let mut next = first;
    loop {
        for frame in next.data.into_iter().chain(next.trailers) {
            if handler.send(Ok(frame)).await.is_err() {
                return Ok(());
            }
        }
        if next.end {
            return Ok(());
        }
        let message = rest
            .message()
            .await
            .map_err(|status| RequestError::Broken(Box::new(status)))?;
        next = frames(message.ok_or(RequestError::Incomplete)?)?;
    }
}

/// Reads what is left, for a while. Dropping the stream then ends the exchange.
pub(super) async fn drain(mut rest: Streaming<HttpRequest>) {
    let read = async { while let Ok(Some(_)) = rest.message().await {} };
    if tokio::time::timeout(DRAIN, read).await.is_err() {
        tracing::debug!("the rest of a request was not read to its end");
    }
}

#[cfg(test)]
mod tests {
    use kite_proto::{CallContext, Header};

    use super::*;

    fn good() -> HttpRequestHead {
        HttpRequestHead {
            context: Some(CallContext::default()),
            method: "GET".into(),
            path_and_query: "/a%20b?c=d".into(),
            headers: Vec::new(),
            ..HttpRequestHead::default()
        }
    }

    fn spoilt(spoil: impl FnOnce(&mut HttpRequestHead)) -> RequestError {
        let mut spoilt = good();
        spoil(&mut spoilt);
        head(Some(spoilt)).unwrap_err()
    }

    #[test]
    fn a_good_head_is_taken_whole() {
        let (request, _) = head(Some(good())).unwrap();
        assert_eq!(
            (request.method(), request.uri().to_string().as_str()),
            (&Method::GET, "/a%20b?c=d")
        );
    }

    #[test]
    fn a_head_is_refused_for_each_of_its_reasons() {
        assert!(matches!(head(None).unwrap_err(), RequestError::NoHead));
        assert!(matches!(
            spoilt(|head| head.context = None),
            RequestError::Context(ContextError::Absent)
        ));
        assert!(matches!(
            spoilt(|head| head.method = "G T".into()),
            RequestError::Method
        ));
        assert!(matches!(
            spoilt(|head| head.protocol = "connect-udp".into()),
            RequestError::Protocol
        ));
        let posted = |head: &mut HttpRequestHead| {
            head.protocol = "websocket".into();
            head.method = "POST".into();
        };
        assert!(matches!(spoilt(posted), RequestError::Method));
        for path in ["", "a", "*", "http://other/a", "/a b"] {
            assert!(
                matches!(spoilt(|head| head.path_and_query = path.into()), RequestError::Path),
                "{path}"
            );
        }
        let field = Header {
            name: "A".into(),
            value: Bytes::new(),
        };
        assert!(matches!(
            spoilt(|head| head.headers.push(field)),
            RequestError::Header(_)
        ));
    }

    #[test]
    fn a_message_is_refused_for_each_of_its_reasons() {
        let trailer = || {
            vec![Header {
                name: "a".into(),
                value: Bytes::new(),
            }]
        };
        let refused = |message: HttpRequest| frames(message).unwrap_err();
        let message = HttpRequest {
            head: Some(good()),
            ..HttpRequest::default()
        };
        assert!(matches!(refused(message), RequestError::SecondHead));
        let message = HttpRequest {
            frame: Some(kite_proto::WebSocketFrame::default()),
            ..HttpRequest::default()
        };
        assert!(matches!(refused(message), RequestError::Frame));
        let message = HttpRequest {
            data: vec![0; MAX_CHUNK + 1].into(),
            ..HttpRequest::default()
        };
        assert!(matches!(refused(message), RequestError::Chunk));
        let message = HttpRequest {
            trailers: trailer(),
            ..HttpRequest::default()
        };
        assert!(matches!(refused(message), RequestError::EarlyTrailers));
        let message = HttpRequest {
            data: vec![0; MAX_CHUNK].into(),
            trailers: trailer(),
            end: true,
            head: None,
            ..HttpRequest::default()
        };
        assert!(frames(message).is_ok_and(|frames| frames.data.is_some() && frames.trailers.is_some() && frames.end));
    }
}
