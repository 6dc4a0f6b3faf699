//! What a plugin's definitions may hold: tools with bounded names, descriptions and schemas.

use std::collections::BTreeSet;

use kite_api::{
    PluginName, ToolName, ToolReference, ToolStatus,
    name::NameError,
    tool_rules::{self, MAX_TOOLS, ToolRuleError},
};
use kite_proto::{Definitions, MAX_DEFINITIONS, Supports, Tool};
use prost::Message;

use super::shown;

/// What is wrong with a plugin's definitions.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ToolsError {
    #[error("failed to take the definitions: they have {0} bytes, the limit is {MAX_DEFINITIONS}")]
    TooLarge(usize),
    #[error("failed to decode the definitions")]
    Decode(#[source] prost::DecodeError),
    #[error("failed to take the tools: there are {0}, the limit is {MAX_TOOLS}")]
    TooMany(usize),
    #[error("failed to take the tool {0:?}")]
    Name(String, #[source] NameError),
    #[error("failed to take the tool {0}: it is there twice")]
    Twice(ToolName),
    #[error("failed to take the tool {tool}")]
    Tool { tool: ToolName, source: ToolRuleError },
}

/// The optional methods that a plugin has by its serialized `definitions`: none, where these cannot be read.
pub fn supports(definitions: &[u8]) -> Supports {
    if definitions.len() > MAX_DEFINITIONS {
        return Supports::default();
    }
    let supports = Definitions::decode(definitions).ok().and_then(|it| it.supports);
    supports.unwrap_or_default()
}

/// The tools of `plugin` in its serialized `definitions`.
pub fn read(plugin: &PluginName, definitions: &[u8]) -> Result<Vec<ToolStatus>, ToolsError> {
    if definitions.len() > MAX_DEFINITIONS {
        return Err(ToolsError::TooLarge(definitions.len()));
    }
    let tools = Definitions::decode(definitions).map_err(ToolsError::Decode)?.tools;
    if tools.len() > MAX_TOOLS {
        return Err(ToolsError::TooMany(tools.len()));
    }
    let mut names = BTreeSet::new();
    tools
        .into_iter()
        .map(|tool| {
            let wrong_name = |error| ToolsError::Name(shown(&tool.name), error);
            let name = ToolName::parse(&tool.name).map_err(wrong_name)?;
            let reference = ToolReference::new(plugin.clone(), name.clone()).map_err(wrong_name)?;
            if !names.insert(tool.name.clone()) {
                return Err(ToolsError::Twice(name));
            }
            check(&tool).map_err(|source| ToolsError::Tool { tool: name, source })?;
            Ok(ToolStatus {
                name: reference.to_string(),
                hash: hash(&tool),
                description: tool.description,
            })
        })
        .collect()
}

/// Checks all of a tool that people and agents read.
fn check(tool: &Tool) -> Result<(), ToolRuleError> {
    tool_rules::check(&tool.description, &tool.input_schema)?;
    tool_rules::check_title(&tool.title)?;
    if tool.output_schema.is_empty() {
        return Ok(());
    }
    tool_rules::check_schema(&tool.output_schema)
}

/// Hash of the whole message as the operator knows it, so that no field that callers or models see is left out of it. Its encoding is
/// canonical: fields in the order of their numbers, each behind its own, and none that is empty; one that the protocol gains changes the
/// hash of those tools alone that have it. It is for people: pods are judged by the hash of all definitions, as these came.
fn hash(tool: &Tool) -> String {
    kite_proto::sha256(&tool.encode_to_vec())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn tool() -> Tool {
        Tool {
            name: String::from("hello"),
            description: String::from("Greets.\nPolitely."),
            input_schema: br##"{"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}}"##
                .as_slice()
                .into(),
            ..Tool::default()
        }
    }

    fn read_tools(tools: Vec<Tool>) -> Result<Vec<ToolStatus>, ToolsError> {
        read(
            &PluginName::parse("greeter").unwrap(),
            &Definitions {
                tools,
                ..Definitions::default()
            }
            .encode_to_vec(),
        )
    }

    #[test]
    fn a_good_tool_has_its_whole_name_and_a_hash() {
        let tools = read_tools(vec![tool()]).unwrap();
        assert_eq!(tools[0].name, "plugin_greeter_hello");
        assert_eq!(tools[0].description, "Greets.\nPolitely.");
        assert_eq!(tools[0].hash, hash(&tool()));
    }

    #[test]
    fn definitions_are_refused_for_each_of_their_reasons() {
        let greeter = PluginName::parse("greeter").unwrap();
        assert_eq!(
            read(&greeter, &vec![0; MAX_DEFINITIONS + 1]),
            Err(ToolsError::TooLarge(MAX_DEFINITIONS + 1))
        );
        assert!(matches!(read(&greeter, b"garbage"), Err(ToolsError::Decode(_))));
        assert_eq!(read_tools(vec![tool(); 65]), Err(ToolsError::TooMany(65)));
        let named = |name: &str| {
            read_tools(vec![Tool {
                name: name.to_owned(),
                ..tool()
            }])
        };
        assert!(matches!(
            named("Hello"),
            Err(ToolsError::Name(_, NameError::Characters))
        ));
        assert!(matches!(
            named(&"a".repeat(50)),
            Err(ToolsError::Name(_, NameError::TooLong(64)))
        ));
        assert!(matches!(read_tools(vec![tool(), tool()]), Err(ToolsError::Twice(_))));
    }

    #[test]
    fn tool_poisoning_a_tool_that_breaks_the_rules_is_named() {
        let refused = |spoil: fn(&mut Tool)| {
            let mut spoilt = tool();
            spoil(&mut spoilt);
            match read_tools(vec![spoilt]) {
                Err(ToolsError::Tool { tool, source }) if tool.as_str() == "hello" => source,
                read => panic!("{read:?}"),
            }
        };
        assert_eq!(refused(|it| it.description.clear()), ToolRuleError::NoDescription);
        let hidden = ToolRuleError::HiddenCharacter(0x202e);
        assert_eq!(refused(|it| it.description.push('\u{202e}')), hidden);
        assert_eq!(refused(|it| it.title.push('\u{202e}')), hidden);
        assert_eq!(
            refused(|it| it.input_schema = "[]".into()),
            ToolRuleError::SchemaNotAnObject
        );
        assert_eq!(
            refused(|it| it.output_schema = "[]".into()),
            ToolRuleError::SchemaNotAnObject
        );
        let titled = Tool {
            title: String::from("Hello"),
            output_schema: r#"{"type": "object"}"#.into(),
            ..tool()
        };
        assert_eq!(read_tools(vec![titled]).unwrap().len(), 1);
    }

    #[test]
    fn tool_poisoning_a_change_of_anything_that_is_said_of_a_tool_changes_its_hash() {
        // In full: a field that the protocol gains has to be thought of here.
        let other = Tool {
            name: String::from("other"),
            description: String::from("Removes."),
            input_schema: "{}".into(),
            output_schema: "{}".into(),
            title: String::from("Other"),
            read_only: true,
            destructive: true,
            idempotent: true,
            has_authorizer: true,
        };
        let changes: [fn(&mut Tool, Tool); 9] = [
            |it, other| it.name = other.name,
            |it, other| it.description = other.description,
            |it, other| it.input_schema = other.input_schema,
            |it, other| it.output_schema = other.output_schema,
            |it, other| it.title = other.title,
            |it, other| it.read_only = other.read_only,
            |it, other| it.destructive = other.destructive,
            |it, other| it.idempotent = other.idempotent,
            |it, other| it.has_authorizer = other.has_authorizer,
        ];
        let mut all = tool();
        let mut hashes = BTreeSet::from([hash(&all)]);
        for change in changes {
            let mut one = tool();
            change(&mut one, other.clone());
            hashes.insert(hash(&one));
            change(&mut all, other.clone());
        }
        assert_eq!(all, other, "each field is changed by one of them");
        assert_eq!(hashes.len(), 1 + changes.len());
    }

    #[test]
    fn the_hash_tells_where_one_part_ends() {
        let a = Tool {
            name: String::from("ab"),
            description: String::from("c"),
            ..tool()
        };
        let b = Tool {
            name: String::from("a"),
            description: String::from("bc"),
            ..tool()
        };
        assert_ne!(hash(&a), hash(&b));
    }
}
