//! Labels and well-known names that operator, gateway and chart agree on.

/// On everything that is made for a plugin: the plugin's name.
pub const PLUGIN: &str = "kite.dev/plugin";
/// On a revision's pods and all that was made for it alone: the revision's number.
pub const REVISION: &str = "kite.dev/revision";
/// On a Secret in the plugins' namespace with which any plugin's image may be pulled: `true`.
pub const PULL: &str = "kite.dev/pull";
/// On a Secret in *system*, with the value `true`: it holds the kubeconfig of a cluster that is called as the Secret.
pub const CLUSTER: &str = "kite.dev/cluster";
/// Who made an object, by the recommended labels of Kubernetes.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`], and the field manager, of what the operator makes.
pub const OPERATOR: &str = "kite-operator";
