//! When a caller's credential ends, and with it what they have open: each WebSocket and stream of events.

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, Response, StatusCode, header};

use super::{Gateway, ResponseBody, arrival::Way, authenticate::Authenticator, authorize::Authorizer};
use crate::{directory::Directory, session::expiry};

const EVENT_STREAM: &str = "text/event-stream";

/// Ready when a credential has ended.
pub type Over = BoxFuture<'static, ()>;

impl<N: Authenticator, Z: Authorizer, D: Directory> Gateway<N, Z, D> {
    /// When what is answered with `response` has to end, if it may go on for long and somebody can say when.
    pub(super) fn over(&self, way: &Way, response: &Response<ResponseBody>) -> Option<Over> {
        let is_open = response.status() == StatusCode::SWITCHING_PROTOCOLS || is_of_events(response.headers());
        if !is_open {
            return None;
        }
        match way {
            Way::Session(session) => {
                let (entrance, session) = (Arc::clone(&self.entrance), session.clone());
                Some(
                    async move {
                        if let Some(sessions) = &entrance.sessions {
                            sessions.over(&session).await;
                        }
                    }
                    .boxed(),
                )
            }
            Way::Bearer(token) => expiry::of(token).map(|until| until.come().boxed()),
            Way::Certificate { until } => Some(until.come().boxed()),
            Way::Proxy => None,
        }
    }
}

fn is_of_events(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(EVENT_STREAM)
}
