//! The two CAs that plugins and their host know one another by.

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tonic::transport::Identity;

/// What could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("failed to make a CA")]
    Authority(#[source] rcgen::Error),
    #[error("failed to read a CA and its key")]
    Read(#[source] rcgen::Error),
    #[error("failed to issue a certificate")]
    Issue(#[source] rcgen::Error),
}

/// A CA with its key.
pub struct Authority {
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub struct Certified {
    pub certificate: String,
    pub key: String,
}

/// The CA of plugins' servers, and that of the host's clients.
pub struct Authorities {
    pub servers: Authority,
    pub clients: Authority,
}

impl Authority {
    /// A new one.
    pub fn new() -> Result<Self, IdentityError> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A certificate whose issuer has its own name would be taken for one that signed itself.
        params.distinguished_name.push(DnType::CommonName, "CA of a test");
        let key = KeyPair::generate().map_err(IdentityError::Authority)?;
        let certificate = params.self_signed(&key).map_err(IdentityError::Authority)?;
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// The one with this certificate and this key, PEM.
    pub fn read(certificate: &str, key: &str) -> Result<Self, IdentityError> {
        let pair = KeyPair::from_pem(key).map_err(IdentityError::Read)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            issuer: Issuer::from_ca_cert_pem(certificate, pair).map_err(IdentityError::Read)?,
        })
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> String {
        self.certificate.clone()
    }

    /// Its key, PEM.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A certificate that names the plugin called `plugin` as a server.
    pub fn server(&self, plugin: &str) -> Result<Certified, IdentityError> {
        self.issue(&kite_proto::server_name(plugin), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's certificate.
    pub fn client(&self) -> Result<Identity, IdentityError> {
        let Certified { certificate, key } = self.client_certified()?;
        Ok(Identity::from_pem(certificate, key))
    }

    /// A client's certificate, PEM.
    pub fn client_certified(&self) -> Result<Certified, IdentityError> {
        self.issue("gateway", ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Result<Certified, IdentityError> {
        let key = KeyPair::generate().map_err(IdentityError::Issue)?;
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(IdentityError::Issue)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let certificate = params.signed_by(&key, &self.issuer).map_err(IdentityError::Issue)?;
        Ok(Certified {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl Authorities {
    /// New ones.
    pub fn new() -> Result<Self, IdentityError> {
        Ok(Self {
            servers: Authority::new()?,
            clients: Authority::new()?,
        })
    }
}
