//! A stream of exchanges from the host's end.

use std::{collections::BTreeSet, time::Duration};

use kite_proto::{
    ExchangeBegin, ExchangeCancel, ExchangeCredit, ExchangeHello, ExchangeRequest, ExchangeResponse, HttpResponse,
    exchange_request::Part as Ask, exchange_response::Part,
};
use prost::Message as _;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    checks::{definitions, http::request},
    verdict::{Checked, not_applicable},
    wire::{Answer, Call, Ended, Event, Wire},
    world::{World, no_call},
};

/// Exchanges that are begun and judged.
const EXCHANGES: u64 = 8;

/// A stream whose Hello has come.
pub(crate) struct Talk {
    pub(crate) call: Call,
    pub(crate) hello: ExchangeHello,
    /// How the stream ended, once it has.
    pub(crate) ended: Option<Event>,
}

/// All that came on a stream.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) begun: BTreeSet<u64>,
    pub(crate) messages: Vec<(ExchangeResponse, usize)>,
    pub(crate) ended: Ended,
}

impl Said {
    /// Hello, for rules that build on it.
    pub(crate) fn hello(&self) -> Checked<ExchangeHello> {
        match self.messages.first().and_then(|(message, _)| message.part.as_ref()) {
            Some(Part::Hello(hello)) => Ok(*hello),
            _ => not_applicable("no Hello came first"),
        }
    }
}

/// Whether the message ends an exchange.
pub(super) fn is_terminal(message: &ExchangeResponse) -> bool {
    match &message.part {
        Some(Part::Reply(reply)) => reply.end,
        Some(Part::Busy(_) | Part::Cancelled(_) | Part::Failed(_)) => true,
        Some(Part::Hello(_) | Part::Drain(_)) | None => false,
    }
}

async fn call(world: &World, wire: &Wire) -> Checked<Call> {
    if !definitions::supports(world).await?.exchange {
        return not_applicable("the plugin does not have Exchange");
    }
    wire.call("Exchange").await.or_else(|error| no_call("Exchange", &error))
}

/// Some exchanges from the stream's beginning to its end, made once.
pub(crate) async fn said(world: &World) -> Checked<&Said> {
    let talk = async || {
        let wire = world.wire().await?;
        let mut call = call(world, &wire).await?;
        let begun: BTreeSet<u64> = (1..=EXCHANGES).collect();
        let first = call.next_within(world.limits.answer).await;
        for id in &begun {
            send(&mut call, *id, begin(world, None)).await;
        }
        call.finish();
        let rest: Answer<ExchangeResponse> = call.collect(world.limits.answer).await;
        let mut messages = Vec::new();
        if let Some(Event::Message(bytes)) = first {
            let length = bytes.len();
            messages.extend(ExchangeResponse::decode(bytes).map(|message| (message, length)));
        }
        messages.extend(rest.messages);
        Ok(Said {
            begun,
            messages,
            ended: rest.ended,
        })
    };
    world.said.get_or_try_init(talk).await
}

/// A stream on the connection that most calls share.
pub(super) async fn open(world: &World) -> Checked<Talk> {
    let wire = world.wire().await?;
    open_on(world, &wire).await
}

/// A stream on this connection. That no Hello comes is another rule's matter.
pub(crate) async fn open_on(world: &World, wire: &Wire) -> Checked<Talk> {
    let mut call = call(world, wire).await?;
    let first = call.next_within(world.limits.answer).await;
    if let Some(Event::Message(message)) = first
        && let Ok(ExchangeResponse {
            part: Some(Part::Hello(hello)),
            ..
        }) = ExchangeResponse::decode(message)
    {
        return Ok(Talk {
            call,
            hello,
            ended: None,
        });
    }
    not_applicable("no Hello came")
}

/// Begins a GET of this path, or of one that is known to be short.
fn begin(world: &World, path: Option<&str>) -> Ask {
    let path = path.or(world.known.get.as_deref()).unwrap_or("/conformance");
    Ask::Begin(ExchangeBegin {
        head: request(world, "GET", path).head,
        ..ExchangeBegin::default()
    })
}

async fn send(call: &mut Call, id: u64, part: Ask) -> bool {
    call.send(&ExchangeRequest { id, part: Some(part) }, false).await
}

impl Talk {
    pub(crate) async fn begin(&mut self, world: &World, id: u64, path: Option<&str>) {
        // A plugin that does not read is noticed by what it does not answer.
        let _ = timeout(world.limits.answer, send(&mut self.call, id, begin(world, path))).await;
    }

    /// Begins all of these at once.
    pub(crate) async fn begin_all(&mut self, world: &World, ids: impl Iterator<Item = u64>) {
        let messages = ids.map(|id| ExchangeRequest {
            id,
            part: Some(begin(world, None)),
        });
        // A plugin that does not read is noticed by what it does not answer.
        let _ = timeout(world.limits.answer, self.call.send_all(messages)).await;
    }

    pub(crate) async fn cancel(&mut self, id: u64) {
        send(&mut self.call, id, Ask::Cancel(ExchangeCancel {})).await;
    }

    pub(crate) async fn credit(&mut self, id: u64, bytes: u32) {
        send(&mut self.call, id, Ask::Credit(ExchangeCredit { bytes })).await;
    }

    pub(crate) async fn next(&mut self) -> Option<ExchangeResponse> {
        match self.call.next().await {
            Event::Message(message) => ExchangeResponse::decode(message).ok(),
            ended @ (Event::Ended(_) | Event::Broken(_)) => {
                self.ended = Some(ended);
                None
            }
        }
    }

    /// The next part of a reply, if it comes in time.
    pub(crate) async fn reply(&mut self, limit: Duration) -> Option<HttpResponse> {
        let next = timeout(limit, self.next()).await;
        match next.ok().flatten()?.part {
            Some(Part::Reply(reply)) => Some(reply),
            _ => None,
        }
    }

    /// How the stream stands.
    pub(crate) fn state(&self) -> String {
        match &self.ended {
            Some(Event::Ended(status)) => format!("the stream has ended with {}", Ended::Status(status.clone())),
            Some(Event::Broken(text)) => format!("the stream broke ({text})"),
            Some(Event::Message(_)) | None => String::from("the stream is open"),
        }
    }

    /// How many bytes of data come until nothing does for so long.
    pub(crate) async fn data(&mut self, silence: Duration) -> usize {
        let mut bytes = 0;
        while let Some(reply) = self.reply(silence).await {
            bytes += reply.data.len();
            if reply.end {
                break;
            }
        }
        bytes
    }

    /// Which of these ids have no terminal message in time.
    pub(crate) async fn missing_terminals(&mut self, world: &World, mut ids: BTreeSet<u64>) -> BTreeSet<u64> {
        let until = Instant::now() + world.limits.answer;
        while !ids.is_empty() {
            let Ok(Some(message)) = timeout_at(until, self.next()).await else {
                break;
            };
            if is_terminal(&message) {
                ids.remove(&message.id);
            }
        }
        ids
    }
}
