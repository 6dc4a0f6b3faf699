//! The two namespaces of Kite Plugins, as arguments.

use clap::Args;
use kite_api::boundary::Places;

#[derive(Args)]
pub(crate) struct PlacesArgs {
    /// Namespace of the plugins' pods and Secrets
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "KITE_PLUGINS_NAMESPACE",
        hide_env_values = true,
        default_value = "kite-plugins"
    )]
    plugins_namespace: String,

    /// Namespace of the operator and the gateway
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "KITE_SYSTEM_NAMESPACE",
        hide_env_values = true,
        default_value = "kite-system"
    )]
    system_namespace: String,
}

impl PlacesArgs {
    pub(crate) fn places(&self) -> Places<'_> {
        Places {
            plugins: &self.plugins_namespace,
            system: &self.system_namespace,
        }
    }
}
