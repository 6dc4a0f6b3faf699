//! The rules for what a plugin says of a tool, for the SDK at the plugin's start and for the operator when it asks.

#![warn(missing_docs)]

use serde_json::Value;

use crate::{
    schema_rules::{MAX_SCHEMA, SchemaRuleError},
    validator::{Validator, ValidatorError},
};

/// Most tools of a plugin, as many as an object can name; with their descriptions they fit into a status.
pub const MAX_TOOLS: usize = 64;
/// Most resource types of a plugin.
pub const MAX_RESOURCE_TYPES: usize = 64;
/// Most bytes of a tool's description.
pub const MAX_DESCRIPTION: usize = 4096;
/// Most bytes of a tool's title.
pub const MAX_TITLE: usize = 128;

/// What is wrong with a tool.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ToolRuleError {
    /// Nothing is said of it.
    #[error("its description is empty: say what it is for")]
    NoDescription,
    /// Its description has so many bytes.
    #[error("its description has {0} bytes, the limit is {MAX_DESCRIPTION}: shorten it")]
    LongDescription(usize),
    /// Its title has so many bytes.
    #[error("its title has {0} bytes, the limit is {MAX_TITLE}: shorten it")]
    LongTitle(usize),
    /// Title or description have this character.
    #[error("it is described with the character U+{0:04X}, which does not show: take it out")]
    HiddenCharacter(u32),
    /// Its schema is something else than a JSON object.
    #[error("its schema is not a JSON object")]
    SchemaNotAnObject,
    /// Its schema exceeds the bounds of schemas.
    #[error("its schema cannot be used: {0}")]
    Schema(#[from] SchemaRuleError),
    /// It is no JSON Schema; why not.
    #[error("its schema is not a JSON Schema (2020-12): {0}")]
    NotASchema(String),
}

/// Checks a tool's description and its input schema, which is JSON.
pub fn check(description: &str, input_schema: &[u8]) -> Result<(), ToolRuleError> {
    check_description(description)?;
    check_schema(input_schema)
}

/// Checks a description of a tool, or of a resource type.
pub fn check_description(description: &str) -> Result<(), ToolRuleError> {
    if description.trim().is_empty() {
        return Err(ToolRuleError::NoDescription);
    }
    if description.len() > MAX_DESCRIPTION {
        return Err(ToolRuleError::LongDescription(description.len()));
    }
    no_hidden_character(description)
}

/// Checks a tool's title, which is one line and may be empty.
pub fn check_title(title: &str) -> Result<(), ToolRuleError> {
    if title.len() > MAX_TITLE {
        return Err(ToolRuleError::LongTitle(title.len()));
    }
    if title.contains('\n') {
        return Err(ToolRuleError::HiddenCharacter('\n'.into()));
    }
    no_hidden_character(title)
}

/// Checks a schema, which is JSON: of a tool's arguments, its structured content, or a resource type. It must be one against which
/// values can be checked at a cost that is bounded, as the gateway does with each call.
pub fn check_schema(schema: &[u8]) -> Result<(), ToolRuleError> {
    if schema.len() > MAX_SCHEMA {
        return Err(SchemaRuleError::Long(schema.len()).into());
    }
    let Ok(schema @ Value::Object(_)) = serde_json::from_slice(schema) else {
        return Err(ToolRuleError::SchemaNotAnObject);
    };
    match Validator::new(&schema) {
        Ok(_) => Ok(()),
        Err(ValidatorError::Bounds(error)) => Err(error.into()),
        Err(ValidatorError::Schema(error)) => Err(ToolRuleError::NotASchema(error)),
    }
}

fn no_hidden_character(text: &str) -> Result<(), ToolRuleError> {
    match text.chars().find(|&character| is_hidden(character)) {
        Some(hidden) => Err(ToolRuleError::HiddenCharacter(hidden.into())),
        None => Ok(()),
    }
}

/// Characters by which a text says something else to a model than to the person who approves it: control characters but
/// line feed, zero-width and bidirectional ones, and the invisible tags.
fn is_hidden(character: char) -> bool {
    let invisible = matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    );
    invisible || (character.is_control() && character != '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &[u8] = br##"{"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}}"##;

    #[test]
    fn a_good_tool_passes() {
        assert_eq!(check("Greets.\nPolitely.", SCHEMA), Ok(()));
    }

    #[test]
    fn a_description_is_refused_for_each_of_its_reasons() {
        let describe = |text: &str| check(text, SCHEMA).unwrap_err();
        assert_eq!(describe(" \n"), ToolRuleError::NoDescription);
        assert_eq!(describe(&"a".repeat(4097)), ToolRuleError::LongDescription(4097));
        for hidden in ['\u{7}', '\r', '\u{200b}', '\u{202e}', '\u{2066}', '\u{e0041}'] {
            assert_eq!(
                describe(&format!("a{hidden}")),
                ToolRuleError::HiddenCharacter(hidden.into())
            );
        }
    }

    #[test]
    fn a_title_is_refused_for_each_of_its_reasons() {
        assert_eq!(check_title(""), Ok(()));
        assert_eq!(check_title(&"a".repeat(129)), Err(ToolRuleError::LongTitle(129)));
        for hidden in ['\n', '\u{200b}'] {
            let refused = Err(ToolRuleError::HiddenCharacter(hidden.into()));
            assert_eq!(check_title(&format!("a{hidden}")), refused);
        }
    }

    #[test]
    fn a_schema_is_refused_for_each_of_its_reasons() {
        let schema = |text: &str| check("Greets.", text.as_bytes()).unwrap_err();
        assert_eq!(
            schema(&" ".repeat(MAX_SCHEMA + 1)),
            SchemaRuleError::Long(MAX_SCHEMA + 1).into()
        );
        for not_an_object in ["", "[]", "true", "{", "{} {}"] {
            assert_eq!(
                schema(not_an_object),
                ToolRuleError::SchemaNotAnObject,
                "{not_an_object}"
            );
        }
        let remote = SchemaRuleError::RemoteReference(String::from("other.json"));
        assert_eq!(schema(r#"{"$ref": "other.json"}"#), remote.into());
        let endless = SchemaRuleError::Recursive(String::from("#"));
        assert_eq!(schema(r##"{"properties": {"a": {"$ref": "#"}}}"##), endless.into());
        assert!(matches!(schema(r#"{"type": "strin"}"#), ToolRuleError::NotASchema(_)));
    }
}
