//! A plugin for the tests: a route and a tool for each thing that may happen.

use std::{convert::Infallible, sync::Arc};

use futures::{StreamExt as _, stream};
use kite_plugin_sdk::{
    Caller, Message, Plugin, Refused, RequestId, Structured, Tool, ToolContext, ToolError, WebSocket, WebSocketUpgrade,
    axum::{
        Router,
        body::{Body, Bytes},
        extract::{Path, State},
        http::{HeaderMap, HeaderName, StatusCode},
        response::{IntoResponse, Response},
        routing::{get, post},
    },
    schemars::JsonSchema,
    serde::{Deserialize, Serialize},
};
use tokio::sync::{Notify, mpsc};

pub(crate) const MANIFEST: &str = "\
apiVersion: kite.dev/v1alpha1
kind: KitePlugin
metadata: {name: hello}
spec: {version: 0.1.0, image: hello}
";

/// What a test sees and does beside the plugin.
#[derive(Clone)]
pub(crate) struct Beside {
    /// Told when a slow handler begins (`true`) and when it is dropped before its end (`false`).
    pub(crate) slow: mpsc::UnboundedSender<bool>,
    /// Lets the task of a tool tell of its progress.
    pub(crate) tell: Arc<Notify>,
    /// Lets a slow handler end.
    pub(crate) go_on: Arc<Notify>,
}

pub(crate) struct TestPlugin {
    pub(crate) manifest: &'static str,
    pub(crate) beside: Beside,
}

impl TestPlugin {
    pub(crate) fn new() -> (Self, Beside, mpsc::UnboundedReceiver<bool>) {
        let (slow, told) = mpsc::unbounded_channel();
        let beside = Beside {
            slow,
            tell: Arc::new(Notify::new()),
            go_on: Arc::new(Notify::new()),
        };
        (
            Self {
                manifest: MANIFEST,
                beside: beside.clone(),
            },
            beside,
            told,
        )
    }
}

impl Plugin for TestPlugin {
    fn manifest(&self) -> &str {
        self.manifest
    }

    fn routes(&self) -> Router {
        let beside = self.beside.clone();
        Router::new()
            .route(
                "/hello",
                get(|caller: Caller, id: RequestId| async move { format!("{} {id}", caller.name) }),
            )
            .route(
                "/echo",
                post(|headers: HeaderMap, body: Body| async { (headers, body) }),
            )
            .route("/length", post(|body: Result<Bytes, _>| async { length(body) }))
            .route(
                "/bytes/{length}",
                get(|Path(length): Path<usize>| async move { vec![7_u8; length] }),
            )
            .route(
                "/wide/{length}",
                get(|Path(length): Path<usize>| async move { ([("x-wide", "a".repeat(length))], vec![7_u8; 16_000]) }),
            )
            .route("/ignore", post(|| async { "done" }))
            .route("/panic", get(panics))
            .route("/broken", get(|| async { Body::from_stream(broken()) }))
            .route("/socket", get(socket))
            .route("/slow-socket", get(slow_socket).with_state(beside.clone()))
            .route("/slow", get(move || slow(beside)))
            .route("/repeat", get(repeat))
            .route("/hold", post(hold))
            .route("/large-head", get(large_head))
    }

    fn tools(&self) -> Vec<Tool> {
        let beside = self.beside.clone();
        vec![
            Tool::new("hello", "Says hello", hello)
                .titled("Say hello")
                .read_only()
                .idempotent()
                .authorized_by(may_greet),
            Tool::new("steps", "Tells of its progress", {
                let beside = beside.clone();
                move |context, _: Nothing| steps(beside.clone(), context)
            })
            .destructive(),
            Tool::new("count", "Counts", |_, Count { number }: Count| async move {
                Ok("a".repeat(number))
            }),
            Tool::new("fail", "Fails", |_, _: Nothing| async {
                Ok("x".parse::<u8>()?.to_string())
            }),
            Tool::new("panic", "Panics", |_, _: Nothing| async { Ok(panics().await) }),
            Tool::new("slow", "Waits", move |_, _: Nothing| {
                let beside = beside.clone();
                async { Ok(slow(beside).await) }
            }),
        ]
    }
}

async fn panics() -> String {
    panic!("on purpose")
}

fn length<E: IntoResponse>(body: Result<Bytes, E>) -> (StatusCode, String) {
    match body {
        Ok(body) => (StatusCode::OK, body.len().to_string()),
        Err(_) => (StatusCode::BAD_REQUEST, "the body broke off".to_owned()),
    }
}

fn broken() -> impl stream::Stream<Item = Result<Bytes, std::io::Error>> {
    stream::iter([Ok(Bytes::from("a")), Err(std::io::Error::other("broken"))])
}

/// Reads nothing of its request, and does not let go of it either.
async fn hold(body: Body) {
    let _body = body;
    std::future::pending::<()>().await;
}

async fn large_head() -> (HeaderMap, &'static str) {
    let value = "a".repeat(kite_proto::MAX_HEAD).parse().unwrap();
    (
        HeaderMap::from_iter([(HeaderName::from_static("x-large"), value)]),
        "body",
    )
}

async fn repeat(headers: HeaderMap) -> (HeaderMap, Body) {
    let mut answer = HeaderMap::new();
    for value in headers.get_all("x-many") {
        answer.append(HeaderName::from_static("x-seen"), value.clone());
    }
    let empty = stream::empty::<Result<Bytes, Infallible>>().boxed();
    (answer, Body::from_stream(empty))
}

async fn socket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.protocols(["echo"]).on_upgrade(echo)
}

/// Sends messages back, but for those that say what else is to be done.
async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let done = match &message {
            Message::Text(text) if text == "end" => return,
            Message::Text(text) if text == "panic" => panic!("on purpose"),
            Message::Text(text) if text == "close" => socket.send(Message::Close(Some((4001, "own".to_owned())))).await,
            _ => socket.send(message).await,
        };
        if done.is_err() {
            return;
        }
    }
}

/// Reads nothing of its WebSocket, and does not let go of it either.
async fn slow_socket(State(beside): State<Beside>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| async {
        slow(beside).await;
        drop(socket);
    })
}

async fn slow(beside: Beside) -> String {
    struct Running(Beside, bool);
    impl Drop for Running {
        fn drop(&mut self) {
            if !self.1 {
                let _ = self.0.slow.send(false);
            }
        }
    }
    let mut running = Running(beside.clone(), false);
    beside.slow.send(true).unwrap();
    beside.go_on.notified().await;
    running.1 = true;
    "slow".to_owned()
}

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "kite_plugin_sdk::serde")]
#[schemars(crate = "kite_plugin_sdk::schemars")]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "kite_plugin_sdk::serde")]
#[schemars(crate = "kite_plugin_sdk::schemars")]
struct Count {
    number: usize,
}

/// Whom to greet.
#[derive(Deserialize, JsonSchema)]
#[serde(crate = "kite_plugin_sdk::serde")]
#[schemars(crate = "kite_plugin_sdk::schemars")]
struct Hello {
    /// The name to greet.
    name: String,
}

/// Who was greeted.
#[derive(Serialize, JsonSchema)]
#[serde(crate = "kite_plugin_sdk::serde")]
#[schemars(crate = "kite_plugin_sdk::schemars")]
struct Greeted {
    /// The name that was greeted.
    name: String,
}

async fn hello(context: ToolContext, Hello { name }: Hello) -> Result<Structured<Greeted>, ToolError> {
    let text = format!("{} greets {name} in {}", context.caller()?.name, context.request_id());
    Ok(Structured::new(Greeted { name }).with_text(text))
}

async fn may_greet(context: ToolContext, Hello { name }: Hello) -> Result<(), Refused> {
    match name.as_str() {
        "panic" => panic!("on purpose"),
        "carl" => Err(Refused::new(format!("{} may not greet carl", context.caller()?.name))),
        _ => Ok(()),
    }
}

/// Tells of its progress, and is done when it is let go on. One task of its own does too, another is told when it is cancelled.
async fn steps(beside: Beside, context: ToolContext) -> Result<String, ToolError> {
    let token = context.cancelled().clone();
    let told = beside.clone();
    tokio::spawn(async move {
        token.cancelled().await;
        let _ = told.slow.send(false);
    });
    let other = context.clone();
    let told = beside.clone();
    tokio::spawn(async move {
        told.tell.notified().await;
        other.progress(0.25, "a quarter");
    });
    beside.go_on.notified().await;
    context.progress(0.5, "half");
    context.progress(0.5, "still half");
    Ok("done".to_owned())
}
