//! Certificates and keys from mounted folders, and the TLS configurations made of them.

pub mod reload;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use kite_api::identity::{CA_KEY, CERTIFICATE_KEY, PRIVATE_KEY_KEY};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    server::danger::ClientCertVerifier,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use self::reload::Reloaded;

type X509Error = x509_parser::nom::Err<x509_parser::error::X509Error>;

const SERVING: &[&str] = &[CERTIFICATE_KEY, PRIVATE_KEY_KEY];
const CALLING: &[&str] = &[CERTIFICATE_KEY, PRIVATE_KEY_KEY, CA_KEY];

/// Why no TLS configuration could be made of a folder.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("failed to parse {} as PEM", path.display())]
    Parse { path: PathBuf, source: pem::Error },
    #[error("failed to find a certificate in {}", path.display())]
    Empty { path: PathBuf },
    #[error("failed to read the certificate in {}", path.display())]
    Certificate { path: PathBuf, source: X509Error },
    #[error("failed to use certificates and key of {}", path.display())]
    Use { path: PathBuf, source: rustls::Error },
}

/// What HTTPS is served with: the certificate and key in `dir`, HTTP/2 before HTTP/1.1. What clients have to show `clients` decides.
pub async fn serving(dir: &Path, clients: Arc<dyn ClientCertVerifier>) -> Result<Reloaded<ServerConfig>, TlsError> {
    Reloaded::new(dir, SERVING, move |files| server_config(files, Arc::clone(&clients))).await
}

/// What plugins are called with: the client certificate and key in `dir`, and the CA there, which alone is believed.
pub async fn calling(dir: &Path) -> Result<Reloaded<ClientConfig>, TlsError> {
    Reloaded::new(dir, CALLING, client_config).await
}

/// The same as it is now.
pub async fn client(dir: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    client_config(&Files::read(dir, CALLING).await?).map(Arc::new)
}

fn server_config(files: &Files, clients: Arc<dyn ClientCertVerifier>) -> Result<ServerConfig, TlsError> {
    let refused = |source| files.refused(source);
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_client_cert_verifier(clients);
    let mut config = builder
        .with_single_cert(files.certificates(CERTIFICATE_KEY)?, files.key()?)
        .map_err(refused)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn client_config(files: &Files) -> Result<ClientConfig, TlsError> {
    let refused = |source| files.refused(source);
    let mut roots = RootCertStore::empty();
    for certificate in files.certificates(CA_KEY)? {
        roots.add(certificate).map_err(refused)?;
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_root_certificates(roots);
    let mut config = builder
        .with_client_auth_cert(files.certificates(CERTIFICATE_KEY)?, files.key()?)
        .map_err(refused)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// When the certificate in `dir` ends.
pub async fn end(dir: &Path) -> Result<Timestamp, TlsError> {
    let path = dir.join(CERTIFICATE_KEY);
    let certificates = Files::read(dir, &[CERTIFICATE_KEY])
        .await?
        .certificates(CERTIFICATE_KEY)?;
    let first = certificates
        .first()
        .ok_or_else(|| TlsError::Empty { path: path.clone() })?;
    match X509Certificate::from_der(first) {
        Ok((_, certificate)) => {
            let end = certificate.validity().not_after.timestamp();
            Ok(Timestamp::from_second(end).unwrap_or(Timestamp::MAX))
        }
        Err(error) => Err(TlsError::Certificate { path, source: error }),
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Files of a folder, as they were at one time.
#[derive(Clone, Eq, PartialEq)]
pub struct Files {
    dir: PathBuf,
    texts: Vec<(&'static str, Vec<u8>)>,
}

impl Files {
    async fn read(dir: &Path, names: &[&'static str]) -> Result<Self, TlsError> {
        let mut texts = Vec::new();
        for name in names {
            let path = dir.join(name);
            let text = tokio::fs::read(&path).await;
            texts.push((*name, text.map_err(|source| TlsError::Read { path, source })?));
        }
        Ok(Self {
            dir: dir.to_owned(),
            texts,
        })
    }

    fn text(&self, name: &str) -> &[u8] {
        let text = self.texts.iter().find(|(file, _)| *file == name);
        text.map(|(_, text)| text.as_slice()).unwrap_or_default()
    }

    fn certificates(&self, name: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let path = self.dir.join(name);
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.text(name)).collect();
        match certificates {
            Ok(certificates) if certificates.is_empty() => Err(TlsError::Empty { path }),
            Ok(certificates) => Ok(certificates),
            Err(source) => Err(TlsError::Parse { path, source }),
        }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(self.text(PRIVATE_KEY_KEY)).map_err(|source| TlsError::Parse {
            path: self.dir.join(PRIVATE_KEY_KEY),
            source,
        })
    }

    fn refused(&self, source: rustls::Error) -> TlsError {
        TlsError::Use {
            path: self.dir.clone(),
            source,
        }
    }
}
