//! A WebSocket: asked for by an extractor, and served by a function of the author's.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures::{FutureExt as _, future::BoxFuture};
use kite_proto::web_socket::{Assembler, FrameError, MAX_WEB_SOCKET_MESSAGE, Message};
use tokio::sync::mpsc;

/// Messages of either direction that wait; who sends faster is held back.
pub(crate) const WAITING: usize = 4;

/// Stands in a request that asks for a WebSocket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted;

/// What an author's function becomes, and takes.
type Handler = Box<dyn FnOnce(WebSocket) -> BoxFuture<'static, ()> + Send>;

/// Stands in a response that accepts a WebSocket.
#[derive(Clone)]
pub(crate) struct Accepted(Arc<Mutex<Option<Handler>>>);

impl Accepted {
    /// The function, once.
    pub(crate) fn take(&self) -> Option<Handler> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The request asks for no WebSocket.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this route is a WebSocket, and the request asks for none")]
pub struct NoWebSocket;

impl IntoResponse for NoWebSocket {
    fn into_response(self) -> Response {
        (StatusCode::UPGRADE_REQUIRED, self.to_string()).into_response()
    }
}

/// A WebSocket that the caller asks for: an argument of a handler whose route is GET.
///
/// ```
/// use kite_plugin_sdk::{
///     Message, WebSocket, WebSocketUpgrade,
///     axum::{Router, response::Response, routing::get},
/// };
///
/// fn routes() -> Router {
///     Router::new().route("/socket", get(socket))
/// }
///
/// async fn socket(upgrade: WebSocketUpgrade) -> Response {
///     upgrade.on_upgrade(echo)
/// }
///
/// async fn echo(mut socket: WebSocket) {
///     while let Some(Ok(message)) = socket.recv().await {
///         if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
///             return;
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct WebSocketUpgrade {
    offered: Vec<String>,
    chosen: Option<HeaderValue>,
}

impl<S: Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = NoWebSocket;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoWebSocket> {
        parts.extensions.get::<Wanted>().ok_or(NoWebSocket)?;
        Ok(Self {
            offered: offered(&parts.headers),
            chosen: None,
        })
    }
}

impl WebSocketUpgrade {
    /// Chooses the first of these subprotocols that the caller offers; none if it offers none of them.
    #[must_use]
    pub fn protocols<'a>(mut self, spoken: impl IntoIterator<Item = &'a str>) -> Self {
        let chosen = spoken
            .into_iter()
            .find(|spoken| self.offered.iter().any(|offered| offered == spoken));
        self.chosen = chosen.and_then(|chosen| HeaderValue::from_str(chosen).ok());
        self
    }

    /// The subprotocol that was chosen.
    pub fn protocol(&self) -> Option<&str> {
        self.chosen.as_ref().and_then(|chosen| chosen.to_str().ok())
    }

    /// Accepts the WebSocket. What `handler` returns is dropped when its caller goes. When it ends without a [`Message::Close`], one
    /// with the code 1000 is sent, and one with 1011 if it panics.
    pub fn on_upgrade<F, R>(self, handler: F) -> Response
    where
        F: FnOnce(WebSocket) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let handler: Handler = Box::new(move |socket| handler(socket).boxed());
        let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
        if let Some(chosen) = self.chosen {
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
        }
        response
            .extensions_mut()
            .insert(Accepted(Arc::new(Mutex::new(Some(handler)))));
        response
    }
}

fn offered(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let lists = values.filter_map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .map(|protocol| protocol.trim().to_owned())
        .filter(|protocol| !protocol.is_empty())
        .collect()
}

/// Why a message does not come, or does not go.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WebSocketError {
    /// What came breaks the rules of RFC 6455, or what was to be sent would.
    #[error("failed to take a message apart or put it together")]
    Frame(#[from] FrameError),
    /// The connection was lost before it was closed.
    #[error("failed to hear from the caller before it was lost")]
    Lost,
    /// A side has sent its CLOSE.
    #[error("failed to send on a WebSocket that is closed")]
    Closed,
}

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    sender: WebSocketSender,
    receiver: WebSocketReceiver,
}

/// The half of a [`WebSocket`] that sends. Clones send on the same one.
#[derive(Clone)]
pub struct WebSocketSender(pub(crate) mpsc::Sender<Message>);

/// The half of a [`WebSocket`] that receives.
pub struct WebSocketReceiver(pub(crate) mpsc::Receiver<Result<Message, WebSocketError>>);

impl WebSocket {
    pub(crate) fn new(sender: WebSocketSender, receiver: WebSocketReceiver) -> Self {
        Self { sender, receiver }
    }

    /// As [`WebSocketReceiver::recv`].
    pub async fn recv(&mut self) -> Option<Result<Message, WebSocketError>> {
        self.receiver.recv().await
    }

    /// As [`WebSocketSender::send`].
    pub async fn send(&mut self, message: Message) -> Result<(), WebSocketError> {
        self.sender.send(message).await
    }

    /// Two halves, for tasks that wait for different things.
    pub fn split(self) -> (WebSocketSender, WebSocketReceiver) {
        (self.sender, self.receiver)
    }
}

impl WebSocketReceiver {
    /// The next message; none after the caller's [`Message::Close`], which is answered already. Pings of the caller do not come: the
    /// gateway answers them.
    pub async fn recv(&mut self) -> Option<Result<Message, WebSocketError>> {
        self.0.recv().await
    }
}

impl WebSocketSender {
    /// Sends a message, of at most 1 MiB, and waits while others do that were sent before. After [`Message::Close`] nothing more is sent.
    pub async fn send(&self, message: Message) -> Result<(), WebSocketError> {
        match &message {
            Message::Text(text) if text.len() > MAX_WEB_SOCKET_MESSAGE => return Err(FrameError::Message.into()),
            Message::Binary(data) if data.len() > MAX_WEB_SOCKET_MESSAGE => return Err(FrameError::Message.into()),
            Message::Close(_) => {
                for frame in message.clone().frames() {
                    Assembler::default().take(frame)?;
                }
            }
            Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => {}
        }
        self.0.send(message).await.map_err(|_| WebSocketError::Closed)
    }
}

impl fmt::Debug for WebSocketSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebSocketSender")
    }
}

impl fmt::Debug for WebSocketReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebSocketReceiver")
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn upgrade(fields: &[&'static str], wanted: bool) -> Result<WebSocketUpgrade, NoWebSocket> {
        let mut request = Request::new(());
        for value in fields {
            let value = HeaderValue::from_static(value);
            request.headers_mut().append(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        if wanted {
            request.extensions_mut().insert(Wanted);
        }
        WebSocketUpgrade::from_request_parts(&mut request.into_parts().0, &()).await
    }

    #[tokio::test]
    async fn the_plugins_first_subprotocol_that_is_offered_is_chosen() {
        for (offered, chosen) in [
            (&[][..], None),
            (&["c"], None),
            (&["b, a"], Some("a")),
            (&["c", "b"], Some("b")),
        ] {
            let upgrade = upgrade(offered, true).await.unwrap().protocols(["a", "b"]);
            assert_eq!(upgrade.protocol(), chosen, "{offered:?}");
            let response = upgrade.on_upgrade(async |_| {});
            let field = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
            assert_eq!(field.map(HeaderValue::as_bytes), chosen.map(str::as_bytes));
        }
    }

    #[tokio::test]
    async fn a_request_for_no_web_socket_is_told_so() {
        let rejection = upgrade(&[], false).await.unwrap_err();
        assert_eq!(rejection.into_response().status(), StatusCode::UPGRADE_REQUIRED);
    }

    #[tokio::test]
    async fn what_breaks_the_rules_is_not_sent() {
        let (sender, mut sent) = mpsc::channel(1);
        let sender = WebSocketSender(sender);
        for (message, error) in [
            (
                Message::Text("a".repeat(MAX_WEB_SOCKET_MESSAGE + 1)),
                FrameError::Message,
            ),
            (
                Message::Binary(vec![0; MAX_WEB_SOCKET_MESSAGE + 1].into()),
                FrameError::Message,
            ),
            (Message::Close(Some((1005, String::new()))), FrameError::Code(1005)),
        ] {
            assert_eq!(sender.send(message).await, Err(WebSocketError::Frame(error)));
        }
        assert!(sent.try_recv().is_err());
    }
}
