//! A small exchange with a plugin, as it is measured.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark without its plugin has no figures"
)]

use std::hint::black_box;

use futures::stream;
use kite_conformance::Authorities;
use kite_plugin_sdk::{
    Caller, Certificates, Config, Plugin, PluginName, RequestId,
    axum::{Router, routing::get},
    serve_with,
};
use kite_proto::{
    CallContext, ExchangeBegin, ExchangeRequest, ExchangeResponse, HttpRequest, HttpRequestHead, User,
    exchange_request::Part as Asked, exchange_response::Part, plugin_client::PluginClient,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

/// A plugin with one route, whose answer is small.
pub(crate) struct Small;

impl Plugin for Small {
    fn manifest(&self) -> &'static str {
        "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: small}, spec: {version: 0.1.0, image: small}}"
    }

    fn routes(&self) -> Router {
        Router::new().route("/hello", get(hello))
    }
}

async fn hello(caller: Caller, id: RequestId) -> String {
    format!("{} {id} {}", caller.name, "a".repeat(80))
}

/// Serves the plugin for as long as the process runs.
pub(crate) async fn client() -> PluginClient<Channel> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authorities = Authorities::new().unwrap();
    let certified = authorities.servers.server("small").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = Config {
        name: PluginName::parse("small").unwrap(),
        listener,
        health_listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        certificates: Certificates::Fixed {
            certificate: certified.certificate.into(),
            key: certified.key.into(),
            clients_ca: authorities.clients.pem().into(),
        },
        kube: None,
        // It calls nobody.
        gateway: "/nowhere".into(),
        grace: Config::GRACE,
    };
    tokio::spawn(serve_with(Small, config, std::future::pending()));
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authorities.servers.pem()))
        .domain_name(kite_proto::server_name("small"))
        .identity(authorities.clients.client().unwrap());
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    let endpoint = endpoint.tcp_nodelay(true).tls_config(tls).unwrap();
    PluginClient::new(endpoint.connect().await.expect("the plugin"))
}

pub(crate) fn head() -> HttpRequestHead {
    HttpRequestHead {
        context: Some(CallContext {
            user: Some(User {
                name: String::from("anna"),
                groups: vec![String::from("system:authenticated")],
                ..User::default()
            }),
            request_id: String::from("0123456789abcdef"),
            ..CallContext::default()
        }),
        method: String::from("GET"),
        path_and_query: String::from("/hello"),
        ..HttpRequestHead::default()
    }
}

/// One exchange on a stream of its own.
pub(crate) async fn by_http(mut client: PluginClient<Channel>) {
    let request = HttpRequest {
        head: Some(head()),
        end: true,
        ..HttpRequest::default()
    };
    let mut answer = client.http(stream::iter([request])).await.unwrap().into_inner();
    while let Some(message) = answer.message().await.unwrap() {
        black_box(message);
    }
}

/// The gateway's end of a stream that many exchanges share.
pub(crate) struct Shared {
    ask: mpsc::UnboundedSender<ExchangeRequest>,
    answers: Streaming<ExchangeResponse>,
    last: u64,
}

impl Shared {
    pub(crate) async fn on(client: &mut PluginClient<Channel>) -> Self {
        let (ask, asked) = mpsc::unbounded_channel();
        let answers = client.exchange(UnboundedReceiverStream::new(asked)).await.unwrap();
        let mut answers = answers.into_inner();
        answers.message().await.unwrap().expect("hello");
        Self { ask, answers, last: 0 }
    }

    /// So many exchanges at once.
    pub(crate) async fn exchange(&mut self, count: u64) {
        for _ in 0..count {
            self.last += 1;
            let begin = ExchangeBegin {
                head: Some(head()),
                ..ExchangeBegin::default()
            };
            let message = ExchangeRequest {
                id: self.last,
                part: Some(Asked::Begin(begin)),
            };
            self.ask.send(message).unwrap();
        }
        for _ in 0..count {
            let answer = self.answers.message().await.unwrap().expect("an answer");
            assert!(matches!(answer.part, Some(Part::Reply(reply)) if reply.end));
        }
    }
}
