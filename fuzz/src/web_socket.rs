//! Frames of a WebSocket, as either side of the protocol puts messages together.

use kite_proto::{
    WebSocketFrame,
    web_socket::{Assembler, MAX_WEB_SOCKET_MESSAGE, Message},
};

use crate::messages;

/// What comes together is bounded, and comes apart into frames of which it comes together again.
pub(crate) fn frames(data: &[u8]) {
    let mut assembler = Assembler::default();
    for frame in messages::decoded::<WebSocketFrame>(&messages::split(data)) {
        let message = match assembler.take(frame) {
            Ok(Some(message)) => message,
            Ok(None) => continue,
            Err(_) => return,
        };
        let length = match &message {
            Message::Text(text) => text.len(),
            Message::Binary(data) => data.len(),
            Message::Ping(data) | Message::Pong(data) => data.len().saturating_mul(8192),
            Message::Close(close) => close.as_ref().map_or(0, |(_, reason)| reason.len()),
        };
        assert!(length <= MAX_WEB_SOCKET_MESSAGE);
        let mut again = Assembler::default();
        let taken: Vec<_> = message
            .clone()
            .frames()
            .into_iter()
            .map(|frame| again.take(frame))
            .collect();
        let (last, before) = taken.split_last().expect("a frame");
        assert!(before.iter().all(|taken| *taken == Ok(None)));
        assert_eq!(*last, Ok(Some(message)));
    }
}
