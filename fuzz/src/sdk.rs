//! What the SDK reads: calls of a host that may say anything.

pub(crate) mod exchange;
mod plugin;
pub(crate) mod unary;

use std::{convert::Infallible, sync::LazyLock};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use kite_plugin_sdk::{PluginName, in_memory};
use kite_proto::{HttpRequest, HttpResponse, MAX_CHUNK, MAX_HEAD, MAX_STATUS_MESSAGE, web_socket::Assembler};
use prost::Message;
use tonic::{Code, Status, body::Body};
use tower::{ServiceExt as _, util::BoxCloneSyncService};

use self::plugin::Everything;
use crate::messages;

type Served = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// What is said of a call: its messages, and the status that ends it.
struct Answered<T> {
    messages: Vec<T>,
    status: Status,
}

fn served() -> Served {
    let name = PluginName::parse("everything").expect("a name");
    Served::new(in_memory(&Everything::default(), name).expect("a plugin"))
}

/// The plugin, for calls that change nothing of it for others.
fn shared() -> Served {
    static SERVED: LazyLock<Served> = LazyLock::new(served);
    SERVED.clone()
}

/// What the plugin answers to a call of `method` with these messages.
async fn call<T: Message + Default>(served: Served, method: &str, messages: Vec<Bytes>) -> Answered<T> {
    let body = Body::new(StreamBody::new(messages::body(messages)));
    let request = Request::post(format!("/kite.plugin.v1.Plugin/{method}"))
        .header("content-type", "application/grpc")
        .body(body)
        .expect("a request");
    let Ok(response) = served.oneshot(request).await;
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.expect("a body that is read to its end");
    let ended = collected.trailers().and_then(Status::from_header_map);
    let status = ended.or_else(|| Status::from_header_map(&parts.headers));
    let status = status.unwrap_or_else(|| Status::unknown("no status"));
    assert!(status.message().len() <= MAX_STATUS_MESSAGE, "{status}");
    Answered {
        messages: messages::read(&collected.to_bytes()),
        status,
    }
}

/// One HTTP exchange, or a WebSocket.
pub(crate) fn http(data: &[u8]) {
    let asked = messages::split(data);
    let answered = messages::run(call::<HttpResponse>(shared(), "Http", asked.clone()));
    let is_complete = check_http(&answered.messages);
    let asked = messages::decoded::<HttpRequest>(&asked);
    let is_socket = answered
        .messages
        .first()
        .and_then(|first| first.head.as_ref())
        .is_some_and(|head| head.status == 101);
    if answered.status.code() == Code::Ok && !is_socket {
        assert!(is_complete, "the answer to {asked:?} has no end");
    }
    if is_socket {
        let wanted = asked.first().and_then(|first| first.head.as_ref());
        assert!(wanted.is_some_and(|head| head.protocol == "websocket"));
    }
}

/// Checks a plugin's half of an HTTP exchange by the rules of the protocol. Whether it is complete.
fn check_http(answers: &[HttpResponse]) -> bool {
    let mut frames = None;
    let mut ended = false;
    for (index, answer) in answers.iter().enumerate() {
        assert!(!ended, "something is said after the end");
        assert_eq!(answer.head.is_some(), index == 0, "the head is in the first message");
        assert!(answer.encoded_len() <= MAX_CHUNK + MAX_HEAD && answer.data.len() <= MAX_CHUNK);
        assert!(answer.end || answer.trailers.is_empty(), "trailers before the end");
        match &answer.head {
            Some(head) if head.status == 101 => frames = Some(Assembler::default()),
            Some(head) => assert!((200..600).contains(&head.status), "{}", head.status),
            None => {}
        }
        match (&answer.frame, &mut frames) {
            (Some(frame), Some(frames)) => drop(frames.take(frame.clone()).expect("a frame as RFC 6455 has it")),
            (Some(_), None) => unreachable!("a frame without a WebSocket"),
            (None, Some(_)) => assert!(answer.data.is_empty() && (index == 0)),
            (None, None) => {}
        }
        ended = answer.end;
    }
    ended
}
