//! What a plugin sends is read in turn with all else that the gateway has to do.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::yield_now,
};

/// Most bytes that are read before all others had their turn who have anything to do. Without a bound it would be whatever lies in the kernel,
/// megabytes at times, which take milliseconds to decrypt and to hand out.
const TURN: usize = 128 * 1024;

/// A connection of which much is read in turns.
pub(super) struct Paced<IO> {
    io: IO,
    /// Bytes that were read in this turn.
    read: usize,
    /// The turn of all others.
    others: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<IO> Paced<IO> {
    pub(super) fn new(io: IO) -> Self {
        Self {
            io,
            read: 0,
            others: None,
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Paced<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(others) = &mut this.others {
            ready!(others.as_mut().poll(cx));
            this.others = None;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(cx, buffer);
        if polled.is_pending() {
            this.read = 0;
            return polled;
        }
        this.read += buffer.filled().len() - before;
        if this.read >= TURN {
            this.read = 0;
            this.others = Some(Box::pin(yield_now()));
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Paced<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buffer)
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
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn all_others_have_their_turn_after_so_much() {
        const TURNS: usize = 4;
        let mut paced = Paced::new(io::Cursor::new(vec![7; TURNS * TURN]));
        let others = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&others);
        let counting = tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        let mut piece = vec![0; TURN / 2];
        let mut seen = Vec::new();
        for _ in 0..2 * TURNS {
            paced.read_exact(&mut piece).await.unwrap();
            seen.push(others.load(Ordering::Relaxed));
        }
        counting.abort();
        let expected: Vec<_> = (0..TURNS).flat_map(|turn| [turn, turn]).collect();
        assert_eq!(seen, expected);
        assert_eq!(paced.read(&mut piece).await.unwrap(), 0, "nothing is lost or added");
    }
}
