//! Certificates and configuration of a measurement, in its folder.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use kite_conformance::{Authorities, Certified};
use kite_proto::{DescribeRequest, plugin_client::PluginClient};
use rcgen::CertifiedKey;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::super::LoadError;

/// The name of the server behind nginx in its certificate.
const ORIGIN: &str = "origin";
const TEMPLATE: &str = include_str!("../../../bench/nginx.conf.template");

/// Who issues, and where it is written to.
pub(super) struct Certificates {
    authorities: Authorities,
    folder: PathBuf,
}

impl Certificates {
    /// Writes all certificates but those of plugins: the gateway's two folders, nginx's own and the one of the server behind it.
    pub(super) fn make(folder: &Path) -> Result<Self, LoadError> {
        let made = Self {
            authorities: Authorities::new().map_err(LoadError::Identity)?,
            folder: folder.to_owned(),
        };
        let servers = made.authorities.servers.pem();
        let client = made
            .authorities
            .clients
            .client_certified()
            .map_err(LoadError::Identity)?;
        made.write_pair("client/tls", &client)?;
        made.write("client/ca.crt", &servers)?;
        made.write("clients-ca.crt", &made.authorities.clients.pem())?;
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(names).map_err(LoadError::Serving)?;
        for side in ["serving", "nginx"] {
            made.write(&format!("{side}/tls.crt"), &cert.pem())?;
            made.write(&format!("{side}/tls.key"), &signing_key.serialize_pem())?;
        }
        made.write("nginx/ca.crt", &servers)?;
        made.plugin(ORIGIN)?;
        Ok(made)
    }

    /// Writes the certificate of a plugin.
    pub(super) fn plugin(&self, name: &str) -> Result<(), LoadError> {
        let certified = self.authorities.servers.server(name).map_err(LoadError::Identity)?;
        self.write_pair(name, &certified)
    }

    /// The certificate that gateways and nginx serve with.
    pub(super) fn serving(&self) -> Result<String, LoadError> {
        let path = self.folder.join("serving/tls.crt");
        fs::read_to_string(&path).map_err(|source| LoadError::prepare(&path, source))
    }

    /// The hash of what the plugin there says that it offers, once it says anything.
    pub(super) async fn definitions_hash(
        &self,
        name: &str,
        address: SocketAddr,
        limit: Duration,
    ) -> Result<String, LoadError> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.authorities.servers.pem()))
            .domain_name(kite_proto::server_name(name))
            .identity(self.authorities.clients.client().map_err(LoadError::Identity)?);
        let endpoint =
            Endpoint::from_shared(format!("https://{address}")).and_then(|endpoint| endpoint.tls_config(tls));
        let endpoint = endpoint.map_err(LoadError::Describe)?;
        let listens = async {
            while !super::listens(address).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(limit, listens)
            .await
            .map_err(|_| LoadError::Silent(name.to_owned()))?;
        let mut client = PluginClient::new(endpoint.connect().await.map_err(LoadError::Describe)?);
        let described = client.describe(DescribeRequest::default()).await;
        let described = described.map_err(|status| LoadError::Described(Box::new(status)))?;
        Ok(kite_proto::definitions_hash(&described.into_inner().definitions))
    }

    fn write_pair(&self, name: &str, Certified { certificate, key }: &Certified) -> Result<(), LoadError> {
        self.write(&format!("{name}.crt"), certificate)?;
        self.write(&format!("{name}.key"), key)
    }

    fn write(&self, file: &str, text: &str) -> Result<(), LoadError> {
        write(&self.folder.join(file), text)
    }
}

fn write(path: &Path, text: &str) -> Result<(), LoadError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|source| LoadError::prepare(path, source))
}

/// Writes nginx's configuration, and says where it is.
pub(super) fn nginx_config(
    own: &Path,
    workers: u16,
    ports: [u16; 4],
    origin: [SocketAddr; 2],
) -> Result<PathBuf, LoadError> {
    let path = own.join("nginx.conf");
    write(&path, &filled(own, workers, ports, origin))?;
    Ok(path)
}

fn filled(own: &Path, workers: u16, ports: [u16; 4], [plain, encrypted]: [SocketAddr; 2]) -> String {
    let [port_plain, port_plain_http2, port_front, port_both] = ports.map(|port| port.to_string());
    let values = [
        ("{folder}", own.display().to_string()),
        ("{workers}", workers.to_string()),
        ("{name}", kite_proto::server_name(ORIGIN)),
        ("{plain}", plain.to_string()),
        ("{encrypted}", encrypted.to_string()),
        ("{port_plain}", port_plain),
        ("{port_plain_http2}", port_plain_http2),
        ("{port_front}", port_front),
        ("{port_both}", port_both),
    ];
    let filled = |text: String, (place, value): &(&str, String)| text.replace(place, value);
    values.iter().fold(TEMPLATE.to_owned(), filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_template_is_left_open() {
        let origin = ["127.0.0.1:5", "127.0.0.1:6"].map(|address| address.parse().unwrap());
        let text = filled(Path::new("/f"), 2, [1, 2, 3, 4], origin);
        let settings: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .collect();
        assert!(
            !settings
                .iter()
                .any(|line| line.contains("{port") || line.contains("{f"))
        );
        for setting in [
            "worker_processes 2;",
            "server 127.0.0.1:6;",
            "listen 127.0.0.1:4 ssl http2 backlog=4096;",
        ] {
            assert!(settings.iter().any(|line| line.trim() == setting), "{setting}");
        }
    }
}
