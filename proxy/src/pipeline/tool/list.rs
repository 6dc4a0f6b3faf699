//! The tools that a caller may call, in the words of the Model Context Protocol's `Tool`.

use kite_api::{PluginName, ToolName, name::NameError};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

use crate::upstream::OfferedTool;

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
