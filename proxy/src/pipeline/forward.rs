//! One HTTP exchange with a plugin, streamed both ways.

mod bounded;
mod carried;
mod request;
mod response;
mod turn;
mod web_socket;

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use http::{HeaderMap, Method, Request, header};
use kite_api::PluginName;
use kite_proto::{HttpRequestHead, MAX_CHUNK, MAX_HEAD};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};
use tonic::{Code, Status};

use self::{
    bounded::{Passed, TooLarge, bounded},
    carried::{Answers, Gathered},
    request::{Lent, Messages},
    response::{Asked, Kept},
    turn::{Party, Turn},
};
pub use self::{
    response::{AnswerError, BodyError},
    turn::Limits,
    web_socket::{Handshake, HandshakeError, Opening},
};
use super::{RequestBody, ResponseBody, location::Base, origin::Origin, tool};
use crate::{
    BoxError,
    upstream::{self, Connected, InFlight, Reply, Stopped},
};

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
    #[error("the body has more than {0} bytes")]
    TooLarge(u64),
    #[error("failed to read the body")]
    Broken(#[source] BoxError),
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

/// A request that no plugin has answered.
pub struct Exchange<'a> {
    asked: Asking<'a>,
    body: RequestBody,
    passed: Passed,
}

/// What is asked, beside the body.
struct Asking<'a> {
    forwarded: Forwarded<'a>,
    method: Method,
    query: Option<String>,
    headers: HeaderMap,
    /// When the answer has to have begun, whatever is tried.
    deadline: Instant,
}

/// How an exchange ended before an answer.
pub enum Ended<T, E = ForwardError> {
    /// It can go to another endpoint: the plugin never began with it, or it changes nothing.
    Again(Box<T>, E),
    Failed(E),
}

impl<'a> Exchange<'a> {
    /// The exchange that `request` asks for. A body that is too large by its announced length is refused.
    pub fn new(forwarded: Forwarded<'a>, request: Request<RequestBody>) -> Result<Self, ForwardError> {
        let (parts, body) = request.into_parts();
        let (body, passed) =
            bounded(body, forwarded.limits.body).map_err(|TooLarge(most)| ForwardError::TooLarge(most))?;
        let asked = Asking {
            deadline: Instant::now() + forwarded.limits.plugin,
            query: parts.uri.query().map(ToOwned::to_owned),
            forwarded,
            method: parts.method,
            headers: parts.headers,
        };
        Ok(Self { asked, body, passed })
    }

    /// When the answer has to have begun.
    pub fn deadline(&self) -> Instant {
        self.asked.deadline
    }

    /// Sends the request to the plugin and gives its answer, whose body comes as the plugin sends it.
    pub async fn on(self, connected: Connected) -> Result<http::Response<ResponseBody>, Ended<Self>> {
        let Some(lane) = connected.lane.clone().filter(|_| !self.asked.may_stream()) else {
            return Box::pin(self.by_own(connected)).await;
        };
        let Self { asked, body, passed } = self;
        let gathered = carried::gather(body, asked.deadline, asked.forwarded.limits.caller).await;
        let body = match gathered.map_err(Ended::Failed)? {
            Gathered::Other(body) => body,
            Gathered::Whole(data) => match lane.begin(asked.head(), data.clone()) {
                Some(reply) => {
                    let body = carried::whole(data);
                    return Self { asked, body, passed }.by_shared(reply, connected.in_flight).await;
                }
                // It has no room.
                None => carried::whole(data),
            },
        };
        Box::pin(Self { asked, body, passed }.by_own(connected)).await
    }

    /// On the stream that many share, on which the exchange has begun.
    async fn by_shared(
        self,
        mut reply: Reply,
        in_flight: InFlight,
    ) -> Result<http::Response<ResponseBody>, Ended<Self>> {
        let first = match timeout_at(self.asked.deadline, reply.first()).await {
            Ok(Ok(first)) => first,
            Ok(Err(stopped)) => {
                let is_again = match &stopped {
                    Stopped::Busy | Stopped::NotBegun => true,
                    Stopped::Broken => self.asked.changes_nothing(),
                    Stopped::Failed(_) => false,
                };
                let error = ForwardError::call(Box::new(stopped.into()));
                return Err(if is_again {
                    Ended::Again(Box::new(self), error)
                } else {
                    Ended::Failed(error)
                });
            }
            Err(_) => return Err(Ended::Failed(ForwardError::Timeout)),
        };
        let kept = Kept {
            id: self.asked.forwarded.origin.id.clone(),
            in_flight,
            _stop: None,
        };
        let answer = response::build(self.asked.of_answer(), Some(first), Answers::Shared(reply), kept);
        answer.map_err(|error| Ended::Failed(ForwardError::Answer(error)))
    }

    /// On a stream of its own.
    async fn by_own(self, connected: Connected) -> Result<http::Response<ResponseBody>, Ended<Self>> {
        let Self {
            asked,
            body,
            mut passed,
        } = self;
        let Limits { body: most, caller, .. } = asked.forwarded.limits;
        // When the answer is over, or nobody waits for it any more, nobody reads the rest of the request either.
        let (stop, stopped) = oneshot::channel();
        let turn = Turn::new();
        let (messages, returned) = Lent::new(Messages::new(asked.head(), body), turn.clone());
        let mut client = connected.client.max_decoding_message_size(MAX_MESSAGE);
        let answered = async {
            let mut answer = client.http(messages.take_until(stopped)).await?.into_inner();
            Ok::<_, Status>((answer.message().await?, answer))
        };
        let answered = tokio::select! {
            biased;
            () = passed.wait() => return Err(Ended::Failed(ForwardError::TooLarge(most))),
            answered = turn.within(asked.deadline, caller, answered) => answered,
        };
        let (first, rest) = match answered {
            Ok(Ok(begun)) => begun,
            Ok(Err(status)) => {
                let is_again = upstream::never_began(&status) || (asked.changes_nothing() && upstream::broke(&status));
                let error = ForwardError::call(Box::new(status));
                drop(stop);
                // The body comes as soon as the connection has let go of it, which it has mostly done.
                let body = if is_again {
                    timeout_at(asked.deadline, returned).await.ok().and_then(Result::ok)
                } else {
                    None
                };
                return Err(match body {
                    Some(body) => Ended::Again(Box::new(Self { asked, body, passed }), error),
                    // What a plugin makes of half a request is the caller's doing.
                    None if turn.is_broken() => Ended::Failed(ForwardError::Broken(Box::new(error))),
                    None => Ended::Failed(error),
                });
            }
            Err(Party::Plugin) => return Err(Ended::Failed(ForwardError::Timeout)),
            Err(Party::Caller) => return Err(Ended::Failed(ForwardError::Silent)),
        };
        let kept = Kept {
            id: asked.forwarded.origin.id.clone(),
            in_flight: connected.in_flight,
            _stop: Some(stop),
        };
        response::build(asked.of_answer(), first, Answers::Own(rest), kept)
            .map_err(|error| Ended::Failed(ForwardError::Answer(error)))
    }
}

impl Asking<'_> {
    /// What the answer is to.
    fn of_answer(&self) -> Asked<'_> {
        Asked {
            plugin: self.forwarded.plugin,
            method: &self.method,
            base: Base {
                path: self.forwarded.below,
                query: self.query.as_deref(),
            },
        }
    }

    /// Whether the answer may be a stream of events, or the request may become something else.
    fn may_stream(&self) -> bool {
        self.headers.contains_key(header::UPGRADE) || tool::are_accepted(&self.headers)
    }

    /// Whether it can be tried once more though a plugin may have begun with it.
    fn changes_nothing(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    fn head(&self) -> HttpRequestHead {
        let Forwarded { below, origin, .. } = self.forwarded;
        HttpRequestHead {
            // Only the answer's beginning has a limit, which is kept here: its body may stream as long as it likes.
            context: Some(origin.context(None)),
            method: self.method.as_str().to_owned(),
            path_and_query: target(below, self.query.as_deref()),
            headers: origin.headers(&self.headers),
            ..HttpRequestHead::default()
        }
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
pub(super) fn close<T>(
    mut stream: impl Stream<Item = Result<T, Status>> + Send + Unpin + 'static,
    kept: impl Send + 'static,
) {
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
