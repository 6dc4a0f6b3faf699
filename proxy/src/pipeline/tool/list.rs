//! The tools that a caller may call, in the words of the Model Context Protocol's `Tool`.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use kite_api::{PluginName, ToolName, Verb, name::NameError};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};
use tokio::time::timeout;

use crate::{
    directory::{Directory, Entry},
    pipeline::{
        Answer, Gateway,
        authenticate::{Authenticator, Caller},
        authorize::{Authorizer, Part},
        json_text, list, requires,
    },
    problem::Refusal,
    upstream::OfferedTool,
};

/// How long a plugin whose tools are listed may take to connect.
const LIST_TIMEOUT: Duration = Duration::from_secs(1);
/// Most bytes of a list.
const MAX_LIST: usize = 16 * 1024 * 1024;

/// A tool that the caller may call.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Tool")]
pub(in crate::pipeline) struct Item<'a> {
    /// The name by which it is called.
    name: String,
    /// The plugin whose it is.
    plugin: &'a str,
    /// For people. Absent if the plugin gives none.
    #[serde(skip_serializing_if = "str::is_empty")]
    title: &'a str,
    description: &'a str,
    /// The JSON Schema (2020-12) that the arguments must fit.
    #[schemars(with = "Map<String, Value>")]
    input_schema: &'a RawValue,
    /// The JSON Schema (2020-12) of the structured content.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Map<String, Value>")]
    output_schema: Option<&'a RawValue>,
    annotations: Annotations,
}

/// What the plugin says that a call does. Nobody checks it.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct Annotations {
    read_only_hint: bool,
    destructive_hint: bool,
    idempotent_hint: bool,
}

/// The plugin whose tools a query asks for; none asks for all.
pub fn wanted(query: Option<&str>) -> Result<Option<PluginName>, NameError> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let name = pairs.find(|(key, _)| key == "plugin");
    name.map(|(_, name)| PluginName::parse(&name)).transpose()
}

/// A tool as JSON.
pub fn item(plugin: &PluginName, tool: &ToolName, offered: &OfferedTool) -> Vec<u8> {
    let item = Item {
        name: format!("plugin_{plugin}_{tool}"),
        plugin: plugin.as_str(),
        title: &offered.title,
        description: &offered.description,
        input_schema: &offered.input_schema,
        output_schema: offered.output_schema.as_deref(),
        annotations: Annotations {
            read_only_hint: offered.read_only,
            destructive_hint: offered.destructive,
            idempotent_hint: offered.idempotent,
        },
    };
    serde_json::to_vec(&item).unwrap_or_default()
}

/// A list of tools, as JSON.
#[derive(Default)]
pub struct List(Vec<u8>);

/// The list has too many bytes.
pub struct TooLarge;

impl List {
    pub fn add(&mut self, items: Vec<Vec<u8>>) -> Result<(), TooLarge> {
        for item in items {
            if self.0.len() + item.len() > MAX_LIST {
                return Err(TooLarge);
            }
            self.0.push(if self.0.is_empty() { b'[' } else { b',' });
            self.0.extend(item);
        }
        Ok(())
    }

    pub fn end(mut self) -> Vec<u8> {
        if self.0.is_empty() {
            self.0.push(b'[');
        }
        self.0.push(b']');
        self.0
    }
}

impl<N: Authenticator, Z: Authorizer, D: Directory> Gateway<N, Z, D> {
    /// The tools that the caller may call, of all plugins or of one.
    pub(in crate::pipeline) async fn tools(&self, caller: &Caller, query: Option<&str>) -> Answer {
        let only = wanted(query).map_err(Refusal::Name)?;
        let table = self.table()?;
        let of_one = |(name, _): &(&PluginName, &Entry)| only.as_ref().is_none_or(|only| only == *name);
        let asked: Vec<_> = table
            .iter()
            .filter(of_one)
            .map(|(name, entry)| self.tools_of(name, entry, caller))
            .collect();
        let mut lists = stream::iter(asked).buffered(list::AT_ONCE);
        let mut whole = List::default();
        while let Some(items) = lists.next().await {
            whole.add(items?).map_err(|_| Refusal::ListTooLarge)?;
        }
        Ok(json_text(whole.end()))
    }

    /// The tools of one plugin, each as JSON. Of a plugin that cannot be reached there are none: nobody could call them.
    async fn tools_of(&self, name: &PluginName, entry: &Entry, caller: &Caller) -> Result<Vec<Vec<u8>>, Refusal> {
        let Some(active) = entry.serving().filter(|_| !entry.tools.is_empty()) else {
            return Ok(Vec::new());
        };
        match self.authorize(caller, Part::Tools, Verb::Create, name).await {
            Ok(()) => {}
            Err(Refusal::Forbidden { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        // A plugin that is slow is nobody else's affair.
        let Ok(Ok(connected)) = timeout(LIST_TIMEOUT, self.connect(name, active, None)).await else {
            return Ok(Vec::new());
        };
        let mut items = Vec::new();
        for tool in &entry.tools {
            let Some(offered) = connected.offered.tool(tool) else {
                continue;
            };
            match self
                .hold(
                    &active.guards,
                    caller,
                    &requires::of_every_call(active.guards.tool(tool)),
                )
                .await
            {
                Ok(()) => items.push(item(name, tool, offered)),
                Err(Refusal::Requires(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_bounded() {
        let mut list = List::default();
        assert!(list.add(vec![b"1".to_vec(), b"2".to_vec()]).is_ok());
        assert!(list.add(vec![]).is_ok() && list.add(vec![b"3".to_vec()]).is_ok());
        assert!(list.add(vec![vec![b'4'; MAX_LIST]]).is_err());
        assert_eq!(list.end(), b"[1,2,3]");
        assert_eq!(List::default().end(), b"[]");
    }

    #[test]
    fn one_plugin_may_be_asked_for() {
        assert_eq!(wanted(None), Ok(None));
        assert_eq!(wanted(Some("a=b")), Ok(None));
        assert_eq!(wanted(Some("a=b&plugin=hello")), PluginName::parse("hello").map(Some));
        assert!(wanted(Some("plugin=")).is_err() && wanted(Some("plugin=A")).is_err());
    }
}
