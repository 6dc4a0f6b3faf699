//! Names of the objects that are made for a plugin.
//!
//! All begin with `kite-plugin-`, which is how the cluster's policies tell them from others. The longest, with a
//! plugin's 40 characters and a revision's 10, has 63, the limit of a Service's name.

use crate::PluginName;

/// Begins the names of all objects that are made for plugins.
pub const PREFIX: &str = "kite-plugin-";

/// Its ServiceAccount, its Roles and ClusterRole, their bindings, and its NetworkPolicy.
pub fn base(plugin: &PluginName) -> String {
    format!("{PREFIX}{plugin}")
}

/// The Secret with its server certificate.
pub fn certificate(plugin: &PluginName) -> String {
    format!("{PREFIX}{plugin}-tls")
}

/// The Deployment, the Service and the PodDisruptionBudget of one of its revisions.
pub fn revision(plugin: &PluginName, number: i64) -> String {
    format!("{PREFIX}{plugin}-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_is_a_label() {
        let plugin = PluginName::parse(&"a".repeat(40)).unwrap();
        assert!(revision(&plugin, 9_999_999_999).len() <= 63);
    }

    #[test]
    fn two_plugins_never_share_a_name() {
        let a = PluginName::parse("a").unwrap();
        let a_1 = PluginName::parse("a-1").unwrap();
        assert_ne!(revision(&a, 1), revision(&a_1, 1));
        assert_ne!(certificate(&a), certificate(&PluginName::parse("a-tls").unwrap()));
    }
}
