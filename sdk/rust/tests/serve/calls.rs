//! Calls of other plugins, against a gateway of the test's own.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use kite_plugin_sdk::{
    CallError, Kite, OtherPlugin, Plugin, RequestId,
    axum::{
        Json, Router,
        body::Bytes,
        extract::State,
        http::{HeaderMap, Request, StatusCode, header::LOCATION},
        response::Redirect,
        routing::get,
        serve::Listener,
    },
    serde_json::Value,
};
use kite_proto::{GATEWAY_ADDRESS_FILE, GATEWAY_CA_FILE, GATEWAY_TOKEN_FILE};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    plugin::MANIFEST,
    world::{Ca, World, exchange, head, small, within},
};

/// A plugin that hands out what it holds, for a test to use.
struct Holder(mpsc::UnboundedSender<Kite>);

impl Plugin for Holder {
    fn manifest(&self) -> &'static str {
        MANIFEST
    }

    fn routes(&self) -> Router {
        let hold = |State(held): State<mpsc::UnboundedSender<Kite>>, _: RequestId, kite: Kite| async move {
            held.send(kite).unwrap();
        };
        Router::new().route("/hold", get(hold)).with_state(self.0.clone())
    }
}

/// Connections with TLS.
struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Serves the routes of the plugin `costs` at a gateway, and writes into `folder` how it is reached.
async fn gateway(folder: &Path) {
    let ca = Ca::new();
    let (certificate, key) = ca.issue("localhost", rcgen::ExtendedKeyUsagePurpose::ServerAuth);
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}\n", tcp.local_addr().unwrap().port());
    let costs = Router::new()
        .route(
            "/who",
            get(|headers: HeaderMap| async move { Json(headers["authorization"].to_str().unwrap().to_owned()) }),
        )
        .route(
            "/away",
            get(|| async { Redirect::temporary("/api/v1/plugins/costs/who") }),
        )
        .route("/large", get(|| async { "a".repeat(2000) }))
        .route("/never", get(std::future::pending::<()>))
        .route("/text", get(|| async { "no JSON" }))
        .route("/denied", get(|| async { (StatusCode::FORBIDDEN, "not for you") }));
    let tls = Tls {
        tcp,
        acceptor: TlsAcceptor::from(Arc::new(config)),
    };
    tokio::spawn(async move { axum::serve(tls, Router::new().nest("/api/v1/plugins/costs", costs)).await });
    fs::write(folder.join(GATEWAY_ADDRESS_FILE), address).unwrap();
    fs::write(folder.join(GATEWAY_CA_FILE), ca.pem()).unwrap();
    fs::write(folder.join(GATEWAY_TOKEN_FILE), "first\n").unwrap();
}

/// The plugin `costs`, as a plugin that is served beside the files of `folder` sees it.
async fn costs(folder: &Path) -> OtherPlugin {
    let (send, mut held) = mpsc::unbounded_channel();
    let world = World::serve_calling(Holder(send), folder).await;
    exchange(&mut world.client().await, small(head("GET", "/hold"), b""))
        .await
        .unwrap();
    held.recv().await.unwrap().plugin("costs")
}

fn nothing() -> Request<Bytes> {
    Request::new(Bytes::new())
}

#[tokio::test]
async fn a_call_carries_the_token_of_its_moment_and_trusts_the_ca_of_its_moment() {
    let folder = tempfile::tempdir().unwrap();
    gateway(folder.path()).await;
    let costs = costs(folder.path()).await;
    let who: String = within("the call", costs.get("/who")).await.unwrap();
    assert_eq!(who, "Bearer first");
    fs::write(folder.path().join(GATEWAY_TOKEN_FILE), "second").unwrap();
    let who: String = within("the call", costs.get("/who")).await.unwrap();
    assert_eq!(who, "Bearer second");

    fs::write(folder.path().join(GATEWAY_CA_FILE), Ca::new().pem()).unwrap();
    let refused = within("the call", costs.get::<String>("/who")).await.unwrap_err();
    assert!(matches!(refused, CallError::Send { .. }), "{refused}");
    fs::write(folder.path().join(GATEWAY_TOKEN_FILE), "a\nb").unwrap();
    let refused = within("the call", costs.get::<String>("/who")).await.unwrap_err();
    assert!(matches!(refused, CallError::Token), "{refused}");
}

#[tokio::test]
async fn an_answer_is_told_for_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    gateway(folder.path()).await;
    let costs = costs(folder.path()).await;
    let away = within("the call", costs.send("/away", nothing())).await.unwrap();
    assert_eq!(
        (away.status(), away.headers()[LOCATION].as_bytes()),
        (StatusCode::TEMPORARY_REDIRECT, &b"/api/v1/plugins/costs/who"[..])
    );

    let denied = costs.get::<Value>("/denied").await.unwrap_err();
    assert!(denied.to_string().ends_with("403 Forbidden: not for you"), "{denied}");
    let text = costs.get::<Value>("/text").await.unwrap_err();
    assert!(matches!(text, CallError::Json { .. }), "{text}");
    let large = costs.clone().at_most(1999).send("/large", nothing()).await.unwrap_err();
    assert!(matches!(large, CallError::Large { .. }), "{large}");
    let whole = costs.clone().at_most(2000).send("/large", nothing()).await.unwrap();
    assert_eq!(whole.body().len(), 2000);
    let late = costs
        .clone()
        .within(Duration::from_millis(50))
        .send("/never", nothing())
        .await
        .unwrap_err();
    assert!(matches!(late, CallError::Late(_)), "{late}");
    let away = costs.send("/../other", nothing()).await.unwrap_err();
    assert!(matches!(away, CallError::Path(_)), "{away}");
}
