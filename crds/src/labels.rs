//! Labels and well-known names that operator, gateway and chart agree on.

/// On everything that is made for a plugin: the plugin's name.
pub const PLUGIN: &str = "kite.dev/plugin";
/// On a revision's pods, Deployment and Service: the revision's number.
pub const REVISION: &str = "kite.dev/revision";
/// Who made an object, by the recommended labels of Kubernetes.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`], and the field manager, of what the operator makes.
pub const OPERATOR: &str = "kite-operator";
