//! Who calls by a client certificate, as Kubernetes reads one: the common name is the user, the organizations are the groups.

use rustls::pki_types::CertificateDer;
use x509_parser::{parse_x509_certificate, prelude::X509Name};

use super::{Caller, authenticated};
use crate::moment::Moment;

/// What a certificate says of its holder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subject {
    pub name: String,
    pub groups: Vec<String>,
    /// When the certificate ends.
    pub until: Moment,
}

/// The subject of a certificate; nobody without one name, or with one that is not text.
pub fn subject(certificate: &CertificateDer<'_>) -> Option<Subject> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let until = certificate.validity().not_after.timestamp();
    let (name, groups) = named(certificate.subject())?;
    Some(Subject {
        name,
        groups,
        until: Moment::of(u64::try_from(until).unwrap_or_default()),
    })
}

fn named(subject: &X509Name<'_>) -> Option<(String, Vec<String>)> {
    let mut names = subject.iter_common_name();
    let name = names.next()?.as_str().ok().filter(|name| !name.is_empty())?;
    if names.next().is_some() {
        return None;
    }
    let groups: Result<Vec<_>, _> = subject
        .iter_organization()
        .map(|group| group.as_str().map(str::to_owned))
        .collect();
    Some((name.to_owned(), groups.ok()?))
}

/// The caller with this subject.
pub fn caller(name: String, groups: Vec<String>) -> Caller {
    Caller::new(name, String::new(), authenticated(groups), [].into())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    /// A certificate with these names, of which rcgen takes one of each kind.
    fn of(names: &[(DnType, &str)]) -> Option<Subject> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let key = KeyPair::generate().unwrap();
        subject(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn the_common_name_is_the_user_and_the_organization_a_group() {
        let expected = Subject {
            name: "jane".to_owned(),
            groups: vec!["dev".to_owned()],
            until: Moment::of(1_893_456_000),
        };
        assert_eq!(
            of(&[(DnType::OrganizationName, "dev"), (DnType::CommonName, "jane")]),
            Some(expected)
        );
        let jane = caller("jane".to_owned(), vec!["dev".to_owned()]);
        assert_eq!(
            (jane.name(), jane.groups()),
            ("jane", ["dev", "system:authenticated"].map(str::to_owned).as_slice())
        );
    }

    #[test]
    fn without_one_name_it_is_nobodys() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(DnType::CommonName, "")]), None);
        assert_eq!(of(&[(DnType::OrganizationName, "dev")]), None);
        assert_eq!(subject(&CertificateDer::from(vec![0; 10])), None);
    }
}
