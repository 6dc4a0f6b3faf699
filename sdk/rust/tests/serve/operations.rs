//! What whoever runs a plugin sees of it: figures, and certificates that are renewed.

use kite_plugin_sdk::{
    Plugin, Tool,
    axum::Router,
    prometheus_client::{metrics::counter::Counter, registry::Registry},
};
use kite_proto::{DescribeRequest, plugin_client::PluginClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    plugin::{MANIFEST, TestPlugin},
    world::{World, call, exchange, head, small, within},
};

/// The plugin of the other tests, with a figure of its own.
struct Counting(TestPlugin);

impl Plugin for Counting {
    fn manifest(&self) -> &'static str {
        MANIFEST
    }

    fn routes(&self) -> Router {
        self.0.routes()
    }

    fn tools(&self) -> Vec<Tool> {
        self.0.tools()
    }

    fn metrics(&self, registry: &mut Registry) {
        let coins = Counter::<u64>::default();
        coins.inc();
        registry.register("coins", "Coins that were counted", coins);
    }
}

/// What the health port answers to a request of HTTP/1.1.
async fn asked(world: &World, request: &str) -> String {
    let asking = async {
        let mut socket = TcpStream::connect(world.health).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    };
    within("the health port", asking).await
}

async fn metrics(world: &World) -> String {
    asked(world, "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await
}

#[tokio::test]
async fn figures_are_told_to_prometheus() {
    let (plugin, beside, mut told) = TestPlugin::new();
    let world = World::serve(Counting(plugin)).await;
    let mut client = world.client().await;
    for path in ["/hello", "/none", "/panic"] {
        exchange(&mut client, small(head("GET", path), b"")).await.unwrap();
    }
    for (tool, arguments) in [("hello", r#"{"name": "bob"}"#), ("fail", "{}")] {
        call(&mut client, tool, arguments).await.unwrap();
    }
    call(&mut client, "panic", "{}").await.unwrap_err();
    let mut other = client.clone();
    let under_way = tokio::spawn(async move { call(&mut other, "slow", "{}").await });
    assert_eq!(within("the start of the tool", told.recv()).await, Some(true));

    let text = metrics(&world).await;
    for line in [
        "HTTP/1.1 200 OK",
        "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8",
        r#"kite_plugin_http_requests_total{status="2xx"} 1"#,
        r#"kite_plugin_http_requests_total{status="4xx"} 1"#,
        r#"kite_plugin_http_requests_total{status="none"} 1"#,
        "kite_plugin_http_requests_seconds_count 3",
        "kite_plugin_http_requests_in_flight 0",
        r#"kite_plugin_tool_calls_total{tool="hello",outcome="ok"} 1"#,
        r#"kite_plugin_tool_calls_total{tool="fail",outcome="error"} 1"#,
        r#"kite_plugin_tool_calls_total{tool="panic",outcome="failed"} 1"#,
        "kite_plugin_tool_calls_in_flight 1",
        "coins_total 1",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is not in {text}");
    }

    under_way.abort();
    let cancelled = r#"kite_plugin_tool_calls_total{tool="slow",outcome="cancelled"} 1"#;
    let counted = async { while !metrics(&world).await.contains(cancelled) {} };
    within("the call that nobody waits for", counted).await;
    drop(beside);
}

#[tokio::test]
async fn the_health_port_tells_nothing_but_figures_by_http() {
    let world = World::serve(TestPlugin::new().0).await;
    for request in ["GET / HTTP/1.1", "GET /hello HTTP/1.1", "POST /metrics HTTP/1.1"] {
        let answer = asked(&world, &format!("{request}\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{request}: {answer}");
    }
}

#[tokio::test]
async fn new_certificates_and_a_new_ca_are_used_while_the_plugin_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::serve_from(TestPlugin::new().0, folder.path()).await;
    let mut before = world.client().await;
    let of_the_old_ca = world.clients.client();

    // Written one after the other: between them the files do not fit together.
    world.renew(folder.path());
    let renewed = async {
        loop {
            if let Ok(channel) = world.connect_as(Some(world.clients.client())).await
                && PluginClient::new(channel)
                    .describe(DescribeRequest::default())
                    .await
                    .is_ok()
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within("the new certificates", renewed).await;
    let refused = match world.connect_as(Some(of_the_old_ca)).await {
        Ok(channel) => PluginClient::new(channel)
            .describe(DescribeRequest::default())
            .await
            .is_err(),
        Err(_) => true,
    };
    assert!(refused, "the old CA is believed no more");
    before.describe(DescribeRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_client_that_never_shows_its_certificate_holds_up_nobody() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(world.address).await.unwrap());
    }
    let mut client = within("a connection", world.client()).await;
    client.describe(DescribeRequest::default()).await.unwrap();
}
