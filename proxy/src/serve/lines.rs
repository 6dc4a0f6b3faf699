//! What of an HTTP/1.1 head two readers could read in two ways, and hyper would not refuse. Lines end with CR and LF: hyper takes LF alone
//! (RFC 9112, section 2.2, lets it), and would see two requests where a proxy before the gateway sees one whose field has an LF in its value.
//! And a body has a length or is sent in chunks: hyper passes over the length of one that says both (section 6.3 lets it, and lets it be refused).

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether the next bytes of a connection are a head's.
#[derive(Clone, Default)]
pub(super) struct Expected(Arc<AtomicU8>);

/// Nothing is known of what comes.
const ANYTHING: u8 = 0;
/// What comes is a head.
const HEAD: u8 = 1;
/// What comes is the rest of a head.
const REST: u8 = 2;
/// Nobody knows where the next head begins, so that nothing more is read.
const NOTHING: u8 = 3;

impl Expected {
    /// A request and its answer are over, so that what comes next is a head.
    pub(super) fn expect(&self) {
        let _ = self
            .0
            .compare_exchange(ANYTHING, HEAD, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A head was read, wherever it came from.
    pub(super) fn read(&self) {
        if self.0.load(Ordering::Relaxed) != NOTHING {
            self.0.store(ANYTHING, Ordering::Relaxed);
        }
    }

    /// Has the connection end with the answers that are under way.
    pub(super) fn end(&self) {
        self.0.store(NOTHING, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn is_expected(&self) -> bool {
        self.0.load(Ordering::Relaxed) == HEAD
    }

    #[cfg(test)]
    pub(super) fn has_ended(&self) -> bool {
        self.0.load(Ordering::Relaxed) == NOTHING
    }
}

/// What hyper is given in the place of what it is not to see: a head that ends with what no head has, so that it answers 400 and closes the
/// connection.
const REFUSED: &[u8] = b"\0\r\n\r\n";

/// A connection whose heads are looked at as they are read. What comes in one piece with the end of a body, or with another head, is not: no
/// proxy sends a request before it has the answer to the one before.
pub(super) struct Lines<T> {
    io: T,
    expected: Expected,
    /// How far a head was read whose rest is expected.
    head: Head,
}

/// How far a head was read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Head {
    /// Whether the last byte was CR.
    after_cr: bool,
    /// How many bytes, but CR, the line has that is read.
    line: usize,
    /// How many lines there are already: an empty one ends the head, but not before it began.
    lines: usize,
    /// The field whose name the line may begin with, as far as it is read.
    begins: Option<Framing>,
    has_length: bool,
    has_coding: bool,
}

/// A field that says how long a body is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    ContentLength,
    TransferEncoding,
}

impl Framing {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::ContentLength => b"content-length",
            Self::TransferEncoding => b"transfer-encoding",
        }
    }

    /// The one whose name begins so.
    const fn of_first(byte: u8) -> Option<Self> {
        match byte {
            b'c' | b'C' => Some(Self::ContentLength),
            b't' | b'T' => Some(Self::TransferEncoding),
            _ => None,
        }
    }
}

/// What became of a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Read {
    Unfinished(Head),
    Whole,
    /// Others could read it in another way.
    Ambiguous,
}

impl Head {
    fn read(mut self, bytes: &[u8]) -> Read {
        for byte in bytes {
            if *byte == b'\n' {
                if !self.after_cr {
                    return Read::Ambiguous;
                }
                if self.line == 0 && self.lines > 0 {
                    return Read::Whole;
                }
                self.lines += usize::from(self.line > 0);
                self.line = 0;
            } else if *byte != b'\r' {
                self.name(*byte);
                if self.has_length && self.has_coding {
                    return Read::Ambiguous;
                }
                self.line += 1;
            }
            self.after_cr = *byte == b'\r';
        }
        Read::Unfinished(self)
    }

    /// Takes in the next byte of a line, which may be one of a field's name.
    fn name(&mut self, byte: u8) {
        if self.line == 0 {
            self.begins = Framing::of_first(byte);
        } else if let Some(field) = self.begins {
            match field.name().get(self.line) {
                Some(expected) if byte.eq_ignore_ascii_case(expected) => {}
                None if byte == b':' => {
                    self.begins = None;
                    match field {
                        Framing::ContentLength => self.has_length = true,
                        Framing::TransferEncoding => self.has_coding = true,
                    }
                }
                _ => self.begins = None,
            }
        }
    }
}

impl<T> Lines<T> {
    /// A connection on which heads are `expected`.
    pub(super) fn new(io: T, expected: Expected) -> Self {
        Self {
            io,
            expected,
            head: Head::default(),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lines<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let state = &this.expected.0;
        if state.load(Ordering::Relaxed) == NOTHING {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let head = match state.load(Ordering::Relaxed) {
            // Of requests in a row hyper may have the CR that was before already.
            HEAD => Head {
                after_cr: true,
                ..Head::default()
            },
            REST => this.head,
            _ => return Poll::Ready(Ok(())),
        };
        match head.read(buf.filled().get(before..).unwrap_or_default()) {
            Read::Unfinished(head) => {
                this.head = head;
                state.store(REST, Ordering::Relaxed);
            }
            Read::Whole => state.store(ANYTHING, Ordering::Relaxed),
            Read::Ambiguous => {
                buf.set_filled(before);
                state.store(NOTHING, Ordering::Relaxed);
                if buf.remaining() < REFUSED.len() {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "an ambiguous head")));
                }
                buf.put_slice(REFUSED);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Lines<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn a_head_is_read_to_its_empty_line_in_whatever_pieces() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some(Read::Whole)),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Some(Read::Whole)),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\nwith lines", Some(Read::Whole)),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Some(Read::Ambiguous)),
            (
                "GET / HTTP/1.1\r\nX: a\n\nGET / HTTP/1.1\r\n\r\n",
                Some(Read::Ambiguous),
            ),
            ("\nGET / HTTP/1.1\r\n\r\n", Some(Read::Ambiguous)),
            ("GET / HTTP/1.1\r\nX: a\r\n\n", Some(Read::Ambiguous)),
            ("GET / HTTP/1.1\r\nX: a\r\n\r", None),
            (
                "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Some(Read::Ambiguous),
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-ENCODING:chunked\r\nX: a\r\ncontent-LENGTH:\r\n\r\n",
                Some(Read::Ambiguous),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                Some(Read::Whole),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Lengthy: 1\r\nX: Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Some(Read::Whole),
            ),
        ] {
            for cut in 0..=text.len() {
                let (first, second) = text.as_bytes().split_at(cut);
                let read = match Head::default().read(first) {
                    Read::Unfinished(head) => head.read(second),
                    ended => ended,
                };
                let ended = Some(read).filter(|read| !matches!(read, Read::Unfinished(_)));
                assert_eq!(ended, expected, "{text:?} cut at {cut}");
            }
        }
    }

    #[tokio::test]
    async fn only_heads_are_looked_at() {
        let expected = Expected::default();
        let text = b"GET / HTTP/1.1\r\n\r\na\nb";
        let mut lines = Lines::new(text.as_slice(), expected.clone());
        expected.expect();
        assert_eq!(lines.read_to_end(&mut Vec::new()).await.unwrap(), text.len());
        let mut lines = Lines::new(b"a\nb".as_slice(), expected.clone());
        assert_eq!(lines.read_to_end(&mut Vec::new()).await.unwrap(), 3);
        expected.expect();
        let mut lines = Lines::new(b"a\nb".as_slice(), expected);
        let mut read = Vec::new();
        lines.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, REFUSED);
    }

    #[tokio::test]
    async fn a_head_that_was_read_with_another_leaves_its_body_alone() {
        let expected = Expected::default();
        let mut lines = Lines::new(b"a\nb".as_slice(), expected.clone());
        expected.expect();
        expected.read();
        assert_eq!(lines.read_to_end(&mut Vec::new()).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn after_the_end_nothing_is_read() {
        let expected = Expected::default();
        let mut lines = Lines::new(b"GET / HTTP/1.1\r\n\r\n".as_slice(), expected.clone());
        expected.end();
        expected.expect();
        expected.read();
        assert!(expected.has_ended());
        assert_eq!(lines.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }
}
