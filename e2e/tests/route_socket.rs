//! A WebSocket of a plugin, through the gateway, as its callers use it.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use futures::{SinkExt as _, StreamExt as _};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kite_conformance::python::Python;
use kite_e2e::testing::{Gateway, SOON, START, eventually, exported, scope};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _, protocol::CloseFrame},
};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A WebSocket with `plugin`'s `/socket`, or the status of the refusal.
async fn open(token: Option<&str>, plugin: &str) -> Result<Socket, u16> {
    let (host, connection) = Gateway::from_env().connect().await;
    let mut request = format!("wss://{host}/api/v1/plugins/{plugin}/socket")
        .into_client_request()
        .unwrap();
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", value);
    }
    match timeout(START, client_async(request, connection)).await.unwrap() {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(refused)) => Err(refused.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn messages_come_back_and_so_does_the_close() {
    let gateway = Gateway::from_env();
    let mut socket = open(Some(gateway.admin()), "hello").await.unwrap();
    for message in [
        Message::text("hello"),
        Message::text("ä".repeat(100_000)),
        Message::binary(vec![7; 1024 * 1024]),
        Message::binary(vec![]),
    ] {
        socket.send(message.clone()).await.unwrap();
        assert!(timeout(START, socket.next()).await.unwrap().unwrap().unwrap() == message);
    }
    socket.send(Message::Ping("p".into())).await.unwrap();
    let pong = timeout(START, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(pong, Message::Pong("p".into()));
    let bye = CloseFrame {
        code: 4000.into(),
        reason: "bye".into(),
    };
    socket.close(Some(bye.clone())).await.unwrap();
    let answer = timeout(START, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(answer, Message::Close(Some(bye)));
    assert!(timeout(START, socket.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn without_a_token_it_is_401() {
    assert_eq!(open(None, "hello").await.err(), Some(401));
    assert_eq!(open(Some("junk"), "hello").await.err(), Some(401));
}

#[tokio::test]
async fn it_needs_get_and_create() {
    scope("socket", async |scope| {
        let rule = |verbs: &[&str]| PolicyRule {
            api_groups: Some(vec!["kite.dev".to_owned()]),
            resources: Some(vec!["kiteplugins/proxy".to_owned()]),
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            ..PolicyRule::default()
        };
        let (reads, both) = (
            scope.user_with("-reads", vec![rule(&["get"])]).await,
            scope.user_with("-both", vec![rule(&["get", "create"])]).await,
        );
        // Bindings reach the authorizer through a watch.
        eventually("the users' rights are heeded", SOON, async || {
            let get = scope.gateway.get(&reads, "hello/hello").await.status;
            match (get, open(Some(&both), "hello").await.err()) {
                (200, None) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        assert_eq!(open(Some(&reads), "hello").await.err(), Some(403));
        assert_eq!(open(Some(&reads), "no-such-plugin").await.err(), Some(403));
        let creates = scope.user_with("-creates", vec![rule(&["create"])]).await;
        assert_eq!(open(Some(&creates), "hello").await.err(), Some(403));
    })
    .await;
}

#[tokio::test]
async fn an_unknown_plugin_is_404() {
    let gateway = Gateway::from_env();
    assert_eq!(open(Some(gateway.admin()), "no-such-plugin").await.err(), Some(404));
}

#[tokio::test]
async fn pythons_websockets_is_a_peer() {
    let python = tokio::task::spawn_blocking(Python::ready).await.unwrap().unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/conformance/python/web_socket.py");
    let url = exported("KITE_URL").replace("https://", "wss://") + "/api/v1/plugins/hello/socket";
    let (ca, token) = (exported("KITE_CA"), exported("KITE_TOKEN"));
    let said = python
        .run(&program, &["--url", &url, "--ca", &ca, "--token", &token])
        .await
        .unwrap();
    assert!(said.contains("many"), "{said}");
}
