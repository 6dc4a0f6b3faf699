//! Exchanges of HTTP. A few are made once, and judged by every rule about their messages.

mod ask;
mod judge;

use http::{HeaderMap, HeaderName, HeaderValue};
use kite_proto::{Header, HttpRequest, HttpResponse, MAX_CHUNK};
use tokio::time::timeout;

pub use self::ask::is_path;
use self::ask::{exchanged, nowhere};
pub(crate) use self::{
    ask::{Exchanged, begin, begin_without_limit, echo_path, exchange_on, get_path, request},
    judge::{Judge, judge_fields, judge_messages},
};
use crate::{
    verdict::{Checked, broken, ensure, not_applicable},
    wire::{Ended, Event},
    world::{World, no_call},
};

/// How much of a request the plugin is sent that it does not want.
const UNWANTED: usize = 1024 * 1024;
/// Header fields and metadata in which callers are named elsewhere.
const CALLER_FIELDS: [&str; 6] = [
    "x-forwarded-user",
    "x-remote-user",
    "remote-user",
    "impersonate-user",
    "x-kite-user",
    "x-auth-request-user",
];
/// A caller that no context names.
const STRANGER: &str = "mallory-of-the-conformance-suite";

/// Judges all exchanges that were made, of which one at least must have got as far as a message.
async fn each(world: &World, judge: impl Fn(&Exchanged) -> Checked) -> Checked {
    let all = exchanged(world).await?;
    if all.iter().all(|one| one.answer.messages.is_empty()) {
        return not_applicable("no exchange was answered by a message");
    }
    all.iter().try_for_each(judge)
}

pub(crate) async fn head_first(world: &World) -> Checked {
    each(world, |one| judge_messages(one, Judge::HeadFirst)).await
}

pub(crate) async fn trailers_last(world: &World) -> Checked {
    each(world, |one| judge_messages(one, Judge::TrailersLast)).await
}

pub(crate) async fn data(world: &World) -> Checked {
    each(world, |one| judge_messages(one, Judge::Data(MAX_CHUNK))).await
}

pub(crate) async fn message(world: &World) -> Checked {
    each(world, |one| judge_messages(one, Judge::Message)).await
}

pub(crate) async fn head(world: &World) -> Checked {
    each(world, |one| judge_messages(one, Judge::Head)).await
}

pub(crate) async fn field_names(world: &World) -> Checked {
    let is_name = |field: &Header| HeaderName::from_lowercase(field.name.as_bytes()).is_ok();
    each(world, |one| judge_fields(one, is_name, "a lower-case name")).await
}

pub(crate) async fn field_values(world: &World) -> Checked {
    let is_value = |field: &Header| HeaderValue::from_bytes(&field.value).is_ok();
    each(world, |one| judge_fields(one, is_value, "a value without line breaks")).await
}

pub(crate) async fn status(world: &World) -> Checked {
    each(world, |one| judge_messages(one, Judge::Status)).await
}

pub(crate) async fn no_interim(world: &World) -> Checked {
    each(world, |one| judge_messages(one, Judge::NoInterim)).await
}

pub(crate) async fn completes(world: &World) -> Checked {
    exchanged(world).await?.iter().try_for_each(judge::completes)
}

pub(crate) async fn ends_once(world: &World) -> Checked {
    each(world, judge::ends_once).await
}

pub(crate) async fn content_length(world: &World) -> Checked {
    let all = exchanged(world).await?;
    let with_length: Vec<_> = all
        .iter()
        .filter(|one| one.is_complete() && one.content_length().is_some())
        .collect();
    if with_length.is_empty() {
        return not_applicable("no response has a Content-Length");
    }
    with_length.into_iter().try_for_each(judge::content_length)
}

pub(crate) async fn no_cookies(world: &World) -> Checked {
    let is_fine = |field: &Header| field.name != "set-cookie";
    each(world, |one| judge_fields(one, is_fine, "no Set-Cookie")).await
}

pub(crate) async fn no_hop_by_hop(world: &World) -> Checked {
    const HOP_BY_HOP: [&str; 6] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    let is_fine = |field: &Header| !HOP_BY_HOP.contains(&field.name.as_str());
    each(world, |one| judge_fields(one, is_fine, "no hop-by-hop fields")).await
}

pub(crate) async fn location(world: &World) -> Checked {
    let is_inside = |field: &Header| field.name != "location" || judge::is_inside(&field.value);
    each(world, |one| judge_fields(one, is_inside, "a path of the plugin's own")).await
}

pub(crate) async fn head_method(world: &World) -> Checked {
    let path = world.known.get.clone().unwrap_or_else(nowhere);
    let wire = world.wire().await?;
    let get = exchange_on(world, &wire, "GET", &path).await?;
    let head = exchange_on(world, &wire, "HEAD", &path).await?;
    let (get_status, head_status) = (get.status(), head.status());
    ensure(
        get_status == head_status,
        || format!("GET {path} is {get_status:?}, HEAD {head_status:?}"),
        "the same status",
    )?;
    ensure(head.body().is_empty(), || format!("HEAD {path} has data"), "no data")
}

pub(crate) async fn unknown_path(world: &World) -> Checked {
    let path = nowhere();
    let wire = world.wire().await?;
    let one = exchange_on(world, &wire, "GET", &path).await?;
    match one.status() {
        Some(404) => Ok(()),
        Some(status) if status < 500 => not_applicable(format!("the plugin answers every path, {path} with {status}")),
        Some(status) => broken(format!("GET {path} is {status}"), "404"),
        None => broken(format!("GET {path}: {}", one.answer.ended), "an HTTP response, 404"),
    }
}

pub(crate) async fn caller(world: &World) -> Checked {
    let path = get_path(world)?;
    let wire = world.wire().await?;
    let plain = exchange_on(world, &wire, "GET", path).await?;
    let mut metadata = HeaderMap::new();
    for name in CALLER_FIELDS {
        metadata.insert(name, HeaderValue::from_static(STRANGER));
    }
    let mut call = match wire.call_with("kite.plugin.v1.Plugin", "Http", &metadata).await {
        Ok(call) => call,
        Err(error) => return no_call("Http", &error),
    };
    let mut request = request(world, "GET", path);
    if let Some(head) = &mut request.head {
        let field = |name: &str| Header {
            name: name.to_owned(),
            value: STRANGER.into(),
        };
        head.headers = CALLER_FIELDS.into_iter().map(field).collect();
    }
    call.send(&HttpRequest { end: true, ..request }, true).await;
    let spoofed = Exchanged::new(format!("GET {path}"), "GET", call.collect(world.limits.answer).await);
    let named = spoofed
        .body()
        .windows(STRANGER.len())
        .any(|part| part == STRANGER.as_bytes());
    ensure(
        !named,
        || format!("GET {path} answers {STRANGER}"),
        "the caller of the context",
    )?;
    let (plain, spoofed) = (plain.status(), spoofed.status());
    ensure(
        plain == spoofed,
        || format!("GET {path} is {plain:?}, and {spoofed:?} with fields that name another caller"),
        "the same",
    )
}

pub(crate) async fn reads_to_end(world: &World) -> Checked {
    let path = nowhere();
    let wire = world.own().await?;
    let mut call = begin_without_limit(world, &wire, &path).await?;
    let piece = HttpRequest {
        data: vec![0; MAX_CHUNK].into(),
        ..HttpRequest::default()
    };
    let end = HttpRequest {
        end: true,
        ..HttpRequest::default()
    };
    let mut read = Ok(true);
    for _ in 0..UNWANTED / MAX_CHUNK {
        read = timeout(world.limits.answer, call.send(&piece, false)).await;
        if read != Ok(true) {
            break;
        }
    }
    if read == Ok(true) {
        read = timeout(world.limits.answer, call.send(&end, true)).await;
    }
    if read == Ok(true) {
        return Ok(());
    }
    match call.collect::<HttpResponse>(world.limits.answer).await.ended {
        Ended::Silent => broken(
            format!("POST {path} with {UNWANTED} bytes is neither read nor ended"),
            "a request that is read, or an exchange that is ended",
        ),
        Ended::Status(_) | Ended::Broken(_) => Ok(()),
    }
}

pub(crate) async fn broken_request(world: &World) -> Checked {
    let path = echo_path(world)?;
    let wire = world.wire().await?;
    let mut call = begin(world, &wire, "POST", path).await?;
    let piece = HttpRequest {
        data: "half".into(),
        ..HttpRequest::default()
    };
    // The stream ends, and the request does not.
    call.send(&piece, true).await;
    let one = Exchanged::new(format!("POST {path}"), "POST", call.collect(world.limits.answer).await);
    ensure(
        !one.is_complete(),
        || format!("POST {path} completes the echo of a request that ended before it was complete"),
        "a broken response",
    )
}

pub(crate) async fn events(world: &World) -> Checked {
    let Some(path) = &world.known.events else {
        return not_applicable("the suite knows no path of server-sent events");
    };
    let wire = world.wire().await?;
    let mut call = begin(world, &wire, "GET", path).await?;
    call.send(
        &HttpRequest {
            end: true,
            ..HttpRequest::default()
        },
        true,
    )
    .await;
    let mut first = None;
    let mut data = 0;
    while data == 0 {
        let message = match call.next_within(world.limits.answer).await {
            Some(Event::Message(message)) => <HttpResponse as prost::Message>::decode(message).unwrap_or_default(),
            Some(other) => return broken(format!("GET {path}: {other:?}"), "a piece of events"),
            None => return broken(format!("GET {path}: nothing in time"), "a piece of events"),
        };
        data += message.data.len();
        ensure(
            !message.end,
            || format!("GET {path} has ended"),
            "a response that stays open",
        )?;
        first = first.or(message.head);
    }
    let fields = first.map(|head| head.headers).unwrap_or_default();
    let kind = fields.iter().find(|field| field.name == "content-type");
    let kind = kind
        .map(|field| String::from_utf8_lossy(&field.value).into_owned())
        .unwrap_or_default();
    ensure(
        kind.starts_with("text/event-stream"),
        || format!("GET {path} is of the type {kind:?}"),
        "text/event-stream",
    )
}
