//! What each fuzzer begins with: messages that are as they should be.

#[path = "package.rs"]
mod package;

use bytes::Bytes;
use kite_proto::{
    ApplySettingsRequest, CallContext, CallToolRequest, CallToolResponse, Definitions, DescribeRequest,
    DescribeResponse, ExchangeBegin, ExchangeBusy, ExchangeCancel, ExchangeCredit, ExchangeDrain, ExchangeFailed,
    ExchangeHello, ExchangeRequest, ExchangeResponse, GetFileRequest, Header, HttpRequest, HttpRequestHead,
    HttpResponse, HttpResponseHead, InterceptRequest, OnClusterEventRequest, Progress, ResourceRequest, ResourceVerb,
    ShutdownRequest, Tool, ToolResult, User, UserExtra, WebSocketFrame, call_tool_response, exchange_request::Part,
    exchange_response::Part as Says, resource_request::PatchType, web_socket::Message as Said,
};
use prost::Message;

/// Target, name and data of each.
pub(crate) fn all() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut all = vec![
        ("cli_manifest", "small", MANIFEST.into()),
        (
            "cli_manifest",
            "hello",
            include_bytes!("../../../sdk/examples/hello/plugin.yaml").to_vec(),
        ),
        (
            "cli_manifest",
            "full",
            include_bytes!("../../../e2e/tests/admit_spec/every-field.yaml").to_vec(),
        ),
        ("cli_package", "whole", package::whole()),
        (
            "gateway_arguments",
            "object",
            br#"{"arguments": {"a": [1, "b", null], "c": {"d": true}}}"#.to_vec(),
        ),
        (
            "gateway_describe",
            "hello",
            behind_lengths(&[description().encode_to_vec()]),
        ),
        ("gateway_paths", "path", behind_lengths(&PATH.map(<[u8]>::to_vec))),
        ("gateway_paths", "query", behind_lengths(&QUERY.map(<[u8]>::to_vec))),
        ("operator_describe", "hello", description().encode_to_vec()),
        ("headers", "location", behind_lengths(&FIELDS.map(<[u8]>::to_vec))),
        ("web_socket_frames", "messages", messages(&frames())),
    ];
    all.extend(of_gateway());
    all.extend(of_http());
    all.extend(of_exchange());
    all.extend(of_shared());
    all.extend(of_calls());
    all
}

const MANIFEST: &str = "apiVersion: kite.dev/v1alpha1\nkind: KitePlugin\nmetadata: {name: a, labels: {b: \"yes\"}}\n\
    spec:\n  version: 0.1.0\n  image: a # b\n  permissions: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n";

/// Names and values in turn.
const FIELDS: [&[u8]; 16] = [
    b"location",
    b"../c?d=e#f",
    b"connection",
    b"x-a, close",
    b"x-a",
    b"b",
    b"set-cookie",
    b"a=b",
    b"x_kite_user",
    b"jane",
    b"cache-control",
    b"public, max-age=3",
    b"Authorization",
    b"Bearer a",
    b"content-length",
    b"5",
];

/// Target, method and rights, and routes: `/a/{x}` by the namespace x, `/a/**`, `/**`, and `/b` that is free.
const PATH: [&[u8]; 6] = [
    b"/api/v1/plugins/hello/a/sh%6fp;v=1/",
    &[0, 0b0111],
    &[2, 0, 3],
    &[1, 0],
    &[1],
    &[8, 1],
];

/// `/c.d` by the namespace that the query names.
const QUERY: [&[u8]; 3] = [b"c.d?ns=shop&a=%2e%2e", &[1, 1], &[4, 2]];

fn behind_lengths(parts: &[Vec<u8>]) -> Vec<u8> {
    let part = |part: &Vec<u8>| [&u16::try_from(part.len()).unwrap().to_be_bytes()[..], part].concat();
    parts.iter().flat_map(part).collect()
}

fn messages<T: Message>(messages: &[T]) -> Vec<u8> {
    behind_lengths(&messages.iter().map(Message::encode_to_vec).collect::<Vec<_>>())
}

fn behind(bytes: &[u8], rest: &[u8]) -> Vec<u8> {
    [bytes, rest].concat()
}

fn header(name: &str, value: &'static str) -> Header {
    Header {
        name: name.to_owned(),
        value: value.into(),
    }
}

fn context() -> CallContext {
    let user = User {
        name: "jane".to_owned(),
        uid: "1".to_owned(),
        groups: vec!["admins".to_owned()],
        extra: vec![UserExtra {
            key: "a".to_owned(),
            values: vec!["b".to_owned()],
        }],
    };
    CallContext {
        user: Some(user),
        cluster: "home".to_owned(),
        request_id: "r-1".to_owned(),
        timeout: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
        ..CallContext::default()
    }
}

fn description() -> DescribeResponse {
    let tool = Tool {
        name: "greet".to_owned(),
        description: "Greets.".to_owned(),
        input_schema: br##"{"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}}"##[..]
            .into(),
        title: "Greet".to_owned(),
        read_only: true,
        ..Tool::default()
    };
    let definitions = Definitions {
        tools: vec![tool],
        ..Definitions::default()
    };
    DescribeResponse {
        name: "hello".to_owned(),
        version: "0.1.0".to_owned(),
        protocol: 1,
        definitions: definitions.encode_to_vec().into(),
    }
}

fn frames() -> Vec<WebSocketFrame> {
    let said = [
        Said::Text("grüße".to_owned()),
        Said::Ping(Bytes::from_static(b"p")),
        Said::Binary(Bytes::from_static(&[0, 255])),
        Said::Close(Some((1000, "bye".to_owned()))),
    ];
    said.into_iter().flat_map(Said::frames).collect()
}

fn response(status: u32, headers: Vec<Header>) -> HttpResponse {
    HttpResponse {
        head: Some(HttpResponseHead { status, headers }),
        ..HttpResponse::default()
    }
}

fn of_gateway() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let small = HttpResponse {
        data: "hello".into(),
        end: true,
        ..response(200, vec![header("content-length", "5"), header("location", "/c?d")])
    };
    let long = [
        response(201, vec![header("content-type", "text/plain")]),
        HttpResponse {
            data: "hel".into(),
            ..HttpResponse::default()
        },
        HttpResponse {
            data: "lo".into(),
            trailers: vec![header("x-sum", "1")],
            end: true,
            ..HttpResponse::default()
        },
    ];
    let mut socket: Vec<Vec<u8>> = vec![CALLER.to_vec()];
    socket.push(response(101, vec![header("sec-websocket-protocol", "v1")]).encode_to_vec());
    socket.extend(frames().into_iter().map(|frame| {
        let message = HttpResponse {
            end: frame.kind() == kite_proto::web_socket_frame::Kind::Close,
            frame: Some(frame),
            ..HttpResponse::default()
        };
        message.encode_to_vec()
    }));
    let tool = |part| CallToolResponse { part: Some(part) };
    let called = [
        tool(call_tool_response::Part::Progress(Progress {
            fraction: 0.5,
            message: "half".to_owned(),
        })),
        tool(call_tool_response::Part::Result(ToolResult {
            text: "done".to_owned(),
            structured_content: r#"{"a": 1.0}"#.into(),
            is_error: false,
        })),
    ];
    vec![
        ("gateway_http", "small", behind(&[0, 0], &messages(&[small]))),
        ("gateway_http", "long", behind(&[2, 0], &messages(&long))),
        ("gateway_socket", "plugin-ends", behind(&[0], &behind_lengths(&socket))),
        (
            "gateway_socket",
            "caller-ends",
            behind(&[1], &behind_lengths(&socket[..3])),
        ),
        ("gateway_tool", "result", behind(&[0], &messages(&called))),
    ]
}

/// A caller's frames: a text in two with a ping between, and a CLOSE, with masks of zero.
const CALLER: &[u8] = b"\x01\x82\0\0\0\0he\x89\x81\0\0\0\0p\x80\x83\0\0\0\0llo\x88\x82\0\0\0\0\x03\xe8";

fn head(method: &str, target: &str, protocol: &str) -> HttpRequestHead {
    HttpRequestHead {
        context: Some(context()),
        method: method.to_owned(),
        path_and_query: target.to_owned(),
        headers: vec![
            header("x-a", "b"),
            header("x-a", "c"),
            header("sec-websocket-protocol", "v2, v1"),
        ],
        protocol: protocol.to_owned(),
    }
}

fn request(head: Option<HttpRequestHead>, data: &'static str, end: bool) -> HttpRequest {
    HttpRequest {
        head,
        data: data.into(),
        end,
        ..HttpRequest::default()
    }
}

fn of_http() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let trailers = HttpRequest {
        trailers: vec![header("x-sum", "1")],
        ..request(None, "o", true)
    };
    let mut socket = vec![request(Some(head("GET", "/socket", "websocket")), "", false)];
    socket.extend(frames().into_iter().map(|frame| HttpRequest {
        end: frame.kind() == kite_proto::web_socket_frame::Kind::Close,
        frame: Some(frame),
        ..HttpRequest::default()
    }));
    let small = [request(Some(head("GET", "/a?b=c", "")), "", true)];
    let long = [
        request(Some(head("POST", "/a%20b", "")), "hel", false),
        request(None, "l", false),
        trailers,
    ];
    let large = [request(Some(head("GET", "/large", "")), "", true)];
    vec![
        ("sdk_http", "small", messages(&small)),
        ("sdk_http", "long", messages(&long)),
        ("sdk_http", "large", messages(&large)),
        ("sdk_http", "socket", messages(&socket)),
    ]
}

/// What a plugin says on a stream of exchanges, behind the status that it ends with.
fn of_shared() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let say = |id, part| ExchangeResponse { id, part: Some(part) };
    let hello = say(
        0,
        Says::Hello(ExchangeHello {
            max_in_flight: 8,
            max_message: 1024,
        }),
    );
    let reply = |id, data: &'static str, end| {
        let reply = HttpResponse {
            data: data.into(),
            end,
            ..response(200, vec![])
        };
        say(id, Says::Reply(reply))
    };
    let rest = HttpResponse {
        data: "lo".into(),
        end: true,
        ..HttpResponse::default()
    };
    let talk = [
        hello.clone(),
        reply(2, "hel", false),
        reply(1, "hello", true),
        say(3, Says::Busy(ExchangeBusy {})),
        say(2, Says::Reply(rest)),
        say(0, Says::Drain(ExchangeDrain { last_id: 3 })),
    ];
    let failed = ExchangeFailed {
        code: 13,
        message: "a bug".to_owned(),
    };
    let breach = [hello, say(1, Says::Failed(failed)), reply(1, "", true)];
    vec![
        ("gateway_exchange", "talk", behind(&[0], &messages(&talk))),
        ("gateway_exchange", "breach", behind(&[0], &messages(&breach))),
    ]
}

fn of_exchange() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let part = |id, part| ExchangeRequest { id, part: Some(part) };
    let begin = |id, target: &str, data: &'static str| {
        let begin = ExchangeBegin {
            head: Some(head("POST", target, "")),
            data: data.into(),
        };
        part(id, Part::Begin(begin))
    };
    let credit = |id, bytes| part(id, Part::Credit(ExchangeCredit { bytes }));
    let talk = [
        begin(1, "/a", "hello"),
        begin(2, "/large", ""),
        credit(2, 1000),
        begin(5, "/large", ""),
        part(5, Part::Cancel(ExchangeCancel {})),
        credit(2, 90_000),
        credit(1, 7),
    ];
    let breach = [begin(3, "/a", ""), begin(2, "/a", "")];
    vec![
        ("sdk_exchange", "talk", messages(&talk)),
        ("sdk_exchange", "breach", messages(&breach)),
        (
            "sdk_exchange",
            "unreadable",
            behind_lengths(&[begin(1, "/a", "").encode_to_vec(), vec![0xff]]),
        ),
    ]
}

fn of_calls() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let call = CallToolRequest {
        context: Some(context()),
        tool: "give_back".to_owned(),
        arguments: r#"{"text": "a", "number": 0.5, "list": [1, -2], "map": {"b": true, "c": null}}"#.into(),
    };
    let objects = |verb: ResourceVerb| ResourceRequest {
        context: Some(context()),
        r#type: "things".to_owned(),
        verb: verb.into(),
        namespace: "shop".to_owned(),
        name: "kept".to_owned(),
        ..ResourceRequest::default()
    };
    let object = r#"{"metadata": {"name": "kept", "labels": {"a": "b"}}, "text": "c", "list": [1]}"#;
    let list = ResourceRequest {
        name: String::new(),
        label_selector: "a in (b, c), !d, e!=f".to_owned(),
        limit: 10,
        r#continue: "shop/a".to_owned(),
        ..objects(ResourceVerb::List)
    };
    let create = ResourceRequest {
        body: object.into(),
        ..objects(ResourceVerb::Create)
    };
    let merge = ResourceRequest {
        body: r#"{"text": null, "list": [2]}"#.into(),
        patch_type: PatchType::Merge.into(),
        ..objects(ResourceVerb::Patch)
    };
    let json = ResourceRequest {
        body: r#"[{"op": "test", "path": "/metadata/name", "value": "kept"}, {"op": "add", "path": "/text", "value": "d"}]"#.into(),
        patch_type: PatchType::Json.into(),
        ..objects(ResourceVerb::Patch)
    };
    let mut all = vec![("sdk_tool", "call", call.encode_to_vec())];
    for (name, request) in [
        ("list", list),
        ("get", objects(ResourceVerb::Get)),
        ("create", create),
        ("merge", merge),
        ("json", json),
        ("delete", objects(ResourceVerb::Delete)),
    ] {
        all.push(("sdk_resource", name, request.encode_to_vec()));
    }
    all.extend(of_host());
    all
}

fn of_host() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let describe = DescribeRequest {
        context: Some(context()),
    };
    let file = GetFileRequest {
        context: Some(context()),
        path: "a.js".to_owned(),
    };
    let settings = ApplySettingsRequest {
        context: Some(context()),
        settings: r#"{"text": "a", "number": 1}"#.into(),
    };
    let event = OnClusterEventRequest {
        context: Some(context()),
        kind: 1,
        cluster: "edge".to_owned(),
        present: vec!["edge".to_owned(), "home".to_owned()],
    };
    let intercept = InterceptRequest {
        context: Some(context()),
        plugin: "hello".to_owned(),
        head: Some(head("GET", "/api/v1/plugins/hello/a", "")),
    };
    let shutdown = ShutdownRequest {
        context: Some(context()),
    };
    vec![
        ("sdk_host", "describe", behind(&[0], &describe.encode_to_vec())),
        ("sdk_host", "file", behind(&[1], &file.encode_to_vec())),
        ("sdk_host", "settings", behind(&[2], &settings.encode_to_vec())),
        ("sdk_host", "event", behind(&[3], &event.encode_to_vec())),
        ("sdk_host", "intercept", behind(&[4], &intercept.encode_to_vec())),
        ("sdk_host", "shutdown", behind(&[5], &shutdown.encode_to_vec())),
    ]
}
