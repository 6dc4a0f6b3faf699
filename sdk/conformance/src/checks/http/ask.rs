//! Exchanges that are made to be judged.

use kite_api::error_chain;
use kite_proto::{Header, HttpRequest, HttpRequestHead, HttpResponse, HttpResponseHead, MAX_CHUNK};

use crate::{
    verdict::{Checked, not_applicable},
    wire::{Answer, Call, Ended, Wire},
    world::{World, no_call},
};

/// Pieces of the body that is echoed.
const PIECES: u8 = 4;

/// An exchange, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Exchanged {
    /// What was asked.
    pub(crate) what: String,
    pub(crate) method: &'static str,
    pub(crate) answer: Answer<HttpResponse>,
}

impl Exchanged {
    pub(crate) fn new(what: String, method: &'static str, answer: Answer<HttpResponse>) -> Self {
        Self { what, method, answer }
    }

    pub(crate) fn messages(&self) -> impl Iterator<Item = &HttpResponse> {
        self.answer.messages.iter().map(|(message, _)| message)
    }

    pub(crate) fn head(&self) -> Option<&HttpResponseHead> {
        self.messages().find_map(|message| message.head.as_ref())
    }

    pub(crate) fn status(&self) -> Option<u32> {
        self.head().map(|head| head.status)
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        self.messages()
            .flat_map(|message| message.data.iter().copied())
            .collect()
    }

    /// Whether the message that completes it has come.
    pub(crate) fn is_complete(&self) -> bool {
        self.messages().any(|message| message.end)
    }

    /// Whether it has an answer, be it a status alone.
    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.answer.ended, Ended::Status(_))
    }

    pub(crate) fn content_length(&self) -> Option<&Header> {
        self.head()?.headers.iter().find(|field| field.name == "content-length")
    }
}

pub(crate) fn get_path(world: &World) -> Checked<&str> {
    match &world.known.get {
        Some(path) => Ok(path),
        None => not_applicable("the suite knows no path that GET answers"),
    }
}

pub(crate) fn echo_path(world: &World) -> Checked<&str> {
    match &world.known.echo {
        Some(path) => Ok(path),
        None => not_applicable("the suite knows no path that echoes"),
    }
}

/// A path that no plugin has.
pub(super) fn nowhere() -> String {
    format!("/conformance-{}", uuid::Uuid::new_v4().simple())
}

/// The first message of a request.
pub(crate) fn request(world: &World, method: &str, path: &str) -> HttpRequest {
    HttpRequest {
        head: Some(HttpRequestHead {
            context: Some(world.context()),
            method: method.to_owned(),
            path_and_query: path.to_owned(),
            ..HttpRequestHead::default()
        }),
        ..HttpRequest::default()
    }
}

/// Begins an exchange, whose request goes on.
pub(crate) async fn begin(world: &World, wire: &Wire, method: &str, path: &str) -> Checked<Call> {
    begin_by(world, wire, &request(world, method, path)).await
}

async fn begin_by(world: &World, wire: &Wire, first: &HttpRequest) -> Checked<Call> {
    let mut call = match wire.call("Http").await {
        Ok(call) => call,
        Err(error) => return no_call("Http", &error),
    };
    // Whether it was taken the answer says.
    let _ = tokio::time::timeout(world.limits.answer, call.send(first, false)).await;
    Ok(call)
}

/// Begins a POST whose time is never up.
pub(crate) async fn begin_without_limit(world: &World, wire: &Wire, path: &str) -> Checked<Call> {
    let mut first = request(world, "POST", path);
    if let Some(context) = first.head.as_mut().and_then(|head| head.context.as_mut()) {
        context.timeout = None;
    }
    begin_by(world, wire, &first).await
}

/// A small exchange.
pub(crate) async fn exchange_on(world: &World, wire: &Wire, method: &'static str, path: &str) -> Checked<Exchanged> {
    let request = HttpRequest {
        end: true,
        ..request(world, method, path)
    };
    let answer = world.ask_on(wire, "Http", &request).await?;
    Ok(Exchanged::new(format!("{method} {path}"), method, answer))
}

/// An exchange with a body in pieces, and trailers.
async fn echoed(world: &World, wire: &Wire, path: &str) -> Checked<Exchanged> {
    let mut call = begin(world, wire, "POST", path).await?;
    for piece in 0..PIECES {
        let last = piece + 1 == PIECES;
        let trailer = Header {
            name: String::from("x-sum"),
            value: "1".into(),
        };
        let message = HttpRequest {
            data: vec![piece; MAX_CHUNK].into(),
            trailers: if last { vec![trailer] } else { Vec::new() },
            end: last,
            ..HttpRequest::default()
        };
        if tokio::time::timeout(world.limits.answer, call.send(&message, last)).await != Ok(true) {
            break;
        }
    }
    let answer = call.collect(world.limits.answer).await;
    Ok(Exchanged::new(format!("POST {path}"), "POST", answer))
}

/// All that are judged, made once.
pub(super) async fn exchanged(world: &World) -> Checked<&Vec<Exchanged>> {
    let make = async || {
        let wire = world.wire().await?;
        let mut all = vec![exchange_on(world, &wire, "GET", &nowhere()).await?];
        for path in [&world.known.get, &world.known.large].into_iter().flatten() {
            all.push(exchange_on(world, &wire, "GET", path).await?);
        }
        if let Some(path) = &world.known.echo {
            all.push(echoed(world, &wire, path).await?);
        }
        Ok(all)
    };
    world.exchanged.get_or_try_init(make).await
}

/// That a path can be one: it is rooted, and has nothing that a request could not have.
pub fn is_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(String::from("it does not begin with /"));
    }
    path.parse::<http::uri::PathAndQuery>()
        .map(drop)
        .map_err(|error| error_chain(&error))
}
