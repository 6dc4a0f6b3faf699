//! The gateway behind its real listener: TLS, both versions of HTTP, and its end.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, Method, Request, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kite_gateway::{
    serve::{self, Limits, Room},
    tls::{self, reload::Reloaded},
};
use rcgen::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::CertificateDer, server::WebPkiClientVerifier};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    LIMIT, Scene,
    gateway::Whole,
    records::picked,
    slug,
    socket::Peer as Socket,
    socket_frames::{close, masked},
};

pub(crate) struct Served {
    pub(crate) scene: Scene,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) pem: String,
    /// Where its certificate lies.
    pub(crate) dir: tempfile::TempDir,
    pub(crate) certificates: Arc<Reloaded<ServerConfig>>,
    pub(crate) end: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<()>,
}

pub(crate) enum Client {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    pub(crate) async fn get(&mut self, target: &str) -> hyper::Result<http::Response<Incoming>> {
        self.send(Method::GET, target, "").await
    }

    async fn send(
        &mut self,
        method: Method,
        target: &str,
        body: &'static str,
    ) -> hyper::Result<http::Response<Incoming>> {
        self.send_with(&[], method, target, body).await
    }

    /// The same with more fields.
    async fn send_with(
        &mut self,
        fields: &[(&str, &str)],
        method: Method,
        target: &str,
        body: &'static str,
    ) -> hyper::Result<http::Response<Incoming>> {
        let good = Request::builder()
            .method(method)
            .uri(format!("https://localhost{target}"))
            .header("authorization", "Bearer jane")
            .header("host", "localhost");
        let request = fields
            .iter()
            .fold(good, |request, (name, value)| request.header(*name, *value))
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        match self {
            Self::One(client) => client.send_request(request).await,
            Self::Two(client) => client.send_request(request).await,
        }
    }
}

impl Served {
    pub(crate) async fn new() -> Self {
        Self::limited(Limits::default()).await
    }

    /// A gateway whose callers may do no more than this.
    pub(crate) async fn limited(limits: Limits) -> Self {
        Self::of(Scene::new().await, limits).await
    }

    /// The gateway of a scene.
    pub(crate) async fn of(scene: Scene, limits: Limits) -> Self {
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tls.crt"), cert.pem()).unwrap();
        std::fs::write(dir.path().join("tls.key"), signing_key.serialize_pem()).unwrap();
        let nobody = WebPkiClientVerifier::no_client_auth();
        let certificates = Arc::new(tls::serving(dir.path(), nobody).await.unwrap());
        let listener = serve::listeners(([127, 0, 0, 1], 0).into(), 1).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel();
        let gateway = Arc::clone(&scene.gateway);
        let answer = move |request| {
            let gateway = Arc::clone(&gateway);
            async move { gateway.answer(request).await }
        };
        let ended = async { ended.await.unwrap_or_default() };
        let listener = TcpListener::from_std(listener).unwrap();
        let (room, grace) = (Room::new(limits), Duration::from_secs(25));
        let task = tokio::spawn(serve::serve(
            listener,
            Arc::clone(&certificates),
            room,
            answer,
            ended,
            grace,
        ));
        Self {
            scene,
            address,
            certificate: cert.der().clone(),
            pem: cert.pem(),
            dir,
            certificates,
            end,
            task,
        }
    }

    /// A connection on which nothing is said yet.
    pub(crate) async fn connection(&self, version: Version) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        let two = version == Version::HTTP_2;
        config.alpn_protocols = vec![if two { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
    }

    pub(crate) async fn client(&self, version: Version) -> Client {
        let io = TokioIo::new(self.connection(version).await);
        if version == Version::HTTP_2 {
            let (client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Client::Two(client)
        } else {
            let (client, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Client::One(client)
        }
    }
}

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

#[tokio::test]
async fn both_versions_of_http_reach_the_plugin() {
    let served = Served::new().await;
    for version in VERSIONS {
        let mut client = served.client(version).await;
        let answer = client
            .send(Method::POST, "/api/v1/plugins/rogue/echo", "hi")
            .await
            .unwrap();
        assert_eq!(answer.version(), version);
        assert_eq!(
            answer.headers()[HeaderName::from_static("content-security-policy")],
            "sandbox"
        );
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hi");
        let head = client
            .send(Method::HEAD, "/api/v1/plugins/rogue/seen", "")
            .await
            .unwrap();
        assert_eq!(
            head.headers().get("content-length"),
            None,
            "a length that nobody knows is not made up"
        );
        assert_eq!(client.get("/healthz").await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn records_say_where_a_request_came_from_and_by_what() {
    let served = Served::new().await;
    for version in VERSIONS {
        let mut client = served.client(version).await;
        let answer = client.send(Method::POST, "/api/v1/plugins/rogue/echo", "hi").await;
        answer.unwrap().into_body().collect().await.unwrap();
    }
    let mut socket = Socket::open(&served, "/api/v1/plugins/rogue/socket", &[]).await;
    let records = &served.scene.records;
    let audit = records.audit().await;
    let keys = ["operation", "source", "status"];
    let told: Vec<_> = audit.iter().map(|record| picked(record, &keys)).collect();
    assert_eq!(
        told,
        [
            "create /echo 127.0.0.1 200",
            "create /echo 127.0.0.1 200",
            "websocket /socket 127.0.0.1 101",
        ]
    );
    // Of a WebSocket the access log tells the end.
    socket.send(&masked(0x81, b"hello")).await;
    assert_eq!(socket.frame().await, Some((0x81, b"hello".to_vec())));
    assert!(records.log().len() < 3);
    socket.send(&close(1000, b"")).await;
    while socket.frame().await.is_some() {}
    drop(socket);
    // The server lets go of an answer after its caller has it.
    let log = async {
        loop {
            let log = records.log();
            if log.len() == 3 {
                return log;
            }
            tokio::task::yield_now().await;
        }
    };
    let log = timeout(LIMIT, log).await.unwrap();
    let keys = ["protocol", "route", "end", "received_bytes", "sent_bytes"];
    let mut told: Vec<_> = log.iter().map(|line| picked(line, &keys)).collect();
    told.sort();
    assert_eq!(
        told,
        [
            "HTTP/1.1 plugin complete 2 2",
            "HTTP/1.1 websocket complete 5 5",
            "HTTP/2 plugin complete 2 2",
        ]
    );
    assert!(log.iter().all(|line| line["peer"] == "127.0.0.1"));
}

#[tokio::test]
async fn a_request_that_is_not_looked_at_is_told_why() {
    let served = Served::new().await;
    for (version, fields, expected) in [
        (Version::HTTP_11, vec![("host", "other")], (400, "invalid-request")),
        // Over HTTP/1.1 hyper itself counts them.
        (Version::HTTP_2, vec![("x-many", "a"); 128], (431, "too-many-fields")),
    ] {
        let mut client = served.client(version).await;
        let answer = client.send_with(&fields, Method::GET, "/healthz", "").await;
        let answer = Whole::of(answer.unwrap()).await.unwrap();
        assert_eq!((answer.status.as_u16(), slug(&answer).as_str()), expected);
        assert!(answer.headers.contains_key("x-request-id"), "{version:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_the_connection_or_the_stream() {
    let served = Served::new().await;
    for version in VERSIONS {
        let mut client = served.client(version).await;
        let broken = match client.get("/api/v1/plugins/rogue/cut").await {
            Ok(answer) => answer.into_body().collect().await.is_err(),
            Err(_) => true,
        };
        assert!(broken, "{version:?}");
    }
}

#[tokio::test]
async fn what_is_under_way_at_the_end_is_finished() {
    for version in VERSIONS {
        let served = Served::new().await;
        let mut client = served.client(version).await;
        let mut open = served.scene.rogue.open.subscribe();
        let answer = client.get("/api/v1/plugins/rogue/endless").await.unwrap();
        served.end.send(()).unwrap();
        let mut body = answer.into_body();
        for _ in 0..100 {
            assert!(timeout(LIMIT, body.frame()).await.unwrap().unwrap().is_ok());
        }
        assert!(!served.task.is_finished());
        drop((body, client));
        timeout(LIMIT, served.task)
            .await
            .expect("the server ends with its last request")
            .unwrap();
        timeout(LIMIT, open.wait_for(|open| *open == 0)).await.unwrap().unwrap();
        assert!(
            TcpStream::connect(served.address).await.is_err(),
            "nothing listens any more"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_is_missing_is_told_by_its_path() {
    let nobody = WebPkiClientVerifier::no_client_auth();
    let error = tls::serving(Path::new("/nonexistent"), nobody).await.err().unwrap();
    assert_eq!(error.to_string(), "failed to read /nonexistent/tls.crt");
}
