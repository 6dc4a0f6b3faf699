//! One HTTP exchange with a plugin, streamed both ways.

mod request;
mod response;
mod turn;
mod web_socket;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use http::{Method, Request};
use kite_api::PluginName;
use kite_proto::{HttpRequestHead, MAX_CHUNK, MAX_HEAD};
use tokio::{sync::oneshot, time::timeout};
use tonic::{Code, Status, Streaming};

use self::{
    request::{Lent, Messages},
    response::{Asked, Kept},
    turn::{Party, Turn},
};
pub use self::{
    response::{AnswerError, BodyError},
    turn::Limits,
    web_socket::{Handshake, HandshakeError, Opening},
};
use super::{RequestBody, ResponseBody, location::Base, origin::Origin};
use crate::{request_id::RequestId, upstream::Connected};

/// Most bytes of one message of an answer: a piece of body, and head or trailers beside it.
const MAX_MESSAGE: usize = MAX_CHUNK + MAX_HEAD;
/// How long a plugin may take to close a stream on which all is said.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a plugin's answer is not passed on.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    #[error("failed to get an answer in time")]
    Timeout,
    #[error("failed to get the caller's body in time")]
    Silent,
    #[error("failed to read the caller's body to its end")]
    Broken(#[source] Box<Status>),
    #[error("failed to call the plugin")]
    Call(ExchangeFailure, #[source] Box<Status>),
    #[error("failed to read the plugin's answer")]
    Answer(#[source] AnswerError),
}

/// What the status of an exchange means. What a plugin has to say to its caller it says by an HTTP response, so that every
/// status but these is its failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExchangeFailure {
    /// It has too much to do.
    Busy,
    Late,
    Failed,
}

impl From<Code> for ExchangeFailure {
    fn from(code: Code) -> Self {
        match code {
            Code::ResourceExhausted => Self::Busy,
            Code::DeadlineExceeded => Self::Late,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => Self::Failed,
        }
    }
}

impl ForwardError {
    fn call(status: Box<Status>) -> Self {
        Self::Call(status.code().into(), status)
    }
}

/// What of a request the plugin is told beside the caller's own words.
#[derive(Clone, Copy)]
pub struct Forwarded<'a> {
    pub plugin: &'a PluginName,
    /// The path below the plugin's root, out of the normal path that was authorized.
    pub below: &'a str,
    pub origin: Origin<'a>,
    pub limits: Limits,
}

/// A request of which nothing has left the gateway.
pub struct Exchange<'a> {
    plugin: &'a PluginName,
    below: &'a str,
    id: &'a RequestId,
    limits: Limits,
    method: Method,
    query: Option<String>,
    messages: Messages,
}

/// How an exchange ended before an answer.
pub enum Ended<T> {
    /// Nothing of the request left the gateway, so that it can go by another connection.
    Unsent(Box<T>, Box<Status>),
    Failed(ForwardError),
}

impl<T> From<Ended<T>> for ForwardError {
    fn from(ended: Ended<T>) -> Self {
        match ended {
            Ended::Unsent(_, status) => Self::call(status),
            Ended::Failed(error) => error,
        }
    }
}

impl<'a> Exchange<'a> {
    /// The exchange that `request` asks for.
    pub fn new(forwarded: Forwarded<'a>, request: Request<RequestBody>) -> Self {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().map(ToOwned::to_owned);
        let head = HttpRequestHead {
            // Only the answer's beginning has a limit, which is kept here: its body may stream as long as it likes.
            context: Some(forwarded.origin.context(None)),
            method: parts.method.as_str().to_owned(),
            path_and_query: target(forwarded.below, query.as_deref()),
            headers: forwarded.origin.headers(&parts.headers),
            ..HttpRequestHead::default()
        };
        Self {
            plugin: forwarded.plugin,
            below: forwarded.below,
            id: forwarded.origin.id,
            limits: forwarded.limits,
            method: parts.method,
            query,
            messages: Messages::new(head, body),
        }
    }

    /// Sends the request to the plugin and gives its answer, whose body comes as the plugin sends it.
    pub async fn on(self, connected: Connected) -> Result<http::Response<ResponseBody>, Ended<Self>> {
        // When the answer is over, or nobody waits for it any more, nobody reads the rest of the request either.
        let (stop, stopped) = oneshot::channel();
        let (turn, returned) = (Turn::new(), Arc::new(Mutex::new(None)));
        let messages = Lent::new(self.messages, turn.clone(), Arc::clone(&returned)).take_until(stopped);
        let mut client = connected.client.max_decoding_message_size(MAX_MESSAGE);
        let answered = async {
            let mut answer = client.http(messages).await?.into_inner();
            Ok::<_, Status>((answer.message().await?, answer))
        };
        let (first, rest) = match turn.within(self.limits, answered).await {
            Ok(Ok(begun)) => begun,
            Ok(Err(status)) => {
                let status = Box::new(status);
                let returned = returned.lock().unwrap_or_else(PoisonError::into_inner).take();
                return Err(match returned {
                    Some(messages) => Ended::Unsent(Box::new(Self { messages, ..self }), status),
                    // What a plugin makes of half a request is the caller's doing.
                    None if turn.is_broken() => Ended::Failed(ForwardError::Broken(status)),
                    None => Ended::Failed(ForwardError::call(status)),
                });
            }
            Err(Party::Plugin) => return Err(Ended::Failed(ForwardError::Timeout)),
            Err(Party::Caller) => return Err(Ended::Failed(ForwardError::Silent)),
        };
        let kept = Kept {
            id: self.id.clone(),
            _in_flight: connected.in_flight,
            _stop: stop,
        };
        let asked = Asked {
            plugin: self.plugin,
            method: &self.method,
            base: Base {
                path: self.below,
                query: self.query.as_deref(),
            },
        };
        response::build(asked, first, rest, kept).map_err(|error| Ended::Failed(ForwardError::Answer(error)))
    }
}

/// What a plugin sees of the request's target.
fn target(below: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{below}?{query}"),
        None => below.to_owned(),
    }
}

/// Reads a stream on which all is said to its end, because HTTP/2 counts streams that are dropped before as errors and
/// in the end closes the connection for them.
pub(super) fn close<T: Send + 'static>(mut stream: Streaming<T>, kept: impl Send + 'static) {
    // Mostly the end is there already.
    if let Some(None | Some(Err(_))) = futures::FutureExt::now_or_never(stream.next()) {
        return;
    }
    tokio::spawn(async move {
        let end = async { while let Some(Ok(_)) = stream.next().await {} };
        // A plugin that does not close has its stream dropped.
        let _ = timeout(CLOSE_TIMEOUT, end).await;
        drop(kept);
    });
}
