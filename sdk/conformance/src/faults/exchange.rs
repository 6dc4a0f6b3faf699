//! Small exchanges on one stream.

use std::{collections::HashMap, sync::Arc, sync::atomic::Ordering};

use bytes::Bytes;
use futures::StreamExt as _;
use kite_proto::{
    ExchangeBegin, ExchangeBusy, ExchangeCancelled, ExchangeDrain, ExchangeFailed, ExchangeHello, ExchangeRequest,
    ExchangeResponse, HttpResponse, exchange_request::Part as Asked, exchange_response::Part,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use super::{
    Core, Fault, Link,
    http::{self, Answers},
};

const MAX_IN_FLIGHT: u32 = 256;
const MAX_MESSAGE: u32 = 16 * 1024;
/// How many exchanges a stream begins before it stops reading, where that is the fault.
const MOST: usize = 100;

/// Exchanges on a stream: those that wait for credit, or for ever.
struct Conversation {
    core: Arc<Core>,
    link: Link,
    out: mpsc::UnboundedSender<Result<ExchangeResponse, Status>>,
    live: HashMap<u64, Bytes>,
    begun: usize,
    last: u64,
}

/// Answers a stream of exchanges.
pub(super) fn serve(core: Arc<Core>, link: Link, requests: Streaming<ExchangeRequest>) -> Answers<ExchangeResponse> {
    let (out, answers) = mpsc::unbounded_channel();
    let conversation = Conversation {
        core,
        link,
        out,
        live: HashMap::new(),
        begun: 0,
        last: 0,
    };
    tokio::spawn(conversation.run(requests));
    UnboundedReceiverStream::new(answers).boxed()
}

impl Conversation {
    fn has(&self, fault: Fault) -> bool {
        self.core.has(fault)
    }

    fn say(&self, id: u64, part: Part) {
        // Nobody listens any more, or somebody does.
        let _ = self.out.send(Ok(ExchangeResponse { id, part: Some(part) }));
    }

    async fn run(mut self, mut requests: Streaming<ExchangeRequest>) {
        if self.has(Fault::LateHello) {
            self.say(0, Part::Busy(ExchangeBusy {}));
        }
        let large = self.has(Fault::LargeRange);
        self.say(
            0,
            Part::Hello(ExchangeHello {
                max_in_flight: MAX_IN_FLIGHT,
                max_message: if large { MAX_MESSAGE * 2 } else { MAX_MESSAGE },
            }),
        );
        let core = Arc::clone(&self.core);
        let stopped = async move { core.stopped().await };
        let mut stopped = std::pin::pin!(stopped);
        loop {
            let message = tokio::select! {
                () = &mut stopped => {
                    if !self.has(Fault::NoDrain) {
                        self.say(0, Part::Drain(ExchangeDrain { last_id: self.last }));
                    }
                    return;
                }
                () = self.out.closed() => return,
                message = requests.next() => message,
            };
            match message {
                Some(Ok(message)) => {
                    if let Err(status) = self.hear(message) {
                        let _ = self.out.send(Err(status));
                        return;
                    }
                }
                Some(Err(_)) => return,
                None if self.has(Fault::NeverEnds) => return self.out.closed().await,
                None => return self.finish(),
            }
            if self.has(Fault::StopsReading) && self.begun >= MOST {
                return self.out.closed().await;
            }
        }
    }

    /// The rest of what was begun is covered.
    fn finish(&mut self) {
        for id in self.live.keys().copied().collect::<Vec<_>>() {
            self.send_more(id, usize::MAX);
        }
    }

    fn hear(&mut self, message: ExchangeRequest) -> Result<(), Status> {
        let id = message.id;
        match message.part {
            Some(Asked::Begin(begin)) if id > self.last => {
                (self.last, self.begun) = (id, self.begun + 1);
                self.begin(id, begin);
                Ok(())
            }
            Some(Asked::Cancel(_)) => {
                if self.live.contains_key(&id) {
                    if !self.has(Fault::IgnoresCancel) {
                        self.live.remove(&id);
                        self.say(id, Part::Cancelled(ExchangeCancelled {}));
                    }
                } else if self.has(Fault::BreaksOnLateCancel) {
                    return Err(Status::internal("it is over"));
                }
                Ok(())
            }
            Some(Asked::Credit(credit)) => {
                self.send_more(id, usize::try_from(credit.bytes).unwrap_or(usize::MAX));
                Ok(())
            }
            Some(Asked::Begin(_)) | None => {
                if self.has(Fault::CutByBreach) {
                    self.link.poisoned.store(true, Ordering::Relaxed);
                }
                if self.has(Fault::OtherStatusForBreach) {
                    return Err(Status::invalid_argument("the id is not higher"));
                }
                Err(Status::internal("the id is not higher"))
            }
        }
    }

    fn begin(&mut self, id: u64, begin: ExchangeBegin) {
        let head = begin.head.unwrap_or_default();
        if head.path_and_query == "/events" {
            let first = http::message(
                200,
                vec![http::field("content-type", "text/event-stream")],
                "data: 1\n\n",
            );
            self.say(id, Part::Reply(first));
            // What comes of it waits for ever.
            self.live.insert(id, Bytes::new());
            return;
        }
        let messages = match http::right(&self.core, &head) {
            Ok(messages) => messages,
            Err(status) => {
                let failed = ExchangeFailed {
                    code: u32::try_from(i32::from(status.code())).unwrap_or_default(),
                    message: status.message().to_owned(),
                };
                return self.say(id, Part::Failed(failed));
            }
        };
        let head = messages.first().and_then(|first| first.head.clone());
        let mut data: Bytes = messages
            .into_iter()
            .flat_map(|message| message.data)
            .collect::<Vec<u8>>()
            .into();
        let most = usize::try_from(MAX_MESSAGE).unwrap_or(usize::MAX);
        let mut first = HttpResponse {
            head: head.clone(),
            data: data.split_to(data.len().min(most)),
            end: data.is_empty(),
            ..HttpResponse::default()
        };
        if self.has(Fault::LargeReply) {
            first.data = vec![b'a'; most + 1].into();
        }
        if self.has(Fault::ReplyHeadTwice) {
            let part = HttpResponse {
                end: false,
                ..first.clone()
            };
            self.say(id, Part::Reply(part));
            first.data.clear();
        }
        let end = first.end;
        self.say(id, Part::Reply(first));
        if end && self.has(Fault::TerminalTwice) {
            self.say(id, Part::Cancelled(ExchangeCancelled {}));
        }
        if !end {
            self.live.insert(id, data);
            if self.has(Fault::IgnoresCredit) {
                self.send_more(id, usize::MAX);
            }
        }
    }

    /// Sends so many bytes more of a reply that has more.
    fn send_more(&mut self, id: u64, mut bytes: usize) {
        let most = usize::try_from(MAX_MESSAGE).unwrap_or(usize::MAX);
        let Some(mut data) = self.live.remove(&id).filter(|data| !data.is_empty()) else {
            return;
        };
        while bytes > 0 && !data.is_empty() {
            let piece = data.split_to(data.len().min(bytes).min(most));
            bytes -= piece.len();
            let end = data.is_empty();
            self.say(
                id,
                Part::Reply(HttpResponse {
                    data: piece,
                    end,
                    ..HttpResponse::default()
                }),
            );
        }
        if !data.is_empty() {
            self.live.insert(id, data);
        }
    }
}
