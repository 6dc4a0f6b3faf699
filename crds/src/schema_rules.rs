//! The bounds of a JSON Schema that comes from a plugin or its object.

use serde_json::Value;

/// Most bytes of a schema, as JSON.
pub const MAX_SCHEMA: usize = 64 * 1024;
/// Deepest nesting of a schema.
pub const MAX_DEPTH: usize = 32;

/// In what a schema exceeds its bounds.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SchemaRuleError {
    #[error("it has {0} bytes, the limit is {MAX_SCHEMA}")]
    Long(usize),
    #[error("it is nested deeper than {MAX_DEPTH} levels")]
    Deep,
    #[error("it refers to {0:?}, outside itself")]
    RemoteReference(String),
}

/// Checks that `schema` is no deeper than the bound and refers to nothing outside itself. Depth first, and no deeper than the
/// bound, whatever is inside.
pub fn check(schema: &Value) -> Result<(), SchemaRuleError> {
    check_at(schema, 1)
}

fn check_at(value: &Value, depth: usize) -> Result<(), SchemaRuleError> {
    let children: Vec<&Value> = match value {
        Value::Object(fields) => {
            for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
                if let Some(Value::String(target)) = fields.get(keyword)
                    && !target.starts_with('#')
                {
                    return Err(SchemaRuleError::RemoteReference(target.chars().take(80).collect()));
                }
            }
            fields.values().collect()
        }
        Value::Array(items) => items.iter().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Ok(()),
    };
    if depth > MAX_DEPTH {
        return Err(SchemaRuleError::Deep);
    }
    children.into_iter().try_for_each(|child| check_at(child, depth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_refused_for_each_of_its_reasons() {
        for remote in ["https://example.com/a", "other.json", "", "//x#"] {
            let schema = serde_json::json!({"a": [{"$ref": remote}]});
            assert_eq!(check(&schema), Err(SchemaRuleError::RemoteReference(remote.to_owned())));
        }
        let nested = |depth: usize| {
            let text = format!("{}{{}}{}", r#"{"a":"#.repeat(depth - 1), "}".repeat(depth - 1));
            serde_json::from_str::<Value>(&text).unwrap()
        };
        assert_eq!(check(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(check(&nested(MAX_DEPTH + 1)), Err(SchemaRuleError::Deep));
    }

    #[test]
    fn a_reference_inside_itself_and_a_property_called_ref_are_fine() {
        let schema = serde_json::json!({
            "properties": {"$ref": {"type": "string"}, "a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}},
        });
        assert_eq!(check(&schema), Ok(()));
    }
}
