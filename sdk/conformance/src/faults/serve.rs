//! The plugin's two ports.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use kite_proto::{MAX_ARGUMENTS, MAX_CHUNK, plugin_server::PluginServer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::Connected},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

use super::{Core, Fault, Link, meddle::Meddle, service::Service, tls::Config};

/// The largest arguments, and the context beside them.
const MAX_MESSAGE: usize = MAX_ARGUMENTS + 256 * 1024;
/// What may wait unread for each stream, and for a connection.
const STREAM_WINDOW: u32 = 64 * 1024 - 1;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// What TLS 1.1 calls itself, where a `ClientHello` says it, and a `ServerHello` of it that goes no further.
const OLD_TLS: [u8; 2] = [3, 2];
const OLD_HELLO: [u8; 9] = [22, 3, 2, 0, 4, 2, 0, 0, 0];
/// A frame of HTTP/2 that is longer than any may be, and of no known kind.
const MALFORMED: [u8; 32] = [0xff; 32];

/// Where it serves.
pub(super) struct Serving {
    pub(super) address: SocketAddr,
    pub(super) health: SocketAddr,
    /// Ends when all that was under way when it was told to stop has ended.
    pub(super) served: JoinHandle<()>,
}

/// Serves both ports until `end`.
pub(super) async fn start(core: &Arc<Core>, config: &Arc<Config>, end: &CancellationToken) -> io::Result<Serving> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let health_listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, health) = (listener.local_addr()?, health_listener.local_addr()?);
    tokio::spawn(until(end.clone(), serve_health(Arc::clone(core), health_listener)));
    let served = tokio::spawn(until(
        end.clone(),
        serve(Arc::clone(core), Arc::clone(config), listener),
    ));
    Ok(Serving {
        address,
        health,
        served,
    })
}

async fn until(end: CancellationToken, serving: impl Future<Output = ()>) {
    tokio::select! {
        () = end.cancelled() => {}
        () = serving => {}
    }
}

async fn serve(core: Arc<Core>, config: Arc<Config>, listener: TcpListener) {
    let takes = if core.has(Fault::TakesSmallMessages) {
        MAX_ARGUMENTS
    } else {
        MAX_MESSAGE
    };
    let window = if core.has(Fault::SmallWindow) {
        STREAM_WINDOW
    } else {
        CONNECTION_WINDOW
    };
    let service = PluginServer::new(Service(Arc::clone(&core)));
    let (sender, incoming) = mpsc::channel(1);
    let accepting = tokio::spawn(accept(Arc::clone(&core), config, listener, sender));
    let told = async {
        core.stopped().await;
        if core.has(Fault::TakesNewConnections) {
            // For as long as something is under way.
            let _ = core.open.subscribe().wait_for(|open| *open == 0).await;
        }
        accepting.abort();
    };
    let served = Server::builder()
        .max_concurrent_streams(4096)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(window)
        .max_frame_size(u32::try_from(MAX_CHUNK).ok())
        .layer(Meddle::layer(&core))
        .add_service(service.max_decoding_message_size(takes))
        .serve_with_incoming_shutdown(ReceiverStream::new(incoming), told);
    // A plugin that cannot serve is noticed by whoever asks it.
    let _ = served.await;
}

async fn serve_health(core: Arc<Core>, listener: TcpListener) {
    let mut server = Server::builder().layer(Meddle::layer(&core));
    let mut router = server.add_service(HealthServer::new(Answer(Arc::clone(&core))));
    if core.has(Fault::PluginOnHealthPort) {
        router = router.add_service(PluginServer::new(Service(Arc::clone(&core))));
    }
    let _ = router.serve_with_incoming(TcpListenerStream::new(listener)).await;
}

/// Accepts connections, each on its own.
async fn accept(core: Arc<Core>, config: Arc<Config>, listener: TcpListener, sender: mpsc::Sender<io::Result<Linked>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (core, config, sender) = (Arc::clone(&core), config.load(), sender.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            if let Some(stream) = handshake(&core, TlsAcceptor::from(config), stream).await {
                // Fails if the plugin takes no new connections any more.
                let _ = sender.send(Ok(Linked::new(stream, core.fault))).await;
            }
        });
    }
}

async fn handshake(core: &Core, acceptor: TlsAcceptor, mut stream: TcpStream) -> Option<Stream> {
    let mut first = [0; 11];
    if core.has(Fault::SpeaksPlainText) || core.has(Fault::SpeaksOldTls) {
        while stream.peek(&mut first).await.ok()? < first.len() {}
    }
    if core.has(Fault::SpeaksPlainText) && first.starts_with(b"PRI ") {
        return Some(Box::pin(stream));
    }
    if core.has(Fault::SpeaksOldTls) && first.ends_with(&OLD_TLS) {
        stream.write_all(&OLD_HELLO).await.ok()?;
        return None;
    }
    let stream = acceptor.accept(stream).await.ok()?;
    Some(Box::pin(stream))
}

trait Both: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Both for T {}
type Stream = Pin<Box<dyn Both>>;

/// A connection that its calls can cut.
struct Linked {
    stream: Stream,
    link: Link,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// What is written when it is cut.
    last: &'static [u8],
}

impl Linked {
    fn new(stream: Stream, fault: Option<Fault>) -> Self {
        let link = Link::new(fault);
        let cut = Box::pin(link.cut.clone().cancelled_owned());
        let last: &[u8] = if fault == Some(Fault::MalformedFrames) {
            &MALFORMED
        } else {
            &[]
        };
        Self {
            stream,
            link,
            cut,
            last,
        }
    }

    /// Once it is cut: its last words, and then nothing.
    fn is_cut(&mut self, context: &mut Context<'_>) -> bool {
        if self.cut.as_mut().poll(context).is_pending() {
            return false;
        }
        // From now on it is cut without being asked.
        self.cut = Box::pin(self.link.cut.clone().cancelled_owned());
        while !self.last.is_empty() {
            match self.stream.as_mut().poll_write(context, self.last) {
                Poll::Ready(Ok(written)) => self.last = self.last.get(written..).unwrap_or_default(),
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        let _ = self.stream.as_mut().poll_flush(context);
        true
    }
}

impl Connected for Linked {
    type ConnectInfo = Link;

    fn connect_info(&self) -> Link {
        self.link.clone()
    }
}

fn cut() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

impl AsyncRead for Linked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_cut(context) {
            return Poll::Ready(Err(cut()));
        }
        self.stream.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Linked {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_cut(context) {
            return Poll::Ready(Err(cut()));
        }
        self.stream.as_mut().poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }
}

struct Answer(Arc<Core>);

#[tonic::async_trait]
impl Health for Answer {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let known = service.is_empty() || service == "kite.plugin.v1.Plugin";
        if !known || (self.0.has(Fault::UnknownHealthService) && !service.is_empty()) {
            return Err(Status::not_found("there is no such service"));
        }
        let serving = *self.0.serving.borrow() || self.0.has(Fault::StaysServing);
        let status = if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("this port answers Check only"))
    }
}
