//! One connection, from its handshake to its end.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt as _, Either};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    activity::{Activity, Streams},
    given::Given,
    limits::{
        CONNECTION_WINDOW, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_RETRIES, KEEP_ALIVE_TIMEOUT, LAST_WORDS, Limits, MAX_FAULTS,
        MAX_FIELDS, MAX_HEAD, MAX_RESETS, MAX_STREAMS, SEND_BUFFER, STREAM_WINDOW, UNSENT,
    },
    line::Line,
    lines::{Expected, Lines},
    request,
    unread::{Last, Next, Taken},
};
use crate::{
    BoxError,
    leases::Lease,
    peer::Peer,
    pipeline::{RequestBody, ResponseBody, forward::BodyError},
};

/// Serves one connection until its end, its peer's misbehaviour, or the gateway's end.
pub(super) async fn serve<F, R, B>(
    tls: TlsStream<TcpStream>,
    peer: SocketAddr,
    answer: F,
    limits: Limits,
    mut lease: Lease,
    line: Line,
) where
    F: Fn(Request<RequestBody>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
{
    let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let activity = Activity::new();
    let (asking, expected) = (Arc::clone(&activity), Expected::default());
    // HTTP/2 has no lines.
    let lines = Some(expected.clone()).filter(|_| !http2);
    lines.iter().for_each(Expected::expect);
    let (known, last) = (Peer::new(peer, tls.get_ref().1.peer_certificates()), Last::default());
    let service = service_fn(move |request: Request<Incoming>| {
        let asked = asking.asked();
        let next = lines.clone().map(Next::new);
        // This one's head is read, perhaps with the request before, of which nothing that is still held is of interest any more.
        lines.iter().for_each(Expected::read);
        if let Some(before) = last.replace(next.as_ref()) {
            before.never();
        }
        let (answered, line) = (handed(request, &known, next.as_ref()).map(&answer), line.clone());
        async move {
            let response = match answered {
                Ok(answered) => answered.await.map(Either::Left),
                Err(refused) => refused.map(Either::Right),
            };
            asked.answered();
            // After a change of protocol nothing is a head any more.
            if let (StatusCode::SWITCHING_PROTOCOLS, Some(next)) = (response.status(), &next) {
                next.never();
            }
            Ok::<_, Infallible>(response.map(|body| Given::new(body, line, next)))
        }
    });
    let streams = Streams {
        activity: Arc::clone(&activity),
        stalled: limits.stalled,
    };
    let builder = builder(http2, limits, streams);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(Lines::new(tls, expected)), service);
    let mut connection = pin!(connection);
    let (mut told, mut idle) = (false, limits.idle);
    let ended: Result<(), BoxError> = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = activity.flooded() => break Err("the peer takes its requests back".into()),
            () = lease.told(), if !told => {
                connection.as_mut().graceful_shutdown();
                (told, idle) = (true, LAST_WORDS);
            }
            // Hyper waits for the first byte of the first head for ever, and for all others as long as it is told.
            () = activity.silent(limits.idle), if !http2 => break Err("the peer says nothing".into()),
            () = activity.idle(idle), if http2 => {
                connection.as_mut().graceful_shutdown();
                // One that has not even begun to speak HTTP/2 would not hear that it should end.
                break timeout(LAST_WORDS, connection.as_mut()).await.unwrap_or(Ok(()));
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error = kite_api::error_chain(error.as_ref()), "connection broke");
    }
}

/// The request as the gateway takes it, or the answer to one that is not looked at.
fn handed(
    request: Request<Incoming>,
    known: &Peer,
    next: Option<&Arc<Next>>,
) -> Result<Request<RequestBody>, Box<Response<ResponseBody>>> {
    if let Err(error) = request::check(&request) {
        // Its connection is closed.
        if let Some(next) = next {
            next.never();
        }
        return Err(Box::new(request::refuse(&request, error)));
    }
    let waits = request.headers().contains_key(header::EXPECT);
    let mut request = request.map(|body| match next {
        Some(next) => Taken::new(body, Arc::clone(next), waits)
            .map_err(Into::into)
            .boxed_unsync(),
        None => body.map_err(Into::into).boxed_unsync(),
    });
    request.extensions_mut().insert(known.clone());
    Ok(request)
}

/// Agrees on TLS.
pub(super) async fn handshake(
    config: Arc<ServerConfig>,
    tcp: TcpStream,
    limits: Limits,
) -> io::Result<TlsStream<TcpStream>> {
    tcp.set_nodelay(true)?;
    keep_alive(&tcp, limits)?;
    SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT)?;
    timeout(limits.handshake, TlsAcceptor::from(config).accept(tcp))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)?
}

/// Has TCP ask a client that says nothing whether it is still there, even while nothing is written to it, and give up one that
/// takes nothing of what is.
fn keep_alive(tcp: &TcpStream, limits: Limits) -> io::Result<()> {
    let probes = TcpKeepalive::new()
        .with_time(KEEP_ALIVE_INTERVAL)
        .with_interval(KEEP_ALIVE_TIMEOUT)
        .with_retries(KEEP_ALIVE_RETRIES);
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(limits.stalled))
}

/// How a connection is served. TLS has settled the version, so that nothing waits for the client to show it again.
fn builder(http2: bool, limits: Limits, streams: Streams) -> Builder<Streams> {
    let builder = Builder::new(streams);
    let mut builder = if http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(MAX_HEAD as usize)
        .max_headers(MAX_FIELDS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_FAULTS)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_client_that_says_nothing_is_asked_whether_it_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        drop(client);
        let limits = Limits::default();
        keep_alive(&tcp, limits).unwrap();
        let socket = SockRef::from(&tcp);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEP_ALIVE_INTERVAL);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEP_ALIVE_TIMEOUT);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEP_ALIVE_RETRIES);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(limits.stalled));
    }
}
