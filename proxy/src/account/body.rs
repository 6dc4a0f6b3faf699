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
    pipeline::{RequestBody, ResponseBody, forward::BodyError, full, over::Over},
};

/// How an answer ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Complete,
    /// The plugin broke it off.
    Broken,
    /// The caller went away.
    Cancelled,
    /// The gateway closed it.
    Closed,
}

impl End {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Broken => "broken",
            Self::Cancelled => "cancelled",
            Self::Closed => "closed",
        }
    }
}

/// The body of an answer, with the account of its request. When it is dropped the request is over.
pub struct Recorded {
    body: ResponseBody,
    /// How many bytes the head says there are.
    length: Option<u64>,
    /// Unless it has gone on with the connection.
    account: Option<Account>,
    /// When it ends whatever there is to come.
    over: Option<Over>,
}

impl Recorded {
    pub(super) fn of(response: Response<ResponseBody>, account: Account, over: Option<Over>) -> Response<Self> {
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|body| Self {
            body,
            length,
            account: Some(account),
            over,
        })
    }

    /// An answer whose account ends elsewhere.
    pub(super) fn elsewhere(response: Response<ResponseBody>) -> Response<Self> {
        response.map(|body| Self {
            body,
            length: None,
            account: None,
            over: None,
        })
    }
}

impl Body for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(over) = &mut this.over
            && over.as_mut().poll(cx).is_ready()
        {
            // The plugin's exchange, or the call of its tool, goes with it.
            (this.over, this.body) = (None, full(Bytes::new()));
            this.account.iter_mut().for_each(|account| account.end = End::Closed);
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(account) = &mut this.account {
            match &frame {
                Some(Ok(frame)) => account.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(_)) => account.end = End::Broken,
                None if account.end == End::Cancelled => account.end = End::Complete,
                None => {}
            }
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
        let Some(account) = &mut self.account else { return };
        // A server need not ask for an end that it can tell.
        let told = self.body.is_end_stream() || self.length == Some(account.sent);
        if told && account.end == End::Cancelled {
            account.end = End::Complete;
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
