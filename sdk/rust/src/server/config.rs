//! Where a plugin listens, and who it is there.

use std::{
    env, fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use kite_api::PluginName;
use kite_proto::{ADDRESS_VARIABLE, FOLDER_VARIABLE, GRACE_VARIABLE, HEALTH_PORT, MOUNT_PATH, NAME_VARIABLE, PORT};
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
    /// How long after the plugin was told to stop its process is killed.
    pub grace: Duration,
}

impl Config {
    /// The kubelet's patience where nobody says another.
    pub const GRACE: Duration = Duration::from_secs(30);

    /// What [`serve`](crate::serve) uses: `KITE_PLUGIN_NAME`, `KITE_GRACE_SECONDS`, the files in `/run/kite`, ports 9443 and 9440. Outside of a pod,
    /// `KITE_PLUGIN_FOLDER` names another folder, and `KITE_PLUGIN_ADDRESS` the one IP address on which it listens.
    pub async fn of_environment() -> Result<Self, ServeError> {
        let name = env::var(NAME_VARIABLE).map_err(|_| ServeError::NameAbsent)?;
        let folder = env::var_os(FOLDER_VARIABLE).map_or_else(|| PathBuf::from(MOUNT_PATH), PathBuf::from);
        let address = address(env::var(ADDRESS_VARIABLE).ok())?;
        Ok(Self {
            name: PluginName::parse(&name).map_err(|source| ServeError::Name { name, source })?,
            certificates: Certificates::Folder(folder.clone()),
            listener: listen(address, PORT).await?,
            health_listener: listen(address, HEALTH_PORT).await?,
            kube: None,
            gateway: folder,
            grace: grace(env::var(GRACE_VARIABLE).ok())?,
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

fn address(text: Option<String>) -> Result<Option<IpAddr>, ServeError> {
    let parse = |text: String| {
        text.parse()
            .map_err(|source| ServeError::Address { address: text, source })
    };
    text.map(parse).transpose()
}

fn grace(text: Option<String>) -> Result<Duration, ServeError> {
    let parse = |text: String| match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(source) => Err(ServeError::Grace { seconds: text, source }),
    };
    text.map_or(Ok(Config::GRACE), parse)
}

/// Listens on this address, or on all of them, of both families where the node has both.
async fn listen(address: Option<IpAddr>, port: u16) -> Result<TcpListener, ServeError> {
    let listener: io::Result<TcpListener> = match address {
        Some(address) => TcpListener::bind((address, port)).await,
        None => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
        },
    };
    listener.map_err(|source| ServeError::Listen { port, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let taken = listen(None, 0).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(
            matches!(listen(None, port).await.unwrap_err(), ServeError::Listen { port: named, .. } if named == port)
        );
    }

    #[test]
    fn the_time_until_the_end_is_a_number_of_seconds() {
        assert_eq!(grace(Some("310".to_owned())).unwrap(), Duration::from_secs(310));
        assert_eq!(grace(None).unwrap(), Config::GRACE);
        assert!(matches!(
            grace(Some("5m".to_owned())).unwrap_err(),
            ServeError::Grace { .. }
        ));
    }

    #[tokio::test]
    async fn one_address_may_be_given() {
        let given = address(Some("127.0.0.1".to_owned())).unwrap();
        let listener = listen(given, 0).await.unwrap();
        assert_eq!(listener.local_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
        assert!(address(None).unwrap().is_none());
        assert!(matches!(
            address(Some("host".to_owned())).unwrap_err(),
            ServeError::Address { .. }
        ));
    }
}
