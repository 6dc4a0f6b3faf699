//! The rules for what a plugin says of a tool, for the SDK at the plugin's start and for the operator when it asks.

use serde_json::Value;

/// Most tools of a plugin, as many as an object can name; with their descriptions they fit into a status.
pub const MAX_TOOLS: usize = 64;
/// Most bytes of a tool's description.
pub const MAX_DESCRIPTION: usize = 4096;
/// Most bytes of a tool's schema.
pub const MAX_SCHEMA: usize = 64 * 1024;
/// Deepest nesting of a tool's schema.
pub const MAX_DEPTH: usize = 32;

/// What is wrong with a tool.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ToolRuleError {
    #[error("its description is empty")]
    NoDescription,
    #[error("its description has {0} bytes, the limit is {MAX_DESCRIPTION}")]
    LongDescription(usize),
    #[error("its description has the character U+{0:04X}, which does not show")]
    HiddenCharacter(u32),
    #[error("its schema has {0} bytes, the limit is {MAX_SCHEMA}")]
    LongSchema(usize),
    #[error("its schema is not a JSON object")]
    SchemaNotAnObject,
    #[error("its schema is nested deeper than {MAX_DEPTH} levels")]
    DeepSchema,
    #[error("its schema refers to {0:?}, outside itself")]
    RemoteReference(String),
}

/// Checks a tool's description and its input schema, which is JSON.
pub fn check(description: &str, input_schema: &[u8]) -> Result<(), ToolRuleError> {
    if description.trim().is_empty() {
        return Err(ToolRuleError::NoDescription);
    }
    if description.len() > MAX_DESCRIPTION {
        return Err(ToolRuleError::LongDescription(description.len()));
    }
    if let Some(hidden) = description.chars().find(|&character| is_hidden(character)) {
        return Err(ToolRuleError::HiddenCharacter(hidden.into()));
    }
    if input_schema.len() > MAX_SCHEMA {
        return Err(ToolRuleError::LongSchema(input_schema.len()));
    }
    match serde_json::from_slice(input_schema) {
        Ok(schema @ Value::Object(_)) => check_schema(&schema, 1),
        _ => Err(ToolRuleError::SchemaNotAnObject),
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

/// Depth first, and no deeper than the bound, whatever is inside.
fn check_schema(value: &Value, depth: usize) -> Result<(), ToolRuleError> {
    let children: Vec<&Value> = match value {
        Value::Object(fields) => {
            for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
                if let Some(Value::String(target)) = fields.get(keyword)
                    && !target.starts_with('#')
                {
                    return Err(ToolRuleError::RemoteReference(target.chars().take(80).collect()));
                }
            }
            fields.values().collect()
        }
        Value::Array(items) => items.iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Ok(()),
    };
    if depth > MAX_DEPTH {
        return Err(ToolRuleError::DeepSchema);
    }
    children
        .into_iter()
        .try_for_each(|child| check_schema(child, depth + 1))
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
    fn a_schema_is_refused_for_each_of_its_reasons() {
        let schema = |text: &str| check("Greets.", text.as_bytes()).unwrap_err();
        assert_eq!(
            schema(&" ".repeat(MAX_SCHEMA + 1)),
            ToolRuleError::LongSchema(MAX_SCHEMA + 1)
        );
        for not_an_object in ["", "[]", "true", "{", "{} {}"] {
            assert_eq!(
                schema(not_an_object),
                ToolRuleError::SchemaNotAnObject,
                "{not_an_object}"
            );
        }
        for remote in ["https://example.com/a", "other.json", "", "//x#"] {
            let text = format!(r#"{{"a": [{{"$ref": "{remote}"}}]}}"#);
            assert_eq!(schema(&text), ToolRuleError::RemoteReference(remote.to_owned()));
        }
    }

    #[test]
    fn a_schema_may_be_as_deep_as_the_bound_and_no_deeper() {
        let nested = |depth: usize| format!("{}{{}}{}", r#"{"a":"#.repeat(depth - 1), "}".repeat(depth - 1));
        assert_eq!(check("Greets.", nested(MAX_DEPTH).as_bytes()), Ok(()));
        assert_eq!(
            check("Greets.", nested(MAX_DEPTH + 1).as_bytes()),
            Err(ToolRuleError::DeepSchema)
        );
    }

    #[test]
    fn a_property_called_ref_is_no_reference() {
        assert_eq!(
            check("Greets.", br#"{"properties": {"$ref": {"type": "string"}}}"#),
            Ok(())
        );
    }
}
