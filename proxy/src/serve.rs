//! The listener: TLS, HTTP/1.1 and HTTP/2 with their limits, and an end that drops no request.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
};
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{account::Recorded, peer::Peer, pipeline::RequestBody, upgrades::Upgrades};

/// A client that has not agreed on TLS by then does not want to.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// For the head of a request, and so for how long an HTTP/1.1 connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// Most bytes of a request's head.
const MAX_HEAD: u32 = 64 * 1024;
/// Most header fields of a request over HTTP/1.1.
const MAX_FIELDS: usize = 128;
/// Most requests under way on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// Most streams that a peer may have reset before they were looked at; more is an attack (CVE-2023-44487).
const MAX_RESETS: usize = 64;
/// HTTP/2 connections whose peer is gone are noticed after interval and timeout.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// HTTP/1.1 has no pings, so that of its connections TCP has to notice: after the interval, and this many timeouts.
const KEEP_ALIVE_RETRIES: u32 = 3;
/// Flow-control windows: measured to be where larger ones bring nothing more.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// After an accept that failed for want of something, such as file descriptors, that others will give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `answer` on `listener` until `ended`; then what is under way has `grace` to finish.
pub async fn serve<F, R>(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    answer: F,
    ended: impl Future<Output = ()>,
    grace: Duration,
) where
    F: Fn(Request<RequestBody>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Recorded>> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(config);
    let (connections, upgrades) = (GracefulShutdown::new(), Upgrades::default());
    let mut ended = std::pin::pin!(ended);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut ended => break,
        };
        match accepted {
            Ok((tcp, peer)) => {
                let (acceptor, watcher) = (acceptor.clone(), connections.watcher());
                let answer = leased(answer.clone(), upgrades.clone());
                tokio::spawn(connection(acceptor, tcp, peer, answer, watcher));
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let under_way = connections.count() + upgrades.count();
    upgrades.end();
    let ended = async {
        connections.shutdown().await;
        // After the connections of HTTP, of which some may have become others just now.
        upgrades.ended().await;
    };
    if timeout(grace, ended).await.is_err() {
        tracing::warn!(connections = under_way, "connections were cut off");
    }
}

/// Has a request that would become another protocol learn of the end, and counted until its connection is closed.
fn leased<F, R>(answer: F, upgrades: Upgrades) -> impl Fn(Request<RequestBody>) -> R + Clone + Send + 'static
where
    F: Fn(Request<RequestBody>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Recorded>> + Send + 'static,
{
    move |mut request| {
        if request.headers().contains_key(header::UPGRADE) {
            request.extensions_mut().insert(upgrades.lease());
        }
        answer(request)
    }
}

async fn connection<F, R>(acceptor: TlsAcceptor, tcp: TcpStream, peer: SocketAddr, answer: F, watcher: Watcher)
where
    F: Fn(Request<RequestBody>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Recorded>> + Send + 'static,
{
    let tls = match handshake(acceptor, tcp).await {
        Ok(tls) => tls,
        Err(error) => {
            tracing::debug!(%peer, %error, "no TLS");
            return;
        }
    };
    let builder = builder(tls.get_ref().1.alpn_protocol() == Some(b"h2"));
    let known = Peer::new(peer, tls.get_ref().1.peer_certificates());
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        request.extensions_mut().insert(known.clone());
        let answered = answer(request);
        async { Ok::<_, Infallible>(answered.await) }
    });
    let connection = builder
        .serve_connection_with_upgrades(TokioIo::new(tls), service)
        .into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%peer, error = kite_api::error_chain(error.as_ref()), "connection broke");
    }
}

async fn handshake(acceptor: TlsAcceptor, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    tcp.set_nodelay(true)?;
    keep_alive(&tcp)?;
    timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)?
}

/// Has TCP ask a client that says nothing whether it is still there, even while nothing is written to it.
fn keep_alive(tcp: &TcpStream) -> io::Result<()> {
    let probes = TcpKeepalive::new()
        .with_time(KEEP_ALIVE_INTERVAL)
        .with_interval(KEEP_ALIVE_TIMEOUT)
        .with_retries(KEEP_ALIVE_RETRIES);
    SockRef::from(tcp).set_tcp_keepalive(&probes)
}

/// How a connection is served. TLS has settled the version, so that nothing waits for the client to show it again.
fn builder(http2: bool) -> Builder<TokioExecutor> {
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = if http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD as usize)
        .max_headers(MAX_FIELDS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_says_nothing_is_asked_whether_it_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        drop(client);
        keep_alive(&tcp).unwrap();
        let socket = SockRef::from(&tcp);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEP_ALIVE_INTERVAL);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEP_ALIVE_TIMEOUT);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEP_ALIVE_RETRIES);
    }
}
