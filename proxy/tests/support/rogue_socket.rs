//! The rogue plugin on a WebSocket, well-behaved and not.

use futures::{StreamExt as _, stream};
use kite_proto::{HttpRequest, HttpResponse, WebSocketFrame, web_socket::Message, web_socket_frame::Kind};
use tonic::{Status, Streaming};

use super::rogue::{Answers, Rogue, answers, data, end, head, header};

pub(crate) fn frame(kind: Kind, data: &'static [u8]) -> WebSocketFrame {
    WebSocketFrame {
        kind: kind.into(),
        data: data.into(),
        ..WebSocketFrame::default()
    }
}

fn said(frame: WebSocketFrame) -> HttpResponse {
    HttpResponse {
        end: frame.kind() == Kind::Close,
        frame: Some(frame),
        ..HttpResponse::default()
    }
}

fn consent() -> HttpResponse {
    head(101, vec![])
}

fn close(code: u16, reason: &str) -> WebSocketFrame {
    Message::Close(Some((code, reason.to_owned()))).frames().remove(0)
}

impl Rogue {
    /// What a WebSocket at `path` becomes, if it is one of those.
    pub(crate) fn socket(
        &self,
        path: &str,
        query: &str,
        rest: Streaming<HttpRequest>,
    ) -> Option<Answers<HttpResponse>> {
        Some(match path {
            "/socket" => self.echo_frames(rest, vec![consent()]),
            "/socket-protocol" => {
                let chosen = query
                    .split('&')
                    .map(|protocol| header("sec-websocket-protocol", protocol.to_owned()));
                let others = ["sec-websocket-extensions", "set-cookie", "x-own"].map(|name| header(name, "x"));
                self.echo_frames(rest, vec![head(101, chosen.chain(others).collect())])
            }
            // Says goodbye first, and then hears what there is.
            "/socket-close" => self.echo_frames(rest, vec![consent(), said(close(4001, "bye"))]),
            "/socket-ping" => self.echo_frames(rest, vec![consent(), said(frame(Kind::Ping, b"there?"))]),
            // The rest of the request is kept, and not read.
            "/socket-deaf" => {
                let open = self.opened();
                let never = stream::poll_fn(move |_| {
                    let _ = (&rest, &open);
                    std::task::Poll::Pending
                });
                stream::iter([Ok(consent())]).chain(never).boxed()
            }
            "/socket-endless" => {
                let (open, taken) = (self.opened(), self.pieces.clone());
                let pieces = stream::repeat_with(move || {
                    let _ = (&rest, &open);
                    taken.send_modify(|taken| *taken += 1);
                    Ok(said(frame(Kind::Binary, &[0; 1024])))
                });
                stream::iter([Ok(consent())]).chain(pieces).boxed()
            }
            "/socket-broken" => answers([Ok(consent())].into_iter().chain(broken(query)).collect()),
            _ => return None,
        })
    }

    /// `first`, and then the caller's own frames back, each of which is noted.
    fn echo_frames(&self, rest: Streaming<HttpRequest>, first: Vec<HttpResponse>) -> Answers<HttpResponse> {
        let (heard, open) = (self.heard.clone(), self.opened());
        let closed = first.iter().any(|answer| answer.end);
        let echo = rest.filter_map(move |request| {
            let _ = &open;
            let answer = request.map(|request| {
                heard.send_modify(|heard| heard.push(request.clone()));
                request.frame.map(said)
            });
            // After a CLOSE of its own it says nothing more.
            std::future::ready(answer.transpose().filter(|_| !closed))
        });
        stream::iter(first.into_iter().map(Ok)).chain(echo).boxed()
    }
}

/// What ends a WebSocket as none should.
fn broken(how: &str) -> Vec<Result<HttpResponse, Status>> {
    match how {
        "end" => vec![],
        "status" => vec![Err(Status::internal("broken"))],
        "data" => vec![Ok(data("a"))],
        "head" => vec![Ok(head(200, vec![]))],
        "nothing" => vec![Ok(end())],
        "kind" => vec![Ok(said(frame(Kind::Unspecified, b"a")))],
        "continuation" => vec![Ok(said(frame(Kind::Continuation, b"a")))],
        "text" => vec![Ok(said(frame(Kind::Text, b"\xff")))],
        // "code"
        _ => vec![Ok(said(close(1005, "")))],
    }
}
