//! A plugin over real mutual TLS on loopback, as gateway, operator and kubelet meet it.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod files;
#[cfg(test)]
mod hooks;
#[cfg(test)]
mod http;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod plugin;
#[cfg(test)]
mod resources;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod web_socket;
#[cfg(test)]
mod world;

use kite_plugin_sdk::{Certificates, Config, PluginName, ServeError, serve_with};
use kite_proto::{DescribeRequest, plugin_client::PluginClient};
use plugin::TestPlugin;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tonic::{Code, body::Body};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tower::ServiceExt as _;
use world::{Ca, World, exchange, head, small, within};

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
    assert_eq!(names, ["count", "fail", "hello", "panic", "slow", "steps"]);
    let schema: serde_json::Value = serde_json::from_slice(&definitions.tools[2].input_schema).unwrap();
    assert_eq!(schema["properties"]["name"]["description"], "The name to greet.");
    let schema: serde_json::Value = serde_json::from_slice(&definitions.tools[2].output_schema).unwrap();
    assert_eq!(
        schema["properties"]["name"]["description"],
        "The name that was greeted."
    );
    let said = |tool: &kite_proto::Tool| {
        (
            tool.title.clone(),
            tool.read_only,
            tool.destructive,
            tool.idempotent,
            tool.has_authorizer,
        )
    };
    assert_eq!(
        said(&definitions.tools[2]),
        ("Say hello".to_owned(), true, false, true, true)
    );
    assert_eq!(said(&definitions.tools[5]), (String::new(), false, true, false, false));
    assert!(definitions.tools[5].output_schema.is_empty());
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
async fn the_health_port_answers_check_and_nothing_else() {
    let world = World::serve(TestPlugin::new().0).await;
    let channel = world.health_channel().await;
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
    for path in ["/", "/metrics/", "/kite.plugin.v1.Plugin/Describe"] {
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
    let channel = world.health_channel().await;
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
            certificates: Certificates::Fixed {
                certificate: certificate.into(),
                key: "".into(),
                clients_ca: "".into(),
            },
            kube: None,
            gateway: "/nowhere".into(),
            grace: Config::GRACE,
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
