//! How an exchange is carried: as one of many on a stream that they share, if it is small, or on a stream of its own.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, stream};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full, StreamBody};
use kite_proto::{HttpResponse, MAX_EXCHANGE_BODY};
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};

use super::{ForwardError, request::Repeated};
use crate::{pipeline::RequestBody, upstream::Reply};

/// The plugin's messages, however they come.
pub(super) enum Answers {
    Own(Streaming<HttpResponse>),
    Shared(Reply),
}

impl Stream for Answers {
    type Item = Result<HttpResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Self::Own(stream) => Pin::new(stream).poll_next(cx),
            Self::Shared(reply) => Pin::new(reply).poll_next(cx),
        }
    }
}

/// A body that was looked at.
pub(super) enum Gathered {
    /// All of it, which is little.
    Whole(Bytes),
    /// It is not known to be little, or has trailers.
    Other(RequestBody),
}

/// All of a body that says that it is little. The caller may keep it waiting as long as `patience` each time, until the `deadline`.
pub(super) async fn gather(
    mut body: RequestBody,
    deadline: Instant,
    patience: Duration,
) -> Result<Gathered, ForwardError> {
    let is_small = |length: u64| length <= MAX_EXCHANGE_BODY as u64;
    if !body.size_hint().upper().is_some_and(is_small) {
        return Ok(Gathered::Other(body));
    }
    let mut whole = Bytes::new();
    loop {
        let frame = timeout_at(deadline.min(Instant::now() + patience), body.frame());
        let Some(frame) = frame.await.map_err(|_| ForwardError::Silent)? else {
            return Ok(Gathered::Whole(whole));
        };
        match frame.map_err(ForwardError::Broken)?.into_data() {
            Ok(data) if whole.is_empty() => whole = data,
            Ok(data) => whole = whole.into_iter().chain(data).collect(),
            Err(trailers) => {
                let rest = StreamBody::new(stream::iter([Ok(trailers)])).boxed_unsync();
                let repeated = Repeated {
                    pieces: VecDeque::from([whole]),
                    rest: Some(rest),
                };
                return Ok(Gathered::Other(repeated.boxed_unsync()));
            }
        }
    }
}

/// A body that is all there.
pub(super) fn whole(data: Bytes) -> RequestBody {
    Full::new(data).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use http_body::Frame;

    use super::*;
    use crate::BoxError;

    const LONG: Duration = Duration::from_secs(10);

    /// A body of these frames that says how long it is.
    struct Said(RequestBody, u64);

    impl http_body::Body for Said {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Pin::new(&mut self.0).poll_frame(cx)
        }

        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(self.1)
        }
    }

    fn said(frames: Vec<Result<Frame<Bytes>, BoxError>>, length: u64) -> RequestBody {
        Said(StreamBody::new(stream::iter(frames)).boxed_unsync(), length).boxed_unsync()
    }

    fn piece(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from(text))
    }

    async fn gathered(body: RequestBody) -> Result<Gathered, ForwardError> {
        gather(body, Instant::now() + LONG, LONG).await
    }

    #[tokio::test]
    async fn a_body_that_says_that_it_is_little_is_gathered() {
        for pieces in [&[][..], &["abcd"], &["ab", "", "cd"]] {
            let frames = pieces.iter().map(|text| Ok(piece(text))).collect();
            let Ok(Gathered::Whole(data)) = gathered(said(frames, 4)).await else {
                panic!("{pieces:?}");
            };
            assert_eq!(data, pieces.concat());
        }
        let large = MAX_EXCHANGE_BODY as u64 + 1;
        let unknown = StreamBody::new(stream::iter([Ok::<_, BoxError>(piece("a"))])).boxed_unsync();
        for body in [said(vec![Ok(piece("a"))], large), unknown] {
            let Ok(Gathered::Other(body)) = gathered(body).await else {
                panic!("it may be large");
            };
            assert_eq!(body.collect().await.unwrap().to_bytes(), "a");
        }
    }

    #[tokio::test]
    async fn trailers_are_not_lost() {
        let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))]);
        let frames = vec![Ok(piece("a")), Ok(Frame::trailers(trailers.clone()))];
        let Ok(Gathered::Other(body)) = gathered(said(frames, 1)).await else {
            panic!("it has trailers");
        };
        let collected = body.collect().await.unwrap();
        assert_eq!(collected.trailers(), Some(&trailers));
        assert_eq!(collected.to_bytes(), "a");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_refused() {
        let broken = said(vec![Ok(piece("a")), Err("gone".into())], 2);
        assert!(matches!(gathered(broken).await, Err(ForwardError::Broken(_))));
        let silent = Said(StreamBody::new(stream::pending()).boxed_unsync(), 2).boxed_unsync();
        let gathered = gather(silent, Instant::now() + LONG, Duration::from_millis(10)).await;
        assert!(matches!(gathered, Err(ForwardError::Silent)));
    }
}
