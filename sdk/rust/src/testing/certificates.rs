//! Certificates that are good for one test.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, Error, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::Certificates;

/// Certificates of a plugin and of its host, each trusting the other.
pub(super) struct Both {
    pub(super) plugin: Certificates,
    pub(super) host: ClientTlsConfig,
}

/// Both for the plugin called `name`.
pub(super) fn both(name: &str) -> Result<Both, Error> {
    let server_name = kite_proto::server_name(name);
    let (plugins, hosts) = (authority()?, authority()?);
    let (certificate, key) = issued(&plugins, &server_name, ExtendedKeyUsagePurpose::ServerAuth)?;
    let (of_host, key_of_host) = issued(&hosts, "test", ExtendedKeyUsagePurpose::ClientAuth)?;
    Ok(Both {
        plugin: Certificates::Fixed {
            certificate: certificate.into(),
            key: key.into(),
            clients_ca: hosts.pem().into(),
        },
        host: ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(plugins.pem()))
            .domain_name(server_name)
            .identity(Identity::from_pem(of_host, key_of_host)),
    })
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Result<Authority, Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn issued(issuer: &Authority, name: &str, purpose: ExtendedKeyUsagePurpose) -> Result<(String, String), Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.extended_key_usages = vec![purpose];
    Ok((params.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}
