//! A WebSocket on which messages come back as they went.

use futures::{StreamExt as _, stream};
use kite_proto::{HttpRequest, HttpResponse, WebSocketFrame, web_socket_frame::Kind};
use tonic::Streaming;

use super::{
    Core, Fault,
    http::{Answers, message},
};

pub(super) fn serve(core: &Core, requests: Streaming<HttpRequest>) -> Answers<HttpResponse> {
    let mut first = vec![message(101, vec![], "")];
    if core.has(Fault::DataOnSocket) {
        first.push(HttpResponse {
            data: "data".into(),
            ..HttpResponse::default()
        });
    }
    if core.has(Fault::BadFrame) {
        first.push(HttpResponse {
            frame: Some(WebSocketFrame {
                kind: Kind::Continuation.into(),
                ..WebSocketFrame::default()
            }),
            ..HttpResponse::default()
        });
    }
    let silent = core.has(Fault::NoClose);
    // Each frame goes back as it came, so that a CLOSE is answered by one with its end.
    let frames = requests.filter_map(move |request| async move {
        let request = request.ok()?;
        let frame = request.frame?;
        if silent && frame.kind() == Kind::Close {
            return None;
        }
        Some(HttpResponse {
            frame: Some(frame),
            end: request.end,
            ..HttpResponse::default()
        })
    });
    stream::iter(first).chain(frames).map(Ok).boxed()
}
