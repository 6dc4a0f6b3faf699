//! What the gateway can be told on its command line or by environment variables.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

use crate::{pipeline::cluster::ClusterName, recent::Lifetimes};

/// Whoever was just given a right should not wait for it.
const REFUSAL: Duration = Duration::from_secs(2);

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

    /// What the cluster in which the gateway runs is called, in x-cluster-name and to plugins.
    #[arg(long, env = "KITE_HOME_CLUSTER", default_value = "home", value_parser = ClusterName::parse)]
    pub home_cluster: ClusterName,

    /// Whether plugins that can are asked by many small exchanges on one stream.
    #[arg(long, env = "KITE_EXCHANGE", default_value = "on", value_enum, hide = true)]
    pub exchange: Switch,

    /// For how many seconds a decision of the API server holds without asking again: who a token is of, and what a caller may
    /// do. So long does a right go on that was withdrawn. A refusal holds for two at most.
    #[arg(long, env = "KITE_DECISION_SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=60))]
    pub decision_seconds: u16,

    /// For how many seconds a decision holds while the API server does not answer. Callers who were not decided about since
    /// get 503.
    #[arg(long, env = "KITE_OUTAGE_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(0..=600))]
    pub outage_seconds: u16,
}

/// Something that is there or is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

impl Flags {
    /// For how long decisions of the API server hold.
    pub fn lifetimes(&self) -> Lifetimes {
        let yes = Duration::from_secs(self.decision_seconds.into());
        Lifetimes {
            yes,
            no: yes.min(REFUSAL),
            outage: Duration::from_secs(self.outage_seconds.into()),
        }
    }
}
