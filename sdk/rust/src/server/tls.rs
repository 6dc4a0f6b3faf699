//! Mutual TLS with certificates that change while the plugin runs.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use kite_api::error_chain;
use kite_proto::{CERTIFICATE_FILE, CLIENTS_CA_FILE, KEY_FILE};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    server::{VerifierBuilderError, WebPkiClientVerifier},
};
use tokio::{
    fs,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    time::{interval, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, info, warn};

/// How long a client may take for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many handshakes are under way at once. Whoever can reach the port can begin one.
const HANDSHAKES: usize = 1024;
/// How often the folder is looked at: the protocol wants new files used within 60 s.
const LOOK: Duration = Duration::from_secs(3);
/// Pause after a connection could not be accepted, for want of file descriptors, say.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a plugin's certificate, its key and the clients' CA come from.
#[derive(Clone, Debug)]
pub enum Certificates {
    /// The files `tls.crt`, `tls.key` and `clients-ca.crt` in this folder. New ones are used for new connections within seconds.
    Folder(PathBuf),
    /// These, PEM, for as long as the plugin runs.
    Fixed {
        /// The plugin's certificate, with those that lead to its CA.
        certificate: Bytes,
        /// The certificate's private key.
        key: Bytes,
        /// The CA whose clients are believed.
        clients_ca: Bytes,
    },
}

/// Why certificate, key and CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there.
    #[error("failed to read {path}: the operator mounts the plugin's certificate there, by hand put one there")]
    ReadFile {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The certificate is not PEM.
    #[error("failed to read the plugin's certificate")]
    Certificate(#[source] pem::Error),
    /// The key is not PEM.
    #[error("failed to read the private key of the plugin's certificate")]
    Key(#[source] pem::Error),
    /// The CA is not PEM.
    #[error("failed to read the CA of the clients")]
    ClientsCa(#[source] pem::Error),
    /// The CA cannot be one.
    #[error("failed to use the CA of the clients")]
    UseClientsCa(#[source] VerifierBuilderError),
    /// Certificate and key do not fit together.
    #[error("failed to use the plugin's certificate with its key")]
    Use(#[source] rustls::Error),
}

/// The three files.
#[derive(Clone, Eq, PartialEq)]
struct Files {
    certificate: Bytes,
    key: Bytes,
    clients_ca: Bytes,
}

impl Certificates {
    async fn read(&self) -> Result<Files, TlsError> {
        match self {
            Self::Fixed {
                certificate,
                key,
                clients_ca,
            } => Ok(Files {
                certificate: certificate.clone(),
                key: key.clone(),
                clients_ca: clients_ca.clone(),
            }),
            Self::Folder(folder) => {
                let read = async |file: &str| {
                    let path = folder.join(file);
                    let read = fs::read(&path).await;
                    read.map(Bytes::from)
                        .map_err(|source| TlsError::ReadFile { path, source })
                };
                Ok(Files {
                    certificate: read(CERTIFICATE_FILE).await?,
                    key: read(KEY_FILE).await?,
                    clients_ca: read(CLIENTS_CA_FILE).await?,
                })
            }
        }
    }
}

impl Files {
    /// What new connections are met with. It shares no session with the one before, so that no client of an older CA comes back
    /// by one.
    fn config(&self) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(&self.clients_ca) {
            let added = roots.add(root.map_err(TlsError::ClientsCa)?);
            added.map_err(TlsError::Use)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(TlsError::UseClientsCa)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(TlsError::Key)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Use)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates.map_err(TlsError::Certificate)?, key)
            .map_err(TlsError::Use)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// The plugin's end of TLS.
pub(super) struct Tls {
    certificates: Certificates,
    files: Files,
    config: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    pub(super) async fn new(certificates: Certificates) -> Result<Self, TlsError> {
        let files = certificates.read().await?;
        let config = Arc::new(ArcSwap::from_pointee(files.config()?));
        Ok(Self {
            certificates,
            files,
            config,
        })
    }

    /// The connections whose clients have shown their certificates. The listener is open for as long as the stream is there and
    /// `serving` is true; the stream does not end before the plugin does, as connections that are there go on.
    pub(super) fn incoming(
        &self,
        listener: TcpListener,
        mut serving: watch::Receiver<bool>,
    ) -> ReceiverStream<io::Result<TlsStream<TcpStream>>> {
        let (sender, receiver) = mpsc::channel(1);
        let config = Arc::clone(&self.config);
        tokio::spawn(async move {
            tokio::select! {
                () = sender.closed() => {}
                _ = serving.wait_for(|serving| !serving) => {}
                () = accept(listener, &config, &sender) => {}
            }
            sender.closed().await;
        });
        ReceiverStream::new(receiver)
    }

    /// Looks for new files, for as long as it is polled. Files that are no good, or are being changed just now, leave the old.
    pub(super) async fn renew(mut self) {
        if matches!(self.certificates, Certificates::Fixed { .. }) {
            return std::future::pending().await;
        }
        let mut look = interval(LOOK);
        let mut refused = None;
        loop {
            look.tick().await;
            let files = match self.certificates.read().await {
                Ok(files) => files,
                Err(error) => {
                    warn!(
                        error = error_chain(&error),
                        "the certificates cannot be read; the old ones are used on"
                    );
                    continue;
                }
            };
            if files == self.files || refused.as_ref() == Some(&files) {
                continue;
            }
            match files.config() {
                Ok(config) => {
                    self.config.store(Arc::new(config));
                    self.files = files;
                    info!("new certificates are used");
                }
                Err(error) => {
                    warn!(
                        error = error_chain(&error),
                        "the new certificates cannot be used; the old ones are used on"
                    );
                    refused = Some(files);
                }
            }
        }
    }
}

/// Accepts connections until the process ends. Each handshake is on its own, so that a slow one holds up no other.
async fn accept(
    listener: TcpListener,
    config: &ArcSwap<ServerConfig>,
    sender: &mpsc::Sender<io::Result<TlsStream<TcpStream>>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(error = error_chain(&error), "a connection could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else {
            return;
        };
        let acceptor = TlsAcceptor::from(config.load_full());
        let sender = sender.clone();
        tokio::spawn(async move {
            let _permit = permit;
            // Fails on a socket that is gone, which the handshake notices too.
            let _ = stream.set_nodelay(true);
            match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    // Fails if the plugin takes no new connections any more.
                    let _ = sender.send(Ok(stream)).await;
                }
                Ok(Err(error)) => debug!(error = error_chain(&error), "a client was refused"),
                Err(_) => debug!("a client was too slow with its handshake"),
            }
        });
    }
}
