//! Messages between a caller and a plugin, for as long as a WebSocket is open, and its end (RFC 6455, sections 5 to 7).
//!
//! One task carries both directions. Each reads only when the other side has taken what was read before, so that a slow plugin holds
//! its caller back and a slow caller its plugin.

use std::{
    future::{Future, pending},
    mem,
    pin::{Pin, pin},
};

use futures::{
    SinkExt as _, StreamExt as _,
    future::{join, try_join},
    stream::{SplitSink, SplitStream},
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kite_api::error_chain;
use kite_proto::{
    HttpRequest, HttpResponse, WebSocketFrame,
    web_socket::{Assembler, FrameError, MAX_WEB_SOCKET_MESSAGE, Message},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Error,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tonic::{Status, Streaming};

use crate::{
    account::{End, Opened, Traffic},
    leases::Lease,
    pipeline::forward::CLOSE_TIMEOUT,
    request_id::RequestId,
};

/// What is read at once of a caller's bytes.
const READ_BUFFER: usize = 16 * 1024;
/// What may wait to be written to a caller: the largest message with its header, and answers to pings beside it.
const WRITE_BUFFER: usize = MAX_WEB_SOCKET_MESSAGE + 64 * 1024;

type Socket = WebSocketStream<TokioIo<Upgraded>>;
type ToCaller = SplitSink<Socket, tungstenite::Message>;
/// A CLOSE, with its code and reason if it has them.
type Close = Option<(u16, String)>;

/// Why a plugin's half of a WebSocket is broken.
#[derive(Debug, thiserror::Error)]
enum PluginError {
    #[error("failed to read the plugin's stream")]
    Stream(#[source] Box<Status>),
    #[error("failed to find a CLOSE before the end of the stream")]
    End,
    #[error("failed to find a frame and nothing else in a message")]
    NoFrame,
    #[error("failed to take a frame")]
    Frame(#[source] FrameError),
}

/// A WebSocket that both sides want.
pub(super) struct Bridge {
    pub(super) id: RequestId,
    pub(super) requests: mpsc::Sender<HttpRequest>,
    pub(super) answers: Answers,
    pub(super) lease: Option<Lease>,
}

/// What the plugin says.
pub(super) struct Answers {
    /// What came with the plugin's consent.
    first: Option<HttpResponse>,
    /// Until it is broken.
    stream: Option<Streaming<HttpResponse>>,
    assembler: Assembler,
}

/// How the caller's half ended.
enum Heard {
    Closed(Close),
    /// By what breaks the rules; why is told to both sides.
    Broken(CloseCode),
    Gone,
}

/// How the plugin's half ended.
enum Said {
    Closed(Close),
    Broken(PluginError),
    /// There is no caller any more.
    Gone,
}

/// What is left of the caller's half when it has ended.
struct Ended {
    heard: Heard,
    caller: SplitStream<Socket>,
    requests: mpsc::Sender<HttpRequest>,
}

/// What ended first.
enum First {
    Caller(Ended),
    Plugin(Said),
    /// The caller's session or token.
    Credential,
    Gateway,
}

/// The caller is gone: nobody is told anything any more.
struct Gone;

impl First {
    fn end(&self) -> End {
        match self {
            Self::Caller(Ended {
                heard: Heard::Closed(_),
                ..
            })
            | Self::Plugin(Said::Closed(_)) => End::Complete,
            Self::Caller(_) | Self::Plugin(Said::Gone) => End::Cancelled,
            Self::Plugin(Said::Broken(_)) => End::Broken,
            Self::Credential | Self::Gateway => End::Closed,
        }
    }
}

impl Bridge {
    /// Carries messages until the WebSocket is closed or lost. With the bridge the plugin's stream is dropped, and so its handler.
    pub(super) async fn run(self, upgraded: Upgraded, mut opened: Option<Opened>) {
        let traffic = Traffic::default();
        let over = over(opened.as_mut());
        let end = self.carry(upgraded, over, &traffic).await;
        if let Some(opened) = opened {
            opened.end(end, traffic);
        }
    }

    /// The same; how it ended.
    async fn carry(mut self, upgraded: Upgraded, over: impl Future<Output = ()>, traffic: &Traffic) -> End {
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config())).await;
        let (mut to_caller, caller) = socket.split();
        // It goes on to its end whatever ends before it, so that no message of several frames is cut.
        let mut hear = pin!(hear(caller, self.requests, traffic));
        let first = tokio::select! {
            ended = &mut hear => First::Caller(ended),
            said = say(&mut self.answers, &mut to_caller, traffic) => First::Plugin(said),
            () = over => First::Credential,
            () = told(self.lease.as_mut()) => First::Gateway,
        };
        let end = first.end();
        let (close, ended) = match first {
            First::Caller(Ended { heard: Heard::Gone, .. }) | First::Plugin(Said::Gone) => return end,
            First::Caller(ended) => match ended.heard {
                // The answer is written already, and waits to be sent.
                Heard::Closed(_) | Heard::Gone => (None, Some(ended)),
                Heard::Broken(code) => (Some(Some(coded(code))), Some(ended)),
            },
            First::Plugin(Said::Closed(close)) => (Some(close), None),
            First::Plugin(Said::Broken(error)) => {
                tracing::warn!(request_id = %self.id, error = error_chain(&error), "the plugin's WebSocket broke");
                self.answers.stream = None;
                (Some(Some(coded(CloseCode::Error))), None)
            }
            First::Credential => {
                // What it says until it closes is nobody's any more.
                traffic.stop();
                let reason = "the session or token has ended".to_owned();
                (Some(Some((CloseCode::Policy.into(), reason))), None)
            }
            First::Gateway => (Some(Some(coded(CloseCode::Away))), None),
        };
        let caller = finish(to_caller, close, ended, hear);
        let plugin = async {
            self.answers.drain().await;
            Ok(())
        };
        // Who does not answer a CLOSE by then is cut.
        let _ = timeout(CLOSE_TIMEOUT, try_join(caller, plugin)).await;
        end
    }
}

/// Tells the caller that it is over, hears it to its end, tells the plugin, and lets go of the connection.
async fn finish(
    mut to_caller: ToCaller,
    close: Option<Close>,
    ended: Option<Ended>,
    hear: Pin<&mut impl Future<Output = Ended>>,
) -> Result<(), Gone> {
    let told = match close {
        Some(close) => to_caller.send(tungstenite::Message::Close(close.map(wire_close))).await,
        None => to_caller.flush().await,
    };
    told.map_err(|_| Gone)?;
    let Ended {
        heard,
        caller,
        requests,
    } = match ended {
        Some(ended) => ended,
        None => hear.await,
    };
    let close = match heard {
        Heard::Closed(close) => close,
        Heard::Broken(code) => Some(coded(code)),
        Heard::Gone => return Err(Gone),
    };
    let tell_plugin = async move {
        for frame in Message::Close(close).frames() {
            // A plugin that has ended its stream needs no CLOSE.
            let _ = requests.send(message(frame, true)).await;
        }
    };
    join(tell_plugin, linger(to_caller, caller)).await;
    Ok(())
}

/// Closes the connection so that the caller gets what was written: one that is dropped with bytes unread is reset, and then the
/// caller may lose what it has not read either.
async fn linger(to_caller: ToCaller, caller: SplitStream<Socket>) {
    let Ok(socket) = to_caller.reunite(caller) else {
        return;
    };
    let mut connection = socket.into_inner();
    if connection.shutdown().await.is_ok() {
        let mut unread = [0; 1024];
        while matches!(connection.read(&mut unread).await, Ok(1..)) {}
    }
}

/// Passes the caller's messages on until there are no more.
async fn hear(mut caller: SplitStream<Socket>, requests: mpsc::Sender<HttpRequest>, traffic: &Traffic) -> Ended {
    let heard = loop {
        let message = match caller.next().await {
            Some(Ok(tungstenite::Message::Text(text))) => Message::Text(text.as_str().to_owned()),
            Some(Ok(tungstenite::Message::Binary(data))) => Message::Binary(data),
            Some(Ok(tungstenite::Message::Pong(data))) => Message::Pong(data),
            // Pings are answered by who reads them; raw frames are never read.
            Some(Ok(tungstenite::Message::Ping(_) | tungstenite::Message::Frame(_))) => continue,
            Some(Ok(tungstenite::Message::Close(close))) => break Heard::Closed(close.as_ref().map(heard_close)),
            Some(Err(error)) => break broken(&error),
            None => break Heard::Gone,
        };
        if traffic.is_stopped() {
            continue;
        }
        traffic.receive(length(&message));
        for frame in message.frames() {
            // A plugin that takes no more has ended its stream, or will; until that is heard the caller talks to nobody.
            let _ = requests.send(self::message(frame, false)).await;
        }
    };
    Ended {
        heard,
        caller,
        requests,
    }
}

/// Passes the plugin's messages on until there are no more.
async fn say(answers: &mut Answers, to_caller: &mut ToCaller, traffic: &Traffic) -> Said {
    loop {
        let message = answers.next().await;
        let bytes = message.as_ref().map_or(0, length);
        let message = match message {
            Ok(Message::Text(text)) => tungstenite::Message::Text(text.into()),
            Ok(Message::Binary(data)) => tungstenite::Message::Binary(data),
            Ok(Message::Ping(data)) => tungstenite::Message::Ping(data),
            Ok(Message::Pong(data)) => tungstenite::Message::Pong(data),
            Ok(Message::Close(close)) => return Said::Closed(close),
            Err(error) => return Said::Broken(error),
        };
        // First the answers to pings that wait, so that there is room.
        if to_caller.flush().await.is_err() || to_caller.send(message).await.is_err() {
            return Said::Gone;
        }
        traffic.send(bytes);
    }
}

impl Answers {
    pub(super) fn new(first: HttpResponse, stream: Streaming<HttpResponse>) -> Self {
        let is_empty = first == HttpResponse::default();
        Self {
            first: (!is_empty).then_some(first),
            stream: Some(stream),
            assembler: Assembler::default(),
        }
    }

    async fn next(&mut self) -> Result<Message, PluginError> {
        loop {
            let answer = match (self.first.take(), &mut self.stream) {
                (Some(first), _) => first,
                (None, Some(stream)) => {
                    let answer = stream.message().await;
                    let answer = answer.map_err(|status| PluginError::Stream(Box::new(status)))?;
                    answer.ok_or(PluginError::End)?
                }
                (None, None) => return Err(PluginError::End),
            };
            let frame = frame(answer)?;
            if let Some(message) = self.assembler.take(frame).map_err(PluginError::Frame)? {
                return Ok(message);
            }
        }
    }

    /// Reads what is left of the plugin's stream, which it ends when all is said.
    async fn drain(&mut self) {
        if let Some(stream) = &mut self.stream {
            while let Ok(Some(_)) = stream.message().await {}
        }
    }
}

/// The frame of an answer that has nothing else.
fn frame(mut answer: HttpResponse) -> Result<WebSocketFrame, PluginError> {
    let frame = mem::take(&mut answer.frame).ok_or(PluginError::NoFrame)?;
    // That all is said a CLOSE says too.
    answer.end = false;
    if answer == HttpResponse::default() {
        Ok(frame)
    } else {
        Err(PluginError::NoFrame)
    }
}

fn message(frame: WebSocketFrame, end: bool) -> HttpRequest {
    HttpRequest {
        frame: Some(frame),
        end,
        ..HttpRequest::default()
    }
}

async fn over(opened: Option<&mut Opened>) {
    match opened {
        Some(opened) => opened.over().await,
        None => pending().await,
    }
}

/// How many bytes of text or data a message has.
fn length(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(data) => data.len(),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => 0,
    }
}

async fn told(lease: Option<&mut Lease>) {
    match lease {
        Some(lease) => lease.told().await,
        None => pending().await,
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(MAX_WEB_SOCKET_MESSAGE))
        .max_frame_size(Some(MAX_WEB_SOCKET_MESSAGE))
}

fn coded(code: CloseCode) -> (u16, String) {
    (code.into(), String::new())
}

fn wire_close((code, reason): (u16, String)) -> CloseFrame {
    CloseFrame {
        code: code.into(),
        reason: reason.into(),
    }
}

/// A caller's CLOSE. One with a code that is never sent is a breach.
fn heard_close(close: &CloseFrame) -> (u16, String) {
    if close.code.is_allowed() {
        (close.code.into(), close.reason.as_str().to_owned())
    } else {
        (CloseCode::Protocol.into(), String::new())
    }
}

/// What a caller's error is to both sides.
fn broken(error: &Error) -> Heard {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Heard::Gone,
        Error::Protocol(_) => Heard::Broken(CloseCode::Protocol),
        Error::Utf8(_) => Heard::Broken(CloseCode::Invalid),
        Error::Capacity(_) => Heard::Broken(CloseCode::Size),
        _ => Heard::Gone,
    }
}
