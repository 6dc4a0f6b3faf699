//! The API types of `kite.dev/v1alpha1` and the pure rules about them, for operator, gateway and command alike.

pub mod boundary;
pub mod conditions;
pub mod dangerous;
pub mod dependencies;
pub mod effect;
mod error_chain;
pub mod file_rules;
pub mod host;
pub mod identity;
pub mod json_rules;
pub mod labels;
pub mod name;
pub mod object_names;
pub mod path_pattern;
pub mod plugin;
pub mod requirement;
pub mod revision;
pub mod rights;
pub mod schema_rules;
pub mod settings;
pub mod status;
pub mod tool_rules;
pub mod understood;
pub mod validator;

pub use error_chain::error_chain;
pub use name::{PluginName, ToolName, ToolReference};
pub use plugin::{
    ImagePullPolicy, KitePlugin, KitePluginSpec, Permission, Quantity, RequestLimits, Resources, Verb, crd,
};
pub use requirement::{REQUIREMENT_PATTERN, Requirement, RequirementError};
pub use revision::RevisionSpec;
pub use status::{
    DependencyStatus, KitePluginStatus, NamespaceStatus, Phase, RevisionState, RevisionStatus, ToolStatus,
};
