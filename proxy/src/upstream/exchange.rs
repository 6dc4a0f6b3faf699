//! Small exchanges with a plugin, many at once on one stream of its connection: the gateway's end of `Exchange`.
//!
//! One task reads whatever the plugin says and never waits for anything else. What is said to the plugin waits in a queue that is bounded
//! by the exchanges under way: each has its request, one cancellation, and credit for what was taken of its reply.

mod inbox;
mod lanes;
mod ledger;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, stream};
use kite_proto::{
    ExchangeBegin, ExchangeCancel, ExchangeCredit, ExchangeRequest, ExchangeResponse, HttpRequestHead, HttpResponse,
    MAX_EXCHANGE_MESSAGE, exchange_request::Part, plugin_client::PluginClient,
};
use prost::Message as _;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until, timeout},
};
use tonic::{Status, Streaming};

pub(super) use self::lanes::Lanes;
use self::{
    inbox::Inbox,
    ledger::{Heard, Ledger, Terminal},
};
pub use self::{inbox::Stopped, ledger::Breach};
use super::Sender;

/// How much of a reply may wait for its caller, beside its first message.
const WINDOW: usize = 64 * 1024;
/// How long a stream takes to open, and how old it becomes.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The protocol gives a plugin this long to say Hello.
    pub hello: Duration,
    /// How old a stream is when exchanges begin on another.
    pub renewed: Duration,
    /// How old it becomes at most before its end is told, with what is under way on it.
    pub oldest: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(10),
            renewed: Duration::from_mins(9),
            oldest: Duration::from_mins(10),
        }
    }
}

/// Why a stream of exchanges is over.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    #[error("failed to get Hello in time")]
    Timeout,
    #[error("failed to read the stream")]
    Call(#[source] Box<Status>),
    #[error("failed to find the rules kept")]
    Breach(#[source] Breach),
    #[error("failed to find the stream open")]
    Ended,
}

/// A stream on which exchanges can be begun.
pub struct Lane {
    book: Mutex<Book>,
    /// Whether exchanges may begin, as the book has it too.
    open: AtomicBool,
    /// When it ended for what the plugin did.
    failed: OnceLock<Instant>,
    /// Set, and told, when nobody waits for anything that the plugin may still say.
    abandoned: AtomicBool,
    left: Notify,
}

/// What is under way, and the way to the plugin. Ids go out in the order in which they are given.
struct Book {
    ledger: Ledger<Arc<Inbox>>,
    /// Until the gateway has said all.
    out: Option<mpsc::UnboundedSender<ExchangeRequest>>,
}

impl Book {
    fn say(&self, id: u64, part: Part) {
        if let Some(out) = &self.out {
            // Fails only when the stream is over, which its reader tells everybody.
            let _ = out.send(ExchangeRequest { id, part: Some(part) });
        }
    }

    fn bytes(bytes: usize) -> Part {
        Part::Credit(ExchangeCredit {
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        })
    }
}

impl Lane {
    /// Opens a stream, and waits until the plugin has said what it takes.
    pub(super) async fn open(client: PluginClient<Sender>, times: Times) -> Result<Arc<Self>, LaneError> {
        let (out, mut asked) = mpsc::unbounded_channel();
        let asked = stream::poll_fn(move |cx| asked.poll_recv(cx));
        let lane = Arc::new(Self {
            book: Mutex::new(Book {
                ledger: Ledger::default(),
                out: Some(out),
            }),
            open: AtomicBool::new(true),
            failed: OnceLock::new(),
            abandoned: AtomicBool::new(false),
            left: Notify::new(),
        });
        let mut client = client.max_decoding_message_size(MAX_EXCHANGE_MESSAGE);
        let opened = async {
            let mut answers = client.exchange(asked).await?.into_inner();
            Ok::<_, Status>((answers.message().await?, answers))
        };
        let (hello, answers) = timeout(times.hello, opened)
            .await
            .map_err(|_| LaneError::Timeout)?
            .map_err(|status| LaneError::Call(Box::new(status)))?;
        lane.hear(hello.ok_or(LaneError::Ended)?).map_err(LaneError::Breach)?;
        tokio::spawn(Arc::clone(&lane).read(answers, times));
        Ok(lane)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn failed_at(&self) -> Option<Instant> {
        self.failed.get().copied()
    }

    /// Begins an exchange, unless it is too large for the stream or the stream has no room for it now.
    pub fn begin(self: &Arc<Self>, head: HttpRequestHead, data: Bytes) -> Option<Reply> {
        let length = data.len();
        let begin = ExchangeBegin { head: Some(head), data };
        let begin = ExchangeRequest {
            id: u64::MAX,
            part: Some(Part::Begin(begin)),
        };
        if begin.encoded_len() > MAX_EXCHANGE_MESSAGE {
            return None;
        }
        let inbox = Arc::new(Inbox::default());
        let mut book = self.lock();
        if !book.ledger.has_room(length) {
            return None;
        }
        let id = book.ledger.begin(Arc::clone(&inbox));
        book.say(id, begin.part?);
        drop(book);
        Some(Reply {
            lane: Arc::clone(self),
            id,
            inbox,
            taken: 0,
            is_over: false,
        })
    }

    /// No exchange begins any more; when the last one is over, so is the stream.
    pub(super) fn retire(&self) {
        let mut book = self.lock();
        book.ledger.retire();
        self.settle(&mut book);
    }

    /// Says that nothing more is said: what was begun is answered to its end.
    fn finish(&self) {
        let mut book = self.lock();
        book.ledger.cover();
        book.out = None;
        self.settle(&mut book);
    }

    fn settle(&self, book: &mut Book) {
        if book.ledger.is_retired() {
            self.open.store(false, Ordering::Relaxed);
            if book.ledger.is_empty() {
                book.out = None;
            }
        }
        if book.ledger.is_abandoned() && !self.abandoned.swap(true, Ordering::Relaxed) {
            self.left.notify_one();
        }
    }

    /// Reads to the end of the stream, and tells all who wait then.
    async fn read(self: Arc<Self>, mut answers: Streaming<ExchangeResponse>, times: Times) {
        let opened = Instant::now();
        let mut renewed = std::pin::pin!(sleep_until(opened + times.renewed));
        let mut oldest = std::pin::pin!(sleep_until(opened + times.oldest));
        let (mut is_renewed, mut is_oldest) = (false, false);
        let ended = loop {
            let message = tokio::select! {
                biased;
                message = answers.message() => message,
                () = &mut renewed, if !is_renewed => {
                    is_renewed = true;
                    self.retire();
                    continue;
                }
                () = &mut oldest, if !is_oldest => {
                    is_oldest = true;
                    self.finish();
                    continue;
                }
                () = self.left.notified() => break Ok(()),
            };
            match message {
                Ok(Some(message)) => {
                    if let Err(breach) = self.hear(message) {
                        break Err(LaneError::Breach(breach));
                    }
                    // One who never stops leaves no time to be told.
                    if self.abandoned.load(Ordering::Relaxed) {
                        break Ok(());
                    }
                }
                Ok(None) => break if self.is_open() { Err(LaneError::Ended) } else { Ok(()) },
                Err(status) => break Err(LaneError::Call(Box::new(status))),
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error = kite_api::error_chain(&error), "a stream of exchanges broke");
            // Only this task sets it.
            let _ = self.failed.set(Instant::now());
        }
        let mut book = self.lock();
        let waiting = book.ledger.end();
        self.settle(&mut book);
        drop(book);
        for inbox in waiting {
            inbox.stop(Stopped::Broken);
        }
    }

    fn hear(&self, message: ExchangeResponse) -> Result<(), Breach> {
        let id = message.id;
        let mut book = self.lock();
        let mut had_room = true;
        match book.ledger.hear(message)? {
            Heard::Part(inbox, part) => had_room = inbox.put(part),
            Heard::Over(inbox, Terminal::Reply(last)) => inbox.complete(last),
            Heard::Over(inbox, Terminal::Busy) => inbox.stop(Stopped::Busy),
            Heard::Over(inbox, Terminal::Cancelled) => inbox.stop(Stopped::Broken),
            Heard::Over(inbox, Terminal::Failed(failed)) => {
                let code = i32::try_from(failed.code).unwrap_or_default();
                inbox.stop(Stopped::Failed(Box::new(Status::new(code.into(), failed.message))));
            }
            Heard::NotBegun(all) => all.iter().for_each(|inbox| inbox.stop(Stopped::NotBegun)),
            Heard::Nothing => {}
        }
        if !had_room {
            book.ledger.give_up(id);
        }
        self.settle(&mut book);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        // It is changed as a whole.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reply to an exchange. When it is dropped before its end, the plugin is told that nobody wants it any more.
pub struct Reply {
    lane: Arc<Lane>,
    id: u64,
    inbox: Arc<Inbox>,
    /// Bytes that were taken and not covered anew.
    taken: usize,
    is_over: bool,
}

impl Reply {
    /// The first part, or why there is none.
    pub async fn first(&mut self) -> Result<HttpResponse, Stopped> {
        match poll_fn(|cx| self.inbox.poll(cx)).await {
            Ok(Some(part)) => {
                self.is_over = part.end;
                if !part.end {
                    self.give(WINDOW);
                }
                Ok(part)
            }
            Ok(None) => Err(Stopped::Broken),
            Err(stopped) => {
                self.is_over = true;
                Err(stopped)
            }
        }
    }

    fn give(&self, bytes: usize) {
        let mut book = self.lane.lock();
        if book.ledger.give(self.id, bytes) {
            book.say(self.id, Book::bytes(bytes));
        }
    }
}

impl Stream for Reply {
    type Item = Result<HttpResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let part = match ready!(this.inbox.poll(cx)) {
            Ok(Some(part)) => part,
            Ok(None) => return Poll::Ready(None),
            Err(stopped) => {
                this.is_over = true;
                return Poll::Ready(Some(Err(stopped.into())));
            }
        };
        this.is_over = part.end;
        this.taken += part.data.len();
        if this.taken >= WINDOW / 2 && !part.end {
            let taken = std::mem::take(&mut this.taken);
            this.give(taken);
        }
        Poll::Ready(Some(Ok(part)))
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut book = self.lane.lock();
        if book.ledger.give_up(self.id) {
            book.say(self.id, Part::Cancel(ExchangeCancel {}));
        }
        self.lane.settle(&mut book);
    }
}
