//! Bodies that are counted as they pass, without a copy.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::Account;
use crate::{
    BoxError,
    pipeline::{RequestBody, ResponseBody, forward::BodyError},
};

/// How an answer ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Complete,
    /// The plugin broke it off.
    Broken,
    /// The caller went away.
    Cancelled,
}

impl End {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Broken => "broken",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The body of an answer, with the account of its request. When it is dropped the request is over.
pub struct Recorded {
    body: ResponseBody,
    /// How many bytes the head says there are.
    length: Option<u64>,
    account: Account,
}

impl Recorded {
    pub(super) fn of(response: Response<ResponseBody>, account: Account) -> Response<Self> {
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|body| Self { body, length, account })
    }
}

impl Body for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => this.account.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => this.account.end = End::Broken,
            None if this.account.end == End::Cancelled => this.account.end = End::Complete,
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        // A server need not ask for an end that it can tell.
        let told = self.body.is_end_stream() || self.length == Some(self.account.sent);
        if told && self.account.end == End::Cancelled {
            self.account.end = End::Complete;
        }
    }
}

/// The request with a body that counts, and what it counted, unless there is no body.
pub(super) fn counted(request: Request<RequestBody>) -> (Request<RequestBody>, Option<Arc<AtomicU64>>) {
    if request.body().is_end_stream() {
        return (request, None);
    }
    let count = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&count);
    (
        request.map(|body| Counted { body, count: counting }.boxed_unsync()),
        Some(count),
    )
}

struct Counted {
    body: RequestBody,
    count: Arc<AtomicU64>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let length = frame.data_ref().map_or(0, Bytes::len);
            this.count.fetch_add(length as u64, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
