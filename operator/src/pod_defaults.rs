//! What the pods of all plugins get, whatever their objects say: from where their images come, with what, and whom they trust.

mod mirror;

pub use mirror::{Mirror, MirrorError};

/// What the pods of all plugins get. Nothing, unless it is given.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PodDefaults {
    /// Where images of plugins are pulled from instead: `docker.io=mirror.example/hub` for a registry, `docker.io/team=…` for a part of it,
    /// `*=…` for all registries that no other names; may be repeated
    #[arg(
        long = "registry-mirror",
        env = "KITE_REGISTRY_MIRRORS",
        value_name = "FROM=TO",
        value_delimiter = ','
    )]
    pub registry_mirrors: Vec<Mirror>,

    /// A Secret in the plugins' namespace to pull images with, beside those that a plugin's object names; may be repeated
    #[arg(
        long = "plugin-pull-secret",
        env = "KITE_PLUGIN_PULL_SECRETS",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub pull_secrets: Vec<String>,

    /// A ConfigMap in the plugins' namespace whose `ca.crt` has the CAs that plugins trust
    #[arg(
        long = "plugin-ca-config-map",
        env = "KITE_PLUGIN_CA_CONFIG_MAP",
        value_name = "NAME",
        conflicts_with = "plugin_ca_secret"
    )]
    pub plugin_ca_config_map: Option<String>,

    /// A Secret in the plugins' namespace whose `ca.crt` has the CAs that plugins trust
    #[arg(long = "plugin-ca-secret", env = "KITE_PLUGIN_CA_SECRET", value_name = "NAME")]
    pub plugin_ca_secret: Option<String>,
}

/// Where the CAs stand that plugins trust, in `ca.crt`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CaBundle<'a> {
    ConfigMap(&'a str),
    Secret(&'a str),
}

impl PodDefaults {
    /// From where `image` is pulled instead, if a mirror is for it: of several the one that names most of it.
    pub fn mirrored(&self, image: &str) -> Option<String> {
        mirror::mirrored(&self.registry_mirrors, image)
    }

    pub fn ca_bundle(&self) -> Option<CaBundle<'_>> {
        let secret = self.plugin_ca_secret.as_deref().map(CaBundle::Secret);
        let config_map = self.plugin_ca_config_map.as_deref().map(CaBundle::ConfigMap);
        config_map.or(secret)
    }
}
