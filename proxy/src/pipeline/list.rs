//! The list of plugins that a caller may see.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kite_api::{Phase, PluginName, Verb};
use serde::Serialize;

use super::{
    authenticate::Caller,
    authorize::{Access, AuthorizeError, Authorizer, Part},
};
use crate::directory::{Entry, Table};

/// How many plugins are asked about at once.
pub(super) const AT_ONCE: usize = 16;

/// One plugin of the list.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub struct Item<'a> {
    name: &'a str,
    version: &'a str,
    description: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
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
            Phase::Pending => "pending",
            Phase::Loaded => "loaded",
            Phase::Failed => "failed",
            Phase::Disabled => "disabled",
            Phase::Stopped => "stopped",
        },
        error: entry.trouble.as_deref(),
    }
}
