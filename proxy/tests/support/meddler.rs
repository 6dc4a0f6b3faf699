//! What stands between gateway and plugin and breaks one request as it is told to, frame by frame of HTTP/2 (RFC 9113, section 4.1).

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Instant,
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime,
    sync::{Notify, mpsc},
};
use tokio_rustls::TlsAcceptor;

use super::{LIMIT, gateway::Certificates, rogue::Rogue};

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
    /// Nothing: the connection is closed when that is told, after the word that nothing more is begun.
    Leave,
}

/// Whether it was done.
#[derive(Clone, Default)]
pub(crate) struct Meddled {
    done: Arc<AtomicBool>,
    leave: Arc<Notify>,
}

impl Meddled {
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst)
    }

    /// Whether it is still to be done, which is asked once more by nobody.
    fn begin(&self) -> bool {
        !self.done.swap(true, Ordering::SeqCst)
    }

    /// Has the connection closed, and waits until it is without a turn of this thread's runtime.
    pub(crate) fn leave(&self) {
        self.leave.notify_one();
        let begun = Instant::now();
        while !self.is_done() {
            assert!(begun.elapsed() < LIMIT, "it does not leave");
            thread::yield_now();
        }
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
    stand(certificates.server("rogue"), plain, fault).await
}

/// The same before one of its own, both on a thread that goes on while this one does not.
pub(crate) fn start_elsewhere(certificates: &Certificates, fault: Fault) -> (Meddled, SocketAddr) {
    let config = certificates.server("rogue");
    let (told, tell) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_rogue, plain) = Rogue::start_plain().await;
            told.send(stand(config, plain, fault).await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    tell.recv().unwrap()
}

async fn stand(config: Arc<ServerConfig>, plain: SocketAddr, fault: Fault) -> (Meddled, SocketAddr) {
    let acceptor = TlsAcceptor::from(config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let meddled = Meddled::default();
    let doing = meddled.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, doing) = (acceptor.clone(), doing.clone());
            tokio::spawn(async move {
                let tls = acceptor.accept(tcp).await.unwrap();
                between(tls, TcpStream::connect(plain).await.unwrap(), fault, &doing).await;
                if fault == Fault::Leave {
                    doing.begin();
                }
            });
        }
    });
    (meddled, address)
}

/// Passes on what is said on one connection, until either side or the fault ends it.
async fn between(tls: tokio_rustls::server::TlsStream<TcpStream>, plugin: TcpStream, fault: Fault, meddled: &Meddled) {
    let (mut from_gateway, mut to_gateway) = tokio::io::split(tls);
    let (mut from_plugin, mut to_plugin) = plugin.into_split();
    let (say, mut said) = mpsc::unbounded_channel::<Vec<u8>>();
    let answer = say.clone();
    let last = AtomicU32::new(DESCRIBE);
    let asked = async {
        let mut preface = [0; PREFACE];
        from_gateway.read_exact(&mut preface).await.ok()?;
        to_plugin.write_all(&preface).await.ok()?;
        let mut swallowed = None;
        loop {
            let frame = frame(&mut from_gateway).await?;
            last.fetch_max(frame.stream, Ordering::SeqCst);
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
    let written = write(&mut to_gateway, &mut said, &meddled.leave, &last);
    // Each of them ends the connection.
    let _: Option<Infallible> = tokio::select! {
        ended = asked => ended,
        ended = answered => ended,
        ended = written => ended,
    };
}

/// Writes what is said to the gateway, and at the end, once it is told, that no stream above the last is begun.
async fn write(
    to_gateway: &mut (impl AsyncWrite + Unpin),
    said: &mut mpsc::UnboundedReceiver<Vec<u8>>,
    leave: &Notify,
    last: &AtomicU32,
) -> Option<Infallible> {
    loop {
        let (bytes, is_end) = tokio::select! {
            bytes = said.recv() => (bytes?, false),
            () = leave.notified() => (made(GOAWAY, 0, &[last.load(Ordering::SeqCst), 0]), true),
        };
        to_gateway.write_all(&bytes).await.ok()?;
        to_gateway.flush().await.ok()?;
        if is_end {
            return None;
        }
    }
}
