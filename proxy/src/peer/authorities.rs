//! The CAs of client certificates: one for callers, and another for proxies that say who calls.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, UnixTime, pem, pem::PemObject as _},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::{Certified, Peer};
use crate::{
    moment::Moment,
    pipeline::authenticate::certificate::{self, Subject},
};

/// What client certificates are believed. None unless somebody says so.
#[derive(Clone, Default)]
pub struct Authorities {
    people: Option<Authority>,
    proxies: Option<(Authority, Vec<String>)>,
}

/// One CA, or several that stand for one another.
#[derive(Clone)]
struct Authority {
    certificates: Vec<CertificateDer<'static>>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Why a CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    #[error("failed to read certificates from {}", path.display())]
    Read { path: PathBuf, source: pem::Error },
    #[error("failed to find a certificate in {}", path.display())]
    Empty { path: PathBuf },
    #[error("failed to use the certificates of {}", path.display())]
    Use { path: PathBuf, source: rustls::Error },
    #[error("failed to verify by the certificates of {}", path.display())]
    Verify {
        path: PathBuf,
        source: VerifierBuilderError,
    },
    #[error("failed to tell callers from proxies: {} and {} have a CA in common", people.display(), proxies.display())]
    Shared { people: PathBuf, proxies: PathBuf },
    #[error("failed to ask for certificates of both CAs")]
    Both(#[source] VerifierBuilderError),
}

impl Authorities {
    /// The CA of callers in one file, that of proxies in another, with the common names that a proxy may have.
    pub fn load(people: Option<&Path>, proxies: Option<&Path>, names: &[String]) -> Result<Self, AuthoritiesError> {
        let authorities = Self {
            people: people.map(Authority::load).transpose()?,
            proxies: proxies
                .map(|path| Ok((Authority::load(path)?, names.to_vec())))
                .transpose()?,
        };
        // Whoever has a certificate of their own could else say to be anybody.
        if let Self {
            people: Some(ca),
            proxies: Some((other, _)),
        } = &authorities
            && ca.certificates.iter().any(|one| other.certificates.contains(one))
        {
            return Err(AuthoritiesError::Shared {
                people: people.unwrap_or(Path::new("")).to_owned(),
                proxies: proxies.unwrap_or(Path::new("")).to_owned(),
            });
        }
        Ok(authorities)
    }

    /// What the TLS handshake asks of clients: nothing, or a certificate of one of the CAs, which they may leave out.
    pub fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, AuthoritiesError> {
        let proxies = self.proxies.as_ref().map(|(authority, _)| authority);
        let all: Vec<_> = self.people.iter().chain(proxies).collect();
        if all.is_empty() {
            return Ok(WebPkiClientVerifier::no_client_auth());
        }
        let mut roots = RootCertStore::empty();
        for authority in all {
            // They were taken when they were loaded.
            roots.add_parsable_certificates(authority.certificates.iter().cloned());
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = builder.allow_unauthenticated().build();
        verifier.map_err(AuthoritiesError::Both)
    }

    /// Whose certificate the peer has shown, as long as it is valid.
    pub fn who(&self, peer: &Peer, now: Moment) -> Certified {
        let who = peer.certified(|chain| self.identify(chain));
        match who {
            Certified::Person { until, .. } | Certified::Proxy { until } if *until <= now => Certified::Nobody,
            who => who.clone(),
        }
    }

    /// A certificate of the proxies' CA is never a caller's own, whatever else it may chain to.
    fn identify(&self, chain: &[CertificateDer<'static>]) -> Certified {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Certified::Nobody;
        };
        let Some(Subject { name, groups, until }) = certificate::subject(leaf) else {
            return Certified::Nobody;
        };
        let is_of = |authority: &Authority| {
            let verified = authority
                .verifier
                .verify_client_cert(leaf, intermediates, UnixTime::now());
            verified.is_ok()
        };
        match &self.proxies {
            Some((authority, names)) if is_of(authority) => {
                return if names.contains(&name) {
                    Certified::Proxy { until }
                } else {
                    Certified::Unlisted
                };
            }
            _ => {}
        }
        if !self.people.as_ref().is_some_and(is_of) {
            return Certified::Nobody;
        }
        Certified::Person {
            caller: Arc::new(certificate::caller(name, groups)),
            until,
        }
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (people, proxies) = (self.people.is_some(), self.proxies.is_some());
        write!(f, "Authorities {{ people: {people}, proxies: {proxies} }}")
    }
}

impl Authority {
    fn load(path: &Path) -> Result<Self, AuthoritiesError> {
        let path = path.to_owned();
        let certificates: Result<Vec<_>, _> = match CertificateDer::pem_file_iter(&path) {
            Ok(certificates) => certificates.collect(),
            Err(error) => Err(error),
        };
        let certificates = match certificates {
            Ok(certificates) if certificates.is_empty() => return Err(AuthoritiesError::Empty { path }),
            Ok(certificates) => certificates,
            Err(source) => return Err(AuthoritiesError::Read { path, source }),
        };
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            if let Err(source) = roots.add(certificate.clone()) {
                return Err(AuthoritiesError::Use { path, source });
            }
        }
        match WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build() {
            Ok(verifier) => Ok(Self { certificates, verifier }),
            Err(source) => Err(AuthoritiesError::Verify { path, source }),
        }
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
pub(crate) mod tests;
