//! What a plugin said before it went is read, though nothing can be written to it any more.
//!
//! A pod that ends says which requests it never began, and closes the connection. Whoever is about to write another may hear that the
//! connection is gone before they have read that, and everything under way would be lost with it, begun or not. So the failure of
//! writing is told when all that came was read.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection of which writing fails only after reading has come to its end.
pub(super) struct ReadFirst<IO> {
    io: IO,
    /// The other side takes nothing any more: what is written is dropped, as it would be on the way.
    is_gone: bool,
    /// There is nothing more to be read.
    is_read: bool,
}

impl<IO> ReadFirst<IO> {
    pub(super) fn new(io: IO) -> Self {
        Self {
            io,
            is_gone: false,
            is_read: false,
        }
    }

    /// What is told of a write: a failure only if nothing is left to be read.
    fn told<T>(&mut self, written: io::Result<T>, otherwise: T) -> io::Result<T> {
        match written {
            Err(error) if !self.is_read && is_of_the_other(&error) => {
                self.is_gone = true;
                Ok(otherwise)
            }
            written => written,
        }
    }

    /// What is told of a write without trying it.
    fn known<T>(&self, otherwise: T) -> Option<io::Result<T>> {
        let ended = || io::Error::from(ErrorKind::BrokenPipe);
        self.is_gone
            .then(|| if self.is_read { Err(ended()) } else { Ok(otherwise) })
    }
}

/// Whether the other side has closed the connection: the kernel says so to whoever reads, too.
fn is_of_the_other(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::NotConnected
    )
}

impl<IO: AsyncRead + Unpin> AsyncRead for ReadFirst<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (before, has_room) = (buffer.filled().len(), buffer.remaining() > 0);
        let read = ready!(Pin::new(&mut this.io).poll_read(cx, buffer));
        this.is_read |= read.is_err() || (has_room && buffer.filled().len() == before);
        Poll::Ready(read)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for ReadFirst<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(known) = this.known(buffer.len()) {
            return Poll::Ready(known);
        }
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, buffer));
        Poll::Ready(this.told(written, buffer.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(known) = this.known(()) {
            return Poll::Ready(known);
        }
        let flushed = ready!(Pin::new(&mut this.io).poll_flush(cx));
        Poll::Ready(this.told(flushed, ()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let all = buffers.iter().map(|buffer| buffer.len()).sum();
        if let Some(known) = this.known(all) {
            return Poll::Ready(known);
        }
        let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, buffers));
        Poll::Ready(this.told(written, all))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
        time::{Duration, Instant},
    };

    use futures::FutureExt as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    const WORD: &[u8] = b"I have not begun with it.";

    /// A connection whose other side has said its last word and closed it with something of ours unread, of which this side has
    /// heard nothing: no turn of its runtime has passed since.
    async fn closed_by_the_other() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut other, _) = listener.accept().unwrap();
        ours.write_all(b"first").await.unwrap();
        // Reading looks whether there is something to be read only when it is told so.
        assert!(ours.read_u8().now_or_never().is_none());
        other.write_all(WORD).unwrap();
        drop(other);
        ours
    }

    /// Writes until that fails, or for long enough that it would.
    fn written(io: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(500) {
            io.write_all(b"more").now_or_never().unwrap()?;
            io.flush().now_or_never().unwrap()?;
            thread::yield_now();
        }
        Ok(())
    }

    #[tokio::test]
    async fn the_last_word_is_read_though_writing_has_failed() {
        let mut bare = closed_by_the_other().await;
        written(&mut bare).expect_err("without it whoever writes hears of the end first");

        let mut io = ReadFirst::new(closed_by_the_other().await);
        written(&mut io).unwrap();
        let mut word = vec![0; WORD.len()];
        io.read_exact(&mut word).await.unwrap();
        assert_eq!(word, WORD);
        written(&mut io).expect("there may be more to be read");
        assert!(io.read_u8().await.is_err(), "that was all");
        let failed = io.write_all(b"more").await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::BrokenPipe);
        assert!(io.flush().await.is_err());
    }

    #[tokio::test]
    async fn what_the_other_takes_is_sent_after_it_has_said_all() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut other, _) = listener.accept().unwrap();
        other.shutdown(std::net::Shutdown::Write).unwrap();
        let mut io = ReadFirst::new(ours);
        assert_eq!(io.read(&mut [0; 8]).await.unwrap(), 0);
        io.write_all(WORD).await.unwrap();
        let mut heard = vec![0; WORD.len()];
        other.read_exact(&mut heard).unwrap();
        assert_eq!(heard, WORD);
    }

    #[tokio::test]
    async fn a_failure_that_is_no_end_is_told_at_once() {
        let mut io = ReadFirst::new(Failing(ErrorKind::OutOfMemory));
        let failed = io.write_all(b"more").await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::OutOfMemory);
    }

    /// Takes nothing, for this reason.
    struct Failing(ErrorKind);

    impl AsyncWrite for Failing {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(self.0.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
}
