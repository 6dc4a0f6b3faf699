//! One HTTP exchange, of which a WebSocket may come: the author's router between the two halves of the protocol.

use std::panic::AssertUnwindSafe;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, Response, StatusCode},
    response::IntoResponse as _,
};
use futures::{FutureExt as _, Stream, StreamExt as _, stream::BoxStream};
use kite_proto::{HttpRequest, HttpResponse, MAX_CHUNK};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tonic::{Status, Streaming};
use tower::ServiceExt as _;
use tracing::{Instrument as _, error, error_span};

use super::{
    panic_text, reply, request,
    socket::{self, Opened},
};
use crate::{
    RequestId,
    caller::Context,
    web_socket::{Accepted, Wanted},
};

/// Answers one request. It runs in the caller's stream, so that it is dropped when the caller goes away.
pub(super) async fn exchange(
    routes: Router,
    mut messages: Streaming<HttpRequest>,
    serving: watch::Receiver<bool>,
) -> Result<BoxStream<'static, Result<HttpResponse, Status>>, Status> {
    let mut first = messages
        .message()
        .await?
        .ok_or_else(|| Status::invalid_argument("the request has no messages"))?;
    let (head, context) = request::head(first.head.take())?;
    if head.extensions().get::<Wanted>().is_some() {
        request::head_alone(&first)?;
        return web_socket(routes, head, context, messages, serving).await;
    }
    let body = request::body(first, messages)?;
    let messages = reply(routes, head.map(|()| body), context, MAX_CHUNK).await?;
    Ok(messages.boxed())
}

/// Asks the router for a WebSocket, which it accepts, or answers as any other request.
async fn web_socket(
    routes: Router,
    head: Request<()>,
    context: Context,
    requests: Streaming<HttpRequest>,
    serving: watch::Receiver<bool>,
) -> Result<BoxStream<'static, Result<HttpResponse, Status>>, Status> {
    let deadline = deadline(&context);
    let request_id = context.request_id;
    let response = answer_by(deadline, routes, head.map(|()| Body::empty()), &request_id).await?;
    let accepted = response.extensions().get::<Accepted>().cloned();
    let Some(accepted) = accepted.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) else {
        tokio::spawn(request::drain(requests));
        return Ok(reply::messages(response, deadline, request_id, MAX_CHUNK).boxed());
    };
    let opened = Opened {
        accepted,
        requests,
        request_id,
        deadline,
        serving,
    };
    Ok(socket::serve(&response, opened)?.boxed())
}

/// The messages, of `chunk` bytes of data at most, of the router's answer to a request.
pub(super) async fn reply(
    routes: Router,
    request: Request<Body>,
    context: Context,
    chunk: usize,
) -> Result<impl Stream<Item = Result<HttpResponse, Status>> + Send + use<>, Status> {
    let deadline = deadline(&context);
    let request_id = context.request_id;
    let is_head = request.method() == Method::HEAD;
    let response = answer_by(deadline, routes, request, &request_id).await?;
    let response = if is_head {
        response.map(|_| Body::empty())
    } else {
        response
    };
    Ok(reply::messages(response, deadline, request_id, chunk))
}

fn deadline(context: &Context) -> Option<Instant> {
    context.timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

async fn answer_by(
    deadline: Option<Instant>,
    routes: Router,
    request: Request<Body>,
    request_id: &RequestId,
) -> Result<Response<Body>, Status> {
    let span = error_span!("http", request_id = %request_id, method = %request.method(), path = request.uri().path());
    let answer = answer(routes, request, request_id).instrument(span);
    match deadline {
        Some(deadline) => timeout_at(deadline, answer).await.map_err(|_| reply::too_late()),
        None => Ok(answer.await),
    }
}

/// The router's answer; a panic is the answer 500, to this request alone.
async fn answer(routes: Router, request: Request<Body>, request_id: &RequestId) -> Response<Body> {
    match AssertUnwindSafe(routes.oneshot(request)).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(panic) => {
            error!(request_id = %request_id, panic = panic_text(&*panic), "a handler panicked");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the plugin failed to handle the request\n",
            )
                .into_response()
        }
    }
}
