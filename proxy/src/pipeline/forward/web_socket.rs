//! A WebSocket with a plugin. There is never a raw tunnel: what passes is whole messages, which are checked.

mod bridge;
mod handshake;

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use http::{Method, Response};
use kite_proto::{HttpRequest, HttpRequestHead, HttpResponse};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tonic::{Status, Streaming};

use self::bridge::{Answers, Bridge};
pub use self::handshake::{Handshake, HandshakeError};
use super::{
    AnswerError, Asked, Base, Ended, ForwardError, Forwarded, Kept, MAX_MESSAGE, PluginName, ResponseBody, carried,
    response, target,
};
use crate::{
    account::Opened,
    request_id::RequestId,
    upstream::{self, Connected, InFlight},
};

/// Messages for a plugin that wait to be sent; a caller who sends faster is held back.
const WAITING: usize = 4;
const SWITCHING_PROTOCOLS: u32 = 101;

/// A WebSocket that no plugin has answered.
pub struct Opening<'a> {
    plugin: &'a PluginName,
    below: &'a str,
    id: &'a RequestId,
    head: HttpRequestHead,
    handshake: Handshake,
    opened: Option<oneshot::Receiver<Opened>>,
    /// When the plugin has to have answered, whatever is tried.
    deadline: Instant,
}

impl<'a> Opening<'a> {
    pub fn new(forwarded: Forwarded<'a>, mut handshake: Handshake) -> Self {
        let head = HttpRequestHead {
            // It stays open as long as it likes.
            context: Some(forwarded.origin.context(None)),
            method: Method::GET.as_str().to_owned(),
            path_and_query: target(forwarded.below, handshake.query.as_deref()),
            headers: forwarded.origin.traced(mem::take(&mut handshake.headers)),
            protocol: "websocket".to_owned(),
        };
        Self {
            plugin: forwarded.plugin,
            below: forwarded.below,
            id: forwarded.origin.id,
            head,
            handshake,
            opened: None,
            deadline: Instant::now() + forwarded.limits.plugin,
        }
    }

    /// When the plugin has to have answered.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The same, with its account, which comes when the caller is answered.
    #[must_use]
    pub fn accounted(self, opened: oneshot::Receiver<Opened>) -> Self {
        Self {
            opened: Some(opened),
            ..self
        }
    }

    /// Asks the plugin, and gives its answer: a WebSocket that goes on by itself, or an ordinary one.
    pub async fn on(self, connected: Connected) -> Result<Response<ResponseBody>, Ended<Self>> {
        let (requests, later) = mpsc::channel(WAITING);
        let messages = Requests {
            head: Some(self.head.clone()),
            later,
        };
        let mut client = connected.client.max_decoding_message_size(MAX_MESSAGE);
        let answered = async {
            let mut answers = client.http(messages).await?.into_inner();
            Ok::<_, Status>((answers.message().await?, answers))
        };
        let (first, rest) = match timeout_at(self.deadline, answered).await {
            Ok(Ok(begun)) => begun,
            Ok(Err(status)) => {
                let never_began = upstream::never_began(&status);
                let error = ForwardError::call(Box::new(status));
                return Err(if never_began {
                    Ended::Again(Box::new(self), error)
                } else {
                    Ended::Failed(error)
                });
            }
            Err(_) => return Err(Ended::Failed(ForwardError::Timeout)),
        };
        let answer = match first {
            Some(first) if is_consent(&first) => self.accept(first, rest, requests, connected.in_flight),
            first => self.refuse(first, rest, &requests, connected.in_flight),
        };
        answer.map_err(|error| Ended::Failed(ForwardError::Answer(error)))
    }

    fn accept(
        self,
        mut first: HttpResponse,
        rest: Streaming<HttpResponse>,
        requests: mpsc::Sender<HttpRequest>,
        in_flight: InFlight,
    ) -> Result<Response<ResponseBody>, AnswerError> {
        let given = first.head.take().unwrap_or_default().headers;
        let response = self.handshake.accepted(given)?;
        let bridge = Bridge {
            id: self.id.clone(),
            requests,
            answers: Answers::new(first, rest),
            lease: self.handshake.lease,
        };
        let (upgrade, opened) = (self.handshake.upgrade, self.opened);
        tokio::spawn(async move {
            // Fails if the caller goes before it has the answer; then the plugin's stream is dropped.
            if let Ok(upgraded) = upgrade.await {
                let opened = match opened {
                    Some(opened) => opened.await.ok(),
                    None => None,
                };
                bridge.run(upgraded, opened).await;
            }
            drop(in_flight);
        });
        Ok(response)
    }

    /// The ordinary answer of a plugin that wants no WebSocket. The connection stays what it was.
    fn refuse(
        self,
        first: Option<HttpResponse>,
        rest: Streaming<HttpResponse>,
        requests: &mpsc::Sender<HttpRequest>,
        in_flight: InFlight,
    ) -> Result<Response<ResponseBody>, AnswerError> {
        let end = HttpRequest {
            end: true,
            ..HttpRequest::default()
        };
        // There is room: nothing was sent but the head.
        let _ = requests.try_send(end);
        let asked = Asked {
            plugin: self.plugin,
            method: &Method::GET,
            base: Base {
                path: self.below,
                query: self.handshake.query.as_deref(),
            },
        };
        let kept = Kept {
            id: self.id.clone(),
            in_flight,
            _stop: None,
        };
        response::build(asked, first, carried::Answers::Own(rest), kept)
    }
}

/// The messages to a plugin.
struct Requests {
    /// Taken by the first message.
    head: Option<HttpRequestHead>,
    later: mpsc::Receiver<HttpRequest>,
}

impl Stream for Requests {
    type Item = HttpRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<HttpRequest>> {
        match self.head.take() {
            Some(head) => Poll::Ready(Some(HttpRequest {
                head: Some(head),
                ..HttpRequest::default()
            })),
            None => self.later.poll_recv(cx),
        }
    }
}

fn is_consent(first: &HttpResponse) -> bool {
    first
        .head
        .as_ref()
        .is_some_and(|head| head.status == SWITCHING_PROTOCOLS)
}
