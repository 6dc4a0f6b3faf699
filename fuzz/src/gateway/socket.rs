//! A WebSocket between a caller and a plugin, both of whom may say anything.

use std::{
    io::{self, Read, Write},
    sync::{Arc, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kite_gateway::{
    BoxError,
    pipeline::{
        ResponseBody,
        forward::{Handshake, Opening},
    },
};
use kite_proto::{HttpRequest, web_socket::Assembler};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_tungstenite::tungstenite::{Error, WebSocket, error::ProtocolError, protocol::Role};

use super::{BETWEEN, From, Says, plugin};
use crate::messages;

const HANDSHAKE: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v1\r\n\r\n";

/// How the plugin ends stands in the first byte, the caller's bytes in the first message, and the others are the plugin's. Neither side
/// hears what breaks RFC 6455.
pub(crate) fn bridge(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let mut parts = messages::split(rest).into_iter();
    let sent = parts.next().unwrap_or_default();
    let messages: Vec<Bytes> = parts.collect();
    let says = Says {
        code: first >> 1,
        // One that never says a word is answered when its time is up, which is too long for here.
        waits: first & 1 == 1 && !messages.is_empty(),
        messages,
        ..Says::default()
    };
    let told = Arc::clone(&says.told);
    let heard = messages::run(talk(sent, says));
    check_caller(&heard);
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    check_plugin(&told);
}

/// What a caller hears who sends these bytes.
async fn talk(sent: Bytes, says: Says) -> Vec<u8> {
    let (mut caller, gateway) = duplex(BETWEEN);
    let service = service_fn(move |request| answer(request, says.clone()));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(gateway), service);
    tokio::spawn(connection.with_upgrades());
    caller.write_all(HANDSHAKE).await.expect("room");
    let is_open = open(&mut caller).await;
    let (mut from, mut to) = tokio::io::split(caller);
    let say = async {
        // Who is refused, or told that it is over, may be heard no more.
        let _ = to.write_all(if is_open { &sent } else { b"" }).await;
        let _ = to.shutdown().await;
    };
    let mut heard = Vec::new();
    let hear = async { from.read_to_end(&mut heard).await.expect("an end") };
    tokio::join!(say, hear);
    if is_open { heard } else { Vec::new() }
}

async fn answer(request: Request<Incoming>, says: Says) -> Result<Response<ResponseBody>, BoxError> {
    let (plugin, from) = (plugin(), From::jane());
    let handshake = Handshake::of(request.map(|body| body.map_err(Into::into).boxed_unsync()))?;
    let opening = Opening::new(from.forwarded(&plugin, "/a"), handshake);
    let answer = opening.on(says.connected().await).await;
    answer.map_err(|_| BoxError::from("the plugin has no answer"))
}

/// Reads the head of the gateway's answer, byte by byte, as what follows is another protocol. Whether that is a WebSocket.
async fn open(caller: &mut DuplexStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match caller.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    head.starts_with(b"HTTP/1.1 101 ")
}

/// What a caller hears is read by a client without complaint, up to the end of the connection.
fn check_caller(heard: &[u8]) {
    let mut caller = WebSocket::from_raw_socket(Heard(heard), Role::Client, None);
    let error = loop {
        if let Err(error) = caller.read() {
            break error;
        }
    };
    let is_end = matches!(
        error,
        Error::ConnectionClosed | Error::Io(_) | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
    );
    assert!(is_end, "{error}: {heard:?}");
}

/// What was heard, and whoever answers to nobody.
struct Heard<'a>(&'a [u8]);

impl Read for Heard<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut self.0, into)
    }
}

impl Write for Heard<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a plugin hears comes together, and nothing after a CLOSE.
fn check_plugin(told: &[u8]) {
    // The last message may be cut where the gateway has given up.
    let mut assembler = Assembler::default();
    let mut is_over = false;
    let (messages, _) = messages::read_whole::<HttpRequest>(told);
    for message in messages.into_iter().skip(1) {
        assert!(!is_over, "something is said after the end");
        is_over = message.end;
        match message.frame {
            Some(frame) => drop(assembler.take(frame).expect("a frame as RFC 6455 has it")),
            None => assert!(is_over, "a message without a frame"),
        }
    }
}
