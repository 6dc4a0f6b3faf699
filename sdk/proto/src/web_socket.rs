//! Messages of a WebSocket in the frames of the protocol: taken apart and put together, by the rules of RFC 6455, section 5.

use std::mem;

use bytes::{Bytes, BytesMut};

use crate::{MAX_CHUNK, WebSocketFrame, web_socket_frame::Kind};

/// Most bytes of a message in all its frames.
pub const MAX_WEB_SOCKET_MESSAGE: usize = 1024 * 1024;
/// Most bytes of a ping, of a pong, and of a close with its code.
const MAX_CONTROL: usize = 125;
/// Bytes of a close's code.
const CODE: usize = 2;

/// A whole message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message {
    /// Text, of 1 MiB at most.
    Text(String),
    /// Bytes, 1 MiB at most.
    Binary(Bytes),
    /// Asks whether the other side is there, with 125 bytes at most, which come back in a [`Pong`](Self::Pong).
    Ping(Bytes),
    /// Answers a [`Ping`](Self::Ping), or says unasked that its side is there.
    Pong(Bytes),
    /// The last one of a side, with a code of RFC 6455, section 7.4, and a reason of 123 bytes at most; or without both.
    Close(Option<(u16, String)>),
}

/// Why a frame breaks the rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// Its kind is none that there is, or something stands beside it.
    #[error("a frame is of no known kind")]
    Kind,
    /// It is too large.
    #[error("a frame has more than {MAX_CHUNK} bytes")]
    Frame,
    /// The message that it continues is too large.
    #[error("a message has more than {MAX_WEB_SOCKET_MESSAGE} bytes")]
    Message,
    /// It is a ping, pong or close in more than one frame.
    #[error("a control frame is fragmented")]
    Fragmented,
    /// It is a ping, pong or close that is too large.
    #[error("a control frame has more than {MAX_CONTROL} bytes")]
    Control,
    /// No message has begun that it could continue.
    #[error("a continuation continues nothing")]
    Continuation,
    /// It begins a message inside another one.
    #[error("a message begins before the last one ends")]
    Interleaved,
    /// It completes a text, or has a reason, that is not UTF-8.
    #[error("a text is not UTF-8")]
    Utf8,
    /// It closes with this code, which is never sent.
    #[error("{0} is no code with which a connection is closed")]
    Code(u32),
    /// It closes with a reason, but without a code.
    #[error("a close has a reason and no code")]
    Reason,
}

impl Message {
    /// The frames of the message.
    pub fn frames(self) -> Vec<WebSocketFrame> {
        match self {
            Self::Text(text) => pieces(Kind::Text, text.into()),
            Self::Binary(data) => pieces(Kind::Binary, data),
            Self::Ping(data) => pieces(Kind::Ping, control(data, MAX_CONTROL)),
            Self::Pong(data) => pieces(Kind::Pong, control(data, MAX_CONTROL)),
            Self::Close(close) => {
                let (code, reason) = close.unwrap_or_default();
                let reason = reason
                    .get(..reason.floor_char_boundary(MAX_CONTROL - CODE))
                    .unwrap_or_default();
                vec![WebSocketFrame {
                    kind: Kind::Close.into(),
                    data: Bytes::copy_from_slice(reason.as_bytes()),
                    more: false,
                    code: code.into(),
                }]
            }
        }
    }
}

fn control(mut data: Bytes, most: usize) -> Bytes {
    data.truncate(most);
    data
}

fn pieces(kind: Kind, mut data: Bytes) -> Vec<WebSocketFrame> {
    let mut frames = Vec::with_capacity(data.len() / MAX_CHUNK + 1);
    let mut kind = kind;
    loop {
        let piece = data.split_to(data.len().min(MAX_CHUNK));
        let more = !data.is_empty();
        frames.push(WebSocketFrame {
            kind: kind.into(),
            data: piece,
            more,
            code: 0,
        });
        if !more {
            return frames;
        }
        kind = Kind::Continuation;
    }
}

/// Puts messages together.
#[derive(Debug, Default)]
pub struct Assembler {
    /// The message that has begun, and whether it is text.
    begun: Option<(bool, BytesMut)>,
}

impl Assembler {
    /// The message that the frame completes, if it completes one.
    pub fn take(&mut self, frame: WebSocketFrame) -> Result<Option<Message>, FrameError> {
        if frame.data.len() > MAX_CHUNK {
            return Err(FrameError::Frame);
        }
        match Kind::try_from(frame.kind).unwrap_or_default() {
            Kind::Unspecified => Err(FrameError::Kind),
            Kind::Text => self.begin(true, frame),
            Kind::Binary => self.begin(false, frame),
            Kind::Continuation => self.go_on(&frame),
            Kind::Ping => Ok(Some(Message::Ping(checked(frame, MAX_CONTROL)?))),
            Kind::Pong => Ok(Some(Message::Pong(checked(frame, MAX_CONTROL)?))),
            Kind::Close => close(frame).map(Some),
        }
    }

    fn begin(&mut self, is_text: bool, frame: WebSocketFrame) -> Result<Option<Message>, FrameError> {
        if self.begun.is_some() {
            return Err(FrameError::Interleaved);
        }
        if !frame.more {
            return whole(is_text, frame.data).map(Some);
        }
        self.begun = Some((is_text, BytesMut::from(frame.data)));
        Ok(None)
    }

    fn go_on(&mut self, frame: &WebSocketFrame) -> Result<Option<Message>, FrameError> {
        let (is_text, data) = self.begun.as_mut().ok_or(FrameError::Continuation)?;
        if data.len() + frame.data.len() > MAX_WEB_SOCKET_MESSAGE {
            return Err(FrameError::Message);
        }
        data.extend_from_slice(&frame.data);
        if frame.more {
            return Ok(None);
        }
        let message = whole(*is_text, mem::take(data).freeze());
        self.begun = None;
        message.map(Some)
    }
}

fn whole(is_text: bool, data: Bytes) -> Result<Message, FrameError> {
    if !is_text {
        return Ok(Message::Binary(data));
    }
    let text = String::from_utf8(data.into()).map_err(|_| FrameError::Utf8)?;
    Ok(Message::Text(text))
}

fn checked(frame: WebSocketFrame, most: usize) -> Result<Bytes, FrameError> {
    if frame.more {
        Err(FrameError::Fragmented)
    } else if frame.data.len() > most {
        Err(FrameError::Control)
    } else {
        Ok(frame.data)
    }
}

fn close(frame: WebSocketFrame) -> Result<Message, FrameError> {
    let code = frame.code;
    let reason = checked(frame, MAX_CONTROL - CODE)?;
    let reason = String::from_utf8(reason.into()).map_err(|_| FrameError::Utf8)?;
    match code {
        0 if reason.is_empty() => Ok(Message::Close(None)),
        0 => Err(FrameError::Reason),
        // RFC 6455, sections 7.4.1 and 7.4.2, and the codes that were registered since.
        1000..=1003 | 1007..=1014 | 3000..=4999 => {
            let code = u16::try_from(code).map_err(|_| FrameError::Code(code))?;
            Ok(Message::Close(Some((code, reason))))
        }
        code => Err(FrameError::Code(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: Kind, data: &[u8], more: bool) -> WebSocketFrame {
        WebSocketFrame {
            kind: kind.into(),
            data: Bytes::copy_from_slice(data),
            more,
            code: 0,
        }
    }

    fn together(frames: Vec<WebSocketFrame>) -> Result<Vec<Message>, FrameError> {
        let mut assembler = Assembler::default();
        let taken: Result<Vec<_>, _> = frames.into_iter().map(|frame| assembler.take(frame)).collect();
        Ok(taken?.into_iter().flatten().collect())
    }

    #[test]
    fn every_message_comes_together_as_it_was() {
        for message in [
            Message::Text(String::new()),
            Message::Text("ä".repeat(MAX_CHUNK)),
            Message::Binary(vec![7; MAX_WEB_SOCKET_MESSAGE].into()),
            Message::Ping(Bytes::from("a")),
            Message::Pong(Bytes::new()),
            Message::Close(None),
            Message::Close(Some((1000, String::from("bye")))),
            Message::Close(Some((4999, String::new()))),
        ] {
            let frames = message.clone().frames();
            assert!(frames.iter().all(|frame| frame.data.len() <= MAX_CHUNK));
            assert_eq!(together(frames), Ok(vec![message]));
        }
    }

    #[test]
    fn what_is_too_long_for_a_control_frame_is_cut() {
        let long = Message::Close(Some((1000, "ä".repeat(100)))).frames();
        assert_eq!(long[0].data.len(), 122);
        assert_eq!(Message::Ping(vec![0; 200].into()).frames()[0].data.len(), MAX_CONTROL);
    }

    #[test]
    fn a_control_frame_may_stand_between_the_frames_of_a_message() {
        let frames = vec![
            frame(Kind::Text, b"a", true),
            frame(Kind::Ping, b"p", false),
            frame(Kind::Continuation, b"b", false),
        ];
        let text = Message::Text(String::from("ab"));
        assert_eq!(together(frames), Ok(vec![Message::Ping(Bytes::from("p")), text]));
    }

    #[test]
    fn frames_are_refused_for_each_of_their_reasons() {
        let code = |code| WebSocketFrame {
            code,
            ..frame(Kind::Close, b"", false)
        };
        let large = |more| frame(Kind::Continuation, &vec![0; MAX_CHUNK], more);
        let mut long = vec![frame(Kind::Binary, &vec![0; MAX_CHUNK], true)];
        long.extend((0..MAX_WEB_SOCKET_MESSAGE / MAX_CHUNK).map(|_| large(true)));
        for (frames, error) in [
            (vec![frame(Kind::Unspecified, b"", false)], FrameError::Kind),
            (
                vec![frame(Kind::Binary, &vec![0; MAX_CHUNK + 1], false)],
                FrameError::Frame,
            ),
            (long, FrameError::Message),
            (vec![frame(Kind::Ping, b"", true)], FrameError::Fragmented),
            (vec![frame(Kind::Pong, &[0; 126], false)], FrameError::Control),
            (vec![frame(Kind::Continuation, b"", false)], FrameError::Continuation),
            (
                vec![frame(Kind::Text, b"", true), frame(Kind::Text, b"", false)],
                FrameError::Interleaved,
            ),
            (vec![frame(Kind::Text, &[0xff], false)], FrameError::Utf8),
            (vec![code(999)], FrameError::Code(999)),
            (vec![code(1005)], FrameError::Code(1005)),
            (vec![code(1006)], FrameError::Code(1006)),
            (vec![code(1015)], FrameError::Code(1015)),
            (vec![code(5000)], FrameError::Code(5000)),
            (vec![code(70_000)], FrameError::Code(70_000)),
            (vec![frame(Kind::Close, b"why", false)], FrameError::Reason),
        ] {
            assert_eq!(together(frames), Err(error));
        }
    }
}
