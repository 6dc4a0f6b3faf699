//! A connection to a plugin: HTTP/2 over mutual TLS, verified by the plugin's name whatever address was dialled.
//!
//! It never reconnects by itself: another pod may stand behind the address by then, and would have to be asked anew.

use std::{
    net::SocketAddr,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kite_api::PluginName;
use kite_proto::{DescribeRequest, WithoutDetails, plugin_client::PluginClient};
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{OfferedError, paced::Paced, read_first::ReadFirst};
use crate::tls::{self, TlsError};

/// For TCP, TLS and HTTP/2 together: inside a cluster this takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The protocol gives a plugin this long to describe itself.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a description: the definitions, and room for the rest.
const MAX_DESCRIPTION: usize = kite_proto::MAX_DEFINITIONS + 64 * 1024;
/// A pod that vanished without a word is noticed after interval and timeout.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an answer may wait for its caller. With the number of requests under way it bounds the memory.
const STREAM_WINDOW: u32 = 256 * 1024;
/// As large as HTTP/2 has it: what waits for a caller who does not read counts against the connection too, and must not
/// stop the answers to all others.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("failed to use the endpoint a moment ago")]
    LeftAlone,
    #[error("failed to load the client certificate")]
    Certificate(#[source] TlsError),
    #[error("failed to make the name of the plugin's certificate")]
    ServerName(#[source] InvalidDnsNameError),
    #[error("failed to make the address of the plugin")]
    Origin(#[source] http::uri::InvalidUri),
    #[error("failed to connect in time")]
    Timeout,
    #[error("failed to connect")]
    Connect(#[source] std::io::Error),
    #[error("failed to agree on TLS")]
    Tls(#[source] std::io::Error),
    #[error("failed to agree on HTTP/2")]
    Http2(#[source] hyper::Error),
    #[error("failed to get the plugin's description")]
    Describe(#[source] Box<tonic::Status>),
    #[error("failed to get the plugin's description in time")]
    DescribeTimeout,
    #[error("failed to find the recorded hash in the plugin's definitions")]
    Definitions,
    #[error("failed to read the plugin's definitions")]
    Offered(#[source] OfferedError),
}

/// Why no answer came to a request.
#[derive(Debug, thiserror::Error)]
#[error("failed to send the request or to get the head of its answer")]
pub struct SendError {
    /// Whether the request never left, so that the plugin cannot have begun with it.
    unsent: bool,
    source: hyper::Error,
}

impl SendError {
    pub(super) fn is_unsent(&self) -> bool {
        self.unsent
    }
}

/// Sends requests over one connection, as tonic's client wants it.
#[derive(Clone)]
pub struct Sender {
    requests: http2::SendRequest<tonic::body::Body>,
    origin: http::Uri,
}

impl Sender {
    pub(super) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    pub(super) fn client(self) -> PluginClient<Self> {
        let origin = self.origin.clone();
        PluginClient::with_origin(self, origin)
    }

    /// The definitions that the plugin gives now, serialized.
    pub(super) async fn describe(&self) -> Result<Bytes, EndpointError> {
        let mut client = self.clone().client().max_decoding_message_size(MAX_DESCRIPTION);
        let response = timeout(
            DESCRIBE_TIMEOUT,
            client.describe(DescribeRequest::of_host(DESCRIBE_TIMEOUT)),
        )
        .await
        .map_err(|_| EndpointError::DescribeTimeout)?
        .map_err(|status| EndpointError::Describe(Box::new(status)))?;
        Ok(response.into_inner().definitions)
    }
}

impl tower::Service<http::Request<tonic::body::Body>> for Sender {
    type Response = http::Response<WithoutDetails<Incoming>>;
    type Error = SendError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // A connection that is closed is told by the request that it gives back.
        self.requests.poll_ready(cx).map(|_| Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let sent = self.requests.try_send_request(request);
        Box::pin(async move {
            let answer = sent.await.map_err(|error| SendError {
                unsent: error.message().is_some(),
                source: error.into_error(),
            })?;
            Ok(kite_proto::without_status_details(answer))
        })
    }
}

/// A connection to `plugin` at `address`, with the client certificate in `client_dir`.
pub(super) async fn open(plugin: &PluginName, address: SocketAddr, client_dir: &Path) -> Result<Sender, EndpointError> {
    let config = tls::client(client_dir).await.map_err(EndpointError::Certificate)?;
    let name = kite_proto::server_name(plugin.as_str());
    let origin = format!("https://{name}").parse().map_err(EndpointError::Origin)?;
    let name = ServerName::try_from(name).map_err(EndpointError::ServerName)?;
    let connect = async {
        let tcp = TcpStream::connect(address).await.map_err(EndpointError::Connect)?;
        tcp.set_nodelay(true).map_err(EndpointError::Connect)?;
        let tls = TlsConnector::from(config)
            .connect(name, ReadFirst::new(tcp))
            .await
            .map_err(EndpointError::Tls)?;
        over(Paced::new(tls), origin).await
    };
    let (sender, connection) = timeout(CONNECT_TIMEOUT, connect)
        .await
        .map_err(|_| EndpointError::Timeout)??;
    let plugin = plugin.clone();
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%plugin, %address, error = kite_api::error_chain(&error), "connection broke");
        }
    });
    Ok(sender)
}

/// A connection over `io`, and what carries it.
pub(super) async fn over<IO>(
    io: IO,
    origin: http::Uri,
) -> Result<(Sender, impl Future<Output = hyper::Result<()>> + Send), EndpointError>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (requests, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(kite_proto::MAX_METADATA)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(io))
        .await
        .map_err(EndpointError::Http2)?;
    Ok((Sender { requests, origin }, connection))
}
