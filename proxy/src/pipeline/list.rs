//! The list of plugins that a caller may see.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kite_api::{Phase, PluginName, Verb};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    authenticate::Caller,
    authorize::{Access, AuthorizeError, Authorizer, Part},
};
use crate::directory::{Entry, Table};

/// How many plugins are asked about at once.
pub(super) const AT_ONCE: usize = 16;

/// A plugin that the caller may see.
#[derive(Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(rename = "Plugin")]
pub struct Item<'a> {
    /// An RFC 1123 label.
    name: &'a str,
    /// As its object says.
    version: &'a str,
    description: &'a str,
    state: State,
    /// Why it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    error: Option<&'a str>,
}

/// How far the plugin is.
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum State {
    Pending,
    Loaded,
    Failed,
    Disabled,
    Stopped,
}

/// The plugins of `table` that `caller` may see or use, sorted by name.
pub async fn visible<'a>(
    table: &'a Table,
    authorizer: &impl Authorizer,
    caller: &Caller,
) -> Result<Vec<Item<'a>>, AuthorizeError> {
    let checks: Vec<_> = table.keys().map(|name| sees(authorizer, caller, name)).collect();
    let seen: Vec<bool> = stream::iter(checks).buffered(AT_ONCE).try_collect().await?;
    Ok(table
        .iter()
        .zip(seen)
        .filter(|(_, seen)| *seen)
        .map(|((name, entry), _)| item(name, entry))
        .collect())
}

async fn sees(authorizer: &impl Authorizer, caller: &Caller, plugin: &PluginName) -> Result<bool, AuthorizeError> {
    for part in [Part::Object, Part::Proxy] {
        if authorizer
            .allows(
                caller,
                Access::Plugin {
                    part,
                    verb: Verb::Get,
                    plugin,
                },
            )
            .await?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn item<'a>(name: &'a PluginName, entry: &'a Entry) -> Item<'a> {
    Item {
        name: name.as_str(),
        version: &entry.version,
        description: &entry.description,
        state: match entry.phase {
            Phase::Pending => State::Pending,
            Phase::Loaded => State::Loaded,
            Phase::Failed => State::Failed,
            Phase::Disabled => State::Disabled,
            Phase::Stopped => State::Stopped,
        },
        error: entry.trouble.as_deref(),
    }
}
