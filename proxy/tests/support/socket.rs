//! A WebSocket through the gateway's real listener: how it begins and ends, and who holds whom back.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures::{SinkExt as _, StreamExt as _};
use http::Version;
use kite_conformance::python::Python;
use kite_proto::{
    HttpRequest,
    web_socket::{MAX_WEB_SOCKET_MESSAGE, Message},
    web_socket_frame::Kind,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    client_async,
    tungstenite::{self, client::IntoClientRequest as _, protocol::CloseFrame},
};

use super::{
    LIMIT,
    served::Served,
    socket_frames::{close, masked},
};

const SOCKET: &str = "/api/v1/plugins/rogue/socket";
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// Of a good handshake.
const FIELDS: [(&str, &str); 5] = [
    ("Authorization", "Bearer jane"),
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
];

/// A caller who sends and sees bytes.
pub(crate) struct Peer(pub(crate) TlsStream<TcpStream>);

impl Peer {
    /// A caller whose WebSocket is accepted.
    pub(crate) async fn open(served: &Served, target: &str, fields: &[(&str, &str)]) -> Self {
        let mut peer = Self(served.connection(Version::HTTP_11).await);
        let (status, _) = peer.ask(target, &[&FIELDS, fields].concat()).await;
        assert_eq!(status, 101);
        peer
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // What is no good may be refused before it is read to its end.
        let _ = self.0.write_all(bytes).await;
    }

    /// Status and head of the answer to a GET.
    pub(crate) async fn ask(&mut self, target: &str, fields: &[(&str, &str)]) -> (u16, String) {
        self.send(get(target, fields).as_bytes()).await;
        self.head().await
    }

    async fn head(&mut self) -> (u16, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(LIMIT, self.0.read_u8()).await.unwrap().unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        (head[9..12].parse().unwrap(), head)
    }

    async fn body(&mut self, head: &str) -> Value {
        let length = head.split("content-length: ").nth(1).unwrap();
        let mut body = vec![0; length[..length.find('\r').unwrap()].parse().unwrap()];
        self.0.read_exact(&mut body).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// The next frame's first byte and payload; none when the connection is closed in good order.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(LIMIT, async {
            let mut head = [0; 2];
            if self.0.read(&mut head[..1]).await.unwrap() == 0 {
                return None;
            }
            self.0.read_exact(&mut head[1..]).await.unwrap();
            let length = match head[1] {
                126 => self.0.read_u16().await.unwrap().into(),
                127 => usize::try_from(self.0.read_u64().await.unwrap()).unwrap(),
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.unwrap();
            Some((head[0], payload))
        })
        .await
        .unwrap()
    }
}

/// The head of a request.
fn get(target: &str, fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().map(|(name, value)| format!("{name}: {value}"));
    let lines = [format!("GET {target} HTTP/1.1"), "Host: localhost".to_owned()];
    let lines: Vec<_> = lines.into_iter().chain(fields).collect();
    lines.join("\r\n") + "\r\n\r\n"
}

/// What is left when these fields are taken away, and those are put there.
pub(crate) fn fields<'a>(without: &str, with: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = FIELDS.into_iter().filter(|(name, _)| *name != without);
    kept.chain(with.iter().copied()).collect()
}

/// A CLOSE as a caller gets it.
pub(crate) fn closed(code: u16, reason: &str) -> (u8, Vec<u8>) {
    (0x88, [&code.to_be_bytes(), reason.as_bytes()].concat())
}

#[tokio::test]
async fn a_handshake_is_answered_as_rfc_6455_says() {
    let served = Served::new().await;
    let mut peer = Peer(served.connection(Version::HTTP_11).await);
    let (status, head) = peer.ask(SOCKET, &FIELDS).await;
    assert_eq!(status, 101);
    for line in [
        "connection: upgrade",
        "upgrade: websocket",
        // Section 1.3 has this pair of key and proof.
        &format!(
            "sec-websocket-accept: {}",
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_lowercase()
        ),
        "x-request-id: ",
    ] {
        assert!(head.contains(line), "{line}: {head}");
    }
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused_and_the_connection_stays_http() {
    let served = Served::new().await;
    for (name, fields, expected) in [
        (
            "another version",
            fields("Sec-WebSocket-Version", &[("Sec-WebSocket-Version", "8")]),
            426,
        ),
        ("no version", fields("Sec-WebSocket-Version", &[]), 400),
        ("no key", fields("Sec-WebSocket-Key", &[]), 400),
        (
            "a key that is too short",
            fields("Sec-WebSocket-Key", &[("Sec-WebSocket-Key", "YQ==")]),
            400,
        ),
        (
            "a key that is no base64",
            fields(
                "Sec-WebSocket-Key",
                &[("Sec-WebSocket-Key", "????????????????????????")],
            ),
            400,
        ),
        ("two keys", fields("", &[("Sec-WebSocket-Key", KEY)]), 400),
        ("no upgrade named by Connection", fields("Connection", &[]), 400),
        ("another protocol", fields("Upgrade", &[("Upgrade", "h2c")]), 501),
        ("nobody", fields("Authorization", &[]), 401),
    ] {
        let mut peer = Peer(served.connection(Version::HTTP_11).await);
        let (status, head) = peer.ask(SOCKET, &fields).await;
        assert_eq!(status, expected, "{name}");
        assert_eq!(
            head.contains("sec-websocket-version: 13"),
            expected == 426,
            "{name}: {head}"
        );
        let problem = peer.body(&head).await;
        assert_eq!(problem["status"], expected, "{name}");
        let of_version = problem["type"].as_str().unwrap().ends_with("websocket-version");
        assert_eq!(of_version, expected == 426, "{name}");
        // What follows is a request of its own, that is checked as any other, and no frame.
        assert_eq!(peer.ask(SOCKET, &[]).await.0, 401, "{name}");
    }
    assert!(served.scene.rogue.heard.borrow().is_empty());
    assert_eq!(*served.scene.rogue.open.borrow(), 0);
}

#[tokio::test]
async fn upgrade_tunnel_what_follows_a_refused_handshake_goes_nowhere() {
    let served = Served::new().await;
    let handshake = |fields: &[(&str, &str)]| get(&format!("{SOCKET}-none"), fields);
    // The plugin itself refuses, or the gateway does; and what is smuggled comes along with the handshake.
    for (fields, status) in [(fields("", &[]), 502), (fields("Sec-WebSocket-Key", &[]), 400)] {
        let mut peer = Peer(served.connection(Version::HTTP_11).await);
        let smuggled = "GET /api/v1/plugins/rogue/seen HTTP/1.1\r\nHost: localhost\r\n\r\n";
        peer.send((handshake(&fields) + smuggled).as_bytes()).await;
        let (refused, head) = peer.head().await;
        assert_eq!(refused, status);
        peer.body(&head).await;
        assert_eq!(peer.head().await.0, 401, "without a token of its own it is nobody's");
        let mut peer = Peer(served.connection(Version::HTTP_11).await);
        peer.send(&[handshake(&fields).as_bytes(), &masked(0x81, b"hi")].concat())
            .await;
        let (refused, head) = peer.head().await;
        assert_eq!(refused, status);
        peer.body(&head).await;
        let mut rest = Vec::new();
        // Reset or closed, after at most an answer that it is no HTTP.
        let _ = timeout(LIMIT, peer.0.read_to_end(&mut rest)).await.expect("the end");
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"), "{rest:?}");
    }
    assert!(served.scene.rogue.heard.borrow().is_empty());
}

#[tokio::test]
async fn a_handshake_with_a_body_is_refused() {
    let served = Served::new().await;
    let mut peer = Peer(served.connection(Version::HTTP_11).await);
    let (status, _) = peer.ask(SOCKET, &fields("", &[("Content-Length", "5")])).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_plugin_that_refuses_answers_as_to_any_request() {
    let served = Served::new().await;
    let mut peer = Peer(served.connection(Version::HTTP_11).await);
    let asked = [
        ("Sec-WebSocket-Protocol", "a, b"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ("Origin", "https://dashboard.example"),
        ("Cookie", "a=b"),
    ];
    let (status, head) = peer.ask("/api/v1/plugins/rogue/seen?x=y", &fields("", &asked)).await;
    assert_eq!(status, 200);
    let seen = peer.body(&head).await;
    assert_eq!(seen["protocol"], "websocket");
    assert_eq!((&seen["method"], &seen["path"]), (&"GET".into(), &"/seen?x=y".into()));
    let trace = &seen["trace"][0];
    assert_eq!(
        seen["headers"],
        serde_json::json!([
            ["sec-websocket-protocol", "a, b"],
            ["origin", "https://dashboard.example"],
            ["traceparent", trace]
        ])
    );
}

#[tokio::test]
async fn token_passthrough_a_token_among_subprotocols_stays_with_the_gateway() {
    let served = Served::new().await;
    for (offered, told) in [
        ("a, base64url.bearer.authorization.k8s.io.czNjcmV0, b", Some("a, b")),
        ("base64url.bearer.authorization.k8s.io.czNjcmV0", None),
    ] {
        let mut peer = Peer(served.connection(Version::HTTP_11).await);
        let asked = [("Sec-WebSocket-Protocol", offered)];
        let (status, head) = peer.ask("/api/v1/plugins/rogue/seen", &fields("", &asked)).await;
        assert_eq!(status, 200);
        let seen = peer.body(&head).await;
        let fields = seen["headers"].as_array().unwrap().iter();
        let mut protocols = fields.filter(|field| field[0] == "sec-websocket-protocol");
        assert_eq!(protocols.next().and_then(|field| field[1].as_str()), told, "{seen}");
    }
}

#[tokio::test]
async fn a_subprotocol_is_one_that_the_caller_offered() {
    let served = Served::new().await;
    for (offered, chosen, expected) in [
        (vec!["a, b"], "b", 101),
        (vec!["a", "b"], "b", 101),
        (vec!["a, b"], "c", 502),
        (vec![], "a", 502),
        (vec!["a, b"], "a&b", 502),
        (vec!["a, b"], "a,%20b", 502),
        (vec!["a, b"], "", 502),
    ] {
        let mut peer = Peer(served.connection(Version::HTTP_11).await);
        let offered: Vec<_> = offered.into_iter().map(|one| ("Sec-WebSocket-Protocol", one)).collect();
        let target = format!("{SOCKET}-protocol?{chosen}");
        let (status, head) = peer.ask(&target, &fields("", &offered)).await;
        assert_eq!(status, expected, "{offered:?} {chosen}");
        assert_eq!(
            head.contains("sec-websocket-protocol: b\r\n"),
            expected == 101,
            "{head}"
        );
        for field in ["sec-websocket-extensions", "set-cookie", "x-own"] {
            assert!(!head.contains(field), "{head}");
        }
    }
}

#[tokio::test]
async fn a_plugins_ping_and_close_reach_the_caller_and_its_answers_the_plugin() {
    let served = Served::new().await;
    let mut heard = served.scene.rogue.heard.subscribe();
    let mut peer = Peer::open(&served, &format!("{SOCKET}-ping"), &[]).await;
    assert_eq!(peer.frame().await, Some((0x89, b"there?".to_vec())));
    peer.send(&masked(0x8a, b"here")).await;
    let pong = |heard: &Vec<HttpRequest>| {
        heard
            .iter()
            .filter_map(|request| request.frame.clone())
            .any(|frame| frame.kind() == Kind::Pong && frame.data == "here")
    };
    timeout(LIMIT, heard.wait_for(pong)).await.expect("the pong").unwrap();

    let mut peer = Peer::open(&served, &format!("{SOCKET}-close"), &[]).await;
    assert_eq!(peer.frame().await, Some(closed(4001, "bye")));
    peer.send(&[masked(0x81, b"last"), close(4001, b"bye")].concat()).await;
    assert_eq!(peer.frame().await, None, "what is said after a CLOSE of both sides");
    let last = timeout(LIMIT, heard.wait_for(|heard| heard.last().is_some_and(|last| last.end)));
    let heard = last.await.expect("the answer to the CLOSE").unwrap().clone();
    let frames: Vec<_> = heard
        .into_iter()
        .rev()
        .take(2)
        .map(|request| request.frame.unwrap())
        .collect();
    assert_eq!(
        (frames[0].kind(), frames[0].code, &frames[0].data[..]),
        (Kind::Close, 4001, &b"bye"[..])
    );
    assert_eq!(frames[1].data, "last", "what was on its way before the answer");
}

#[tokio::test]
async fn a_plugin_that_breaks_the_rules_is_1011_to_its_caller() {
    let served = Served::new().await;
    for how in [
        "end",
        "status",
        "data",
        "head",
        "nothing",
        "kind",
        "continuation",
        "text",
        "code",
    ] {
        let mut peer = Peer::open(&served, &format!("{SOCKET}-broken?{how}"), &[]).await;
        assert_eq!(peer.frame().await, Some(closed(1011, "")), "{how}");
        peer.send(&close(1011, b"")).await;
        assert_eq!(peer.frame().await, None, "{how}");
    }
}

#[tokio::test]
async fn a_caller_that_does_not_answer_a_close_is_cut() {
    let served = Served::new().await;
    let mut open = served.scene.rogue.open.subscribe();
    let mut peer = Peer::open(&served, &format!("{SOCKET}-close"), &[]).await;
    assert_eq!(peer.frame().await, Some(closed(4001, "bye")));
    let since = Instant::now();
    let mut rest = Vec::new();
    let _ = timeout(LIMIT, peer.0.read_to_end(&mut rest)).await.expect("the end");
    assert!(rest.is_empty() && since.elapsed() > Duration::from_secs(4), "{rest:?}");
    timeout(LIMIT, open.wait_for(|open| *open == 0))
        .await
        .expect("the plugin is let go")
        .unwrap();
}

#[tokio::test]
async fn a_plugin_that_does_not_answer_a_close_is_let_go() {
    let served = Served::new().await;
    let mut open = served.scene.rogue.open.subscribe();
    let mut peer = Peer::open(&served, &format!("{SOCKET}-deaf"), &[]).await;
    peer.send(&close(1000, b"")).await;
    assert_eq!((peer.frame().await, peer.frame().await), (Some(closed(1000, "")), None));
    drop(peer);
    timeout(LIMIT, open.wait_for(|open| *open == 0))
        .await
        .expect("the plugin is let go")
        .unwrap();
}

#[tokio::test]
async fn when_the_caller_of_a_web_socket_is_gone_the_plugin_is_told() {
    let served = Served::new().await;
    let mut open = served.scene.rogue.open.subscribe();
    for path in ["", "-deaf", "-endless"] {
        let peer = Peer::open(&served, &format!("{SOCKET}{path}"), &[]).await;
        timeout(LIMIT, open.wait_for(|open| *open == 1)).await.unwrap().unwrap();
        drop(peer);
        let gone = timeout(Duration::from_secs(3), open.wait_for(|open| *open == 0));
        gone.await.unwrap_or_else(|_| panic!("{path} is dropped")).unwrap();
    }
}

#[tokio::test]
async fn a_caller_that_reads_nothing_holds_its_plugin_back() {
    let served = Served::new().await;
    let mut pieces = served.scene.rogue.pieces.subscribe();
    let _peer = Peer::open(&served, &format!("{SOCKET}-endless"), &[]).await;
    // When nothing was taken for a while, nothing will be.
    while timeout(Duration::from_secs(1), pieces.changed()).await.is_ok() {
        assert!(
            *pieces.borrow_and_update() < 64 * 1024,
            "64 MiB for a caller who reads nothing"
        );
    }
}

#[tokio::test]
async fn a_plugin_that_reads_nothing_holds_its_caller_back() {
    let served = Served::new().await;
    let mut peer = Peer::open(&served, &format!("{SOCKET}-deaf"), &[]).await;
    let message = masked(0x82, &vec![0; 64 * 1024]);
    let mut sent = 0;
    while timeout(Duration::from_secs(1), peer.0.write_all(&message))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent < 1024, "64 MiB for a plugin that reads nothing");
    }
}

#[tokio::test]
async fn at_the_gateways_end_both_sides_are_told_1001() {
    let served = Served::new().await;
    let mut heard = served.scene.rogue.heard.subscribe();
    let mut peer = Peer::open(&served, SOCKET, &[]).await;
    served.end.send(()).unwrap();
    assert_eq!(peer.frame().await, Some(closed(1001, "")));
    assert!(!served.task.is_finished(), "it has the grace");
    peer.send(&close(1001, b"")).await;
    assert_eq!(peer.frame().await, None);
    drop(peer);
    timeout(LIMIT, served.task)
        .await
        .expect("the server ends with its last WebSocket")
        .unwrap();
    let heard = timeout(LIMIT, heard.wait_for(|heard| heard.last().is_some_and(|last| last.end)));
    let last = heard.await.unwrap().unwrap().last().unwrap().clone();
    let expected = Message::Close(Some((1001, String::new()))).frames().remove(0);
    assert_eq!(last.frame, Some(expected));
}

#[tokio::test]
async fn tungstenite_is_a_peer() {
    let served = Served::new().await;
    let mut request = format!("wss://localhost{SOCKET}").into_client_request().unwrap();
    request
        .headers_mut()
        .insert("authorization", "Bearer jane".parse().unwrap());
    let connection = served.connection(Version::HTTP_11).await;
    let (mut socket, _) = timeout(LIMIT, client_async(request, connection))
        .await
        .unwrap()
        .unwrap();
    for message in [
        tungstenite::Message::text("ä".repeat(100_000)),
        tungstenite::Message::binary(vec![7; MAX_WEB_SOCKET_MESSAGE]),
        tungstenite::Message::text(""),
    ] {
        socket.send(message.clone()).await.unwrap();
        assert!(timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap() == message);
    }
    socket.send(tungstenite::Message::Ping("p".into())).await.unwrap();
    let pong = timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(pong, tungstenite::Message::Pong("p".into()));
    let bye = CloseFrame {
        code: 4000.into(),
        reason: "bye".into(),
    };
    socket.close(Some(bye.clone())).await.unwrap();
    let answer = timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(answer, tungstenite::Message::Close(Some(bye)));
    assert!(timeout(LIMIT, socket.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn pythons_websockets_is_a_peer() {
    let served = Served::new().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, &served.pem).unwrap();
    let python = tokio::task::spawn_blocking(Python::ready).await.unwrap().unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/conformance/python/web_socket.py");
    let url = format!("wss://localhost:{}{SOCKET}", served.address.port());
    let arguments = ["--url", &url, "--ca", ca.to_str().unwrap(), "--token", "jane"];
    let said = python.run(&program, &arguments).await.unwrap();
    assert_eq!(
        said.split_whitespace().collect::<Vec<_>>(),
        ["messages", "codes", "limits", "refusals", "many"]
    );
}
