//! A WebSocket that an author accepted: their function between the two halves of the protocol.
//!
//! All of it runs in the caller's stream, so that it is dropped when the caller goes away.

use std::{
    ops::ControlFlow,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    http::{Response, header::CONTENT_LENGTH},
};
use futures::{FutureExt as _, Stream, future::BoxFuture, future::join};
use kite_proto::{
    HttpRequest, HttpResponse, HttpResponseHead, WebSocketFrame,
    web_socket::{Assembler, FrameError, Message},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout},
};
use tonic::{Status, Streaming};
use tracing::{error, warn};

use super::{headers, panic_text, reply, request};
use crate::{
    RequestId,
    web_socket::{Accepted, WAITING, WebSocket, WebSocketError, WebSocketReceiver, WebSocketSender},
};

/// How long the other side may take to answer a CLOSE, and the author's function to end after it.
const CLOSE: Duration = Duration::from_secs(5);

const NORMAL: u16 = 1000;
const AWAY: u16 = 1001;
const PROTOCOL: u16 = 1002;
const FAILED: u16 = 1011;

/// A CLOSE, with its code and reason if it has them.
type Close = Option<(u16, String)>;
type Answer = Result<HttpResponse, Status>;

/// What a WebSocket is made of when both sides want it.
pub(super) struct Opened {
    pub(super) accepted: Accepted,
    pub(super) requests: Streaming<HttpRequest>,
    pub(super) request_id: RequestId,
    pub(super) deadline: Option<Instant>,
    /// True until the plugin is told to stop.
    pub(super) serving: watch::Receiver<bool>,
}

/// How the caller's half ended.
enum Heard {
    Close(Close),
    Broken,
    Lost,
}

/// The answers of a WebSocket, as they come out of what is done for them.
struct Session {
    /// Until it is done.
    work: Option<BoxFuture<'static, ()>>,
    answers: mpsc::Receiver<Answer>,
}

impl Stream for Session {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        if let Some(work) = &mut self.work
            && work.as_mut().poll(cx).is_ready()
        {
            self.work = None;
        }
        self.answers.poll_recv(cx)
    }
}

/// Accepts a WebSocket by `response` and serves it.
pub(super) fn serve(response: &Response<Body>, opened: Opened) -> Result<impl Stream<Item = Answer> + use<>, Status> {
    let mut fields = response.headers().clone();
    // The router gives one to every response; here it would be wrong (RFC 9110, section 8.6).
    fields.remove(CONTENT_LENGTH);
    let headers = headers::write(&fields).map_err(|error| {
        error!(request_id = %opened.request_id, error = %error, "the head of a response cannot be sent");
        Status::internal("the head of the response cannot be sent")
    })?;
    let head = HttpResponse {
        head: Some(HttpResponseHead {
            status: response.status().as_u16().into(),
            headers,
        }),
        ..HttpResponse::default()
    };
    let (sender, answers) = mpsc::channel(WAITING);
    let work = async move {
        if sender.send(Ok(head)).await.is_err() {
            return;
        }
        let deadline = opened.deadline;
        let too_late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = run(opened, &sender) => {}
            () = too_late => {
                let _ = sender.send(Err(reply::too_late())).await;
            }
        }
    };
    Ok(Session {
        work: Some(work.boxed()),
        answers,
    })
}

async fn run(opened: Opened, answers: &mpsc::Sender<Answer>) {
    let Some(handler) = opened.accepted.take() else { return };
    let (to_handler, received) = mpsc::channel(WAITING);
    let (sent, from_handler) = mpsc::channel(WAITING);
    let (ends, code) = oneshot::channel();
    let (tells, heard) = oneshot::channel();
    let request_id = opened.request_id;
    let socket = WebSocket::new(WebSocketSender(sent), WebSocketReceiver(received));
    let handle = async {
        let result = AssertUnwindSafe(async { handler(socket).await }).catch_unwind().await;
        let code = match result {
            Ok(()) => NORMAL,
            Err(panic) => {
                error!(request_id = %request_id, panic = panic_text(&*panic), "a WebSocket's handler panicked");
                FAILED
            }
        };
        let _ = ends.send(code);
    };
    let hear = hear(opened.requests, to_handler, tells);
    let mut others = pin!(join(handle, hear));
    let mut say = pin!(say(answers, from_handler, code, heard, opened.serving));
    tokio::select! {
        () = &mut say => {
            if timeout(CLOSE, others).await.is_err() {
                warn!(request_id = %request_id, "a closed WebSocket's handler or caller did not end, and was dropped");
            }
        }
        _ = &mut others => say.await,
    }
}

/// Says what the handler sends, and in the end a CLOSE.
async fn say(
    answers: &mpsc::Sender<Answer>,
    mut messages: mpsc::Receiver<Message>,
    mut ended: oneshot::Receiver<u16>,
    mut heard: oneshot::Receiver<Heard>,
    mut serving: watch::Receiver<bool>,
) {
    let close = loop {
        tokio::select! {
            biased;
            heard = &mut heard => match heard {
                Ok(Heard::Close(close)) => break close,
                Ok(Heard::Broken) => break Some(coded(PROTOCOL)),
                Ok(Heard::Lost) | Err(_) => return,
            },
            code = &mut ended => break Some(coded(code.unwrap_or(FAILED))),
            () = stopped(&mut serving) => break Some(coded(AWAY)),
            Some(message) = messages.recv() => {
                if send(answers, message).await.is_break() {
                    return;
                }
            }
        }
    };
    // What was sent before goes before.
    messages.close();
    while let Ok(message) = messages.try_recv() {
        if send(answers, message).await.is_break() {
            return;
        }
    }
    let _ = send(answers, Message::Close(close)).await;
}

/// When the plugin is told to stop.
async fn stopped(serving: &mut watch::Receiver<bool>) {
    // Fails only if the sender is gone, which is the end too.
    let _ = serving.wait_for(|serving| !serving).await;
}

/// Sends a message. A CLOSE is the last one, and so is what nobody hears.
async fn send(answers: &mpsc::Sender<Answer>, message: Message) -> ControlFlow<()> {
    let end = matches!(message, Message::Close(_));
    for frame in message.frames() {
        let answer = HttpResponse {
            frame: Some(frame),
            end,
            ..HttpResponse::default()
        };
        if answers.send(Ok(answer)).await.is_err() {
            return ControlFlow::Break(());
        }
    }
    if end {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// Gives the handler what the caller says.
async fn hear(
    mut requests: Streaming<HttpRequest>,
    handler: mpsc::Sender<Result<Message, WebSocketError>>,
    tells: oneshot::Sender<Heard>,
) {
    let mut assembler = Assembler::default();
    let (heard, last) = loop {
        let Ok(Some(request)) = requests.message().await else {
            break (Heard::Lost, Err(WebSocketError::Lost));
        };
        match frame(request).and_then(|frame| assembler.take(frame)) {
            Ok(Some(Message::Close(close))) => break (Heard::Close(close.clone()), Ok(Message::Close(close))),
            Ok(Some(message)) => {
                // A handler that reads no more may still send.
                let _ = handler.send(Ok(message)).await;
            }
            Ok(None) => {}
            Err(error) => break (Heard::Broken, Err(error.into())),
        }
    };
    // Fails only if a CLOSE was said already.
    let _ = tells.send(heard);
    let _ = handler.send(last).await;
    // It is read to its end, as every request is, which nobody has to wait for.
    tokio::spawn(request::drain(requests));
}

/// The frame of a message that has nothing else.
fn frame(mut request: HttpRequest) -> Result<WebSocketFrame, FrameError> {
    let frame = request.frame.take().ok_or(FrameError::Kind)?;
    // That all is said a CLOSE says too.
    request.end = false;
    if request == HttpRequest::default() {
        Ok(frame)
    } else {
        Err(FrameError::Kind)
    }
}

fn coded(code: u16) -> (u16, String) {
    (code, String::new())
}
