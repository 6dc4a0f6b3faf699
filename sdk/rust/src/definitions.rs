//! What a plugin offers, checked, and in the bytes whose hash pins it.

mod files;
mod permissions;
mod resources;
mod tools;

use bytes::Bytes;
pub(crate) use files::Files;
pub use files::FilesError;
use kite_api::{Permission, PluginName};
use kite_proto::{Definitions, MAX_DEFINITIONS, Supports};
use prost::Message as _;
pub(crate) use resources::Types;
pub use resources::TypesError;
pub(crate) use tools::Tools;
pub use tools::ToolsError;

use crate::{ResourceType, Tool, WebFiles};

/// Why what a plugin offers is no good.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// A tool is no good.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// A resource type is no good.
    #[error(transparent)]
    Types(#[from] TypesError),
    /// A web file is no good.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// All together are too large.
    #[error(
        "failed to accept what the plugin offers: its tools, types and files are described in more than {MAX_DEFINITIONS} bytes, so shorten their descriptions and schemas"
    )]
    Length,
}

/// All that a plugin offers, as its author gives it.
pub(crate) struct Offered {
    pub(crate) tools: Vec<Tool>,
    pub(crate) types: Vec<ResourceType>,
    pub(crate) files: WebFiles,
    /// The file that the manifest says is there.
    pub(crate) remote_entry: Option<String>,
    pub(crate) permissions: Vec<Permission>,
    pub(crate) supports: Supports,
}

/// What was accepted of it.
pub(crate) struct Accepted {
    pub(crate) tools: Tools,
    pub(crate) types: Types,
    pub(crate) files: Files,
    /// The serialized [`Definitions`].
    pub(crate) definitions: Bytes,
}

/// Checks what the plugin called `plugin` offers, and writes it in the order of the names.
pub(crate) fn check(plugin: &PluginName, offered: Offered) -> Result<Accepted, DefinitionError> {
    let tools = tools::check(plugin, offered.tools)?;
    let types = resources::check(offered.types)?;
    let files = files::check(offered.files, offered.remote_entry.as_deref())?;
    let definitions = Definitions {
        tools: tools::written(&tools)?,
        resource_types: resources::written(&types)?,
        files: files::written(&files),
        permissions: permissions::written(offered.permissions),
        supports: Some(offered.supports),
    };
    let definitions = definitions.encode_to_vec();
    if definitions.len() > MAX_DEFINITIONS {
        return Err(DefinitionError::Length);
    }
    Ok(Accepted {
        tools,
        types,
        files,
        definitions: definitions.into(),
    })
}
