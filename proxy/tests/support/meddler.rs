//! What stands between gateway and plugin and breaks one request as it is told to, frame by frame of HTTP/2 (RFC 9113, section 4.1).

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

use super::gateway::Certificates;

const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
/// Stream of the first question, which is what the plugin is.
const DESCRIBE: u32 = 1;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// What becomes of the first request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Its stream is refused.
    Refuse,
    /// The last stream that is looked at is an earlier one.
    GoAway,
    /// The plugin gets it, and its stream is reset before the head of the answer.
    Reset,
    /// The plugin gets it, and the connection is cut before the answer.
    Cut,
}

/// Whether there was a request.
#[derive(Clone, Default)]
pub(crate) struct Meddled(Arc<AtomicBool>);

impl Meddled {
    pub(crate) fn is_done(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Whether it is still to be done, which is asked once more by nobody.
    fn begin(&self) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }
}

struct Frame {
    kind: u8,
    stream: u32,
    bytes: Vec<u8>,
}

async fn frame(from: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
    let mut bytes = vec![0; FRAME_HEAD];
    from.read_exact(&mut bytes).await.ok()?;
    let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
    let kind = bytes[3];
    let stream = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
    bytes.resize(FRAME_HEAD + usize::try_from(length).unwrap(), 0);
    from.read_exact(&mut bytes[FRAME_HEAD..]).await.ok()?;
    Some(Frame { kind, stream, bytes })
}

fn made(kind: u8, stream: u32, words: &[u32]) -> Vec<u8> {
    let length = u8::try_from(4 * words.len()).unwrap();
    let mut frame = vec![0, 0, length, kind, 0];
    frame.extend(stream.to_be_bytes());
    frame.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    frame
}

/// Stands before the plugin "rogue", which listens at `plain`, with its certificate.
pub(crate) async fn start(certificates: &Certificates, plain: SocketAddr, fault: Fault) -> (Meddled, SocketAddr) {
    let (certificate, key) = certificates.of_plugin("rogue");
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let meddled = Meddled::default();
    let doing = meddled.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, doing) = (acceptor.clone(), doing.clone());
            tokio::spawn(async move {
                let tls = acceptor.accept(tcp).await.unwrap();
                between(tls, TcpStream::connect(plain).await.unwrap(), fault, doing).await;
            });
        }
    });
    (meddled, address)
}

/// Passes on what is said on one connection, until either side or the fault ends it.
async fn between(tls: tokio_rustls::server::TlsStream<TcpStream>, plugin: TcpStream, fault: Fault, meddled: Meddled) {
    let (mut from_gateway, mut to_gateway) = tokio::io::split(tls);
    let (mut from_plugin, mut to_plugin) = plugin.into_split();
    let (say, mut said) = mpsc::unbounded_channel::<Vec<u8>>();
    let answer = say.clone();
    let asked = async {
        let mut preface = [0; PREFACE];
        from_gateway.read_exact(&mut preface).await.ok()?;
        to_plugin.write_all(&preface).await.ok()?;
        let mut swallowed = None;
        loop {
            let frame = frame(&mut from_gateway).await?;
            let is_first = frame.kind == HEADERS && frame.stream > DESCRIBE;
            if is_first && matches!(fault, Fault::Refuse | Fault::GoAway) && meddled.begin() {
                swallowed = Some(frame.stream);
                say.send(match fault {
                    Fault::Refuse => made(RST_STREAM, frame.stream, &[REFUSED_STREAM]),
                    _ => made(GOAWAY, 0, &[DESCRIBE, 0]),
                })
                .ok()?;
            }
            if swallowed != Some(frame.stream) {
                to_plugin.write_all(&frame.bytes).await.ok()?;
            }
        }
    };
    let answered = async {
        let mut swallowed = None;
        loop {
            let frame = frame(&mut from_plugin).await?;
            let is_first = frame.kind == HEADERS && frame.stream > DESCRIBE;
            if is_first && fault == Fault::Cut && meddled.begin() {
                return None;
            }
            if swallowed != Some(frame.stream) {
                answer.send(frame.bytes).ok()?;
            }
            if is_first && fault == Fault::Reset && meddled.begin() {
                swallowed = Some(frame.stream);
                answer.send(made(RST_STREAM, frame.stream, &[INTERNAL_ERROR])).ok()?;
            }
        }
    };
    let written = async {
        loop {
            to_gateway.write_all(&said.recv().await?).await.ok()?;
            to_gateway.flush().await.ok()?;
        }
    };
    // Each of them ends the connection.
    let _: Option<std::convert::Infallible> = tokio::select! {
        ended = asked => ended,
        ended = answered => ended,
        ended = written => ended,
    };
}
