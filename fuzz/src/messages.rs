//! The messages of a stream, as a fuzzer writes them: each behind its length in two bytes, so that one that is cut or changed
//! leaves the others what they are.

use std::{convert::Infallible, future::Future, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use prost::Message;
use tokio::{runtime::Builder, task::yield_now, time::timeout};

/// How long anything may take. What hangs is as bad as what panics.
const LIMIT: Duration = Duration::from_secs(20);

/// Of a message on the wire of gRPC: whether it is compressed, and its length.
const ENVELOPE: usize = 5;

/// What `future` gives, on a runtime that ends with it and with all that it has spawned.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().build();
    let limited = async { timeout(LIMIT, future).await.expect("it ends in time") };
    runtime.expect("a runtime").block_on(limited)
}

/// The messages in `data`; the last one may be shorter than it says.
pub(crate) fn split(mut data: &[u8]) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (message, rest) = rest.split_at(length);
        messages.push(Bytes::copy_from_slice(message));
        data = rest;
    }
    messages
}

/// Those of `messages` that are messages, in their order up to the first that is none.
pub(crate) fn decoded<T: Message + Default>(messages: &[Bytes]) -> Vec<T> {
    messages
        .iter()
        .map_while(|message| T::decode(&**message).ok())
        .collect()
}

/// The body of a gRPC request or response with these messages. Others may run between them.
pub(crate) fn body(messages: Vec<Bytes>) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync {
    stream::iter(messages).then(|message| async move {
        yield_now().await;
        let mut frame = BytesMut::with_capacity(ENVELOPE + message.len());
        frame.put_u8(0);
        // None is longer than its two bytes say.
        frame.put_u32(u32::try_from(message.len()).unwrap_or_default());
        frame.put(message);
        Ok(Frame::data(frame.freeze()))
    })
}

/// The trailers that end a gRPC response with the status `code`.
pub(crate) fn status(code: u8) -> Frame<Bytes> {
    Frame::trailers(HeaderMap::from_iter([(
        "grpc-status".parse().expect("a name"),
        HeaderValue::from(u16::from(code)),
    )]))
}

/// The messages of a gRPC body that has ended well.
pub(crate) fn read<T: Message + Default>(body: &[u8]) -> Vec<T> {
    let (messages, rest) = read_whole(body);
    assert!(rest.is_empty(), "half a message");
    messages
}

/// The messages of a gRPC body that are whole, and what is left.
pub(crate) fn read_whole<T: Message + Default>(mut body: &[u8]) -> (Vec<T>, &[u8]) {
    let mut messages = Vec::new();
    while let Some(([compressed, length @ ..], rest)) = body.split_first_chunk::<ENVELOPE>() {
        assert_eq!(*compressed, 0, "nobody has asked for compression");
        let length = usize::try_from(u32::from_be_bytes(*length)).expect("a length");
        let Some((message, rest)) = rest.split_at_checked(length) else {
            break;
        };
        messages.push(T::decode(message).expect("a message"));
        body = rest;
    }
    (messages, body)
}
