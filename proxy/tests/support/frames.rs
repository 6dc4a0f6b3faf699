//! HTTP/2 frame by frame (RFC 9113), so that a peer can say what no library would.

use http::Version;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use super::{LIMIT, served::Served};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A frame as it is sent.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as they are sent (RFC 7541), each spelled out, and nothing kept.
pub(crate) fn block<N: AsRef<str>, V: AsRef<str>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_ref(), value.as_ref()] {
            if text.len() < 127 {
                block.push(u8::try_from(text.len()).unwrap());
            } else {
                block.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    block.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                block.push(u8::try_from(rest).unwrap());
            }
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The fields of a good request for a path of the plugin.
pub(crate) fn get(path: &str) -> Vec<u8> {
    block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", &format!("/api/v1/plugins/rogue/{path}")),
        ("authorization", "Bearer jane"),
    ])
}

/// The status that a block of fields begins with, of those that have a number of their own.
fn status(block: &[u8]) -> Option<u16> {
    // Before it may stand how large the table is.
    let first = block.iter().find(|byte| **byte & 0xe0 != 0x20)?;
    [(0x88, 200), (0x8c, 400), (0x8d, 404)]
        .into_iter()
        .find_map(|(index, status)| (index == *first).then_some(status))
}

/// One end of a connection.
pub(crate) struct Wire<S>(pub(crate) S);

impl Wire<TlsStream<TcpStream>> {
    /// A caller's, who has said that it speaks HTTP/2.
    pub(crate) async fn open(served: &Served, settings: &[u8]) -> Self {
        let mut wire = Self(served.connection(Version::HTTP_2).await);
        assert!(wire.send(PREFACE).await && wire.send(&frame(SETTINGS, 0, 0, settings)).await);
        wire
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Whether the other end was still there to take it.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = async { self.0.write_all(bytes).await.is_ok() && self.0.flush().await.is_ok() };
        timeout(LIMIT, sent).await.expect("what is sent is read")
    }

    /// Reads what a caller begins with.
    pub(crate) async fn preface(&mut self) -> bool {
        let mut preface = [0; 24];
        self.0.read_exact(&mut preface).await.is_ok_and(|_| preface == *PREFACE)
    }

    /// The next frame, until the connection is closed in whatever way.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        timeout(LIMIT, self.later())
            .await
            .expect("the connection says something, or is closed")
    }

    /// The same, however long it takes.
    pub(crate) async fn later(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff,
            payload,
        })
    }

    /// The next frame of a kind.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let next = self.next().await?;
            let is_consent = kind == SETTINGS && next.flags & ACK != 0;
            if next.kind == kind && !is_consent {
                return Some(next);
            }
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    Status(u16),
    /// Answered with a status that has no number of its own.
    Answered,
    Reset,
    Closed,
}

/// Sends one request without a body.
pub(crate) async fn ask(served: &Served, fields: &[(String, String)]) -> Outcome {
    let mut wire = Wire::open(served, &[]).await;
    let headers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields));
    wire.send(&headers).await;
    loop {
        match wire.next().await {
            None | Some(Frame { kind: GOAWAY, .. }) => return Outcome::Closed,
            Some(Frame { kind: RST_STREAM, .. }) => return Outcome::Reset,
            Some(Frame {
                kind: HEADERS, payload, ..
            }) => {
                return status(&payload).map_or(Outcome::Answered, Outcome::Status);
            }
            Some(_) => {}
        }
    }
}
