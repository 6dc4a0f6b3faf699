//! One HTTP exchange: the author's router between the two halves of the protocol.

use std::panic::AssertUnwindSafe;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, Response, StatusCode},
    response::IntoResponse as _,
};
use futures::{FutureExt as _, StreamExt as _, stream::BoxStream};
use kite_proto::{HttpRequest, HttpResponse};
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};
use tower::ServiceExt as _;
use tracing::{Instrument as _, error, info_span};

use super::{panic_text, reply, request};
use crate::RequestId;

/// Answers one request. It runs in the caller's stream, so that it is dropped when the caller goes away.
pub(super) async fn exchange(
    routes: Router,
    mut messages: Streaming<HttpRequest>,
) -> Result<BoxStream<'static, Result<HttpResponse, Status>>, Status> {
    let mut first = messages
        .message()
        .await?
        .ok_or_else(|| Status::invalid_argument("the request has no messages"))?;
    let (head, context) = request::head(first.head.take())?;
    let body = request::body(first, messages)?;
    let deadline = context.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let request_id = context.request_id;

    let span = info_span!("http", request_id = %request_id, method = %head.method(), path = head.uri().path());
    let is_head = head.method() == Method::HEAD;
    let answer = answer(routes, head.map(|()| body), &request_id).instrument(span);
    let response = match deadline {
        Some(deadline) => timeout_at(deadline, answer).await.map_err(|_| reply::too_late())?,
        None => answer.await,
    };
    let response = if is_head {
        response.map(|_| Body::empty())
    } else {
        response
    };
    Ok(reply::messages(response, deadline, request_id).boxed())
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
