//! The rogue's end of a stream of exchanges: the same answers as by `Http`, and some that break the rules of the stream.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, atomic::Ordering},
};

use futures::{StreamExt as _, stream};
use kite_proto::{
    ExchangeBegin, ExchangeBusy, ExchangeCancelled, ExchangeDrain, ExchangeFailed, ExchangeHello, ExchangeRequest,
    ExchangeResponse, HttpRequest, HttpResponse, exchange_request::Part as Asked, exchange_response::Part,
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};
use tonic::{Status, Streaming};

use super::rogue::{Answers, Rogue, data, head};

const MAX_MESSAGE: usize = 16 * 1024;

type Out = mpsc::UnboundedSender<Result<ExchangeResponse, Status>>;

/// What is under way.
struct Live {
    task: JoinHandle<()>,
    credit: Arc<Semaphore>,
}

#[derive(Default)]
pub(crate) struct Heard {
    /// Streams that were opened, and those that were not ended yet.
    pub(crate) opened: usize,
    pub(crate) open: usize,
    pub(crate) begun: usize,
    pub(crate) cancelled: usize,
    pub(crate) credit: usize,
}

/// What came on all streams.
pub(crate) type Counted = watch::Sender<Heard>;

struct Conversation {
    rogue: Rogue,
    out: Out,
    live: Arc<Mutex<HashMap<u64, Live>>>,
}

pub(crate) fn serve(rogue: Rogue, mut asked: Streaming<ExchangeRequest>) -> Answers<ExchangeResponse> {
    let (out, mut said) = mpsc::unbounded_channel();
    let conversation = Conversation {
        rogue,
        out,
        live: Arc::default(),
    };
    conversation.rogue.streams.send_modify(|heard| {
        heard.opened += 1;
        heard.open += 1;
    });
    if !conversation.rogue.mute.load(Ordering::SeqCst) {
        let hello = ExchangeHello {
            max_in_flight: 100,
            max_message: 16 * 1024,
        };
        conversation.say(0, Part::Hello(hello));
    }
    tokio::spawn(async move {
        let mut stop = conversation.rogue.stop.subscribe();
        loop {
            let message = tokio::select! {
                message = asked.message() => message,
                _ = stop.wait_for(|stop| *stop) => {
                    let last_id = u64::try_from(conversation.rogue.streams.borrow().begun).unwrap();
                    conversation.say(0, Part::Drain(ExchangeDrain { last_id }));
                    break;
                }
            };
            match message {
                Ok(Some(message)) => conversation.hear(message),
                Ok(None) | Err(_) => break,
            }
        }
        // What was begun is finished.
        let begun: Vec<_> = conversation.live.lock().unwrap().drain().collect();
        for (_, live) in begun {
            live.credit.close();
            let task = live.task.abort_handle();
            tokio::select! {
                _ = live.task => {}
                // Nobody reads any more.
                () = conversation.out.closed() => task.abort(),
            }
        }
        conversation.rogue.streams.send_modify(|heard| heard.open -= 1);
    });
    stream::poll_fn(move |cx| said.poll_recv(cx)).boxed()
}

impl Conversation {
    fn say(&self, id: u64, part: Part) {
        let _ = self.out.send(Ok(ExchangeResponse { id, part: Some(part) }));
    }

    fn hear(&self, message: ExchangeRequest) {
        let id = message.id;
        match message.part.unwrap() {
            Asked::Begin(begin) => self.begin(id, begin),
            Asked::Cancel(_) => {
                self.rogue.streams.send_modify(|heard| heard.cancelled += 1);
                if let Some(live) = self.live.lock().unwrap().remove(&id) {
                    live.task.abort();
                    self.say(id, Part::Cancelled(ExchangeCancelled {}));
                }
            }
            Asked::Credit(credit) => {
                let bytes = usize::try_from(credit.bytes).unwrap();
                self.rogue.streams.send_modify(|heard| heard.credit += bytes);
                if let Some(live) = self.live.lock().unwrap().get(&id) {
                    live.credit.add_permits(bytes);
                }
            }
        }
    }

    /// What is said to some targets breaks a rule, or is no reply. Whether this is one of them.
    fn misbehaves(&self, id: u64, target: &str) -> bool {
        let whole = HttpResponse {
            end: true,
            ..head(200, vec![])
        };
        match target {
            "/exchange/busy" => self.say(id, Part::Busy(ExchangeBusy {})),
            "/exchange/drain" => self.say(0, Part::Drain(ExchangeDrain { last_id: id - 1 })),
            "/exchange/unknown" => self.say(id + 1, Part::Reply(whole)),
            "/exchange/hello" => {
                let again = ExchangeHello {
                    max_in_flight: 1,
                    max_message: 1024,
                };
                self.say(0, Part::Hello(again));
            }
            "/exchange/after" => {
                for _ in 0..2 {
                    self.say(id, Part::Reply(whole.clone()));
                }
            }
            "/exchange/flood" => {
                self.say(id, Part::Reply(head(200, vec![])));
                for _ in 0..100 {
                    self.say(id, Part::Reply(data(vec![0; MAX_MESSAGE])));
                }
            }
            "/exchange/large" => {
                self.say(
                    id,
                    Part::Reply(HttpResponse {
                        data: vec![0; 100_000].into(),
                        ..whole
                    }),
                );
            }
            "/exchange/reset" => {
                let _ = self.out.send(Err(Status::internal("over")));
            }
            _ => return false,
        }
        true
    }

    fn begin(&self, id: u64, begin: ExchangeBegin) {
        self.rogue.streams.send_modify(|heard| heard.begun += 1);
        let target = begin.head.as_ref().unwrap().path_and_query.clone();
        if self.misbehaves(id, &target) {
            return;
        }
        let credit = Arc::new(Semaphore::new(0));
        let reply = Reply {
            id,
            out: self.out.clone(),
            credit: Arc::clone(&credit),
        };
        let (rogue, live) = (self.rogue.clone(), Arc::clone(&self.live));
        let mut lives = self.live.lock().unwrap();
        let task = tokio::spawn(async move {
            let terminal = reply.give(&rogue, begin).await;
            live.lock().unwrap().remove(&id);
            let _ = reply.out.send(Ok(ExchangeResponse {
                id,
                part: Some(terminal),
            }));
        });
        lives.insert(id, Live { task, credit });
    }
}

struct Reply {
    id: u64,
    out: Out,
    credit: Arc<Semaphore>,
}

impl Reply {
    /// Gives the answer up to its end, and the end.
    async fn give(&self, rogue: &Rogue, begin: ExchangeBegin) -> Part {
        rogue.note(begin.head.as_ref().unwrap());
        let first = HttpRequest {
            head: begin.head,
            data: begin.data,
            end: true,
            ..HttpRequest::default()
        };
        let mut answers = match rogue.answers(first, stream::empty().boxed()) {
            Ok(answers) => answers,
            Err(status) => return failed(&status),
        };
        let mut is_first = true;
        while let Some(answer) = answers.next().await {
            let mut answer = match answer {
                Ok(answer) => answer,
                Err(status) => return failed(&status),
            };
            while !answer.data.is_empty() {
                let most = answer.data.len().min(MAX_MESSAGE);
                if !is_first && let Ok(permits) = self.credit.acquire_many(u32::try_from(most).unwrap()).await {
                    permits.forget();
                }
                if most == answer.data.len() {
                    break;
                }
                let piece = HttpResponse {
                    head: answer.head.take(),
                    data: answer.data.split_to(most),
                    ..HttpResponse::default()
                };
                is_first = false;
                self.send(piece);
            }
            if answer.end {
                return Part::Reply(answer);
            }
            is_first = false;
            self.send(answer);
            tokio::task::yield_now().await;
        }
        failed(&Status::internal("no end"))
    }

    fn send(&self, piece: HttpResponse) {
        let part = Some(Part::Reply(piece));
        let _ = self.out.send(Ok(ExchangeResponse { id: self.id, part }));
    }
}

fn failed(status: &Status) -> Part {
    Part::Failed(ExchangeFailed {
        code: u32::try_from(i32::from(status.code())).unwrap(),
        message: status.message().to_owned(),
    })
}
