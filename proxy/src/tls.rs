//! Certificates and keys from mounted folders, and the TLS configurations made of them.

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

type X509Error = x509_parser::nom::Err<x509_parser::error::X509Error>;

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
pub async fn server(dir: &Path, clients: Arc<dyn ClientCertVerifier>) -> Result<Arc<ServerConfig>, TlsError> {
    let refused = |source| TlsError::Use {
        path: dir.to_owned(),
        source,
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_client_cert_verifier(clients);
    let mut config = builder
        .with_single_cert(certificates(dir, CERTIFICATE_KEY).await?, key(dir).await?)
        .map_err(refused)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What plugins are called with: the client certificate and key in `dir`, and the CA there, which alone is believed.
pub async fn client(dir: &Path) -> Result<Arc<ClientConfig>, TlsError> {
    let refused = |source| TlsError::Use {
        path: dir.to_owned(),
        source,
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(dir, CA_KEY).await? {
        roots.add(certificate).map_err(refused)?;
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_root_certificates(roots);
    let chain = certificates(dir, CERTIFICATE_KEY).await?;
    let mut config = builder.with_client_auth_cert(chain, key(dir).await?).map_err(refused)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// When the certificate in `dir` ends.
pub async fn end(dir: &Path) -> Result<Timestamp, TlsError> {
    let path = dir.join(CERTIFICATE_KEY);
    let certificates = certificates(dir, CERTIFICATE_KEY).await?;
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

async fn certificates(dir: &Path, file: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let path = dir.join(file);
    let text = read(&path).await?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(TlsError::Empty { path }),
        Ok(certificates) => Ok(certificates),
        Err(source) => Err(TlsError::Parse { path, source }),
    }
}

async fn key(dir: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let path = dir.join(PRIVATE_KEY_KEY);
    PrivateKeyDer::from_pem_slice(&read(&path).await?).map_err(|source| TlsError::Parse { path, source })
}

async fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(path).await.map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}
