//! Many small HTTP exchanges at once on one stream, by id: the plugin's side of `Exchange`.
//!
//! One task reads whatever comes, and never waits for anything else, so that what the gateway says is always heard. Each exchange
//! is a task of its own that has one message at a time in the queue to the gateway, which is served in turn: so none is favoured,
//! and memory is bounded by the number of exchanges.

mod credit;
mod reply;

use std::{
    collections::HashMap,
    error::Error as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::Router;
use futures::stream::BoxStream;
use kite_proto::{
    ExchangeBegin, ExchangeDrain, ExchangeHello, ExchangeRequest, ExchangeResponse, MAX_EXCHANGE_BODY,
    MAX_EXCHANGE_MESSAGE, exchange_request::Part as Asked, exchange_response::Part,
};
use prost::Message as _;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use self::credit::Credit;

/// How many exchanges one stream takes at once.
const MAX_IN_FLIGHT: u32 = 256;
/// How many exchanges all streams together take at once; more are answered `Busy`.
pub(super) const MAX_EXCHANGES: usize = 2048;
/// Most bytes of data in one message.
const MAX_DATA: u32 = 16 * 1024;
/// How long the reason for the end of a stream waits for room in the queue.
const LAST_WORD: Duration = Duration::from_secs(5);
/// Messages that wait to be sent, beside one of each exchange.
const QUEUE: usize = 32;

/// How the gateway broke the rules of a stream.
#[derive(Debug, thiserror::Error)]
enum Breach {
    #[error("a message has more than {MAX_EXCHANGE_MESSAGE} bytes")]
    Large,
    #[error("a message cannot be read")]
    Unreadable(#[source] Box<Status>),
    #[error("a message has no part")]
    Empty,
    #[error("the id {0} is not higher than all before it")]
    Id(u64),
    #[error("the id {0} was never begun")]
    Unknown(u64),
    #[error("more than {MAX_IN_FLIGHT} exchanges are begun at once")]
    InFlight,
    #[error("a request has more than {MAX_EXCHANGE_BODY} bytes of body")]
    Body,
    #[error("more credit is given than can be used")]
    Credit,
}

/// What is under way on a stream, by id.
#[derive(Clone, Debug, Default)]
struct Live(Arc<Mutex<HashMap<u64, Exchange>>>);

/// What can be said to an exchange.
#[derive(Clone, Debug)]
struct Exchange {
    cancel: CancellationToken,
    credit: Credit,
}

impl Live {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Exchange>> {
        // Entries are added and removed as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the gateway.
#[derive(Clone, Debug)]
struct Out(mpsc::Sender<Result<ExchangeResponse, Status>>);

/// Room for one message on the way to the gateway.
struct Slot<'a>(mpsc::Permit<'a, Result<ExchangeResponse, Status>>);

impl Out {
    /// Room for a message, once there is. `None`: nobody listens.
    async fn slot(&self) -> Option<Slot<'_>> {
        self.0.reserve().await.ok().map(Slot)
    }

    /// Whether anybody still listens.
    async fn send(&self, id: u64, part: Part) -> bool {
        let slot = self.slot().await;
        slot.map(|slot| slot.send(id, part)).is_some()
    }
}

impl Slot<'_> {
    fn send(self, id: u64, part: Part) {
        self.0.send(Ok(ExchangeResponse { id, part: Some(part) }));
    }
}

/// The stream that one gateway has opened.
struct Conversation {
    routes: Router,
    capacity: Arc<Semaphore>,
    live: Live,
    out: Out,
    tasks: JoinSet<()>,
    /// The highest id that was begun.
    last: u64,
    /// Once the gateway was told, or says no more itself, later exchanges are not begun.
    drains: bool,
    /// The gateway has ended its side.
    is_over: bool,
}

/// Answers a stream of exchanges until it ends, or `serving` turns false and what was begun is done.
pub(super) fn serve(
    routes: Router,
    capacity: Arc<Semaphore>,
    requests: Streaming<ExchangeRequest>,
    serving: watch::Receiver<bool>,
) -> BoxStream<'static, Result<ExchangeResponse, Status>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let hello = ExchangeResponse {
        id: 0,
        part: Some(Part::Hello(ExchangeHello {
            max_in_flight: MAX_IN_FLIGHT,
            max_message: MAX_DATA,
        })),
    };
    // The queue is empty, so that this is the first thing in it.
    let _ = sender.try_send(Ok(hello));
    let conversation = Conversation {
        routes,
        capacity,
        live: Live::default(),
        out: Out(sender),
        tasks: JoinSet::new(),
        last: 0,
        drains: false,
        is_over: false,
    };
    tokio::spawn(conversation.run(requests, serving));
    Box::pin(ReceiverStream::new(receiver))
}

impl Conversation {
    async fn run(mut self, mut requests: Streaming<ExchangeRequest>, mut serving: watch::Receiver<bool>) {
        loop {
            if self.drains && self.live.lock().is_empty() && self.tasks.is_empty() {
                return;
            }
            let message = tokio::select! {
                // Nobody reads any more.
                () = self.out.0.closed() => return,
                // Fails only if the sender is gone, which is the end too.
                _ = serving.wait_for(|serving| !serving), if !self.drains => {
                    self.drains = true;
                    let (out, drain) = (self.out.clone(), ExchangeDrain { last_id: self.last });
                    // Whatever comes is heard while this waits for the queue.
                    self.tasks.spawn(async move {
                        out.send(0, Part::Drain(drain)).await;
                    });
                    continue;
                }
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => continue,
                message = requests.next(), if !self.is_over => message,
            };
            let heard = match message {
                Some(Ok(message)) => self.hear(message),
                // Without the gateway there is nobody to answer; what is under way is dropped with its tasks. That is told from bytes that
                // are no message by the cause that it has.
                Some(Err(status)) if status.source().is_some() => return,
                Some(Err(status)) => Err(Breach::Unreadable(Box::new(status))),
                None => {
                    self.finish();
                    continue;
                }
            };
            if let Err(breach) = heard {
                tracing::warn!(%breach, "the gateway broke the rules of a stream of exchanges");
                return self.end(breach).await;
            }
        }
    }

    /// Nothing more is asked: what was begun is answered to its end, which is covered now.
    fn finish(&mut self) {
        (self.drains, self.is_over) = (true, true);
        for exchange in self.live.lock().values() {
            exchange.credit.cover();
        }
    }

    /// Ends the stream for what the gateway did, which it hears if it reads on for a while.
    async fn end(mut self, breach: Breach) {
        self.tasks.abort_all();
        let status = Status::internal(breach.to_string());
        let _ = timeout(LAST_WORD, self.out.0.send(Err(status))).await;
    }

    fn hear(&mut self, message: ExchangeRequest) -> Result<(), Breach> {
        if message.encoded_len() > MAX_EXCHANGE_MESSAGE {
            return Err(Breach::Large);
        }
        let id = message.id;
        match message.part.ok_or(Breach::Empty)? {
            Asked::Begin(begin) => self.begin(id, begin),
            Asked::Cancel(_) => {
                if let Some(exchange) = self.under_way(id)? {
                    exchange.cancel.cancel();
                }
                Ok(())
            }
            Asked::Credit(credit) => match self.under_way(id)? {
                Some(exchange) if !exchange.credit.give(credit.bytes) => Err(Breach::Credit),
                Some(_) | None => Ok(()),
            },
        }
    }

    /// What is under way with this id, if it is not over.
    fn under_way(&self, id: u64) -> Result<Option<Exchange>, Breach> {
        // Of ids that were never begun because the stream drains nothing is known.
        if id == 0 || (id > self.last && !self.drains) {
            return Err(Breach::Unknown(id));
        }
        Ok(self.live.lock().get(&id).cloned())
    }

    fn begin(&mut self, id: u64, begin: ExchangeBegin) -> Result<(), Breach> {
        if id <= self.last {
            return Err(Breach::Id(id));
        }
        if self.drains {
            return Ok(());
        }
        self.last = id;
        if begin.data.len() > MAX_EXCHANGE_BODY {
            return Err(Breach::Body);
        }
        let exchange = Exchange {
            cancel: CancellationToken::new(),
            credit: Credit::default(),
        };
        {
            let mut live = self.live.lock();
            if live.len() >= MAX_IN_FLIGHT as usize {
                return Err(Breach::InFlight);
            }
            live.insert(id, exchange.clone());
        }
        let reply = reply::Reply {
            id,
            exchange,
            live: self.live.clone(),
            out: self.out.clone(),
            permit: Arc::clone(&self.capacity).try_acquire_owned().ok(),
        };
        self.tasks.spawn(reply.give(self.routes.clone(), begin));
        Ok(())
    }
}
