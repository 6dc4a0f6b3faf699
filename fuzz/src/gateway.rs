//! What the gateway reads of a plugin that may say anything.

pub(crate) mod exchange;
pub(crate) mod paths;
pub(crate) mod socket;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kite_api::{PluginName, ToolName};
use kite_gateway::{
    directory::DefinitionsHash,
    pipeline::{
        authenticate::Caller,
        cluster::ClusterName,
        forward::{Exchange, Forwarded, Limits},
        origin::Origin,
        tool as pipeline_tool,
        trace::Trace,
    },
    request_id::RequestId,
    upstream::{Connected, in_memory},
};
use kite_proto::{CallToolResponse, Definitions, DescribeResponse, HttpResponse, Tool, call_tool_response::Part};
use prost::Message as _;
use serde_json::Value;
use tokio::{
    io::{DuplexStream, duplex},
    time::Instant,
};

use crate::messages;

/// Bytes between gateway and plugin that wait.
const BETWEEN: usize = 64 * 1024;
/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(30);

/// A plugin that says the same to whatever it is asked.
#[derive(Clone, Default)]
struct Says {
    messages: Vec<Bytes>,
    /// The status that it ends with.
    code: u8,
    /// Whether it ends only when the gateway has.
    waits: bool,
    /// What it was told.
    told: Arc<Mutex<Vec<u8>>>,
}

impl Says {
    fn of(code: u8, messages: Vec<Bytes>) -> Self {
        Self {
            messages,
            code,
            ..Self::default()
        }
    }

    /// The way to it.
    fn serve(self) -> DuplexStream {
        let (gateway, plugin) = duplex(BETWEEN);
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = self.clone().answer(request);
            async { Ok::<_, Infallible>(answer) }
        });
        tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(plugin), service));
        gateway
    }

    fn answer(self, request: Request<Incoming>) -> Response<impl http_body::Body<Data = Bytes, Error = Infallible>> {
        let listens = tokio::spawn(async move {
            let mut body = request.into_body().into_data_stream();
            while let Some(Ok(data)) = body.next().await {
                self.told
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(&data);
            }
        });
        let last = stream::once(async move {
            if self.waits {
                // The task is cancelled only with all else.
                let _ = listens.await;
            }
            Ok(messages::status(self.code))
        });
        let mut response = Response::new(StreamBody::new(messages::body(self.messages).chain(last)));
        let grpc = header::HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(header::CONTENT_TYPE, grpc);
        response
    }

    async fn connected(self) -> Connected {
        in_memory::connect(self.serve(), &definitions())
            .await
            .expect("a connection")
    }
}

fn plugin() -> PluginName {
    PluginName::parse("hello").expect("a name")
}

/// One tool, which takes anything.
fn definitions() -> Vec<u8> {
    let tool = Tool {
        name: String::from("greet"),
        input_schema: Bytes::from_static(b"{}"),
        ..Tool::default()
    };
    let definitions = Definitions {
        tools: vec![tool],
        ..Definitions::default()
    };
    definitions.encode_to_vec()
}

fn caller() -> Caller {
    Caller::new(String::from("jane"), String::new(), Vec::new(), [].into())
}

/// What a request comes with.
struct From {
    caller: Caller,
    id: RequestId,
    trace: Trace,
    cluster: ClusterName,
}

impl From {
    fn jane() -> Self {
        Self {
            caller: caller(),
            id: RequestId::of(&HeaderMap::new()),
            trace: Trace::of(&HeaderMap::new()),
            cluster: ClusterName::parse("home").expect("a name"),
        }
    }

    fn origin(&self) -> Origin<'_> {
        Origin {
            caller: &self.caller,
            id: &self.id,
            trace: &self.trace,
            cluster: &self.cluster,
        }
    }

    fn forwarded<'a>(&'a self, plugin: &'a PluginName, below: &'a str) -> Forwarded<'a> {
        Forwarded {
            plugin,
            below,
            origin: self.origin(),
            limits: Limits {
                plugin: LONG,
                caller: LONG,
                body: u64::MAX,
            },
        }
    }
}

/// What a caller sends as a tool's arguments goes on as it came, if it is an object that everybody reads alike.
pub(crate) fn arguments(data: &[u8]) {
    let body = Full::new(Bytes::copy_from_slice(data)).map_err(|never| match never {});
    let arguments = pipeline_tool::arguments(body.boxed_unsync(), LONG);
    let Ok(arguments) = messages::run(arguments) else {
        return;
    };
    assert!(matches!(serde_json::from_slice(&arguments), Ok(Value::Object(_))));
    assert!(arguments == "{}" || data.windows(arguments.len()).any(|part| part == arguments));
}

/// The hash is that of what came, whole.
pub(crate) fn describe(data: &[u8]) {
    let messages = messages::split(data);
    let first = messages::decoded::<DescribeResponse>(&messages).into_iter().next();
    let hash = messages::run(async { in_memory::describe(Says::of(0, messages).serve()).await });
    if let Ok(hash) = hash {
        assert_eq!(hash, DefinitionsHash::of(&first.expect("an answer").definitions));
    }
}

/// An HTTP exchange: the method and the status of gRPC stand before the messages.
pub(crate) fn http(data: &[u8]) {
    let Some(([method, code], rest)) = data.split_first_chunk() else {
        return;
    };
    let method = [Method::GET, Method::HEAD, Method::POST]
        .into_iter()
        .cycle()
        .nth((*method).into());
    let method = method.unwrap_or_default();
    let messages = messages::split(rest);
    let said = messages::decoded::<HttpResponse>(&messages);
    messages::run(async {
        let (plugin, from) = (plugin(), From::jane());
        let mut request = Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
        *request.method_mut() = method.clone();
        let exchange = Exchange::new(from.forwarded(&plugin, "/a/b"), request).expect("no body");
        let Ok(answer) = exchange.on(Says::of(*code, messages).connected().await).await else {
            return;
        };
        let (parts, body) = answer.into_parts();
        assert!((200..600).contains(&parts.status.as_u16()));
        let length = parts
            .headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok());
        let length: Option<usize> = length.and_then(|length| length.parse().ok());
        if let Some(location) = parts.headers.get(header::LOCATION) {
            assert!(
                location.as_bytes().starts_with(b"/api/v1/plugins/hello/"),
                "{location:?}"
            );
        }
        let Ok(whole) = body.collect().await else { return };
        let without_body = method == Method::HEAD || matches!(parts.status.as_u16(), 204 | 304);
        if without_body {
            assert!(whole.to_bytes().is_empty());
            return;
        }
        let end = said
            .iter()
            .position(|message| message.end)
            .expect("an answer is complete by its end");
        let data = said.iter().take(end + 1).map(|message| message.data.clone());
        let data: Vec<u8> = data.flatten().collect();
        let came = whole.to_bytes();
        assert_eq!(came, data, "another body than the plugin's");
        assert!(
            length.is_none_or(|length| length == came.len()),
            "{length:?} is not {}",
            came.len()
        );
    });
}

/// A tool's call: the status of gRPC stands before the messages.
pub(crate) fn tool(data: &[u8]) {
    let Some((code, rest)) = data.split_first() else { return };
    let messages = messages::split(rest);
    let said = messages::decoded::<CallToolResponse>(&messages);
    messages::run(async {
        let (tool, from) = (ToolName::parse("greet").expect("a name"), From::jane());
        let call = pipeline_tool::Call {
            tool: &tool,
            arguments: Bytes::from_static(b"{}"),
            origin: from.origin(),
            deadline: Instant::now() + LONG,
        };
        let connected = Says::of(*code, messages).connected().await;
        let Ok(running) = call.on(connected).await else {
            return;
        };
        let Ok(answer) = running.result().await else { return };
        let body = answer
            .into_body()
            .collect()
            .await
            .expect("a body that is there")
            .to_bytes();
        let given: Value = serde_json::from_slice(&body).expect("JSON");
        let result = said.into_iter().find_map(|message| match message.part {
            Some(Part::Result(result)) => Some(result),
            _ => None,
        });
        let result = result.expect("a result");
        assert_eq!(given.get("result").and_then(Value::as_str), Some(result.text.as_str()));
        assert_eq!(
            given.get("structuredContent").is_some(),
            !result.structured_content.is_empty()
        );
    });
}
