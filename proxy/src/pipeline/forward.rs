//! One HTTP exchange with a plugin, streamed both ways.

mod request;
mod response;

use std::time::Duration;

use futures::StreamExt as _;
use http::Request;
use kite_api::PluginName;
use kite_proto::{CallContext, HttpRequestHead, MAX_CHUNK, User, UserExtra};
use tokio::{sync::oneshot, time::timeout};
use tonic::{Status, Streaming};

pub use self::response::{AnswerError, BodyError};
use self::{request::Messages, response::Kept};
use super::{RequestBody, ResponseBody, authenticate::Caller, headers};
use crate::{request_id::RequestId, upstream::Connected};

/// Most bytes of one message of an answer: a piece of body, and head or trailers beside it.
const MAX_MESSAGE: usize = 2 * MAX_CHUNK;
/// How long a plugin may take to close a stream on which all is said.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a plugin's answer is not passed on.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    #[error("failed to get an answer in time")]
    Timeout,
    #[error("failed to call the plugin")]
    Call(#[source] Box<Status>),
    #[error("failed to read the plugin's answer")]
    Answer(#[source] AnswerError),
}

/// What of a request the plugin is told beside the caller's own words.
pub struct Forwarded<'a> {
    pub plugin: &'a PluginName,
    /// The path below the plugin's root, out of the normal path that was authorized.
    pub below: &'a str,
    pub caller: Caller,
    pub id: &'a RequestId,
    /// How long the plugin may take to begin its answer.
    pub limit: Duration,
}

/// Sends `request` to the plugin and gives its answer, whose body comes as the plugin sends it.
pub async fn exchange(
    connected: Connected,
    forwarded: Forwarded<'_>,
    request: Request<RequestBody>,
) -> Result<http::Response<ResponseBody>, ForwardError> {
    let (parts, body) = request.into_parts();
    let head = HttpRequestHead {
        // Only the answer's beginning has a limit, which is kept here: its body may stream for as long as it likes.
        context: Some(context(forwarded.caller, forwarded.id, None)),
        method: parts.method.as_str().to_owned(),
        path_and_query: match parts.uri.query() {
            Some(query) => format!("{}?{query}", forwarded.below),
            None => forwarded.below.to_owned(),
        },
        headers: headers::to_plugin(&parts.headers),
    };
    // When the answer is over, or nobody waits for it any more, nobody reads the rest of the request either.
    let (stop, stopped) = oneshot::channel();
    let messages = Messages::new(head, body).take_until(stopped);
    let mut client = connected.client.max_decoding_message_size(MAX_MESSAGE);
    let begin = async {
        let mut answer = client.http(messages).await?.into_inner();
        Ok((answer.message().await?, answer))
    };
    let (first, rest) = timeout(forwarded.limit, begin)
        .await
        .map_err(|_| ForwardError::Timeout)?
        .map_err(|status: Status| ForwardError::Call(Box::new(status)))?;
    let kept = Kept {
        id: forwarded.id.clone(),
        _in_flight: connected.in_flight,
        _stop: stop,
    };
    response::build(forwarded.plugin, &parts.method, first, rest, kept).map_err(ForwardError::Answer)
}

/// On whose behalf a plugin is called, and how long the whole call may take.
pub(super) fn context(caller: Caller, id: &RequestId, limit: Option<Duration>) -> CallContext {
    CallContext {
        user: Some(User {
            name: caller.name,
            uid: caller.uid,
            groups: caller.groups,
            extra: caller
                .extra
                .into_iter()
                .map(|(key, values)| UserExtra { key, values })
                .collect(),
        }),
        request_id: id.as_str().to_owned(),
        timeout: limit.and_then(|limit| prost_types::Duration::try_from(limit).ok()),
        ..CallContext::default()
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
