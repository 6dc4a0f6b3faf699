//! The API types of `kite.dev/v1alpha1` and the pure rules about them, for operator, gateway and command alike.

pub mod conditions;
mod error_chain;
pub mod identity;
pub mod labels;
pub mod name;
pub mod object_names;
pub mod plugin;
pub mod status;
pub mod tool_rules;

pub use error_chain::error_chain;
pub use name::{PluginName, ToolName, ToolReference};
pub use plugin::{ImagePullPolicy, KitePlugin, KitePluginSpec, Permission, Quantity, Resources, Verb, crd};
pub use status::{KitePluginStatus, Phase, RevisionState, RevisionStatus, ToolStatus};
