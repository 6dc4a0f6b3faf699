//! Many calls, slow ones, large ones and garbage: what harms one of them harms no other.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures::future::{Either, join_all, select};
use kite_proto::{DescribeRequest, DescribeResponse, HttpRequest, HttpResponse, MAX_CHUNK};
use prost::Message as _;
use tokio::time::{Instant, timeout};
use tonic::Code;

use super::http::{begin, echo_path, exchange_on};
use crate::{
    verdict::{Checked, broken, ensure},
    wire::{Answer, Call, Ended, Wire},
    world::{World, no_call},
};

/// Calls that are open at once.
const MANY: usize = 64;
/// Times that it is asked whether there is room for another one.
const ROUNDS: usize = 4;
/// Calls that are cancelled.
const CANCELLED: usize = 128;
const TOGETHER: usize = 8;
/// Streams that nobody reads.
const STALLED: usize = 8;
/// More than a plugin may keep of what it cannot pass on, for all its windows.
const UNREAD: usize = 32 * 1024 * 1024;
/// A path that no plugin has.
const NOWHERE: &str = "/conformance";
/// A field that no message has, and one that is as long as the largest message.
const UNKNOWN_FIELD: u32 = 1000;
const LARGE: usize = 1280 * 1024 - 64;

fn piece() -> HttpRequest {
    HttpRequest {
        data: vec![7; MAX_CHUNK].into(),
        ..HttpRequest::default()
    }
}

fn end() -> HttpRequest {
    HttpRequest {
        end: true,
        ..HttpRequest::default()
    }
}

/// That a small exchange is answered.
async fn answered(world: &World, wire: &Wire, when: &str) -> Checked {
    let one = exchange_on(world, wire, "GET", NOWHERE).await?;
    let seen = || format!("{when}, GET {NOWHERE}: {}", one.answer.ended);
    ensure(one.is_answered(), seen, "an answer")
}

pub(crate) async fn many(world: &World) -> Checked {
    let wire = world.own().await?;
    let mut open = Vec::new();
    for number in 0..MANY {
        let begun = timeout(world.limits.answer, begin(world, &wire, "POST", NOWHERE)).await;
        let Ok(call) = begun else {
            return broken(
                format!("only {number} calls are taken at once"),
                format!("{MANY} at least"),
            );
        };
        open.push(call?);
    }
    // Several times, since the first may be answered before all of those have really begun.
    for _ in 0..ROUNDS {
        answered(world, &wire, &format!("while {MANY} requests are under way")).await?;
    }
    for (number, call) in open.iter_mut().enumerate() {
        // One that has its answer already takes no more.
        let _ = timeout(world.limits.answer, call.send(&end(), true)).await;
        let answer: Answer<HttpResponse> = call.collect(world.limits.answer).await;
        ensure(
            matches!(answer.ended, Ended::Status(_)),
            || format!("call {} of {MANY}: {}", number + 1, answer.ended),
            "an answer",
        )?;
    }
    Ok(())
}

pub(crate) async fn cancelled(world: &World) -> Checked {
    let wire = world.own().await?;
    let path = world.known.echo.as_deref().unwrap_or(NOWHERE);
    for _ in 0..CANCELLED / TOGETHER {
        let mut calls = Vec::new();
        for _ in 0..TOGETHER {
            let Ok(call) = timeout(world.limits.answer, begin(world, &wire, "POST", path)).await else {
                return broken(
                    format!("no call is taken after some of {CANCELLED} were cancelled"),
                    "an answer",
                );
            };
            calls.push(call?);
        }
        // Once these are known to have begun: a plugin may defend itself against streams that are reset before.
        answered(world, &wire, &format!("after some of {CANCELLED} calls were cancelled")).await?;
        calls.iter_mut().for_each(Call::cancel);
    }
    answered(world, &wire, &format!("after {CANCELLED} calls were cancelled")).await
}

pub(crate) async fn deadline(world: &World) -> Checked {
    let path = echo_path(world)?;
    let wire = world.wire().await?;
    let mut call = match wire.call("Http").await {
        Ok(call) => call,
        Err(error) => return no_call("Http", &error),
    };
    let mut request = super::http::request(world, "POST", path);
    if let Some(context) = request.head.as_mut().and_then(|head| head.context.as_mut()) {
        context.timeout = prost_types::Duration::try_from(world.limits.silence).ok();
    }
    // A request that is never complete, so that its echo is not either.
    call.send(&request, false).await;
    let answer: Answer<HttpResponse> = call.collect(world.limits.silence + world.limits.answer).await;
    match answer.ended {
        Ended::Silent => broken(
            format!(
                "POST {path} goes on {} s after its time was up",
                world.limits.answer.as_secs_f32()
            ),
            "its end with DEADLINE_EXCEEDED",
        ),
        Ended::Status(status) if status.code == Code::Ok => broken("the status OK", "DEADLINE_EXCEEDED"),
        Ended::Status(_) | Ended::Broken(_) => Ok(()),
    }
}

/// Sends pieces to an echo that is not read, until it takes no more for a while, or all that there is. Returns what it took.
async fn stall(world: &World, call: &mut Call, most: usize) -> usize {
    let mut sent = 0;
    while sent < most {
        match timeout(world.limits.silence, call.send(&piece(), false)).await {
            Ok(true) => sent += MAX_CHUNK,
            Ok(false) | Err(_) => break,
        }
    }
    sent
}

pub(crate) async fn stalled(world: &World) -> Checked {
    let path = echo_path(world)?;
    let wire = world.own().await?;
    let mut streams = Vec::new();
    for _ in 0..STALLED {
        streams.push(begin(world, &wire, "POST", path).await?);
    }
    let sent = AtomicUsize::new(0);
    let sending = streams.iter_mut().map(|call| fill(call, UNREAD / STALLED, &sent));
    let mut sending = pin!(join_all(sending));
    let mut before = None;
    // Until nothing is taken any more.
    while timeout(world.limits.silence, &mut sending).await.is_err() {
        let now = sent.load(Ordering::Relaxed);
        if before.replace(now) == Some(now) {
            break;
        }
    }
    // What can be sent is sent on, so that the streams stay as full as they may be.
    let when = format!("while {STALLED} streams are not read");
    let answered = answered(world, &wire, &when);
    match select(pin!(answered), sending).await {
        Either::Left((answered, _)) => answered,
        Either::Right((_, answered)) => answered.await,
    }
}

/// Sends pieces for as long as they are taken.
async fn fill(call: &mut Call, most: usize, sent: &AtomicUsize) {
    for _ in 0..most / MAX_CHUNK {
        if !call.send(&piece(), false).await {
            return;
        }
        sent.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) async fn back_pressure(world: &World) -> Checked {
    let path = echo_path(world)?;
    let wire = world.own().await?;
    let mut call = begin(world, &wire, "POST", path).await?;
    let began = Instant::now();
    let sent = stall(world, &mut call, UNREAD).await;
    let seen = || {
        format!(
            "POST {path} takes {sent} bytes in {} ms that nobody reads again",
            began.elapsed().as_millis()
        )
    };
    ensure(sent < UNREAD, seen, "a writer that is stopped")
}

/// A question with a field that nobody knows.
fn padded(world: &World, length: usize) -> Vec<u8> {
    let request = DescribeRequest {
        context: Some(world.host_context()),
    };
    let mut bytes = request.encode_to_vec();
    prost::encoding::bytes::encode(UNKNOWN_FIELD, &Bytes::from(vec![0; length]), &mut bytes);
    bytes
}

/// What Describe answers to these bytes.
async fn describe(world: &World, wire: &Wire, bytes: &[u8], claimed: Option<u32>) -> Checked<Answer<DescribeResponse>> {
    let mut call = match wire.call("Describe").await {
        Ok(call) => call,
        Err(error) => return no_call("Describe", &error),
    };
    let send = async {
        match claimed {
            Some(length) => call.send_prefixed(length, bytes, true).await,
            None => call.send_raw(bytes, true).await,
        }
    };
    // Whether it was taken the answer says.
    let _ = timeout(world.limits.answer, send).await;
    Ok(call.collect(world.limits.answer).await)
}

pub(crate) async fn large_message(world: &World) -> Checked {
    let bytes = padded(world, LARGE);
    taken(world, &bytes, &format!("Describe with {} bytes", bytes.len())).await
}

pub(crate) async fn unknown_field(world: &World) -> Checked {
    taken(world, &padded(world, 16), "Describe with an unknown field").await
}

async fn taken(world: &World, bytes: &[u8], what: &str) -> Checked {
    // Describe itself is another rule's matter.
    super::describe::offered(world).await?;
    let wire = world.wire().await?;
    let answer = describe(world, &wire, bytes, None).await?;
    ensure(
        answer.messages.len() == 1,
        || format!("{what}: {}", answer.ended),
        "the answer to Describe",
    )
}

pub(crate) async fn empty_message(world: &World) -> Checked {
    let wire = world.own().await?;
    // A request without a head, and a stream without a message.
    let empty: Answer<HttpResponse> = world.ask_on(&wire, "Http", &HttpRequest::default()).await?;
    let mut call = match wire.call("Http").await {
        Ok(call) => call,
        Err(error) => return no_call("Http", &error),
    };
    call.finish();
    let none: Answer<HttpResponse> = call.collect(world.limits.answer).await;
    for (answer, what) in [(empty, "an empty message"), (none, "a stream without a message")] {
        let seen = || format!("{what}: {}", answer.ended);
        ensure(answer.ended != Ended::Silent, seen, "an end")?;
    }
    answered(world, &wire, "after an empty message").await
}

pub(crate) async fn garbage_message(world: &World) -> Checked {
    let wire = world.own().await?;
    // No field has the number 0.
    describe(world, &wire, &[0; 64], None).await?;
    answered(world, &wire, "after a message of garbage").await
}

pub(crate) async fn oversize_message(world: &World) -> Checked {
    let wire = world.own().await?;
    // One that says that it is four times as large as any may be, with a part of it.
    describe(world, &wire, &vec![0; MAX_CHUNK], Some(5 * 1024 * 1024)).await?;
    answered(world, &wire, "after a message that is too large").await
}
