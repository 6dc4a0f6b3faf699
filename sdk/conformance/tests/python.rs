//! The plugin in Python, which has nothing but the protocol's file and grpcio, does what the protocol says.
#![cfg(test)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use futures::stream;
use kite_conformance::{Authorities, Authority, Subject, folder, python::Python};
use kite_proto::{
    CallContext, CallToolRequest, Definitions, DescribeRequest, HttpRequest, HttpRequestHead, HttpResponse, MAX_CHUNK,
    User, call_tool_response::Part, definitions_hash,
};
use prost::Message as _;
use serde_json::Value;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

async fn plugin() -> Subject {
    // Fails only if there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Python::ready().unwrap().start("snake", &program()).await.unwrap()
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python/plugin.py")
}

fn context() -> CallContext {
    CallContext {
        user: Some(User {
            name: String::from("anna"),
            ..User::default()
        }),
        request_id: String::from("request-1"),
        ..CallContext::default()
    }
}

fn head(method: &str, path: &str) -> HttpRequestHead {
    HttpRequestHead {
        context: Some(context()),
        method: method.to_owned(),
        path_and_query: path.to_owned(),
        ..HttpRequestHead::default()
    }
}

/// The messages of the answer, which ends as the protocol says.
async fn exchange(plugin: &Subject, messages: Vec<HttpRequest>) -> Vec<HttpResponse> {
    let mut client = plugin.client().await.unwrap();
    let mut answer = client.http(stream::iter(messages)).await.unwrap().into_inner();
    let mut received = Vec::new();
    while let Some(message) = answer.message().await.unwrap() {
        assert_eq!(
            message.head.is_some(),
            received.is_empty(),
            "the head is in the first message"
        );
        assert!(message.data.len() <= MAX_CHUNK);
        received.push(message);
    }
    let ends: Vec<bool> = received.iter().map(|message| message.end).collect();
    assert_eq!(
        ends.iter().position(|end| *end),
        Some(ends.len() - 1),
        "only the last message ends it"
    );
    received
}

async fn asked(plugin: &Subject, method: &str, path: &str) -> (u32, Vec<u8>) {
    let request = HttpRequest {
        head: Some(head(method, path)),
        end: true,
        ..HttpRequest::default()
    };
    let answer = exchange(plugin, vec![request]).await;
    let body = answer.iter().flat_map(|message| message.data.to_vec()).collect();
    (answer[0].head.as_ref().unwrap().status, body)
}

#[tokio::test]
async fn it_says_what_it_is_in_the_same_bytes_each_time() {
    let plugin = plugin().await;
    let mut client = plugin.client().await.unwrap();
    let first = client.describe(DescribeRequest::default()).await.unwrap().into_inner();
    assert_eq!(
        (first.name.as_str(), first.version.as_str(), first.protocol),
        ("snake", "0.1.0", 1)
    );
    let again = client.describe(DescribeRequest::default()).await.unwrap().into_inner();
    assert_eq!(
        definitions_hash(&first.definitions),
        definitions_hash(&again.definitions)
    );
    let definitions = Definitions::decode(first.definitions).unwrap();
    let [tool] = definitions.tools.as_slice() else {
        panic!("{definitions:?}")
    };
    assert!(tool.read_only && tool.name == "greet");
    let schema: Value = serde_json::from_slice(&tool.input_schema).unwrap();
    assert_eq!(schema["required"], serde_json::json!(["name"]));
}

#[tokio::test]
async fn it_answers_requests_for_their_callers() {
    let plugin = plugin().await;
    let (status, body) = asked(&plugin, "GET", "/hello?a=b").await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &body["message"]), (200, &Value::from("Hello, anna!")));
    assert_eq!(asked(&plugin, "HEAD", "/hello").await, (200, Vec::new()));
    assert_eq!(asked(&plugin, "GET", "/nothing").await.0, 404);
    assert_eq!(asked(&plugin, "DELETE", "/hello").await.0, 405);
}

#[tokio::test]
async fn it_answers_no_request_that_broke_off_and_keeps_trailers() {
    let plugin = plugin().await;
    let mut client = plugin.client().await.unwrap();
    let broken = HttpRequest {
        head: Some(head("GET", "/hello")),
        ..HttpRequest::default()
    };
    let refused = match client.http(stream::iter([broken])).await {
        Ok(answer) => answer.into_inner().message().await.unwrap_err(),
        Err(refused) => refused,
    };
    assert_eq!(refused.code(), Code::InvalidArgument);
    let trailer = kite_proto::Header {
        name: String::from("x-sum"),
        value: "1".into(),
    };
    let whole = HttpRequest {
        head: Some(head("POST", "/echo")),
        data: "a".into(),
        trailers: vec![trailer.clone()],
        end: true,
        ..HttpRequest::default()
    };
    let answer = exchange(&plugin, vec![whole]).await;
    assert_eq!(answer.last().unwrap().trailers, [trailer]);
}

#[tokio::test]
async fn it_streams_both_ways() {
    let plugin = plugin().await;
    let begin = HttpRequest {
        head: Some(head("POST", "/echo")),
        ..HttpRequest::default()
    };
    let piece = |n: u8| HttpRequest {
        data: vec![n; MAX_CHUNK].into(),
        end: n == 31,
        ..HttpRequest::default()
    };
    let messages = std::iter::once(begin).chain((0..32).map(piece)).collect();
    let answer = exchange(&plugin, messages).await;
    let body: Vec<u8> = answer.iter().flat_map(|message| message.data.to_vec()).collect();
    assert_eq!(body.len(), 32 * MAX_CHUNK);
    assert!(
        body.chunks(MAX_CHUNK)
            .zip(0..)
            .all(|(chunk, n)| chunk.iter().all(|byte| *byte == n))
    );
}

async fn called(plugin: &Subject, tool: &str, arguments: &str) -> Result<Vec<Part>, Status> {
    let mut client = plugin.client().await.unwrap();
    let request = CallToolRequest {
        context: Some(context()),
        tool: tool.to_owned(),
        arguments: arguments.as_bytes().to_vec().into(),
    };
    let mut answer = client.call_tool(request).await?.into_inner();
    let mut parts = Vec::new();
    while let Some(message) = answer.message().await? {
        parts.extend(message.part);
    }
    Ok(parts)
}

#[tokio::test]
async fn its_tool_tells_how_far_it_is_and_then_the_result() {
    let plugin = plugin().await;
    let parts = called(&plugin, "greet", r#"{"name": "Ada"}"#).await.unwrap();
    let [Part::Progress(progress), Part::Result(result)] = parts.as_slice() else {
        panic!("{parts:?}")
    };
    assert!((0.0..=1.0).contains(&progress.fraction));
    assert_eq!((result.text.as_str(), result.is_error), ("Hello, Ada!", false));
    assert_eq!(called(&plugin, "other", "{}").await.unwrap_err().code(), Code::NotFound);
    for arguments in ["{}", "[]", "", r#"{"name": 1}"#, &"[".repeat(100_000)] {
        let error = called(&plugin, "greet", arguments).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    }
}

#[tokio::test]
async fn it_believes_the_clients_ca_and_nobody_else() {
    let plugin = plugin().await;
    let stranger = Authority::new().unwrap().client().unwrap();
    for identity in [None, Some(stranger)] {
        let asked = match plugin.connect(identity).await {
            Err(_) => continue,
            Ok(channel) => {
                let mut client = kite_proto::plugin_client::PluginClient::new(channel);
                client.describe(DescribeRequest::default()).await
            }
        };
        assert!(asked.is_err());
    }
}

#[tokio::test]
async fn it_uses_new_certificates_for_new_connections() {
    let mut plugin = plugin().await;
    plugin.client().await.unwrap();
    plugin.renew(Authorities::new().unwrap()).unwrap();
    let mut client = plugin.client().await.unwrap();
    client.describe(DescribeRequest::default()).await.unwrap();
}

/// Says whether the plugin, and the one that a project begins with, have another configuration for gRPC: at first, after another
/// certificate has come, and after that.
const CONFIGURATIONS: &str = r#"
import importlib, pathlib, sys, types
import grpc

*paths, folder = sys.argv[1:]
sys.path[:0] = paths
folder = pathlib.Path(folder)
# What a project reads its plugin.yaml by, which is not looked at here.
sys.modules["yaml"] = types.ModuleType("yaml")
grpc.dynamic_ssl_server_credentials = lambda first, renewed, **_: renewed
for name in ("plugin", "kite_plugin.server"):
    renewed = importlib.import_module(name).credentials(folder)
    said = [renewed()]
    (folder / "tls.crt").write_text(name)
    said += [renewed(), renewed()]
    print(name, *(configuration is not None for configuration in said))
"#;

/// For each configuration gRPC frees the one before, also under a connection that begins at the same time.
#[tokio::test]
async fn grpc_is_given_a_configuration_only_when_the_certificates_are_others() {
    let (python, folder) = (Python::ready().unwrap(), tempfile::tempdir().unwrap());
    folder::write(folder.path(), &Authorities::new().unwrap(), "snake").unwrap();
    let script = folder.path().join("configurations.py");
    fs::write(&script, CONFIGURATIONS).unwrap();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = [
        sources.join("python"),
        sources.join("../cli/templates/python"),
        python.modules().to_owned(),
        folder.path().to_owned(),
    ];
    let paths = paths.each_ref().map(|path| path.to_str().unwrap());
    let said = python.run(&script, &paths).await.unwrap();
    assert_eq!(said, "plugin False True False\nkite_plugin.server False True False\n");
}

#[tokio::test]
async fn its_health_port_answers_health_and_it_ends_well() {
    let plugin = plugin().await;
    let channel = plugin.health().await.unwrap();
    let request = HealthCheckRequest {
        service: String::from("kite.plugin.v1.Plugin"),
    };
    let answer = HealthClient::new(channel.clone())
        .check(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    let mut plain = kite_proto::plugin_client::PluginClient::new(channel);
    let refused = plain.describe(DescribeRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    plugin.terminate().unwrap();
    let status = plugin.ended().await.unwrap();
    assert!(status.success(), "{status}");
}
