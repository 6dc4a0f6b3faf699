//! What a plugin's definitions offer, read once for each connection.

use std::{collections::BTreeMap, sync::OnceLock};

use kite_api::{
    ToolName,
    validator::{Validator, ValidatorError},
};
use kite_proto::Definitions;
use prost::{DecodeError, Message as _};
use serde_json::{Value, value::RawValue};

/// Why definitions cannot be used, though they are the recorded ones.
#[derive(Debug, thiserror::Error)]
pub enum OfferedError {
    #[error("failed to decode the definitions")]
    Decode(#[source] DecodeError),
    #[error("failed to read the schema of the tool {0}")]
    Schema(String, #[source] serde_json::Error),
}

/// What a plugin offers.
#[derive(Debug, Default)]
pub struct Offered {
    /// Whether the plugin has `Exchange`.
    pub exchange: bool,
    tools: BTreeMap<ToolName, OfferedTool>,
}

/// A tool that a plugin offers.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "as the protocol has them")]
pub struct OfferedTool {
    pub description: String,
    /// What it is called for people; may be empty.
    pub title: String,
    pub input_schema: Box<RawValue>,
    pub output_schema: Option<Box<RawValue>>,
    pub read_only: bool,
    pub destructive: bool,
    pub idempotent: bool,
    /// Whether the plugin is asked about each call.
    pub has_authorizer: bool,
    /// Made of the input schema when the first call comes.
    validator: OnceLock<Result<Validator, ValidatorError>>,
}

impl Offered {
    /// What serialized `Definitions` offer. Tools of names that none can have are left out.
    pub fn read(definitions: &[u8]) -> Result<Self, OfferedError> {
        let definitions = Definitions::decode(definitions).map_err(OfferedError::Decode)?;
        let mut tools = BTreeMap::new();
        for tool in definitions.tools {
            let schema = |json: &[u8]| {
                serde_json::from_slice::<Box<RawValue>>(json)
                    .map_err(|error| OfferedError::Schema(tool.name.clone(), error))
            };
            let (input_schema, output_schema) = (schema(&tool.input_schema)?, &tool.output_schema);
            let output_schema = (!output_schema.is_empty()).then(|| schema(output_schema)).transpose()?;
            let Ok(name) = ToolName::parse(&tool.name) else {
                continue;
            };
            let offered = OfferedTool {
                description: tool.description,
                title: tool.title,
                input_schema,
                output_schema,
                read_only: tool.read_only,
                destructive: tool.destructive,
                idempotent: tool.idempotent,
                has_authorizer: tool.has_authorizer,
                validator: OnceLock::new(),
            };
            tools.insert(name, offered);
        }
        Ok(Self {
            exchange: definitions.supports.is_some_and(|supports| supports.exchange),
            tools,
        })
    }

    pub fn tool(&self, name: &ToolName) -> Option<&OfferedTool> {
        self.tools.get(name)
    }
}

impl OfferedTool {
    /// In what `arguments` are not as the input schema says: the first few places, and none if they are.
    pub fn violations(&self, arguments: &Value) -> Result<Vec<String>, ValidatorError> {
        let validator = self.validator.get_or_init(|| {
            // It is JSON: that was seen when it was read.
            Validator::new(&serde_json::from_str(self.input_schema.get()).unwrap_or_default())
        });
        match validator {
            Ok(validator) => Ok(validator.check(arguments).err().unwrap_or_default()),
            Err(error) => Err(error.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use kite_proto::Tool;
    use serde_json::json;

    use super::*;

    fn read(name: &str, input: &str, output: &str) -> Result<Offered, OfferedError> {
        let tool = Tool {
            name: name.to_owned(),
            input_schema: input.to_owned().into(),
            output_schema: output.to_owned().into(),
            has_authorizer: true,
            ..Tool::default()
        };
        let definitions = Definitions {
            tools: vec![tool],
            ..Definitions::default()
        };
        Offered::read(&definitions.encode_to_vec())
    }

    #[test]
    fn arguments_are_compared_with_the_schema() {
        let schema = r#"{"properties": {"name": {"type": "string"}}, "required": ["name"]}"#;
        let offered = read("greet", schema, "").unwrap();
        let tool = offered.tool(&ToolName::parse("greet").unwrap()).unwrap();
        assert!(tool.has_authorizer && tool.output_schema.is_none());
        assert!(tool.violations(&json!({"name": "a"})).unwrap().is_empty());
        let violations = tool.violations(&json!({"name": 1})).unwrap();
        assert!(violations[0].starts_with("/name: "), "{violations:?}");
        let endless = read("greet", r##"{"properties": {"a": {"$ref": "#"}}}"##, "").unwrap();
        let tool = endless.tool(&ToolName::parse("greet").unwrap()).unwrap();
        assert!(tool.violations(&json!({})).is_err());
    }

    #[test]
    fn what_is_no_definitions_is_refused() {
        assert!(matches!(Offered::read(b"definitions"), Err(OfferedError::Decode(_))));
        assert!(matches!(read("greet", "{", ""), Err(OfferedError::Schema(..))));
        assert!(matches!(read("greet", "{}", "{"), Err(OfferedError::Schema(..))));
        assert!(read("Greet", "{}", "{}").unwrap().tools.is_empty());
    }
}
