//! The bound on a caller's body, told before it is read where its length is announced, and else as soon as it is passed.

use std::{
    future::pending,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;

use crate::{BoxError, pipeline::RequestBody};

/// Why a body is refused.
#[derive(Debug, thiserror::Error)]
#[error("the body has more than {0} bytes")]
pub(super) struct TooLarge(pub(super) u64);

/// Learns of a body that passes its bound.
pub(super) struct Passed(Option<oneshot::Receiver<()>>);

impl Passed {
    /// Waits until the bound is passed, for ever if it never is.
    pub(super) async fn wait(&mut self) {
        if let Some(passed) = &mut self.0
            && passed.await.is_ok()
        {
            return;
        }
        // Nobody is left who could tell.
        self.0 = None;
        pending::<()>().await;
    }
}

/// `body` with at most `most` bytes. What is longer by its announced length is refused; that the length is kept, the server sees to.
pub(super) fn bounded(body: RequestBody, most: u64) -> Result<(RequestBody, Passed), TooLarge> {
    let length = body.size_hint();
    if length.lower() > most {
        return Err(TooLarge(most));
    }
    if length.upper().is_some_and(|upper| upper <= most) {
        return Ok((body, Passed(None)));
    }
    let (tell, passed) = oneshot::channel();
    let bounded = Bounded {
        body,
        most,
        left: most,
        tell: Some(tell),
    };
    Ok((bounded.boxed_unsync(), Passed(Some(passed))))
}

/// A body of unknown length, which breaks off when it passes its bound.
struct Bounded {
    body: RequestBody,
    most: u64,
    left: u64,
    tell: Option<oneshot::Sender<()>>,
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        let came = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        let came = came.map_or(0, |data| data.remaining() as u64);
        if let Some(left) = this.left.checked_sub(came) {
            this.left = left;
            return Poll::Ready(frame);
        }
        if let Some(tell) = this.tell.take() {
            // Fails if the answer has begun, which then goes on as the plugin likes.
            let _ = tell.send(());
        }
        Poll::Ready(Some(Err(TooLarge(this.most).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, stream};
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn pieces(sizes: &[usize]) -> RequestBody {
        let frames: Vec<_> = sizes
            .iter()
            .map(|size| Ok::<_, BoxError>(Frame::data(Bytes::from(vec![0; *size]))))
            .collect();
        StreamBody::new(stream::iter(frames)).boxed_unsync()
    }

    fn announced(size: usize) -> RequestBody {
        let body = Full::new(Bytes::from(vec![0; size]));
        body.map_err(|never| match never {}).boxed_unsync()
    }

    #[tokio::test]
    async fn an_announced_length_is_looked_at_before_the_body_is() {
        assert!(bounded(announced(11), 10).is_err());
        let (body, mut passed) = bounded(announced(10), 10).ok().unwrap();
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 10);
        assert_eq!(passed.wait().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_breaks_off_at_its_bound() {
        let (body, mut passed) = bounded(pieces(&[4, 6]), 10).ok().unwrap();
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 10);
        assert_eq!(passed.wait().now_or_never(), None, "and one that ends there is whole");
        let (body, mut passed) = bounded(pieces(&[4, 7]), 10).ok().unwrap();
        assert!(body.collect().await.err().unwrap().is::<TooLarge>());
        assert_eq!(passed.wait().now_or_never(), Some(()));
    }
}
