//! What a plugin sends as the details of a gRPC status goes no further. Nobody here reads them, and tonic panics where they are no base64.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, combinators::MapFrame};

/// Where gRPC has them, in the trailers or in the head of an answer that has nothing else.
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// The body of an answer without the details of its status.
pub type WithoutDetails<B> = MapFrame<B, fn(Frame<Bytes>) -> Frame<Bytes>>;

/// The answer as it came, without the details of its status. Whoever calls a plugin by tonic needs this between the connection and the client: any
/// plugin could end the caller's task.
pub fn without_status_details<B: Body<Data = Bytes>>(mut answer: Response<B>) -> Response<WithoutDetails<B>> {
    forget(answer.headers_mut());
    answer.map(|body| {
        let sifted: fn(Frame<Bytes>) -> Frame<Bytes> = sifted;
        body.map_frame(sifted)
    })
}

fn sifted(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        forget(trailers);
    }
    frame
}

fn forget(headers: &mut HeaderMap) {
    headers.remove(DETAILS);
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        future::{Ready, ready},
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use http::{HeaderValue, Request};
    use http_body_util::combinators::WithTrailers;
    use tonic::codegen::Service;

    use super::*;
    use crate::{ShutdownRequest, plugin_client::PluginClient};

    /// Says these in its head, and these in its trailers.
    #[derive(Clone)]
    struct Answers {
        head: HeaderMap,
        trailers: HeaderMap,
    }

    type Trailers = Ready<Option<Result<HeaderMap, Infallible>>>;

    impl Service<Request<tonic::body::Body>> for Answers {
        type Response = Response<WithoutDetails<WithTrailers<http_body_util::Empty<Bytes>, Trailers>>>;
        type Error = Infallible;
        type Future = Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<tonic::body::Body>) -> Self::Future {
            let body = http_body_util::Empty::new().with_trailers(ready(Some(Ok(self.trailers.clone()))));
            let mut answer = Response::new(body);
            *answer.headers_mut() = self.head.clone();
            ready(Ok(without_status_details(answer)))
        }
    }

    fn failure() -> HeaderMap {
        let fields = [
            ("grpc-status", "2"),
            ("grpc-message", "broken"),
            ("grpc-status-details-bin", "!"),
        ];
        let named = fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        named.into_iter().collect()
    }

    #[test]
    fn details_that_are_no_base64_end_nobody() {
        for (head, trailers) in [(failure(), HeaderMap::new()), (HeaderMap::new(), failure())] {
            let mut client = PluginClient::new(Answers { head, trailers });
            let mut call: Pin<Box<_>> = Box::pin(client.shutdown(ShutdownRequest::default()));
            let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Err(status)) = polled else {
                panic!("{polled:?}")
            };
            assert_eq!((status.code(), status.message()), (tonic::Code::Unknown, "broken"));
        }
    }
}
