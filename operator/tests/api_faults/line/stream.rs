//! A watch: what it tells is held back while it speaks of earlier, and an event is left out of it where a fault says so.

use std::{io, sync::Arc};

use axum::body::{Body, Bytes};
use futures::TryStreamExt;
use http::{Request, Response, header};
use kube::client::Body as ClientBody;
use serde::Deserialize;
use tokio::{io::AsyncBufReadExt, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::StreamReader;

use super::{Cut, Shared};
use crate::{fault::Fault, target::Target};

/// What an API server says at the end of a watch that begins where its memory no longer reaches.
const GONE: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}}"#;

#[derive(Deserialize)]
struct Event {
    r#type: String,
}

/// Begins the watch.
pub(super) async fn watch(
    shared: &Arc<Shared>,
    target: Target,
    request: Request<ClientBody>,
) -> Result<Response<Body>, Cut> {
    let answer = shared.server.send(request).await.map_err(|_| Cut)?;
    let (head, body) = answer.into_parts();
    let (tell, told) = mpsc::channel(16);
    let resource = target.resource.clone();
    tokio::spawn(pump(Arc::clone(shared), target, body, tell));
    let mut answer = Response::new(Body::from_stream(ReceiverStream::new(told)));
    *answer.status_mut() = head.status;
    if let Some(kind) = head.headers.get(header::CONTENT_TYPE) {
        answer.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    shared.state.send_modify(|state| {
        state.watched.insert(resource);
        state.passed += 1;
    });
    Ok(answer)
}

/// Tells what the API server tells, line by line.
async fn pump(shared: Arc<Shared>, target: Target, body: ClientBody, tell: mpsc::Sender<io::Result<Bytes>>) {
    let mut state = shared.state.subscribe();
    let thawed = state.wait_for(|state| state.frozen_at.is_none() || state.is_cut);
    if thawed.await.is_err() {
        return;
    }
    let mut lines = StreamReader::new(Body::new(body).into_data_stream().map_err(io::Error::other)).lines();
    let mut has_hidden = false;
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line,
            () = tell.closed() => return,
            () = async { _ = state.wait_for(|state| state.gap_is_over).await }, if has_hidden => Ok(None),
        };
        let Ok(Some(line)) = line else {
            // Also where it has come to its end by itself: going on from there would lose the event for good.
            if has_hidden {
                shared.passes();
                let _ = tell.send(Ok(Bytes::from(format!("{GONE}\n")))).await;
            }
            return;
        };
        if is_hidden(&shared, &target, &line) {
            has_hidden = true;
            shared.strikes();
            continue;
        }
        shared.passes();
        if tell.send(Ok(Bytes::from(format!("{line}\n")))).await.is_err() {
            return;
        }
    }
}

/// Whether the event is the one to be left out.
fn is_hidden(shared: &Shared, target: &Target, line: &str) -> bool {
    let event: Option<Event> = serde_json::from_str(line).ok();
    // Of other things than objects watches tell as often as they like, and of namespaces there are others'.
    let tells = event.is_some_and(|event| matches!(event.r#type.as_str(), "ADDED" | "MODIFIED" | "DELETED"));
    if !tells || target.resource == "namespaces" {
        return false;
    }
    let count = shared.ledger.told(&target.resource);
    let fault = shared.fault.borrow();
    matches!(&*fault, Some(Fault::Unseen { resource, event }) if *resource == target.resource && *event == count)
}
