//! TLS as the host speaks it: the certificates that it shows, and what it thinks of the plugin's.

use std::sync::{Arc, Mutex, PoisonError};

use kite_api::error_chain;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{
        CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject as _},
    },
};

use crate::{Certified, world::Host};

/// Why certificate or CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("failed to read a certificate or a key as PEM")]
    Pem(#[source] pem::Error),
    #[error("failed to use the CA of the plugins' servers")]
    Authority(#[source] VerifierBuilderError),
    #[error("failed to use a certificate with its key")]
    Use(#[source] rustls::Error),
    #[error("failed to use the plugin's name in a certificate")]
    Name(#[source] InvalidDnsNameError),
}

/// Which certificate a client shows.
#[derive(Clone, Copy)]
pub(crate) enum Shown<'a> {
    Nothing,
    /// The host's own.
    Own,
    Other(&'a Certified),
}

pub(super) fn server_name(plugin: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(kite_proto::server_name(plugin)).map_err(TlsError::Name)
}

pub(super) fn config(host: &Host, shown: Shown<'_>) -> Result<(ClientConfig, Arc<Judge>), TlsError> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(host.servers_ca.as_bytes()) {
        roots.add(root.map_err(TlsError::Pem)?).map_err(TlsError::Use)?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(TlsError::Authority)?;
    let judge = Arc::new(Judge {
        verifier,
        found: Mutex::new(None),
    });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Use)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&judge) as Arc<dyn ServerCertVerifier>);
    let certified = match shown {
        Shown::Nothing => None,
        Shown::Own => Some(&host.certified),
        Shown::Other(certified) => Some(certified),
    };
    let mut config = match certified {
        None => builder.with_no_client_auth(),
        Some(Certified { certificate, key }) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(TlsError::Pem)?;
            let chain = chain.map_err(TlsError::Pem)?;
            builder.with_client_auth_cert(chain, key).map_err(TlsError::Use)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok((config, judge))
}

/// Judges the plugin's certificate, and takes it in any case: what is wrong with it is one rule's matter, and not that of all the others.
#[derive(Debug)]
pub(super) struct Judge {
    verifier: Arc<WebPkiServerVerifier>,
    found: Mutex<Option<String>>,
}

impl Judge {
    pub(super) fn found(&self) -> Option<String> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self
            .verifier
            .verify_server_cert(end_entity, intermediates, name, ocsp, now);
        if let Err(error) = verified {
            *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(error_chain(&error));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
