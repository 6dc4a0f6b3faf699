//! What the gateway can be told on its command line or by environment variables.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

/// Authenticates, authorizes and proxies to the plugins of a Kubernetes dashboard.
#[derive(Clone, Debug, Parser)]
#[command(name = "kite-gateway", version)]
pub struct Flags {
    /// Address on which HTTPS is served.
    #[arg(long, env = "KITE_LISTEN", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,

    /// Folder with the serving certificate: tls.crt and tls.key.
    #[arg(long, env = "KITE_SERVING_DIR", default_value = "/etc/kite/serving")]
    pub serving_dir: PathBuf,

    /// Folder with the client certificate towards plugins and the CA of their certificates: tls.crt, tls.key and ca.crt.
    #[arg(long, env = "KITE_CLIENT_DIR", default_value = "/etc/kite/client")]
    pub client_dir: PathBuf,

    /// Namespace in which the plugins run.
    #[arg(long, env = "KITE_PLUGINS_NAMESPACE", default_value = "kite-plugins")]
    pub plugins_namespace: String,
}
