//! A body with something that is held until it has been sent.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::{ResponseBody, forward::BodyError};

/// `body`, with which `kept` is dropped.
pub(super) fn held<T: Send + Unpin + 'static>(body: ResponseBody, kept: T) -> ResponseBody {
    Held { body, _kept: kept }.boxed_unsync()
}

struct Held<T> {
    body: ResponseBody,
    _kept: T,
}

impl<T: Unpin> Body for Held<T> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
