//! One question to an API server, for telling whether it is there. Everything else goes through `kube` or kubectl.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::pki::{ADMIN, Pki};

/// Above what a slow answer takes, below what a person waits.
const LIMIT: Duration = Duration::from_secs(5);

/// The body, if the answer is 200. Anything else is "not yet" to who waits, and so no reason is kept.
pub(super) fn get(pki: &Pki, server: SocketAddr, path: &str) -> Option<Vec<u8>> {
    let answer = ask(pki, server, path).ok()?;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = answer.split_at(head);
    let status = head.split(|byte| *byte == b' ').nth(1)?;
    (status == b"200").then(|| body.get(4..).unwrap_or_default().to_vec())
}

/// Whether something accepts connections there.
pub(super) fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, LIMIT).is_ok()
}

fn ask(pki: &Pki, server: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let socket = TcpStream::connect_timeout(&server, LIMIT)?;
    socket.set_read_timeout(Some(LIMIT))?;
    socket.set_write_timeout(Some(LIMIT))?;
    let connection =
        ClientConnection::new(Arc::new(config(pki)?), ServerName::from(server.ip())).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, socket);
    // Version 1.0: the answer comes in one piece and ends with the connection.
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {server}\r\nAccept: application/json\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // Servers often end the connection without saying so in TLS.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(answer),
    }
}

fn config(pki: &Pki) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(pki.path("ca.crt")).map_err(io::Error::other)?;
    roots.add(ca).map_err(io::Error::other)?;
    let certificate = CertificateDer::from_pem_file(pki.certificate(ADMIN)).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(pki.key(ADMIN)).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_root_certificates(roots)
                .with_client_auth_cert(vec![certificate], key)
        })
        .map_err(io::Error::other)
}
