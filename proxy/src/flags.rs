//! What the gateway can be told on its command line or by environment variables.

mod entrance;

use std::{net::SocketAddr, num::NonZero, path::PathBuf, thread, time::Duration};

use clap::{ArgAction, Parser, ValueEnum};

pub use self::entrance::EntranceFlags;
use crate::{base_path::BasePath, pipeline::cluster::ClusterName, recent::Lifetimes, traces::Collector};

/// Whoever was just given a right should not wait for it.
const REFUSAL: Duration = Duration::from_secs(2);

/// Most threads: each has a connection to every pod of every plugin.
const MAX_THREADS: usize = 64;

/// Authenticates, authorizes and proxies to the plugins of a Kubernetes dashboard.
#[derive(Clone, Debug, Parser)]
#[command(name = "kite-gateway", version)]
pub struct Flags {
    /// Address on which HTTPS is served.
    #[arg(long, env = "KITE_LISTEN", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,

    /// How many threads serve, each with connections of its own to the plugins' pods. Absent: as many as there are CPUs for the
    /// process.
    #[arg(long, env = "KITE_THREADS", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: Option<u16>,

    /// Path below which all routes lie, such as /kite, where the address is shared with others. The probes answer at the root too.
    #[arg(long, env = "KITE_BASE", default_value = "", value_parser = BasePath::parse)]
    pub base_path: BasePath,

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

    #[command(flatten)]
    pub entrance: EntranceFlags,
    /// Whether each request is told in the access log, on standard error.
    #[arg(long, env = "KITE_ACCESS_LOG", default_value_t = true, action = ArgAction::Set)]
    pub access_log: bool,

    /// Address of the OpenTelemetry collector (OTLP over gRPC) that spans are sent to, as in <http://collector:4317>. Absent: none
    /// are made.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// File with what the collector's certificate is signed by, where its address begins with https.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE")]
    pub otlp_ca: Option<PathBuf>,

    /// Of how many of the traces that begin here spans are sent, in percent. Of others the caller says it.
    #[arg(long, env = "KITE_TRACE_PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub trace_percent: u8,
}

/// Something that is there or is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

impl Flags {
    /// How many threads serve.
    pub fn threads(&self) -> usize {
        let available = || thread::available_parallelism().map_or(1, NonZero::get);
        self.threads.map_or_else(available, usize::from).min(MAX_THREADS)
    }

    /// For how long decisions of the API server hold.
    pub fn lifetimes(&self) -> Lifetimes {
        let yes = Duration::from_secs(self.decision_seconds.into());
        Lifetimes {
            yes,
            no: yes.min(REFUSAL),
            outage: Duration::from_secs(self.outage_seconds.into()),
        }
    }

    /// Where spans go, if they go anywhere.
    pub fn collector(&self) -> Option<Collector> {
        // An empty variable is one that was not set.
        let endpoint = self.otlp_endpoint.clone().filter(|endpoint| !endpoint.is_empty())?;
        Some(Collector {
            endpoint,
            ca: self.otlp_ca.clone(),
            ratio: f64::from(self.trace_percent) / 100.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_for_less_time_than_what_is_granted() {
        for (arguments, seconds) in [
            (&["gateway"] as &[&str], [5, 2, 60]),
            (&["gateway", "--decision-seconds=1", "--outage-seconds=0"], [1, 1, 0]),
            (
                &["gateway", "--decision-seconds=60", "--outage-seconds=600"],
                [60, 2, 600],
            ),
        ] {
            let Lifetimes { yes, no, outage } = Flags::try_parse_from(arguments).unwrap().lifetimes();
            assert_eq!([yes, no, outage].map(|it| it.as_secs()), seconds, "{arguments:?}");
        }
        assert!(Flags::try_parse_from(["gateway", "--outage-seconds=601"]).is_err());
    }
}
