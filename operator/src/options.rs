//! What the operator is told on its command line or by its environment.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use kite_api::{boundary::Places, name::ClusterName};
use kube::runtime::watcher;
use rustls::pki_types::DnsName;

use crate::{identity::lives::Lives, pod_defaults::PodDefaults, traces::Collector};

/// Runs what KitePlugin objects declare.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "kite-operator", version)]
pub struct Options {
    #[command(flatten)]
    pub namespaces: Namespaces,

    /// Address on which `/healthz`, `/readyz` and `/metrics` answer, plain HTTP
    #[arg(long, env = "KITE_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// The gateway's address for plugins that call others: a URL without a path
    #[arg(
        long,
        env = "KITE_GATEWAY_ADDRESS",
        default_value = "https://kite-gateway.kite-system.svc"
    )]
    pub gateway_address: String,

    /// A DNS name or an address under which the gateway is reached, for its serving certificate; may be repeated
    #[arg(
        long = "gateway-name",
        env = "KITE_GATEWAY_NAMES",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub gateway_names: Vec<HostName>,

    /// What the home cluster is called, towards plugins
    #[arg(long, env = "KITE_HOME_CLUSTER", default_value = "home", value_parser = ClusterName::parse)]
    pub home_cluster: ClusterName,

    /// What this replica is called in the Lease, followed by something that no other has: the pod's name
    #[arg(long, env = "HOSTNAME", default_value = "kite-operator")]
    pub replica_name: String,

    /// For how many seconds a watch lasts before it is begun anew. What a watch whose connection has died silently would have told is
    /// known after so long, and 15 seconds more at most
    #[arg(long, env = "KITE_WATCH_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(5..=290))]
    pub watch_seconds: u16,

    #[command(flatten)]
    pub lives: Lives,

    #[command(flatten)]
    pub pod_defaults: PodDefaults,

    #[command(flatten)]
    pub collector: Collector,
}

/// How many objects are listed at once. Of each the `managedFields` come along, which take ten times as much memory as all that is kept.
const PAGE: u32 = 50;

impl Options {
    /// How everything is watched.
    pub fn watching(&self) -> watcher::Config {
        watcher::Config::default()
            .timeout(self.watch_seconds.into())
            .page_size(PAGE)
    }
}

/// What a certificate can name a host by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostName {
    Dns(String),
    Address(IpAddr),
}

/// A text that is no name of a host.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {0:?} as a DNS name or an IP address")]
pub struct HostNameError(String);

impl FromStr for HostName {
    type Err = HostNameError;

    /// A DNS name is written in lower case and without the dot at its end, the form in which it is compared.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        match DnsName::try_from(name.as_str()) {
            Ok(_) => Ok(Self::Dns(name)),
            Err(_) => Err(HostNameError(text.to_owned())),
        }
    }
}

/// The two namespaces of an installation.
#[derive(Clone, Debug, clap::Args)]
pub struct Namespaces {
    /// Namespace of operator, gateway, CAs and client keys
    #[arg(
        long = "system-namespace",
        env = "KITE_SYSTEM_NAMESPACE",
        default_value = "kite-system"
    )]
    pub system: String,

    /// Namespace of the plugins' pods and Secrets, and of nothing else
    #[arg(
        long = "plugins-namespace",
        env = "KITE_PLUGINS_NAMESPACE",
        default_value = "kite-plugins"
    )]
    pub plugins: String,
}

impl Namespaces {
    /// The names that the boundary is drawn around.
    pub fn places(&self) -> Places<'_> {
        Places {
            plugins: &self.plugins,
            system: &self.system,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn gateway_names_are_repeated_or_stand_in_one_list() {
        let read = |arguments: &[&str]| {
            let arguments = ["kite-operator"].iter().chain(arguments);
            Options::try_parse_from(arguments).map(|options| options.gateway_names)
        };
        let both = vec![
            HostName::Dns(String::from("kite.example")),
            HostName::Address("192.0.2.7".parse().unwrap()),
        ];
        let repeated = ["--gateway-name", "Kite.Example.", "--gateway-name", "192.0.2.7"];
        assert_eq!(read(&repeated).unwrap(), both);
        assert_eq!(read(&["--gateway-name", "kite.example,192.0.2.7"]).unwrap(), both);
        assert_eq!(read(&[]).unwrap(), []);
        for wrong in ["", "a b", "*.kite.example", "https://kite.example", "kite.example:443"] {
            assert!(read(&["--gateway-name", wrong]).is_err(), "{wrong:?}");
        }
    }
}
