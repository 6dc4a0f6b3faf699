//! The server behind nginx: hyper alone, with the answers that the plugin gives at the gateway.

use std::{convert::Infallible, net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{PartError, read};
use crate::load::task::{GREETED, SMALL, Task};

type Answer = Response<Either<Full<Bytes>, Incoming>>;

async fn answer(request: Request<Incoming>) -> Result<Answer, Infallible> {
    let path = request.uri().path();
    let body = if path == Task::Small.path() {
        Either::Left(Full::from(SMALL))
    } else if path == Task::Echo.path() {
        // As it comes, as the plugin does.
        Either::Right(request.into_body())
    } else if path == Task::Tool.path() {
        // Of this connection is read on only when the whole body was.
        let whole = request.into_body().collect().await;
        Either::Left(Full::from(if whole.is_ok() { GREETED } else { "" }))
    } else {
        let mut response = Response::new(Either::Left(Full::default()));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    };
    Ok(Response::new(body))
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin) {
    // A connection that breaks is its client's affair.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(io), service_fn(answer))
        .await;
}

/// The next connection. What goes wrong with one is no reason to end.
async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    let (tcp, _) = listener.accept().await.ok()?;
    tcp.set_nodelay(true).ok()?;
    Some(tcp)
}

/// Serves both.
pub(super) async fn run(folder: &Path, plain: SocketAddr, encrypted: SocketAddr) -> Result<(), PartError> {
    let acceptor = TlsAcceptor::from(Arc::new(config(folder)?));
    let plain = TcpListener::bind(plain).await.map_err(PartError::Listen)?;
    let encrypted = TcpListener::bind(encrypted).await.map_err(PartError::Listen)?;
    loop {
        tokio::select! {
            Some(tcp) = accept(&plain) => {
                tokio::spawn(serve(tcp));
            }
            Some(tcp) = accept(&encrypted) => {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(tls) = acceptor.accept(tcp).await {
                        serve(tls).await;
                    }
                });
            }
            else => {}
        }
    }
}

fn config(folder: &Path) -> Result<ServerConfig, PartError> {
    let pem = |file: &str, source| PartError::Pem {
        path: folder.join(file),
        source,
    };
    let (certificate, key) = ("origin.crt", "origin.key");
    let text = read(folder, certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let private = PrivateKeyDer::from_pem_slice(read(folder, key)?.as_bytes()).map_err(|source| pem(key, source))?;
    let builder = ServerConfig::builder().with_no_client_auth();
    builder
        .with_single_cert(chain.map_err(|source| pem(certificate, source))?, private)
        .map_err(PartError::Tls)
}
