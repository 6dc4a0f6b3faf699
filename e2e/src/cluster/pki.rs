//! The keys and certificates of a cluster, and the kubeconfig files that carry them.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use serde_json::json;

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("failed to make the certificate of {name}")]
    Make { name: String, source: rcgen::Error },
    #[error("failed to write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Who a certificate speaks for: Kubernetes takes the common name for the user and organisations for groups.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    /// The name of its files.
    pub file: &'static str,
    pub user: &'static str,
    pub group: Option<&'static str>,
}

pub(super) const ADMIN: Identity = Identity {
    file: "admin",
    user: "admin",
    group: Some("system:masters"),
};
pub(super) const CONTROLLER_MANAGER: Identity = Identity {
    file: "controller-manager",
    user: "system:kube-controller-manager",
    group: None,
};
pub(super) const SCHEDULER: Identity = Identity {
    file: "scheduler",
    user: "system:kube-scheduler",
    group: None,
};
pub(super) const PROXY: Identity = Identity {
    file: "kube-proxy",
    user: "system:kube-proxy",
    group: None,
};
pub(super) const DNS: Identity = Identity {
    file: "coredns",
    user: "system:coredns",
    group: None,
};
/// The node authorizer ties these rights to this one node.
pub(super) const KUBELET: Identity = Identity {
    file: "kubelet",
    user: "system:node:node",
    group: Some("system:nodes"),
};
/// With this one the API server asks the kubelet for logs and executions.
pub(super) const KUBELET_CLIENT: Identity = Identity {
    file: "kubelet-client",
    user: "kube-apiserver-kubelet-client",
    group: Some("system:masters"),
};
const FRONT_PROXY: Identity = Identity {
    file: "front-proxy",
    user: "front-proxy-client",
    group: None,
};
const SERVING: Identity = Identity {
    file: "apiserver",
    user: "kube-apiserver",
    group: None,
};
const KUBELET_SERVING: Identity = Identity {
    file: "kubelet-serving",
    user: "system:node:node",
    group: Some("system:nodes"),
};

const CLIENTS: [Identity; 7] = [
    ADMIN,
    CONTROLLER_MANAGER,
    SCHEDULER,
    PROXY,
    DNS,
    KUBELET,
    KUBELET_CLIENT,
];

/// A folder with all keys and certificates of one cluster.
#[derive(Debug, Clone)]
pub(super) struct Pki {
    dir: PathBuf,
}

/// An authority and the means to sign with it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Pki {
    /// Makes everything anew. `addresses` are those at which the API server answers.
    pub(super) fn make(dir: &Path, addresses: &[Ipv4Addr], kubelet: Option<Ipv4Addr>) -> Result<Self, PkiError> {
        let pki = Self { dir: dir.to_path_buf() };
        fs::create_dir_all(dir).map_err(|source| PkiError::Write {
            path: dir.to_path_buf(),
            source,
        })?;
        let authority = pki.authority("ca", "kite-local")?;
        for client in CLIENTS {
            pki.signed(&authority, client, ExtendedKeyUsagePurpose::ClientAuth, &[])?;
        }
        let names = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        let names = names
            .iter()
            .filter_map(|name| Some(SanType::DnsName((*name).try_into().ok()?)));
        let addresses = addresses.iter().map(|address| SanType::IpAddress(IpAddr::V4(*address)));
        let served: Vec<SanType> = names.chain(addresses).collect();
        pki.signed(&authority, SERVING, ExtendedKeyUsagePurpose::ServerAuth, &served)?;
        if let Some(address) = kubelet {
            let served = [SanType::IpAddress(IpAddr::V4(address))];
            pki.signed(
                &authority,
                KUBELET_SERVING,
                ExtendedKeyUsagePurpose::ServerAuth,
                &served,
            )?;
        }
        // An authority of its own: whoever holds its certificates may speak for anybody through the aggregator.
        let front = pki.authority("front-proxy-ca", "kite-local-front-proxy")?;
        pki.signed(&front, FRONT_PROXY, ExtendedKeyUsagePurpose::ClientAuth, &[])?;
        let signer = KeyPair::generate().map_err(|source| PkiError::Make {
            name: "service accounts".to_owned(),
            source,
        })?;
        pki.write("service-accounts.key", &signer.serialize_pem())?;
        pki.write("service-accounts.pub", &signer.public_key_pem())?;
        Ok(pki)
    }

    /// One that was made before.
    pub(super) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    pub(super) fn certificate(&self, identity: Identity) -> PathBuf {
        self.path(&format!("{}.crt", identity.file))
    }

    pub(super) fn key(&self, identity: Identity) -> PathBuf {
        self.path(&format!("{}.key", identity.file))
    }

    /// Writes a kubeconfig with everything in it, so that it can be copied elsewhere.
    pub(super) fn kubeconfig(&self, identity: Identity, server: &str, path: &Path) -> Result<(), PkiError> {
        let read = |file: &Path| {
            fs::read(file).map_err(|source| PkiError::Write {
                path: file.to_path_buf(),
                source,
            })
        };
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "kite",
            "clusters": [{"name": "kite", "cluster": {
                "server": server,
                "certificate-authority-data": base64(&read(&self.path("ca.crt"))?),
            }}],
            "users": [{"name": identity.user, "user": {
                "client-certificate-data": base64(&read(&self.certificate(identity))?),
                "client-key-data": base64(&read(&self.key(identity))?),
            }}],
            "contexts": [{"name": "kite", "context": {"cluster": "kite", "user": identity.user}}],
        });
        write_private(path, &format!("{config:#}\n"))
    }

    fn authority(&self, file: &str, name: &str) -> Result<Authority, PkiError> {
        let mut params = params(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let failed = |source| PkiError::Make {
            name: name.to_owned(),
            source,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        let pem = certificate.pem();
        self.write(&format!("{file}.crt"), &pem)?;
        self.write(&format!("{file}.key"), &key.serialize_pem())?;
        Ok(Authority {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    fn signed(
        &self,
        authority: &Authority,
        identity: Identity,
        usage: ExtendedKeyUsagePurpose,
        served: &[SanType],
    ) -> Result<(), PkiError> {
        let mut params = params(identity.user, identity.group);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.subject_alt_names = served.to_vec();
        let failed = |source| PkiError::Make {
            name: identity.user.to_owned(),
            source,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &authority.issuer).map_err(failed)?;
        self.write(
            &format!("{}.crt", identity.file),
            &format!("{}{}", certificate.pem(), authority.pem),
        )?;
        self.write(&format!("{}.key", identity.file), &key.serialize_pem())
    }

    fn write(&self, file: &str, content: &str) -> Result<(), PkiError> {
        write_private(&self.path(file), content)
    }
}

fn params(name: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    // A cluster lives for days; a fixed span has no trouble with a clock that is set while it runs.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}

fn write_private(path: &Path, content: &str) -> Result<(), PkiError> {
    let failed = |source| PkiError::Write {
        path: path.to_path_buf(),
        source,
    };
    let mut file = fs::File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    io::Write::write_all(&mut file, content.as_bytes()).map_err(failed)
}

/// Base64 as kubeconfig files want it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |value: u32| {
        DIGITS
            .get((value & 63) as usize)
            .map_or('=', |digit| char::from(*digit))
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let value = at(0) << 16 | at(1) << 8 | at(2);
        text.push(digit(value >> 18));
        text.push(digit(value >> 12));
        text.push(if chunk.len() > 1 { digit(value >> 6) } else { '=' });
        text.push(if chunk.len() > 2 { digit(value) } else { '=' });
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn base64_of_every_remainder() {
        let all: Vec<String> = ["", "f", "fo", "foo", "foob"]
            .iter()
            .map(|text| base64(text.as_bytes()))
            .collect();
        assert_eq!(all, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }

    #[test]
    fn kubeconfig_carries_its_certificate_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::make(&dir.path().join("pki"), &[Ipv4Addr::LOCALHOST], None).unwrap();
        let path = dir.path().join("kubeconfig");
        pki.kubeconfig(ADMIN, "https://127.0.0.1:6443", &path).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://127.0.0.1:6443");
        let certificate = fs::read(pki.certificate(ADMIN)).unwrap();
        assert_eq!(
            config["users"][0]["user"]["client-certificate-data"],
            base64(&certificate)
        );
        for file in [path, pki.key(ADMIN)] {
            assert_eq!(
                fs::metadata(&file).unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                file.display()
            );
        }
    }
}
