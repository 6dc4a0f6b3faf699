//! A plugin over real mutual TLS on loopback, as gateway, operator and kubelet meet it.

#[cfg(test)]
mod exchange;
#[cfg(test)]
mod http;
#[cfg(test)]
mod plugin;
#[cfg(test)]
mod web_socket;
#[cfg(test)]
mod world;

use kite_plugin_sdk::{Config, PluginName, ServeError, serve_with};
use kite_proto::{DescribeRequest, plugin_client::PluginClient};
use plugin::TestPlugin;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tonic::{Code, body::Body, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tower::ServiceExt as _;
use world::{Ca, World, call, exchange, head, small, within};

#[tokio::test]
async fn describe_says_what_the_plugin_is_and_offers() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut client = world.client().await;
    let described = client.describe(DescribeRequest::default()).await.unwrap().into_inner();
    assert_eq!(
        (described.name.as_str(), described.version.as_str(), described.protocol),
        ("hello", "0.1.0", 1)
    );
    let again = client.describe(DescribeRequest::default()).await.unwrap().into_inner();
    assert_eq!(described.definitions, again.definitions);
    let definitions: kite_proto::Definitions = prost::Message::decode(described.definitions).unwrap();
    let names: Vec<_> = definitions.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["count", "fail", "hello", "panic", "slow"]);
    let schema: serde_json::Value = serde_json::from_slice(&definitions.tools[2].input_schema).unwrap();
    assert_eq!(schema["properties"]["name"]["description"], "The name to greet.");
}

#[tokio::test]
async fn who_has_no_certificate_of_the_clients_ca_is_refused() {
    let world = World::serve(TestPlugin::new().0).await;
    for identity in [None, Some(Ca::new().client())] {
        // With TLS 1.3 a client learns of the refusal by its first read.
        let refused = match world.connect_as(identity).await {
            Ok(channel) => PluginClient::new(channel)
                .describe(DescribeRequest::default())
                .await
                .is_err(),
            Err(_) => true,
        };
        assert!(refused);
    }
    world.client().await.describe(DescribeRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_tool_answers_its_caller() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut client = world.client().await;
    let result = call(&mut client, "hello", r#"{"name": "bob"}"#).await.unwrap();
    assert_eq!(
        (result.text.as_str(), result.is_error),
        ("anna greets bob in request-1", false)
    );
    assert_eq!(&result.structured_content[..], br#"{"name":"bob"}"#);

    let result = call(&mut client, "fail", "{}").await.unwrap();
    assert_eq!(
        (result.text.as_str(), result.is_error),
        ("invalid digit found in string", true)
    );
}

#[tokio::test]
async fn a_call_of_a_tool_is_refused_for_each_of_its_reasons() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut client = world.client().await;
    let large = format!(r#"{{"name": "{}"}}"#, "a".repeat(kite_proto::MAX_ARGUMENTS));
    for (tool, arguments, code, words) in [
        ("none", "{}", Code::NotFound, "no tool"),
        ("hello", r#"{"name": 1}"#, Code::InvalidArgument, "argument name"),
        ("hello", "{}", Code::InvalidArgument, "`name`"),
        ("hello", "[\"bob\"]", Code::InvalidArgument, "not a JSON object"),
        ("hello", large.as_str(), Code::InvalidArgument, "more than"),
        ("panic", "{}", Code::Internal, "failed"),
    ] {
        let status = call(&mut client, tool, arguments).await.unwrap_err();
        assert_eq!(status.code(), code, "{tool}: {status}");
        assert!(status.message().contains(words), "{status}");
    }
    call(&mut client, "hello", r#"{"name": "bob"}"#).await.unwrap();
}

#[tokio::test]
async fn a_refusal_that_would_quote_much_is_cut_and_the_connection_survives() {
    let (plugin, beside, mut told) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let mut client = world.client().await;
    let mut other = client.clone();
    let under_way = tokio::spawn(async move { call(&mut other, "slow", "{}").await });
    assert_eq!(within("the start of the tool", told.recv()).await, Some(true));

    let large = format!(r#"{{"number": "{}"}}"#, "ä".repeat(250_000));
    let status = call(&mut client, "count", &large).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(
        status
            .message()
            .starts_with("the argument number does not fit: invalid type: string")
    );
    assert!(status.message().len() <= kite_proto::MAX_STATUS_MESSAGE);

    beside.go_on.notify_one();
    assert_eq!(under_way.await.unwrap().unwrap().text, "slow");
}

#[tokio::test]
async fn a_result_that_is_too_large_is_the_tools_failure() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut client = world.client().await;
    let result = call(&mut client, "count", r#"{"number": 4000000}"#).await.unwrap();
    assert_eq!((result.text.len(), result.is_error), (4_000_000, false));
    let result = call(&mut client, "count", r#"{"number": 4194304}"#).await.unwrap();
    assert!(result.is_error);
    assert!(result.text.contains("the limit is 4194304"), "{}", result.text);
}

#[tokio::test]
async fn a_tool_is_dropped_when_its_caller_goes_away() {
    let (plugin, _, mut told) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let mut client = world.client().await;
    let calling = tokio::spawn(async move { call(&mut client, "slow", "{}").await });
    assert_eq!(within("the start of the tool", told.recv()).await, Some(true));
    calling.abort();
    assert_eq!(within("the end of the tool", told.recv()).await, Some(false));
}

#[tokio::test]
async fn the_health_port_answers_check_and_nothing_else() {
    let world = World::serve(TestPlugin::new().0).await;
    let channel = Endpoint::from_shared(format!("http://{}", world.health))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut health = HealthClient::new(channel.clone());
    let check = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    for service in ["", "kite.plugin.v1.Plugin"] {
        let answer = health.check(check(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    assert_eq!(health.check(check("other")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(health.watch(check("")).await.unwrap_err().code(), Code::Unimplemented);
    for path in ["/", "/metrics", "/kite.plugin.v1.Plugin/Describe"] {
        let request = axum::http::Request::get(format!("http://health{path}"))
            .body(Body::empty())
            .unwrap();
        assert_eq!(channel.clone().oneshot(request).await.unwrap().status(), 404, "{path}");
    }
    let mut plugin = PluginClient::new(channel);
    assert_eq!(
        plugin.describe(DescribeRequest::default()).await.unwrap_err().code(),
        Code::Unimplemented
    );
    let request = small(head("GET", "/hello"), b"");
    assert_eq!(
        exchange(&mut plugin, request).await.unwrap_err().code(),
        Code::Unimplemented
    );
}

#[tokio::test]
async fn a_stop_lets_what_is_under_way_end_and_takes_nothing_new() {
    let (plugin, beside, mut told) = TestPlugin::new();
    let mut world = World::serve(plugin).await;
    let mut client = world.client().await;
    let channel = Endpoint::from_shared(format!("http://{}", world.health))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let slow = tokio::spawn(async move { exchange(&mut client, small(head("GET", "/slow"), b"")).await });
    assert_eq!(within("the start of the handler", told.recv()).await, Some(true));

    world.stop();
    let mut health = HealthClient::new(channel);
    let not_serving = async {
        while health
            .check(HealthCheckRequest::default())
            .await
            .unwrap()
            .into_inner()
            .status()
            != ServingStatus::NotServing
        {
            tokio::task::yield_now().await;
        }
    };
    within("the health port to say that the plugin stops", not_serving).await;
    let refused = async { while world.connect_as(Some(world.clients.client())).await.is_ok() {} };
    within("connections to be refused", refused).await;

    beside.go_on.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().body, b"slow");
    world.ended().await.unwrap();
}

#[tokio::test]
async fn a_plugin_that_is_no_good_does_not_start() {
    let start = async |manifest: &'static str, certificate: &'static str| {
        let config = Config {
            name: PluginName::parse("hello").unwrap(),
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            health_listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            certificate: certificate.into(),
            key: "".into(),
            clients_ca: "".into(),
        };
        let plugin = TestPlugin {
            manifest,
            ..TestPlugin::new().0
        };
        within("the failure", serve_with(plugin, config, std::future::pending()))
            .await
            .unwrap_err()
    };
    assert!(matches!(start("kind: {", "").await, ServeError::Manifest(_)));
    assert!(matches!(
        start(plugin::MANIFEST, "no certificate").await,
        ServeError::Tls(_)
    ));
}

#[tokio::test]
async fn many_exchanges_share_one_connection() {
    let world = World::serve(TestPlugin::new().0).await;
    let client = world.client().await;
    let exchanges = (0..200).map(|_| {
        let mut client = client.clone();
        async move {
            exchange(&mut client, small(head("POST", "/ignore"), b"unread"))
                .await
                .unwrap()
                .status
        }
    });
    let statuses: Vec<u32> = tokio_stream::iter(futures::future::join_all(exchanges).await)
        .collect()
        .await;
    assert_eq!(statuses, [200; 200]);
}
