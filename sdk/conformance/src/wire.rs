//! The host's end of the wire, by hand over HTTP/2: it sees what a client library would put right, and does what one would not.

mod call;
mod tls;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, header};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

pub(crate) use self::{
    call::{Answer, Call, Ended, Event, Status},
    tls::Shown,
};
use crate::world::Host;

/// The service that plugins have.
const SERVICE: &str = "kite.plugin.v1.Plugin";
/// What may wait unread for one stream.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The most that HTTP/2 allows: a stream that is not read holds up no other on this side.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Header fields that are looked at; more break the stream.
const MAX_HEADERS: u32 = 256 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("failed to connect to {address}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("failed to use the host's certificate or CA")]
    Identity(#[source] tls::TlsError),
    #[error("failed to agree on TLS")]
    Handshake(#[source] io::Error),
    #[error("failed to begin HTTP/2")]
    Begin(#[source] h2::Error),
}

/// The largest of what all calls of a run were answered with.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Largest>);

/// Which method answered the longest message of a status, and the largest header fields, and their bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Largest {
    pub(crate) message: Option<(String, usize)>,
    pub(crate) metadata: Option<(String, usize)>,
}

impl Log {
    pub(crate) fn largest(&self) -> Largest {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, method: &str, message: Option<usize>, metadata: usize) {
        let mut largest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let larger = |of: &Option<(String, usize)>, bytes| of.as_ref().is_none_or(|(_, most)| bytes > *most);
        if let Some(bytes) = message
            && larger(&largest.message, bytes)
        {
            largest.message = Some((method.to_owned(), bytes));
        }
        if larger(&largest.metadata, metadata) {
            largest.metadata = Some((method.to_owned(), metadata));
        }
    }
}

/// A connection, which ends when it is dropped.
pub(crate) struct Wire {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<()>,
    log: Arc<Log>,
    /// What ALPN agreed on.
    pub(crate) alpn: Option<Vec<u8>>,
    /// What is wrong with the plugin's certificate.
    pub(crate) distrust: Option<String>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Wire {
    /// Connects by TLS and shows a certificate. That of the plugin is judged, and taken in any case.
    pub(crate) async fn connect(
        address: SocketAddr,
        name: &str,
        host: &Host,
        shown: Shown<'_>,
        log: &Arc<Log>,
    ) -> Result<Self, WireError> {
        let (config, judge) = tls::config(host, shown).map_err(WireError::Identity)?;
        let server = tls::server_name(name).map_err(WireError::Identity)?;
        let stream = tcp(address).await?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(server, stream)
            .await
            .map_err(WireError::Handshake)?;
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let mut wire = Self::over(stream, log).await?;
        wire.alpn = alpn;
        wire.distrust = judge.found();
        Ok(wire)
    }

    /// Connects without TLS.
    pub(crate) async fn plain(address: SocketAddr, log: &Arc<Log>) -> Result<Self, WireError> {
        Self::over(tcp(address).await?, log).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        log: &Arc<Log>,
    ) -> Result<Self, WireError> {
        let (requests, connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADERS)
            .handshake(stream)
            .await
            .map_err(WireError::Begin)?;
        let connection = tokio::spawn(async move {
            // Whoever calls learns of its end.
            let _ = connection.await;
        });
        Ok(Self {
            requests,
            connection,
            log: Arc::clone(log),
            alpn: None,
            distrust: None,
        })
    }

    /// Whether the connection has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.connection.is_finished()
    }

    /// Begins a call of one of the plugin's methods.
    pub(crate) async fn call(&self, method: &str) -> Result<Call, h2::Error> {
        self.call_with(SERVICE, method, &HeaderMap::new()).await
    }

    /// Begins a call of any method, with metadata.
    pub(crate) async fn call_with(&self, service: &str, method: &str, metadata: &HeaderMap) -> Result<Call, h2::Error> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        // Both are names without anything that an address could not have.
        *request.uri_mut() = format!("https://plugin/{service}/{method}").parse().unwrap_or_default();
        let fields = [(header::TE, "trailers"), (header::CONTENT_TYPE, "application/grpc")];
        for (name, value) in fields {
            request
                .headers_mut()
                .insert(name, http::HeaderValue::from_static(value));
        }
        request.headers_mut().extend(metadata.clone());
        let (response, send) = self.requests.clone().ready().await?.send_request(request, false)?;
        Ok(Call::new(method.to_owned(), send, response, Arc::clone(&self.log)))
    }

    /// The status of an ordinary HTTP request. `None`: none came, or it was refused as a call of gRPC is.
    pub(crate) async fn get(&self, path: &str) -> Option<u16> {
        let mut request = Request::new(());
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = format!("http://plugin{path}").parse().ok()?;
        let ready = self.requests.clone().ready().await;
        let (response, _) = ready.ok()?.send_request(request, true).ok()?;
        let response = response.await.ok()?;
        let is_refusal = response.headers().contains_key("grpc-status");
        (!is_refusal).then(|| response.status().as_u16())
    }
}

async fn tcp(address: SocketAddr) -> Result<TcpStream, WireError> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|source| WireError::Connect { address, source })?;
    // Fails on a socket that is gone, which the handshake notices too.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
