//! What the operator is told on its command line or by its environment.

use std::net::SocketAddr;

/// Runs what KitePlugin objects declare.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "kite-operator", version)]
pub struct Options {
    #[command(flatten)]
    pub namespaces: Namespaces,

    /// Address on which `/healthz` and `/readyz` answer, plain HTTP
    #[arg(long, env = "KITE_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Options::command().debug_assert();
    }
}
