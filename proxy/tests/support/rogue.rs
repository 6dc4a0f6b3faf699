//! A plugin in this process, over real mutual TLS, that behaves or misbehaves as the path of a request says.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use kite_proto::{
    AuthorizeToolRequest, AuthorizeToolResponse, CallToolRequest, CallToolResponse, Definitions, DescribeRequest,
    DescribeResponse, ExchangeRequest, ExchangeResponse, Header, HttpRequest, HttpRequestHead, HttpResponse,
    HttpResponseHead, Progress, Supports, Tool, ToolResult,
    call_tool_response::Part,
    plugin_server::{Plugin, PluginServer},
};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

use super::{gateway::Certificates, rogue_exchange};

/// The tools that the plugin has.
pub(crate) const TOOLS: [&str; 16] = [
    "begun", "bug", "busy", "denied", "fail", "gone", "greet", "guarded", "halfway", "huge", "invalid", "late",
    "never", "shut", "silent", "strict",
];

/// What the plugin says it offers: tools that take anything, `strict` which wants a name, and two whose calls are authorized.
pub(crate) static DEFINITIONS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let strict = r#"{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}"#;
    let tool = |name: &str| Tool {
        name: name.to_owned(),
        description: format!("Is {name}."),
        input_schema: if name == "strict" {
            strict.into()
        } else {
            "{\"type\":\"object\"}".into()
        },
        read_only: name == "greet",
        has_authorizer: matches!(name, "guarded" | "shut"),
        ..Tool::default()
    };
    let definitions = Definitions {
        tools: TOOLS.map(tool).into(),
        supports: super::by_exchange().then(|| Supports {
            exchange: true,
            ..Supports::default()
        }),
        ..Definitions::default()
    };
    definitions.encode_to_vec()
});

pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The plugin, and what happened to it.
#[derive(Clone)]
pub(crate) struct Rogue {
    /// What it says that it offers.
    pub(crate) definitions: Arc<Mutex<Bytes>>,
    pub(crate) described: Arc<AtomicUsize>,
    /// How many requests came.
    pub(crate) begun: Arc<AtomicUsize>,
    /// Method and target of each exchange that began.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    /// How many exchanges on `/endless` and on a WebSocket are open.
    pub(crate) open: watch::Sender<usize>,
    /// How many pieces of 1 KiB were taken out of all of them.
    pub(crate) pieces: watch::Sender<usize>,
    /// What callers said on a WebSocket that is echoed.
    pub(crate) heard: watch::Sender<Vec<HttpRequest>>,
    /// What came by `Exchange`.
    pub(crate) streams: rogue_exchange::Counted,
    /// Set to have it open no stream of exchanges.
    pub(crate) mute: Arc<AtomicBool>,
    /// Set to have the plugin end, as a pod does that is told to.
    pub(crate) stop: watch::Sender<bool>,
}

/// Counts as open until it is dropped.
pub(crate) struct Open(watch::Sender<usize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

impl Rogue {
    fn new() -> Self {
        Self {
            definitions: Arc::new(Mutex::new(Bytes::copy_from_slice(&DEFINITIONS))),
            described: Arc::default(),
            begun: Arc::default(),
            asked: Arc::default(),
            open: watch::Sender::new(0),
            pieces: watch::Sender::new(0),
            heard: watch::Sender::new(vec![]),
            streams: watch::Sender::default(),
            mute: Arc::default(),
            stop: watch::Sender::new(false),
        }
    }

    /// Notes that a request has begun.
    pub(crate) fn note(&self, head: &HttpRequestHead) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let asked = format!("{} {}", head.method, head.path_and_query);
        self.asked.lock().unwrap().push(asked);
    }

    /// Starts the plugin on a port of its own.
    pub(crate) async fn start(certificates: &Certificates) -> (Self, SocketAddr) {
        Self::start_as(certificates, "rogue").await
    }

    /// The same under another name.
    pub(crate) async fn start_as(certificates: &Certificates, name: &str) -> (Self, SocketAddr) {
        let (certificate, key) = certificates.of_plugin(name);
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(certificates.clients_ca()));
        Self::new().serve(Server::builder().tls_config(tls).unwrap()).await
    }

    /// Starts the plugin without TLS, for somebody who stands before it.
    pub(crate) async fn start_plain() -> (Self, SocketAddr) {
        Self::new().serve(Server::builder()).await
    }

    async fn serve(self, mut server: Server) -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = server.add_service(PluginServer::new(self.clone()));
        let mut stop = self.stop.subscribe();
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        tokio::spawn(server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopped));
        (self, address)
    }

    /// One more that is open.
    pub(crate) fn opened(&self) -> Open {
        self.open.send_modify(|open| *open += 1);
        Open(self.open.clone())
    }

    /// What is answered to a request, of which the first message has come.
    pub(crate) fn answers(
        &self,
        first: HttpRequest,
        rest: Answers<HttpRequest>,
    ) -> Result<Answers<HttpResponse>, Status> {
        let target = first.head.as_ref().unwrap().path_and_query.clone();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let query = query.to_owned();
        Ok(match path {
            "/seen" => whole(200, vec![], seen(&first).to_string()),
            "/echo" => echo(first, rest),
            "/refuse" => return Err(Status::unavailable("not now")),
            "/status" => whole(query.parse().unwrap(), vec![header("content-length", "0")], ""),
            "/location" => whole(303, vec![header("location", query)], ""),
            "/headers" => whole(
                200,
                ["1", "2"]
                    .map(|v| header("x-own", v))
                    .into_iter()
                    .chain(origin_wide())
                    .collect(),
                "{}",
            ),
            "/upload" => upload(first, rest),
            // The rest of the request is kept, and not read.
            "/never" => stream::poll_fn(move |_| {
                let _ = &rest;
                Poll::Pending
            })
            .boxed(),
            "/endless" => self.endless(),
            "/events" => self.events(),
            path => broken(path)
                .or_else(|| invalid(path))
                .unwrap_or_else(|| whole(404, vec![], "no such path")),
        })
    }

    /// One event, and no end.
    fn events(&self) -> Answers<HttpResponse> {
        let open = self.opened();
        let kind = header("content-type", "Text/Event-Stream; charset=utf-8");
        let first = stream::iter([Ok(head(200, vec![kind])), Ok(data("data: 1\n\n"))]);
        let never = stream::poll_fn(move |_| {
            let _ = &open;
            Poll::Pending
        });
        first.chain(never).boxed()
    }

    /// Pieces of 1 KiB for as long as somebody takes them.
    fn endless(&self) -> Answers<HttpResponse> {
        let open = self.opened();
        let taken = self.pieces.clone();
        let pieces = stream::repeat_with(move || {
            let _ = &open;
            taken.send_modify(|taken| *taken += 1);
            Ok(data(vec![0; 1024]))
        });
        stream::once(async { Ok(head(200, vec![])) }).chain(pieces).boxed()
    }
}

pub(crate) fn header(name: &str, value: impl Into<Bytes>) -> Header {
    Header {
        name: name.to_owned(),
        value: value.into(),
    }
}

pub(crate) fn head(status: u32, headers: Vec<Header>) -> HttpResponse {
    HttpResponse {
        head: Some(HttpResponseHead { status, headers }),
        ..HttpResponse::default()
    }
}

pub(crate) fn data(data: impl Into<Bytes>) -> HttpResponse {
    HttpResponse {
        data: data.into(),
        ..HttpResponse::default()
    }
}

pub(crate) fn end() -> HttpResponse {
    HttpResponse {
        end: true,
        ..HttpResponse::default()
    }
}

/// A whole answer in one message.
fn whole(status: u32, headers: Vec<Header>, data: impl Into<Bytes>) -> Answers<HttpResponse> {
    answers(vec![Ok(HttpResponse {
        data: data.into(),
        end: true,
        ..head(status, headers)
    })])
}

pub(crate) fn answers(messages: Vec<Result<HttpResponse, Status>>) -> Answers<HttpResponse> {
    stream::iter(messages).boxed()
}

/// Everything that came with the first message, as JSON.
fn seen(first: &HttpRequest) -> Value {
    let head = first.head.as_ref().unwrap();
    let context = head.context.as_ref().unwrap();
    let user = context.user.as_ref().unwrap();
    let headers: Vec<_> = head
        .headers
        .iter()
        .map(|h| json!([h.name, String::from_utf8_lossy(&h.value)]))
        .collect();
    json!({
        "method": head.method,
        "path": head.path_and_query,
        "headers": headers,
        "user": {"name": user.name, "uid": user.uid, "groups": user.groups},
        "extra": user.extra.iter().map(|e| json!([e.key, e.values])).collect::<Vec<_>>(),
        "requestId": context.request_id,
        "cluster": context.cluster,
        "trace": [context.traceparent, context.tracestate],
        "timeout": context.timeout.as_ref().map(|timeout| timeout.seconds),
        "whole": first.end,
        "protocol": head.protocol,
    })
}

/// The request's own pieces back, with its trailers.
fn echo(first: HttpRequest, rest: Answers<HttpRequest>) -> Answers<HttpResponse> {
    let answer = |request: HttpRequest| HttpResponse {
        head: request.head.map(|_| HttpResponseHead {
            status: 200,
            headers: vec![header("trailer", "x-sum")],
        }),
        data: request.data,
        trailers: request.trailers,
        end: request.end,
        ..HttpResponse::default()
    };
    stream::once(async move { Ok(first) })
        .chain(rest)
        .map(move |request| request.map(answer))
        .boxed()
}

/// Reads the request to where it ends or breaks off, and answers what came.
fn upload(first: HttpRequest, rest: Answers<HttpRequest>) -> Answers<HttpResponse> {
    let answer = async move {
        let (mut bytes, mut end) = (first.data.len(), first.end);
        let mut rest = rest;
        while let Some(Ok(message)) = rest.next().await {
            bytes += message.data.len();
            end = message.end;
        }
        Ok(HttpResponse {
            data: json!({"bytes": bytes, "end": end}).to_string().into(),
            end: true,
            ..head(200, vec![])
        })
    };
    stream::once(answer).boxed()
}

/// An answer that begins well and does not end so.
fn broken(path: &str) -> Option<Answers<HttpResponse>> {
    Some(match path {
        "/cut" => answers(vec![Ok(head(200, vec![])), Ok(data("half"))]),
        "/broken" => answers(vec![
            Ok(head(200, vec![])),
            Ok(data("half")),
            Err(Status::internal("broken")),
        ]),
        "/two-heads" => answers(vec![Ok(head(200, vec![])), Ok(head(200, vec![])), Ok(end())]),
        "/longer" => answers(vec![
            Ok(head(200, vec![header("content-length", "1")])),
            Ok(data("long")),
            Ok(end()),
        ]),
        "/shorter" => answers(vec![
            Ok(head(200, vec![header("content-length", "9")])),
            Ok(data("a")),
            Ok(end()),
        ]),
        "/large-piece" => answers(vec![
            Ok(head(200, vec![])),
            Ok(data(vec![0; kite_proto::MAX_CHUNK + 1])),
            Ok(end()),
        ]),
        "/early-trailers" => answers(vec![
            Ok(head(200, vec![])),
            Ok(HttpResponse {
                trailers: vec![header("x-sum", "1")],
                ..data("a")
            }),
            Ok(end()),
        ]),
        "/bad-trailers" => answers(vec![
            Ok(head(200, vec![])),
            Ok(HttpResponse {
                trailers: vec![header("x sum", "1")],
                ..end()
            }),
        ]),
        _ => return None,
    })
}

/// An answer that is none from the beginning.
fn invalid(path: &str) -> Option<Answers<HttpResponse>> {
    Some(match path {
        "/empty" => answers(vec![]),
        "/headless" => answers(vec![Ok(end())]),
        "/huge" => whole(200, vec![header("x-huge", vec![b'a'; 512 * 1024])], ""),
        "/bad-header" => whole(200, vec![header("x-bad", "a\r\nb: c")], ""),
        "/two-lengths" => whole(
            200,
            vec![header("content-length", "0"), header("content-length", "1")],
            "",
        ),
        "/two-locations" => whole(303, vec![header("location", "/a"), header("location", "/b")], ""),
        "/many-headers" => whole(200, vec![header("", ""); 25_000], ""),
        _ => return None,
    })
}

#[tonic::async_trait]
impl Plugin for Rogue {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        self.described.fetch_add(1, Ordering::SeqCst);
        let definitions = self.definitions.lock().unwrap().clone();
        Ok(Response::new(DescribeResponse {
            protocol: kite_proto::PROTOCOL,
            definitions,
            ..DescribeResponse::default()
        }))
    }

    async fn http(&self, request: Request<Streaming<HttpRequest>>) -> Result<Response<Answers<HttpResponse>>, Status> {
        let mut rest = request.into_inner();
        let Some(first) = rest.message().await? else {
            return Err(Status::invalid_argument("no head"));
        };
        let head = first.head.as_ref().unwrap();
        self.note(head);
        let target = head.path_and_query.clone();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        if path.starts_with("/socket") && first.head.as_ref().unwrap().protocol == "websocket" {
            return self
                .socket(path, query, rest)
                .map(Response::new)
                .ok_or_else(|| Status::not_found("no such socket"));
        }
        self.answers(first, rest.boxed()).map(Response::new)
    }

    async fn exchange(
        &self,
        request: Request<Streaming<ExchangeRequest>>,
    ) -> Result<Response<Answers<ExchangeResponse>>, Status> {
        Ok(Response::new(rogue_exchange::serve(self.clone(), request.into_inner())))
    }

    async fn authorize_tool(
        &self,
        request: Request<AuthorizeToolRequest>,
    ) -> Result<Response<AuthorizeToolResponse>, Status> {
        let request = request.into_inner();
        match request.tool.as_str() {
            "guarded" => Ok(Response::new(AuthorizeToolResponse {
                allowed: request.arguments == "{\"name\": \"jane\"}",
                reason: "only jane".to_owned(),
            })),
            _ => Err(Status::internal("bug")),
        }
    }

    async fn call_tool(
        &self,
        request: Request<CallToolRequest>,
    ) -> Result<Response<Answers<CallToolResponse>>, Status> {
        let request = request.into_inner();
        let part = |part| Ok(CallToolResponse { part: Some(part) });
        let result = |text: String, is_error| {
            part(Part::Result(ToolResult {
                text,
                structured_content: Bytes::from_static(b"{\"a\":1}"),
                is_error,
            }))
        };
        let arguments = String::from_utf8_lossy(&request.arguments).into_owned();
        Ok(Response::new(match request.tool.as_str() {
            "halfway" => {
                let progress = Progress {
                    fraction: 0.5,
                    message: "half".to_owned(),
                };
                stream::iter([part(Part::Progress(progress)), result(arguments, false)]).boxed()
            }
            "guarded" | "shut" | "strict" => stream::iter([result(arguments, false)]).boxed(),
            "greet" => stream::iter([part(Part::Progress(Progress::default())), result(arguments, false)]).boxed(),
            "fail" => stream::iter([result("out of cheese".to_owned(), true)]).boxed(),
            "silent" => stream::iter([part(Part::Progress(Progress::default()))]).boxed(),
            "begun" => stream::iter([part(Part::Progress(Progress::default()))])
                .chain(stream::pending())
                .boxed(),
            "huge" => stream::iter([result("a".repeat(5 * 1024 * 1024), false)]).boxed(),
            "invalid" => return Err(Status::invalid_argument("name: is not a string")),
            "denied" => return Err(Status::permission_denied("not you")),
            "gone" => return Err(Status::not_found("no such tool")),
            "late" => return Err(Status::deadline_exceeded("late")),
            "busy" => return Err(Status::resource_exhausted("busy")),
            "never" => stream::pending().boxed(),
            _ => return Err(Status::internal("bug")),
        }))
    }
}

/// What a plugin's answer must not carry into the dashboard's origin.
fn origin_wide() -> Vec<Header> {
    [
        "set-cookie",
        "access-control-allow-origin",
        "x-kite-user",
        "clear-site-data",
        "service-worker-allowed",
        "x-request-id",
        "refresh",
    ]
    .into_iter()
    .map(|name| header(name, "x"))
    .chain([
        header("connection", "x-hop"),
        header("x-hop", "x"),
        header("content-security-policy", "default-src *"),
    ])
    .collect()
}
