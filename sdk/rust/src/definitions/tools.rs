//! Tools that were accepted.

use std::collections::BTreeMap;

use kite_api::{
    PluginName, ToolName, ToolReference,
    name::{MAX_TOOL_NAME, NameError},
    tool_rules::{self, MAX_TOOLS, ToolRuleError},
};
use schemars::Schema;

use crate::{Tool, schema};

/// Why a plugin's tools are no good.
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    /// A tool's name is none, or too long behind the plugin's.
    #[error(
        "failed to accept the tool {tool:?}: call it by a lower-case letter, then lower-case letters, digits and underscores, {most} characters at most in this plugin"
    )]
    Name {
        /// The tool's name.
        tool: String,
        /// Most characters of a name behind this plugin's own.
        most: usize,
        /// The cause.
        source: NameError,
    },
    /// Two tools have one name.
    #[error("failed to accept the tool {0}: there are two of this name, so rename one")]
    Twice(String),
    /// A tool's description or schema breaks the rules for tools.
    #[error("failed to accept the tool {tool}")]
    Rule {
        /// The tool's name.
        tool: String,
        /// The cause.
        source: ToolRuleError,
    },
    /// A tool's arguments are not a struct with named fields.
    #[error(
        "failed to accept the tool {0}: its arguments are not an object in JSON, so make their type a struct with named fields"
    )]
    NotAnObject(String),
    /// A tool's answer is not a struct with named fields.
    #[error(
        "failed to accept the tool {0}: what it answers is not an object in JSON, so make the type in Structured a struct with named fields"
    )]
    AnswerNotAnObject(String),
    /// A tool's title breaks the rules for titles.
    #[error("failed to accept the title of the tool {tool}")]
    Title {
        /// The tool's name.
        tool: String,
        /// The cause.
        source: ToolRuleError,
    },
    /// The schema of a tool's answer breaks the rules for schemas.
    #[error("failed to accept what the tool {tool} answers")]
    Answer {
        /// The tool's name.
        tool: String,
        /// The cause.
        source: ToolRuleError,
    },
    /// A tool's schema cannot be written.
    #[error("failed to serialize the schema of the tool {tool}")]
    SerializeSchema {
        /// The tool's name.
        tool: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// There are too many tools.
    #[error(
        "failed to accept the plugin's tools: there are {0}, the limit is {MAX_TOOLS}, so move some of them to another plugin"
    )]
    TooMany(usize),
}

/// Tools that were accepted, by name.
pub(crate) type Tools = BTreeMap<String, Tool>;

/// Checks the tools of the plugin called `plugin`.
pub(super) fn check(plugin: &PluginName, tools: Vec<Tool>) -> Result<Tools, ToolsError> {
    if tools.len() > MAX_TOOLS {
        return Err(ToolsError::TooMany(tools.len()));
    }
    let mut accepted = Tools::new();
    for tool in tools {
        let name = tool.name.clone();
        check_name(plugin, &name)?;
        if accepted.insert(name.clone(), tool).is_some() {
            return Err(ToolsError::Twice(name));
        }
    }
    Ok(accepted)
}

/// The tools in the order of their names, which is that of the map.
pub(super) fn written(tools: &Tools) -> Result<Vec<kite_proto::Tool>, ToolsError> {
    tools.values().map(written_one).collect()
}

fn check_name(plugin: &PluginName, tool: &str) -> Result<(), ToolsError> {
    let checked = ToolName::parse(tool).and_then(|name| ToolReference::new(plugin.clone(), name));
    checked.map(drop).map_err(|source| ToolsError::Name {
        tool: tool.to_owned(),
        most: MAX_TOOL_NAME.saturating_sub(format!("plugin_{plugin}_").len()),
        source,
    })
}

fn written_one(tool: &Tool) -> Result<kite_proto::Tool, ToolsError> {
    let name = || tool.name.clone();
    if !schema::is_object(&tool.input_schema) {
        return Err(ToolsError::NotAnObject(name()));
    }
    let input_schema = serialized(tool, &tool.input_schema)?;
    tool_rules::check(&tool.description, &input_schema).map_err(|source| ToolsError::Rule { tool: name(), source })?;
    tool_rules::check_title(&tool.title).map_err(|source| ToolsError::Title { tool: name(), source })?;
    let output_schema = match &tool.output_schema {
        Some(schema) if !schema::is_object(schema) => return Err(ToolsError::AnswerNotAnObject(name())),
        Some(schema) => serialized(tool, schema)?,
        None => Vec::new(),
    };
    if !output_schema.is_empty() {
        tool_rules::check_schema(&output_schema).map_err(|source| ToolsError::Answer { tool: name(), source })?;
    }
    Ok(kite_proto::Tool {
        name: name(),
        description: tool.description.clone(),
        input_schema: input_schema.into(),
        output_schema: output_schema.into(),
        title: tool.title.clone(),
        read_only: tool.hints.read_only,
        destructive: tool.hints.destructive,
        idempotent: tool.hints.idempotent,
        has_authorizer: tool.authorizer.is_some(),
    })
}

fn serialized(tool: &Tool, schema: &Schema) -> Result<Vec<u8>, ToolsError> {
    serde_json::to_vec(schema).map_err(|source| ToolsError::SerializeSchema {
        tool: tool.name.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;

    use super::*;
    use crate::{Structured, ToolContext, ToolError};

    #[derive(Deserialize, JsonSchema)]
    struct Nothing {}

    async fn run(_: ToolContext, _: Nothing) -> Result<String, ToolError> {
        Ok(String::new())
    }

    fn tool(name: &str) -> Tool {
        Tool::new(name, "does nothing", run)
    }

    fn checked(tools: Vec<Tool>) -> Result<Vec<kite_proto::Tool>, ToolsError> {
        written(&check(&PluginName::parse("hello").unwrap(), tools)?)
    }

    fn refused(tools: Vec<Tool>) -> ToolsError {
        checked(tools).unwrap_err()
    }

    #[test]
    fn tools_are_written_in_the_order_of_their_names_whatever_order_they_are_given_in() {
        let tools = checked(vec![tool("b"), tool("a")]).unwrap();
        assert_eq!(tools, checked(vec![tool("a"), tool("b")]).unwrap());
        assert_eq!(
            tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(),
            ["a", "b"]
        );
        let schema: serde_json::Value = serde_json::from_slice(&tools[0].input_schema).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }

    #[test]
    fn a_tool_is_refused_for_each_of_its_reasons() {
        let described = |text: &str| Tool {
            description: text.to_owned(),
            ..tool("a")
        };
        assert!(matches!(refused(vec![tool("A")]), ToolsError::Name { .. }));
        assert!(matches!(refused(vec![tool(&"a".repeat(60))]), ToolsError::Name { .. }));
        assert!(matches!(refused(vec![tool("a"), tool("a")]), ToolsError::Twice(_)));
        let many = (0..=MAX_TOOLS).map(|n| tool(&format!("a{n}"))).collect();
        assert!(matches!(refused(many), ToolsError::TooMany(65)));
        for text in ["", "a\u{200b}"] {
            assert!(
                matches!(refused(vec![described(text)]), ToolsError::Rule { .. }),
                "{text:?}"
            );
        }
        let text = Tool::new("a", "a", |_: ToolContext, text: String| async move { Ok(text) });
        assert!(matches!(refused(vec![text]), ToolsError::NotAnObject(_)));
        let number = Tool::new("a", "a", |_: ToolContext, _: Nothing| async { Ok(Structured::new(1)) });
        assert!(matches!(refused(vec![number]), ToolsError::AnswerNotAnObject(_)));
        for title in ["a".repeat(129), "a\nb".to_owned()] {
            let titled = tool("a").titled(title);
            assert!(matches!(refused(vec![titled]), ToolsError::Title { .. }));
        }
    }
}
