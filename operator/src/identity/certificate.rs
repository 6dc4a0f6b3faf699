//! A certificate with its key, and the names that stand in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use k8s_openapi::ByteString;
use kite_api::identity::{CERTIFICATE_KEY, PRIVATE_KEY_KEY};
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, X509Certificate};

use super::validity::Validity;

/// A certificate and its private key, PEM.
#[derive(Clone, Eq, PartialEq)]
pub struct Certified {
    pub certificate: String,
    pub key: String,
}

impl fmt::Debug for Certified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key is kept out of every log.
        f.debug_struct("Certified")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Certified {
    /// Certificate and key in the data of a `kubernetes.io/tls` Secret, if both are there as text.
    pub fn of_data(data: &BTreeMap<String, ByteString>) -> Option<Self> {
        Self::of_keys(data, CERTIFICATE_KEY, PRIVATE_KEY_KEY)
    }

    /// The same under other keys.
    pub(super) fn of_keys(data: &BTreeMap<String, ByteString>, certificate: &str, key: &str) -> Option<Self> {
        let text = |key| String::from_utf8(data.get(key)?.0.clone()).ok();
        Some(Self {
            certificate: text(certificate)?,
            key: text(key)?,
        })
    }

    /// The data of a `kubernetes.io/tls` Secret.
    pub fn into_data(self) -> BTreeMap<String, ByteString> {
        BTreeMap::from([
            (CERTIFICATE_KEY.to_owned(), ByteString(self.certificate.into_bytes())),
            (PRIVATE_KEY_KEY.to_owned(), ByteString(self.key.into_bytes())),
        ])
    }

    /// From when to when the certificate is valid. `None`: it is no certificate.
    pub fn validity(&self) -> Option<Validity> {
        validity(&self.certificate)
    }

    /// When the certificate ends. `None`: it is no certificate.
    pub fn not_after(&self) -> Option<SystemTime> {
        self.validity().map(|validity| validity.to)
    }

    /// The certificate, if the key is its own.
    pub(super) fn matching(&self) -> Option<CertificateDer<'static>> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).ok()?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).ok()?;
        let pair = CertifiedKey::from_der(vec![certificate.clone()], key, &ring::default_provider()).ok()?;
        pair.keys_match().ok()?;
        Some(certificate)
    }
}

/// Whose certificate it is: the subject's common name for people, the alternative names for programs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Names {
    pub common_name: String,
    pub dns: BTreeSet<String>,
    pub uris: BTreeSet<String>,
    pub addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// One URI and nothing else.
    pub fn uri(common_name: &str, uri: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            dns: BTreeSet::new(),
            uris: BTreeSet::from([uri.to_owned()]),
            addresses: BTreeSet::new(),
        }
    }

    /// One host's DNS name and nothing else.
    pub fn host(common_name: &str, host: &str) -> Self {
        Self {
            common_name: common_name.to_owned(),
            dns: BTreeSet::from([host.to_owned()]),
            uris: BTreeSet::new(),
            addresses: BTreeSet::new(),
        }
    }

    /// Whether the alternative names of `certificate` are exactly these.
    pub(super) fn are_those_of(&self, certificate: &X509Certificate<'_>) -> bool {
        let Ok(Some(extension)) = certificate.subject_alternative_name() else {
            return false;
        };
        let (mut dns, mut uris, mut addresses) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(name) => _ = dns.insert((*name).to_owned()),
                GeneralName::URI(uri) => _ = uris.insert((*uri).to_owned()),
                GeneralName::IPAddress(bytes) => match address(bytes) {
                    Some(address) => _ = addresses.insert(address),
                    None => return false,
                },
                _ => return false,
            }
        }
        dns == self.dns && uris == self.uris && addresses == self.addresses
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// From when to when a certificate, PEM, is valid. `None`: it is none.
pub(super) fn validity(pem: &str) -> Option<Validity> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    read(&der).map(|facts| facts.validity)
}

/// Reads a certificate's fields.
pub(super) fn read(der: &CertificateDer<'_>) -> Option<X509CertificateFacts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let time = |at: ASN1Time| {
        let since = u64::try_from(at.timestamp()).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since))
    };
    Some(X509CertificateFacts {
        is_ca: certificate.is_ca(),
        validity: Validity {
            from: time(certificate.validity().not_before)?,
            to: time(certificate.validity().not_after)?,
        },
    })
}

/// What the operator asks of a CA's certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct X509CertificateFacts {
    pub(super) is_ca: bool,
    pub(super) validity: Validity,
}
