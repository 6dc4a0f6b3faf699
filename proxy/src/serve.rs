//! The listener: TLS, HTTP/1.1 and HTTP/2 with their limits, and an end that drops no request.

mod activity;
mod connection;
mod given;
mod limits;
mod line;
mod lines;
mod request;
mod room;
mod unread;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Body;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

use self::{limits::ACCEPT_PAUSE, line::Line, room::Place};
pub use self::{limits::Limits, request::RequestError, room::Room};
use crate::{
    leases::Leases,
    pipeline::{RequestBody, forward::BodyError},
    tls::reload::Reloaded,
};

/// Connections that the kernel keeps until they are accepted, while there is no room or nothing accepts.
const BACKLOG: i32 = 1024;

/// As many listeners on one address as `count` says: the kernel gives each its share of the connections.
pub fn listeners(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let mut address = address;
    (0..count)
        .map(|_| {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            let listener = std::net::TcpListener::from(socket);
            // The first settles the port, if any will do.
            address = listener.local_addr()?;
            Ok(listener)
        })
        .collect()
}

/// Serves `answer` on `listener`, in `room`, until `ended`; then what is under way has `grace` to finish.
pub async fn serve<F, R, B>(
    listener: TcpListener,
    certificates: Arc<Reloaded<ServerConfig>>,
    room: Room,
    answer: F,
    ended: impl Future<Output = ()>,
    grace: Duration,
) where
    F: Fn(Request<RequestBody>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
{
    let (connections, upgrades, line) = (Leases::default(), Leases::default(), Line::default());
    let mut ended = std::pin::pin!(ended);
    loop {
        // Who finds no room stays with the kernel, and is not dropped.
        let next = async { (room.place().await, listener.accept().await) };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut ended => break,
        };
        match (place, accepted) {
            (Some(place), Ok((tcp, peer))) => {
                let lease = connections.lease(Arc::clone(&place.connection));
                let answer = leased(answer.clone(), upgrades.clone(), &place);
                let (config, limits, line) = (certificates.current(), room.limits, line.clone());
                tokio::spawn(async move {
                    match agreed(config, tcp, place, limits).await {
                        Ok(tls) => connection::serve(tls, peer, answer, limits, lease, line).await,
                        Err(error) => tracing::debug!(%peer, %error, "no TLS"),
                    }
                });
            }
            (_, Err(error)) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            (None, Ok(_)) => break,
        }
    }
    drop(listener);
    let under_way = connections.count() + upgrades.count();
    upgrades.end();
    connections.end();
    let ended = async {
        connections.ended().await;
        // After the connections of HTTP, of which some may have become others just now.
        upgrades.ended().await;
    };
    if timeout(grace, ended).await.is_err() {
        tracing::warn!(connections = under_way, "connections were cut off");
    }
}

/// TLS, after which the place of those who do not have it yet is another's.
async fn agreed(
    config: Arc<ServerConfig>,
    tcp: TcpStream,
    place: Place,
    limits: Limits,
) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    let tls = connection::handshake(config, tcp, limits).await;
    drop(place.handshake);
    tls
}

/// Has a request that would become another protocol learn of the end, and counted until its connection is closed.
fn leased<F, R>(
    answer: F,
    upgrades: Leases,
    place: &Place,
) -> impl Fn(Request<RequestBody>) -> R + Clone + Send + use<F, R>
where
    F: Fn(Request<RequestBody>) -> R + Clone + Send + 'static,
{
    let place = Arc::clone(&place.connection);
    move |mut request| {
        if request.headers().contains_key(header::UPGRADE) {
            request.extensions_mut().insert(upgrades.lease(Arc::clone(&place)));
        }
        answer(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_listener_of_an_address_gets_connections() {
        let listeners = listeners(([127, 0, 0, 1], 0).into(), 3).unwrap();
        let address = listeners[0].local_addr().unwrap();
        assert!(listeners.iter().all(|one| one.local_addr().unwrap() == address));
        let mut accepting = Vec::new();
        for listener in listeners {
            let listener = TcpListener::from_std(listener).unwrap();
            accepting.push(tokio::spawn(async move { listener.accept().await.is_ok() }));
        }
        // Until each had one: whom the kernel chooses is its own affair.
        let mut clients = Vec::new();
        while !accepting.iter().all(tokio::task::JoinHandle::is_finished) {
            // Fails while those that are left have not been chosen.
            clients.push(TcpStream::connect(address).await);
            tokio::task::yield_now().await;
        }
        assert!(clients.len() >= 3);
    }
}
