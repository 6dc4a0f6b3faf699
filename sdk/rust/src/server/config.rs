//! Where a plugin listens, and who it is there.

use std::{env, fmt, io, net::Ipv4Addr, net::Ipv6Addr, path::PathBuf};

use kite_api::PluginName;
use kite_proto::{HEALTH_PORT, MOUNT_PATH, NAME_VARIABLE, PORT};
use tokio::net::TcpListener;

use super::{Certificates, ServeError};

/// Where a plugin listens, and who it is there.
pub struct Config {
    /// The name under which the plugin serves: that of its `KitePlugin`.
    pub name: PluginName,
    /// Where the protocol is served, with mutual TLS.
    pub listener: TcpListener,
    /// Where `grpc.health.v1.Health/Check` is answered, in plain text.
    pub health_listener: TcpListener,
    /// The plugin's certificate, its key and the clients' CA.
    pub certificates: Certificates,
    /// The plugin's client for the API server. `None`: that of the pod's ServiceAccount.
    pub kube: Option<kube::Client>,
    /// The folder with the files for calls of other plugins: `gateway-token`, `gateway-address` and `gateway-ca.crt`.
    pub gateway: PathBuf,
}

impl Config {
    /// What [`serve`](crate::serve) uses: `KITE_PLUGIN_NAME`, the files in `/run/kite`, ports 9443 and 9440.
    pub async fn of_environment() -> Result<Self, ServeError> {
        let name = env::var(NAME_VARIABLE).map_err(|_| ServeError::NameAbsent)?;
        Ok(Self {
            name: PluginName::parse(&name).map_err(|source| ServeError::Name { name, source })?,
            certificates: Certificates::Folder(MOUNT_PATH.into()),
            listener: listen(PORT).await?,
            health_listener: listen(HEALTH_PORT).await?,
            kube: None,
            gateway: MOUNT_PATH.into(),
        })
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Listens on all addresses, of both families where the node has both.
async fn listen(port: u16) -> Result<TcpListener, ServeError> {
    let both: io::Result<TcpListener> = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await;
    let listener = match both {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
    };
    listener.map_err(|source| ServeError::Listen { port, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let taken = listen(0).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(matches!(listen(port).await.unwrap_err(), ServeError::Listen { port: named, .. } if named == port));
    }
}
