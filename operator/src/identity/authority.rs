//! A CA of the operator's own: made, read back, issuing, and judging what was issued.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::WebPkiClientVerifier,
};
use uuid::Uuid;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    certificate::{self, Certified, Names},
    rotation::Ca,
    validity::Validity,
};

/// How much longer than it is told to a certificate may be valid: it was issued a moment ago, by another clock perhaps.
const MOMENT: Duration = Duration::from_mins(1);
/// How long what a CA issues is valid where it is to show whether it can be one.
const PROBE_LIFE: Duration = Duration::from_mins(1);

/// What a CA's certificates are for. They are for one thing only, so that none passes in another's place.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Purpose {
    /// Server certificates of plugins.
    Servers,
    /// Client certificates of gateway and operator: having one is all that a plugin asks.
    Clients,
    /// The gateway's own serving certificate.
    Serving,
}

impl Purpose {
    fn common_name(self) -> &'static str {
        match self {
            Self::Servers => "Kite plugins: servers CA",
            Self::Clients => "Kite plugins: clients CA",
            Self::Serving => "Kite plugins: serving CA",
        }
    }

    fn usage(self) -> ExtendedKeyUsagePurpose {
        match self {
            Self::Servers | Self::Serving => ExtendedKeyUsagePurpose::ServerAuth,
            Self::Clients => ExtendedKeyUsagePurpose::ClientAuth,
        }
    }

    /// What the CA can vouch for at most, held by every verifier. The serving CA's names are the cluster's to choose.
    fn constraints(self) -> Option<NameConstraints> {
        let every_address = || {
            vec![
                GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
                GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
            ]
        };
        match self {
            Self::Servers => Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName(
                    kite_proto::server_name("").trim_matches('.').to_owned(),
                )],
                excluded_subtrees: every_address(),
            }),
            Self::Clients => {
                let mut excluded = every_address();
                // The empty name is above all others: no certificate of this CA names a host.
                excluded.push(GeneralSubtree::DnsName(String::new()));
                Some(NameConstraints {
                    permitted_subtrees: Vec::new(),
                    excluded_subtrees: excluded,
                })
            }
            Self::Serving => None,
        }
    }
}

/// Why a CA could not be had or could not issue.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("failed to make a key")]
    Key(#[source] rcgen::Error),
    #[error("failed to sign a certificate")]
    Sign(#[source] rcgen::Error),
    #[error("failed to write the name {0:?} into a certificate")]
    Name(String, #[source] rcgen::Error),
    #[error("failed to read the CA's certificate and key: they are not PEM, or do not belong together")]
    Pair,
    #[error("failed to use the certificate as a CA: it is none")]
    NotAnAuthority,
    #[error("failed to read the CA's certificate")]
    Read(#[source] rcgen::Error),
    #[error("failed to trust the CA's certificate")]
    Trust(#[source] rustls::Error),
    #[error("failed to use the CA for its purpose: it vouches for other certificates than a {:?}", .0.common_name())]
    WrongPurpose(Purpose),
}

/// A CA: its certificate and its key.
pub struct Authority {
    purpose: Purpose,
    certified: Certified,
    validity: Validity,
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<RootCertStore>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// A new CA, valid for `life`.
    pub fn create(purpose: Purpose, life: Duration, now: SystemTime) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Key)?;
        // Each has a name of its own: libraries look the CA of a certificate up by it, and some take the first that they find.
        let (_, distinct) = Uuid::new_v4().as_u64_pair();
        let common_name = format!("{} {distinct:016x}", purpose.common_name());
        let mut params = template(&common_name, Validity::issued(now, life));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages = vec![purpose.usage()];
        params.name_constraints = purpose.constraints();
        let certificate = params.self_signed(&key).map_err(AuthorityError::Sign)?;
        Self::read(
            purpose,
            Certified {
                certificate: certificate.pem(),
                key: key.serialize_pem(),
            },
        )
    }

    /// The CA that was kept as `certified`. It may have ended.
    pub fn read(purpose: Purpose, certified: Certified) -> Result<Self, AuthorityError> {
        let der = certified.matching().ok_or(AuthorityError::Pair)?;
        let facts = certificate::read(&der).ok_or(AuthorityError::Pair)?;
        if !facts.is_ca {
            return Err(AuthorityError::NotAnAuthority);
        }
        let key = KeyPair::from_pem(&certified.key).map_err(AuthorityError::Read)?;
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(AuthorityError::Read)?;
        let mut roots = RootCertStore::empty();
        roots.add(der).map_err(AuthorityError::Trust)?;
        let authority = Self {
            purpose,
            certified,
            validity: facts.validity,
            issuer,
            roots: Arc::new(roots),
        };
        if authority.serves_its_purpose()? {
            Ok(authority)
        } else {
            Err(AuthorityError::WrongPurpose(purpose))
        }
    }

    /// Whether what it issues for its purpose would be accepted, and what it must not vouch for would not. CAs that were
    /// mixed up are told by this.
    fn serves_its_purpose(&self) -> Result<bool, AuthorityError> {
        let at = self.validity.from;
        let plugin = Names::host("probe", &kite_proto::server_name("probe"));
        let client = Names::uri("probe", "spiffe://kite.internal/probe");
        let host = Names::host("probe", "localhost");
        let (vouches, overreaches) = match self.purpose {
            Purpose::Servers => (plugin, Some(host)),
            Purpose::Clients => (client, Some(plugin)),
            Purpose::Serving => (host, None),
        };
        let is_accepted = |names: &Names| {
            let issued = self.sign(names, Validity::issued(at, PROBE_LIFE))?;
            Ok(self.accepts(&issued, names, at))
        };
        Ok(is_accepted(&vouches)?
            && match overreaches {
                Some(names) => !is_accepted(&names)?,
                None => true,
            })
    }

    /// Certificate and key of the CA itself.
    pub fn certified(&self) -> &Certified {
        &self.certified
    }

    /// The CA's certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certified.certificate
    }

    /// A certificate for `names`, with a key of its own, valid for `life` or as long as the CA.
    pub fn issue(&self, names: &Names, life: Duration, now: SystemTime) -> Result<Certified, AuthorityError> {
        let mut validity = Validity::issued(now, life);
        validity.to = validity.to.min(self.validity.to);
        self.sign(names, validity)
    }

    fn sign(&self, names: &Names, validity: Validity) -> Result<Certified, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Key)?;
        let mut params = template(&names.common_name, validity);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![self.purpose.usage()];
        let ia5 = |name: &String| {
            name.clone()
                .try_into()
                .map_err(|error| AuthorityError::Name(name.clone(), error))
        };
        for domain in &names.dns {
            params.subject_alt_names.push(SanType::DnsName(ia5(domain)?));
        }
        for uri in &names.uris {
            params.subject_alt_names.push(SanType::URI(ia5(uri)?));
        }
        params
            .subject_alt_names
            .extend(names.addresses.iter().copied().map(SanType::IpAddress));
        let certificate = params.signed_by(&key, &self.issuer).map_err(AuthorityError::Sign)?;
        Ok(Certified {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// Whether `certified` is a certificate of this CA for exactly `names` that the other side would accept now.
    pub fn accepts(&self, certified: &Certified, names: &Names, now: SystemTime) -> bool {
        let Some(der) = certified.matching() else { return false };
        let is_named_so =
            X509Certificate::from_der(&der).is_ok_and(|(_, certificate)| names.are_those_of(&certificate));
        is_named_so && self.verifies(&der, names, now).is_some()
    }

    /// Whether `certified` is such a certificate, and neither due to be renewed nor valid for longer than `life` says.
    pub fn keeps(&self, certified: &Certified, names: &Names, life: Duration, now: SystemTime) -> bool {
        let is_due = |validity: Validity| validity.renewal() <= now || validity.to > now + life + MOMENT;
        self.accepts(certified, names, now) && certified.validity().is_some_and(|validity| !is_due(validity))
    }

    /// Asks the verifier that clients, or servers, use.
    fn verifies(&self, der: &CertificateDer<'_>, names: &Names, now: SystemTime) -> Option<()> {
        let provider = Arc::new(ring::default_provider());
        let now = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).ok()?);
        match self.purpose {
            Purpose::Clients => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&self.roots), provider)
                    .build()
                    .ok()?;
                verifier.verify_client_cert(der, &[], now).ok()?;
            }
            Purpose::Servers | Purpose::Serving => {
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.roots), provider)
                    .build()
                    .ok()?;
                let name = ServerName::try_from(names.dns.first()?.as_str()).ok()?;
                verifier.verify_server_cert(der, &[], &name, &[], now).ok()?;
            }
        }
        Some(())
    }
}

impl Ca for Arc<Authority> {
    type Root = String;

    /// Its certificate, PEM.
    fn root(&self) -> String {
        self.certificate().to_owned()
    }

    fn validity(&self) -> Validity {
        self.validity
    }
}

fn template(common_name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = validity.from.into();
    params.not_after = validity.to.into();
    params.serial_number = Some(SerialNumber::from_slice(Uuid::new_v4().as_bytes()));
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::validity::CLOCK_SKEW;

    const CA: Duration = Duration::from_hours(1000);
    const LIFE: Duration = Duration::from_hours(10);

    fn now() -> SystemTime {
        SystemTime::now()
    }

    fn names(host: &str) -> Names {
        let mut names = Names::uri("x", "spiffe://kite.internal/x");
        names.dns.insert(host.to_owned());
        names
    }

    #[test]
    fn what_is_issued_is_accepted_and_expires() {
        let servers = Authority::create(Purpose::Servers, CA, now()).unwrap();
        let names = names("hello.plugins.kite.internal");
        let issued = servers.issue(&names, LIFE, now()).unwrap();
        assert!(servers.accepts(&issued, &names, now()));
        assert!(!servers.accepts(&issued, &names, now() + LIFE + CLOCK_SKEW));
    }

    #[test]
    fn what_is_due_or_valid_for_too_long_is_not_kept() {
        let servers = Authority::create(Purpose::Servers, CA, now()).unwrap();
        let names = names("hello.plugins.kite.internal");
        let issued = servers.issue(&names, LIFE, now()).unwrap();
        let is_kept = |life, later| servers.keeps(&issued, &names, life, now() + later);
        assert!(is_kept(LIFE, Duration::ZERO));
        assert!(is_kept(LIFE, LIFE * 3 / 5));
        assert!(!is_kept(LIFE, LIFE * 7 / 10), "after two thirds");
        assert!(
            !is_kept(LIFE / 2, Duration::ZERO),
            "it was issued before a shorter life was asked for"
        );
        assert!(is_kept(LIFE * 2, Duration::ZERO));
    }

    #[test]
    fn nothing_outlives_its_ca() {
        let servers = Authority::create(Purpose::Servers, LIFE, now()).unwrap();
        let issued = servers.issue(&names("a.plugins.kite.internal"), CA, now()).unwrap();
        assert_eq!(issued.not_after(), servers.certified().not_after());
    }

    #[test]
    fn no_two_cas_have_the_same_name() {
        let subject = || {
            let made = Authority::create(Purpose::Servers, CA, now()).unwrap();
            let der = made.certified().matching().unwrap();
            let (_, certificate) = X509Certificate::from_der(&der).unwrap();
            certificate.subject().to_string()
        };
        let first = subject();
        assert!(first.contains("Kite plugins: servers CA "), "{first}");
        assert_ne!(first, subject());
    }

    #[test]
    fn a_certificate_is_refused_for_each_of_its_reasons() {
        let servers = Authority::create(Purpose::Servers, CA, now()).unwrap();
        let names_of = names("hello.plugins.kite.internal");
        let good = servers.issue(&names_of, LIFE, now()).unwrap();
        let other = servers.issue(&names_of, LIFE, now()).unwrap();
        let stranger = Authority::create(Purpose::Servers, CA, now())
            .unwrap()
            .issue(&names_of, LIFE, now())
            .unwrap();
        let for_clients = Authority {
            purpose: Purpose::Clients,
            ..Authority::read(Purpose::Servers, servers.certified().clone()).unwrap()
        };
        for (what, spoiled) in [
            (
                "key of another",
                Certified {
                    key: other.key,
                    ..good.clone()
                },
            ),
            ("another CA", stranger),
            ("another usage", for_clients.issue(&names_of, LIFE, now()).unwrap()),
            (
                "another name",
                servers
                    .issue(&names("other.plugins.kite.internal"), LIFE, now())
                    .unwrap(),
            ),
            (
                "no PEM",
                Certified {
                    certificate: String::from("x"),
                    ..good.clone()
                },
            ),
        ] {
            assert!(!servers.accepts(&spoiled, &names_of, now()), "{what}");
        }
    }

    #[test]
    fn the_servers_ca_cannot_vouch_for_other_hosts() {
        let servers = Authority::create(Purpose::Servers, CA, now()).unwrap();
        let names = names("kubernetes.default.svc");
        let issued = servers.issue(&names, LIFE, now()).unwrap();
        assert!(!servers.accepts(&issued, &names, now()));
    }

    #[test]
    fn the_clients_ca_vouches_for_uris_and_for_no_host() {
        let clients = Authority::create(Purpose::Clients, CA, now()).unwrap();
        let gateway = Names::uri("gateway", kite_api::identity::GATEWAY_URI);
        assert!(clients.accepts(&clients.issue(&gateway, LIFE, now()).unwrap(), &gateway, now()));
        let host = names("hello.plugins.kite.internal");
        assert!(!clients.accepts(&clients.issue(&host, LIFE, now()).unwrap(), &host, now()));
    }

    #[test]
    fn a_kept_ca_is_read_back() {
        let made = Authority::create(Purpose::Clients, CA, now()).unwrap();
        let read = Authority::read(Purpose::Clients, made.certified().clone()).unwrap();
        let gateway = Names::uri("gateway", kite_api::identity::GATEWAY_URI);
        assert!(made.accepts(&read.issue(&gateway, LIFE, now()).unwrap(), &gateway, now()));
    }

    #[test]
    fn a_ca_of_another_purpose_is_refused() {
        let purposes = [Purpose::Servers, Purpose::Clients, Purpose::Serving];
        for made in purposes {
            let certified = Authority::create(made, CA, now()).unwrap().certified().clone();
            for read in purposes {
                let result = Authority::read(read, certified.clone()).map(|_| ());
                match result {
                    Ok(()) => assert_eq!(made, read),
                    Err(AuthorityError::WrongPurpose(purpose)) => assert!(purpose == read && made != read),
                    Err(other) => panic!("{made:?} read as {read:?}: {other}"),
                }
            }
        }
    }

    #[test]
    fn a_kept_ca_is_refused_for_each_of_its_reasons() {
        let made = Authority::create(Purpose::Servers, CA, now()).unwrap();
        let good = made.certified().clone();
        let leaf = made.issue(&names("hello.plugins.kite.internal"), LIFE, now()).unwrap();
        let read = |certified| Authority::read(Purpose::Servers, certified).map(|_| ());
        let garbled = Certified {
            certificate: String::from("garbage"),
            ..good.clone()
        };
        assert!(matches!(read(garbled), Err(AuthorityError::Pair)));
        let mixed = Certified {
            key: leaf.key.clone(),
            ..good.clone()
        };
        assert!(matches!(read(mixed), Err(AuthorityError::Pair)));
        assert!(matches!(read(leaf), Err(AuthorityError::NotAnAuthority)));
        assert!(read(good).is_ok());
    }

    #[test]
    fn a_kept_ca_that_has_ended_is_read_and_issues_nothing_that_is_accepted() {
        let long_ago = now() - CA * 2;
        let made = Authority::create(Purpose::Servers, CA, long_ago).unwrap();
        let read = Authority::read(Purpose::Servers, made.certified().clone()).unwrap();
        let names = names("hello.plugins.kite.internal");
        assert!(!read.accepts(&read.issue(&names, LIFE, now()).unwrap(), &names, now()));
    }
}
