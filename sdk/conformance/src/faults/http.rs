//! The plugin's routes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream, stream::BoxStream};
use kite_proto::{Header, HttpRequest, HttpRequestHead, HttpResponse, HttpResponseHead, MAX_CHUNK};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use super::{Core, Fault, Link, socket};

pub(super) type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// Bytes of the large answer.
const LARGE: usize = 200_000;
/// Bytes that fill a head without being too many.
const FILL: usize = 40_000;

/// Counts as under way until it is dropped.
struct Open {
    open: watch::Sender<usize>,
    slot: Option<OwnedSemaphorePermit>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.open.send_modify(|open| *open -= 1);
    }
}

/// Answers an exchange on a connection.
pub(super) async fn answer(
    core: Arc<Core>,
    link: Link,
    mut requests: Streaming<HttpRequest>,
) -> Result<Answers<HttpResponse>, Status> {
    let first = requests.message().await?.unwrap_or_default();
    let Some(head) = first.head.clone() else {
        if core.has(Fault::CutByEmpty) {
            link.cut.cancel();
        }
        return Err(Status::invalid_argument("the first message has no head"));
    };
    let slot = Arc::clone(&link.slots).acquire_owned().await.ok();
    core.open.send_modify(|open| *open += 1);
    let mut open = Open {
        open: core.open.clone(),
        slot,
    };
    if core.has(Fault::KeepsCancelledCalls) && head.path_and_query == "/echo" {
        // Its place is never given back.
        open.slot.take().into_iter().for_each(OwnedSemaphorePermit::forget);
    }
    let path = head.path_and_query.as_str();
    if !head.protocol.is_empty() {
        let accepts = path == "/socket" || core.has(Fault::SocketsEverywhere);
        return Ok(if accepts {
            socket::serve(&core, requests)
        } else {
            whole(404, vec![], "no WebSocket")
        });
    }
    let answers = match (head.method.as_str(), path) {
        ("POST", "/echo") => echo(&core, first, requests),
        ("GET", "/events") => events(&core),
        ("POST", path) if core.has(Fault::NeitherReadsNorEnds) && path.starts_with("/conformance-") => {
            let first = message(200, vec![], Bytes::new());
            let never = stream::pending().map(move |()| {
                let _ = &requests;
                Ok(HttpResponse::default())
            });
            stream::once(async { Ok(first) }).chain(never).boxed()
        }
        _ => {
            read(requests, first.end).await?;
            let small = small(&core, &head)?;
            stream::iter(small).boxed()
        }
    };
    let answers = answers.inspect(move |_| {
        let _ = &open;
    });
    Ok(by_deadline(&core, &head, answers))
}

/// Reads a request to its end.
async fn read(mut requests: Streaming<HttpRequest>, mut ended: bool) -> Result<(), Status> {
    while let Some(message) = requests.message().await? {
        ended = message.end;
    }
    if ended {
        Ok(())
    } else {
        Err(Status::invalid_argument("the request ended before it was complete"))
    }
}

/// Ends an exchange whose time is up.
fn by_deadline(
    core: &Core,
    head: &HttpRequestHead,
    answers: impl Stream<Item = Result<HttpResponse, Status>> + Send + 'static,
) -> Answers<HttpResponse> {
    let timeout = head.context.as_ref().and_then(|context| context.timeout);
    let limit = timeout.and_then(|timeout| Duration::try_from(timeout).ok());
    let Some(limit) = limit.filter(|_| !core.has(Fault::IgnoresDeadline)) else {
        return answers.boxed();
    };
    let until = Instant::now() + limit;
    let answers = answers.boxed();
    let state = Some(answers);
    stream::unfold(state, move |state| async move {
        let mut answers = state?;
        tokio::select! {
            answer = answers.next() => answer.map(|answer| (answer, Some(answers))),
            () = sleep_until(until) => Some((Err(Status::deadline_exceeded("the time is up")), None)),
        }
    })
    .boxed()
}

pub(super) fn field(name: &str, value: impl Into<Bytes>) -> Header {
    Header {
        name: name.to_owned(),
        value: value.into(),
    }
}

/// A first message.
pub(super) fn message(status: u32, headers: Vec<Header>, data: impl Into<Bytes>) -> HttpResponse {
    HttpResponse {
        head: Some(HttpResponseHead { status, headers }),
        data: data.into(),
        ..HttpResponse::default()
    }
}

fn ended(message: HttpResponse) -> HttpResponse {
    HttpResponse { end: true, ..message }
}

fn whole(status: u32, headers: Vec<Header>, data: &'static str) -> Answers<HttpResponse> {
    let message = ended(message(status, headers, data));
    stream::once(async { Ok(message) }).boxed()
}

/// The answer to a request that has no body, or one that does not matter.
fn small(core: &Core, head: &HttpRequestHead) -> Result<Vec<Result<HttpResponse, Status>>, Status> {
    match core.fault {
        Some(fault) if head.path_and_query == "/hello" => Ok(spoil(fault, hello(core, head), &head.method)),
        _ => right(core, head).map(|messages| messages.into_iter().map(Ok).collect()),
    }
}

/// The same as it should be, and as it is on a stream of exchanges.
pub(super) fn right(core: &Core, head: &HttpRequestHead) -> Result<Vec<HttpResponse>, Status> {
    let is_head = head.method == "HEAD";
    match head.path_and_query.as_str() {
        "/hello" => Ok(vec![hello(core, head)]),
        "/large" if !is_head => Ok(large()),
        _ if core.has(Fault::StatusForUnknownPath) => Err(Status::not_found("there is no such path")),
        _ => Ok(vec![ended(message(
            404,
            vec![],
            if is_head { "" } else { "not found" },
        ))]),
    }
}

fn large() -> Vec<HttpResponse> {
    let mut data = Bytes::from(vec![b'a'; LARGE]);
    let length = field("content-length", LARGE.to_string());
    let mut messages = vec![message(200, vec![length], data.split_to(MAX_CHUNK))];
    while !data.is_empty() {
        let piece = data.split_to(data.len().min(MAX_CHUNK));
        messages.push(HttpResponse {
            data: piece,
            end: data.is_empty(),
            ..HttpResponse::default()
        });
    }
    messages
}

fn hello(core: &Core, head: &HttpRequestHead) -> HttpResponse {
    let user = head.context.as_ref().and_then(|context| context.user.as_ref());
    let mut name = user.map_or("nobody", |user| user.name.as_str()).to_owned();
    let forwarded = head.headers.iter().find(|field| field.name == "x-forwarded-user");
    if let (true, Some(field)) = (core.has(Fault::CallerFromField), forwarded) {
        name = String::from_utf8_lossy(&field.value).into_owned();
    }
    let text = format!("Hello, {name}!");
    let length = field("content-length", text.len().to_string());
    let keeps_data = head.method != "HEAD" || core.has(Fault::HeadWithData);
    ended(message(
        200,
        vec![length],
        if keeps_data { text } else { String::new() },
    ))
}

/// Does to a response what the fault is.
fn spoil(fault: Fault, mut message: HttpResponse, method: &str) -> Vec<Result<HttpResponse, Status>> {
    let trailer = |length: usize| vec![field("x-trailer", vec![b'a'; length])];
    let empty = HttpResponse::default;
    let mut head = message.head.clone().unwrap_or_default();
    if method == "HEAD" && !matches!(fault, Fault::BadStatus | Fault::Interim) {
        return vec![Ok(message)];
    }
    message.end = false;
    match fault {
        Fault::HeadTwice => {
            let second = HttpResponse {
                head: message.head.clone(),
                ..empty()
            };
            return vec![Ok(message), Ok(ended(second))];
        }
        Fault::EarlyTrailers => {
            message.trailers = trailer(1);
            return vec![Ok(message), Ok(ended(empty()))];
        }
        Fault::BreaksOff => return vec![Ok(message), Err(Status::internal("crashed"))],
        Fault::GoesOn => return vec![Ok(ended(message)), Ok(empty())],
        Fault::LargeData => return vec![Ok(ended(self::message(200, vec![], vec![0; MAX_CHUNK + 1])))],
        Fault::LargeMessage => {
            message = self::message(200, vec![field("x-fill", vec![b'a'; FILL])], vec![0; MAX_CHUNK]);
            message.trailers = trailer(FILL);
            return vec![Ok(ended(message))];
        }
        Fault::ManyFields => head
            .headers
            .extend((0..256).map(|number| field(&format!("x-{number}"), "1"))),
        Fault::UpperCaseName => head.headers.push(field("X-Upper", "1")),
        Fault::BrokenValue => head.headers.push(field("x-broken", "a\r\nb: c")),
        Fault::Cookie => head.headers.push(field("set-cookie", "a=b")),
        Fault::HopByHop => head.headers.push(field("connection", "close")),
        Fault::Redirect => head.headers.push(field("location", "https://example.com/")),
        Fault::BadStatus => head.status = 999,
        Fault::Interim => head.status = 103,
        Fault::WrongLength => head.headers = vec![field("content-length", "1")],
        _ => {}
    }
    message.head = Some(head);
    vec![Ok(ended(message))]
}

/// The request's own pieces back, with its trailers.
fn echo(core: &Arc<Core>, first: HttpRequest, requests: Streaming<HttpRequest>) -> Answers<HttpResponse> {
    let answer = |request: HttpRequest| HttpResponse {
        head: request.head.map(|_| HttpResponseHead {
            status: 200,
            headers: vec![],
        }),
        data: request.data,
        trailers: request.trailers,
        end: request.end,
        ..HttpResponse::default()
    };
    let rest = if core.has(Fault::Hoards) {
        hoarded(requests)
    } else {
        requests.boxed()
    };
    let completes = core.has(Fault::CompletesBroken) && !first.end;
    let messages = stream::once(async { Ok(first) })
        .chain(rest)
        .map(move |request| request.map(answer));
    let last = stream::iter(completes.then(|| Ok(ended(HttpResponse::default()))));
    let messages = messages.chain(last);
    if core.has(Fault::CompletesBroken) {
        // What is complete has its end already.
        let mut over = false;
        return messages
            .filter(move |message| {
                let keep = !over;
                over |= message.as_ref().is_ok_and(|message| message.end);
                futures::future::ready(keep)
            })
            .boxed();
    }
    if !core.has(Fault::DropsUnderWay) {
        return messages.boxed();
    }
    let core = Arc::clone(core);
    let dropped = stream::once(async move {
        core.stopped().await;
        Err(Status::unavailable("stopping"))
    });
    let both = stream::select(
        messages.map(Some).chain(stream::once(async { None })),
        dropped.map(Some),
    );
    both.take_while(|message| futures::future::ready(message.is_some()))
        .filter_map(futures::future::ready)
        .boxed()
}

/// What comes, read as fast as it does.
fn hoarded(mut requests: Streaming<HttpRequest>) -> Answers<HttpRequest> {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    UnboundedReceiverStream::new(receiver).boxed()
}

fn events(core: &Core) -> Answers<HttpResponse> {
    let mut first = message(200, vec![field("content-type", "text/event-stream")], "data: 1\n\n");
    if core.has(Fault::EventsEnd) {
        first.end = true;
        return stream::once(async { Ok(first) }).boxed();
    }
    stream::once(async { Ok(first) }).chain(stream::pending()).boxed()
}
