//! The CAs of client certificates: one for callers, and another for proxies that say who calls.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use kite_api::error_chain;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, Der, UnixTime, pem, pem::PemObject as _},
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use tokio::time::{MissedTickBehavior, interval};

use super::{Certified, Peer};
use crate::{
    moment::Moment,
    pipeline::authenticate::certificate::{self, Subject},
};

/// How often the files are read again. A kubelet takes about a minute to bring a new one.
const EVERY: Duration = Duration::from_secs(30);

/// What client certificates are believed, by files that may change. None unless somebody says so.
#[derive(Clone, Debug, Default)]
pub struct Authorities {
    people: Option<PathBuf>,
    proxies: Option<PathBuf>,
    names: Vec<String>,
    trusted: Arc<ArcSwap<Trusted>>,
}

/// What the files had in them when they were last read.
#[derive(Default)]
pub struct Trusted {
    people: Option<Authority>,
    proxies: Option<Authority>,
    /// By both, which is all that a handshake asks.
    either: Option<Authority>,
}

/// One CA, or several that stand for one another.
struct Authority {
    certificates: Vec<CertificateDer<'static>>,
    /// Their public keys, by which a CA is the same whatever else its certificates say.
    keys: Vec<Der<'static>>,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Verifies by what is trusted at the moment.
#[derive(Debug)]
struct Current(Arc<ArcSwap<Trusted>>);

/// Why a CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    #[error("failed to read certificates from {}", path.display())]
    Read { path: PathBuf, source: pem::Error },
    #[error("failed to find a certificate in {}", path.display())]
    Empty { path: PathBuf },
    #[error("failed to use the certificates of {}", path.display())]
    Use { path: PathBuf, source: Error },
    #[error("failed to verify by the certificates of {}", path.display())]
    Verify {
        path: PathBuf,
        source: VerifierBuilderError,
    },
    #[error("failed to tell callers from proxies: {} and {} have a CA in common", people.display(), proxies.display())]
    Shared { people: PathBuf, proxies: PathBuf },
    #[error("failed to verify by both CAs")]
    Either(#[source] VerifierBuilderError),
}

impl Authorities {
    /// The CA of callers in one file, that of proxies in another, with the common names that a proxy may have.
    pub fn load(people: Option<&Path>, proxies: Option<&Path>, names: &[String]) -> Result<Self, AuthoritiesError> {
        let trusted = Trusted::read(people, proxies)?;
        Ok(Self {
            people: people.map(Path::to_owned),
            proxies: proxies.map(Path::to_owned),
            names: names.to_vec(),
            trusted: Arc::new(ArcSwap::from_pointee(trusted)),
        })
    }

    /// Reads the files again every now and then. It does not end, and with files that cannot be used all stays as it was.
    pub async fn keep(self) {
        if self.people.is_none() && self.proxies.is_none() {
            return;
        }
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.reload() {
                Ok(true) => tracing::info!("the CAs of client certificates have changed"),
                Ok(false) => {}
                Err(error) => tracing::warn!(
                    error = error_chain(&error),
                    "the CAs of client certificates stay as they were"
                ),
            }
        }
    }

    /// Reads the files again; whether there is something else in them.
    fn reload(&self) -> Result<bool, AuthoritiesError> {
        let trusted = Trusted::read(self.people.as_deref(), self.proxies.as_deref())?;
        let is_other = !trusted.is_as(&self.trusted.load());
        if is_other {
            self.trusted.store(Arc::new(trusted));
        }
        Ok(is_other)
    }

    /// What the TLS handshake asks of clients: nothing, or a certificate of one of the CAs, which they may leave out.
    pub fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        if self.people.is_none() && self.proxies.is_none() {
            return WebPkiClientVerifier::no_client_auth();
        }
        Arc::new(Current(Arc::clone(&self.trusted)))
    }

    /// Whose certificate the peer has shown, as long as it is valid.
    pub fn who(&self, peer: &Peer, now: Moment) -> Certified {
        let trusted = self.trusted.load();
        match peer.certified(&trusted, |chain| trusted.identify(chain, &self.names)) {
            Certified::Person { until, .. } | Certified::Proxy { until } if until <= now => Certified::Nobody,
            who => who,
        }
    }
}

impl Trusted {
    fn read(people: Option<&Path>, proxies: Option<&Path>) -> Result<Self, AuthoritiesError> {
        let (of_people, of_proxies) = (
            people.map(Authority::load).transpose()?,
            proxies.map(Authority::load).transpose()?,
        );
        let either = match (&of_people, &of_proxies) {
            (None, None) => None,
            (one, other) => Some(Authority::of_all(one.iter().chain(other)).map_err(AuthoritiesError::Either)?),
        };
        // Whoever has a certificate of their own could else say to be anybody.
        if let (Some(one), Some(other)) = (&of_people, &of_proxies)
            && one.keys.iter().any(|key| other.keys.contains(key))
        {
            return Err(AuthoritiesError::Shared {
                people: people.unwrap_or(Path::new("")).to_owned(),
                proxies: proxies.unwrap_or(Path::new("")).to_owned(),
            });
        }
        Ok(Self {
            people: of_people,
            proxies: of_proxies,
            either,
        })
    }

    fn is_as(&self, other: &Self) -> bool {
        let certificates = |authority: &Option<Authority>| authority.as_ref().map(|it| it.certificates.clone());
        certificates(&self.people) == certificates(&other.people)
            && certificates(&self.proxies) == certificates(&other.proxies)
    }

    /// A certificate of the proxies' CA is never a caller's own, whatever else it may chain to.
    fn identify(&self, chain: &[CertificateDer<'static>], names: &[String]) -> Certified {
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
        if self.proxies.as_ref().is_some_and(is_of) {
            return if names.contains(&name) {
                Certified::Proxy { until }
            } else {
                Certified::Unlisted
            };
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

impl ClientCertVerifier for Current {
    /// None: they could be others by the time that somebody looks at them, and a client would keep back what is good.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let trusted = self.0.load();
        let either = trusted.either.as_ref().ok_or(Error::NoCertificatesPresented)?;
        either.verifier.verify_client_cert(leaf, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (people, proxies) = (self.people.is_some(), self.proxies.is_some());
        write!(f, "Trusted {{ people: {people}, proxies: {proxies} }}")
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
        match Self::of(certificates, roots) {
            Ok(authority) => Ok(authority),
            Err(source) => Err(AuthoritiesError::Verify { path, source }),
        }
    }

    /// What believes whatever one of these does.
    fn of_all<'a>(all: impl Iterator<Item = &'a Self>) -> Result<Self, VerifierBuilderError> {
        let certificates: Vec<_> = all.flat_map(|authority| authority.certificates.clone()).collect();
        let mut roots = RootCertStore::empty();
        // Each was taken when it was loaded.
        roots.add_parsable_certificates(certificates.iter().cloned());
        Self::of(certificates, roots)
    }

    fn of(certificates: Vec<CertificateDer<'static>>, roots: RootCertStore) -> Result<Self, VerifierBuilderError> {
        let keys = roots.roots.iter().map(|root| root.subject_public_key_info.clone());
        let keys = keys.collect();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
        Ok(Self {
            certificates,
            keys,
            verifier,
        })
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
pub(crate) mod tests;
