//! One exchange: the author's router asked, and its reply in messages that are small and covered by credit.

use axum::{Router, body::Body};
use futures::StreamExt as _;
use kite_proto::{
    ExchangeBegin, ExchangeBusy, ExchangeCancelled, ExchangeFailed, HttpResponse, MAX_EXCHANGE_MESSAGE,
    MAX_STATUS_MESSAGE, exchange_response::Part,
};
use prost::Message as _;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};
use tonic::Status;

use super::{Exchange, Live, MAX_DATA, Out};
use crate::service::{
    http, reply,
    request::{self, RequestError},
    status,
};

/// What the message around a reply takes.
const ENVELOPE: usize = 32;

/// A reply that is to be given.
pub(super) struct Reply {
    pub(super) id: u64,
    pub(super) exchange: Exchange,
    pub(super) live: Live,
    pub(super) out: Out,
    /// A place among all exchanges. Absent: there is none.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// How an exchange went on to its end.
enum Ended {
    /// The message with `end`.
    Reply(HttpResponse),
    Failed(Status),
    /// Nobody listens.
    Gone,
}

impl Reply {
    /// Gives the reply, or says in one terminal message why there is none.
    pub(super) async fn give(self, routes: Router, begin: ExchangeBegin) {
        let terminal = if self.permit.is_none() {
            Part::Busy(ExchangeBusy {})
        } else {
            let cancelled = self.exchange.cancel.clone();
            tokio::select! {
                ended = self.run(routes, begin) => match ended {
                    Ended::Reply(last) => Part::Reply(last),
                    Ended::Failed(status) => Part::Failed(failed(&status)),
                    Ended::Gone => return,
                },
                () = cancelled.cancelled() => Part::Cancelled(ExchangeCancelled {}),
            }
        };
        // Only once there is room to say it, so that whoever does not listen begins no more; and before it is said, since whoever
        // hears it may.
        if let Some(slot) = self.out.slot().await {
            self.live.lock().remove(&self.id);
            drop(self.permit);
            slot.send(self.id, terminal);
        }
    }

    async fn run(&self, routes: Router, begin: ExchangeBegin) -> Ended {
        if begin.head.as_ref().is_some_and(|head| !head.protocol.is_empty()) {
            return Ended::Failed(status::invalid(&RequestError::Exchange));
        }
        let (head, context) = match request::head(begin.head) {
            Ok(head) => head,
            Err(error) => return Ended::Failed(status::invalid(&error)),
        };
        let deadline = context.timeout.and_then(|limit| Instant::now().checked_add(limit));
        let request = head.map(|()| Body::from(begin.data));
        let messages = match http::reply(routes, request, context, MAX_DATA as usize).await {
            Ok(messages) => messages,
            Err(status) => return Ended::Failed(status),
        };
        let mut messages = std::pin::pin!(messages);
        let mut is_first = true;
        while let Some(message) = messages.next().await {
            let mut message = match message {
                Ok(message) => message,
                Err(status) => return Ended::Failed(status),
            };
            // A large head goes ahead, and its data follows on credit.
            if is_first && message.encoded_len() + ENVELOPE > MAX_EXCHANGE_MESSAGE {
                let head = HttpResponse {
                    head: message.head.take(),
                    ..HttpResponse::default()
                };
                if !self.out.send(self.id, Part::Reply(head)).await {
                    return Ended::Gone;
                }
                is_first = false;
            }
            let covered = self.covered(message, is_first);
            let covered = match deadline {
                Some(deadline) => match timeout_at(deadline, covered).await {
                    Ok(covered) => covered,
                    Err(_) => return Ended::Failed(reply::too_late()),
                },
                None => covered.await,
            };
            match covered {
                Some(rest) if rest.end => return Ended::Reply(rest),
                Some(rest) => {
                    if !self.out.send(self.id, Part::Reply(rest)).await {
                        return Ended::Gone;
                    }
                }
                None => return Ended::Gone,
            }
            is_first = false;
        }
        Ended::Failed(Status::internal("the reply has no end"))
    }

    /// Sends of the message what has to go in pieces for want of credit, and returns what is left, which is covered.
    async fn covered(&self, mut message: HttpResponse, is_first: bool) -> Option<HttpResponse> {
        // The first message needs none for its data.
        while !is_first && !message.data.is_empty() {
            let piece = self.exchange.credit.take(message.data.len()).await;
            if piece == message.data.len() {
                break;
            }
            let piece = HttpResponse {
                data: message.data.split_to(piece),
                ..HttpResponse::default()
            };
            if !self.out.send(self.id, Part::Reply(piece)).await {
                return None;
            }
        }
        Some(message)
    }
}

fn failed(status: &Status) -> ExchangeFailed {
    let message = status.message();
    ExchangeFailed {
        code: u32::try_from(i32::from(status.code())).unwrap_or_default(),
        message: message
            .get(..message.floor_char_boundary(MAX_STATUS_MESSAGE))
            .unwrap_or_default()
            .to_owned(),
    }
}
