//! A WebSocket from its beginning to its end.

use kite_proto::{
    HttpRequest, HttpResponse, WebSocketFrame,
    web_socket::{Assembler, Message},
};
use tonic::Code;

use super::http::{Exchanged, request};
use crate::{
    verdict::{Checked, broken, ensure, not_applicable},
    wire::{Ended, Wire},
    world::{World, no_call},
};

const SWITCHING_PROTOCOLS: u32 = 101;
/// A path that no plugin has.
const NOWHERE: &str = "/conformance";

/// Asks for a WebSocket, says these messages, and hears all that comes.
async fn ask(world: &World, wire: &Wire, path: &str, says: Vec<Message>) -> Checked<Exchanged> {
    let mut call = match wire.call("Http").await {
        Ok(call) => call,
        Err(error) => return no_call("Http", &error),
    };
    let mut first = request(world, "GET", path);
    if let Some(head) = &mut first.head {
        head.protocol = String::from("websocket");
    }
    call.send(&first, false).await;
    for message in says {
        let end = matches!(message, Message::Close(_));
        for frame in message.frames() {
            let message = HttpRequest {
                frame: Some(frame),
                end,
                ..HttpRequest::default()
            };
            call.send(&message, end).await;
        }
    }
    let answer = call.collect(world.limits.answer).await;
    Ok(Exchanged::new(format!("the WebSocket {path}"), "GET", answer))
}

/// A WebSocket from its beginning to its end, made once.
async fn talk(world: &World) -> Checked<&Exchanged> {
    let Some(path) = &world.known.socket else {
        return not_applicable("the suite knows no path that accepts a WebSocket");
    };
    let talk = async || {
        let wire = world.wire().await?;
        let says = vec![
            Message::Text(String::from("hello")),
            Message::Binary("binary".into()),
            Message::Close(Some((1000, String::from("bye")))),
        ];
        ask(world, &wire, path, says).await
    };
    world.socket.get_or_try_init(talk).await
}

fn frames(one: &Exchanged) -> impl Iterator<Item = &WebSocketFrame> {
    one.messages().filter_map(|message| message.frame.as_ref())
}

pub(crate) async fn frames_only(world: &World) -> Checked {
    let one = talk(world).await?;
    let accepted = one.status() == Some(SWITCHING_PROTOCOLS);
    ensure(
        accepted,
        || format!("{} is {:?}, {}", one.what, one.status(), one.answer.ended),
        SWITCHING_PROTOCOLS,
    )?;
    for message in one.messages() {
        let is_frame = message.frame.is_some() || message.head.is_some();
        let more = !message.data.is_empty() || !message.trailers.is_empty();
        ensure(
            is_frame && !more,
            || format!("{}: a message with data", one.what),
            "frames alone",
        )?;
    }
    Ok(())
}

pub(crate) async fn messages(world: &World) -> Checked {
    let one = talk(world).await?;
    let mut assembler = Assembler::default();
    let mut any = false;
    for frame in frames(one) {
        any = true;
        if let Err(error) = assembler.take(frame.clone()) {
            return broken(format!("{}: {error}", one.what), "whole messages within their limits");
        }
    }
    if any {
        Ok(())
    } else {
        not_applicable("the WebSocket says nothing")
    }
}

pub(crate) async fn close(world: &World) -> Checked {
    let one = talk(world).await?;
    if one.status() != Some(SWITCHING_PROTOCOLS) {
        return not_applicable("no WebSocket was accepted");
    }
    let is_close = |message: &HttpResponse| {
        let close = kite_proto::web_socket_frame::Kind::Close;
        message.frame.as_ref().is_some_and(|frame| frame.kind() == close)
    };
    let from_close = one.messages().skip_while(|message| !is_close(message));
    let from_close: Vec<_> = from_close.map(|message| message.end).collect();
    let ended_well = matches!(&one.answer.ended, Ended::Status(status) if status.code == Code::Ok);
    ensure(
        from_close == [true] && ended_well,
        || match from_close.as_slice() {
            [] => format!("{}: no CLOSE, then {}", one.what, one.answer.ended),
            [false, ..] => format!("{}: a CLOSE without the end", one.what),
            [true, ..] => format!(
                "{}: {} messages from the CLOSE on, then {}",
                one.what,
                from_close.len(),
                one.answer.ended
            ),
        },
        "a CLOSE with the end, and OK",
    )
}

pub(crate) async fn refused(world: &World) -> Checked {
    let wire = world.wire().await?;
    let one = ask(world, &wire, NOWHERE, Vec::new()).await?;
    let what = || format!("{}: {:?}, then {}", one.what, one.status(), one.answer.ended);
    let is_refused = one.status().is_some_and(|status| status >= 200) && one.is_complete();
    ensure(is_refused, what, "a complete response that is not 101")
}
