//! The plugin's end of TLS: whom it believes, and by what.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject as _},
    },
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::{Fault, ReferenceError};
use crate::Authorities;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("failed to read PEM")]
    Pem(#[from] pem::Error),
    #[error("failed to use the clients' CA")]
    Clients(#[from] VerifierBuilderError),
    #[error("failed to use the certificate with its key")]
    Use(#[from] Error),
}

/// What new connections are met with.
pub(super) struct Config(RwLock<Arc<ServerConfig>>);

impl Config {
    pub(super) fn new(config: ServerConfig) -> Self {
        Self(RwLock::new(Arc::new(config)))
    }

    pub(super) fn store(&self, config: ServerConfig) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    pub(super) fn load(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// TLS for the plugin of this name.
pub(super) fn config(
    authorities: &Authorities,
    name: &str,
    fault: Option<Fault>,
) -> Result<ServerConfig, ReferenceError> {
    let name = if fault == Some(Fault::OtherName) { "other" } else { name };
    let certified = authorities.servers.server(name)?;
    let verifier = |fault| Believes::new(&authorities.clients.pem(), fault);
    let config = || -> Result<ServerConfig, ConfigError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certified.certificate.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes())?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(verifier(fault)?))
            .with_single_cert(chain?, key)?;
        if fault != Some(Fault::NoAlpn) {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Ok(config)
    };
    config().map_err(ReferenceError::Tls)
}

/// Believes clients of the CA, and whom else the fault lets in.
#[derive(Debug)]
struct Believes {
    verifier: Arc<dyn ClientCertVerifier>,
    fault: Option<Fault>,
}

impl Believes {
    fn new(ca: &str, fault: Option<Fault>) -> Result<Self, ConfigError> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(root?)?;
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { verifier, fault })
    }
}

impl ClientCertVerifier for Believes {
    fn client_auth_mandatory(&self) -> bool {
        self.fault != Some(Fault::TakesNoCertificate)
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        use CertificateError::{BadSignature, InvalidPurpose, InvalidPurposeContext, UnknownIssuer};
        let verified = self.verifier.verify_client_cert(end_entity, intermediates, now);
        match (verified, self.fault) {
            // Of another CA of the same name it is the signature that does not fit.
            (Err(Error::InvalidCertificate(UnknownIssuer | BadSignature)), Some(Fault::TakesOtherAuthority))
            | (
                Err(Error::InvalidCertificate(InvalidPurpose | InvalidPurposeContext { .. })),
                Some(Fault::TakesServerCertificate),
            ) => Ok(ClientCertVerified::assertion()),
            (verified, _) => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
