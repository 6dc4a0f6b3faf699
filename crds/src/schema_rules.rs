//! The bounds of a JSON Schema that comes from a plugin or its object.

#![warn(missing_docs)]

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Most bytes of a schema, as JSON.
pub const MAX_SCHEMA: usize = 64 * 1024;
/// Deepest nesting of a schema.
pub const MAX_DEPTH: usize = 32;
/// Most values that a schema has with each reference replaced by what it refers to. Checking costs as much for each value that is
/// checked, and without a bound a chain of references, each used twice, doubles that with every link.
pub const MAX_EXPANDED: usize = 4096;
/// Longest chain of references, each in what the one before refers to.
pub const MAX_REFERENCES: usize = 64;
/// Most patterns of a schema with its references spelled out. Each is tried on every text that it speaks of.
pub const MAX_PATTERNS: usize = 64;

/// In what a schema exceeds its bounds.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SchemaRuleError {
    /// It has so many bytes.
    #[error("it has {0} bytes, the limit is {MAX_SCHEMA}")]
    Long(usize),
    /// Values in it are nested too deep.
    #[error("it is nested deeper than {MAX_DEPTH} levels")]
    Deep,
    /// It refers to what is not in it.
    #[error("it refers to {0:?}, outside itself")]
    RemoteReference(String),
    /// It refers to a place that is not there.
    #[error("it refers to {0:?}, which leads nowhere in it: refer by a JSON pointer, such as #/$defs/name")]
    UnknownReference(String),
    /// It uses this keyword.
    #[error("it uses {0:?}, by which what a reference means depends on where it is used")]
    Dynamic(&'static str),
    /// It refers to what holds the reference.
    #[error(
        "it refers to itself by {0:?}: what is checked against it must end, so let objects name one another instead of holding one another"
    )]
    Recursive(String),
    /// References lead to references too often.
    #[error("a reference in it leads to more than {MAX_REFERENCES} others, one behind another")]
    Chain,
    /// It is too large with what it refers to.
    #[error("with its references spelled out it has more than {MAX_EXPANDED} values")]
    Expanded,
    /// It has too many patterns with what it refers to.
    #[error("with its references spelled out it has more than {MAX_PATTERNS} patterns")]
    Patterns,
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
                    return Err(SchemaRuleError::RemoteReference(shown(target)));
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

/// Checks that whoever checks values against `schema`, which has passed [`check`], is done soon: it does not refer to itself,
/// and is not large when its references are spelled out. How many values it then has is what checking one value costs at most.
pub fn check_cost(schema: &Value) -> Result<usize, SchemaRuleError> {
    let mut expansion = Expansion {
        schema,
        sizes: HashMap::new(),
    };
    expansion.size(schema).map(|size| size.values)
}

/// How large a part of a schema is with its references spelled out.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    values: usize,
    /// Patterns by their name: where a property has that name, one too many.
    patterns: usize,
}

impl Size {
    fn add(&mut self, other: Self) -> Result<(), SchemaRuleError> {
        self.values += other.values;
        self.patterns += other.patterns;
        if self.values > MAX_EXPANDED {
            return Err(SchemaRuleError::Expanded);
        }
        if self.patterns > MAX_PATTERNS {
            return Err(SchemaRuleError::Patterns);
        }
        Ok(())
    }
}

/// How large the parts of a schema are that are referred to. `None`: it is being counted, so that who asks is inside it.
struct Expansion<'a> {
    schema: &'a Value,
    sizes: HashMap<&'a str, Option<Size>>,
}

impl<'a> Expansion<'a> {
    /// The number of values in `value` with its references spelled out. Definitions count where they stand too: which part of a
    /// schema is a schema, and which only the name of a property, is the validator's to know.
    fn size(&mut self, value: &'a Value) -> Result<Size, SchemaRuleError> {
        let mut size = Size { values: 1, patterns: 0 };
        match value {
            Value::Object(fields) => {
                for keyword in ["$dynamicRef", "$recursiveRef", "$id", "$anchor", "$dynamicAnchor"] {
                    // A schema may say what it is called; only a part with a name of its own changes what references mean.
                    let is_root = keyword == "$id" && std::ptr::eq(value, self.schema);
                    if fields.get(keyword).is_some_and(Value::is_string) && !is_root {
                        return Err(SchemaRuleError::Dynamic(keyword));
                    }
                }
                if let Some(Value::String(target)) = fields.get("$ref") {
                    size.add(self.referred(target)?)?;
                }
                size.add(Size {
                    values: 0,
                    patterns: patterns(fields),
                })?;
                for field in fields.values() {
                    size.add(self.size(field)?)?;
                }
            }
            Value::Array(items) => {
                for item in items {
                    size.add(self.size(item)?)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        Ok(size)
    }

    /// The size of what `target` refers to.
    fn referred(&mut self, target: &'a str) -> Result<Size, SchemaRuleError> {
        match self.sizes.get(target) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return Err(SchemaRuleError::Recursive(shown(target))),
            None => {}
        }
        let pointer = target.strip_prefix('#').unwrap_or(target);
        let found = self.schema.pointer(pointer);
        let found = found.ok_or_else(|| SchemaRuleError::UnknownReference(shown(target)))?;
        if pointer.is_empty() {
            return Err(SchemaRuleError::Recursive(shown(target)));
        }
        if self.sizes.values().filter(|size| size.is_none()).count() >= MAX_REFERENCES {
            return Err(SchemaRuleError::Chain);
        }
        self.sizes.insert(target, None);
        let size = self.size(found)?;
        self.sizes.insert(target, Some(size));
        Ok(size)
    }
}

fn patterns(fields: &Map<String, Value>) -> usize {
    let named = |keyword| {
        fields
            .get(keyword)
            .map_or(0, |value| value.as_object().map_or(1, Map::len))
    };
    named("pattern") + named("patternProperties")
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
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

    /// Links of a chain, each of which uses the next one `times` times.
    fn chain(links: usize, times: usize) -> Value {
        let link =
            |n: usize| serde_json::json!({"allOf": vec![serde_json::json!({"$ref": format!("#/$defs/{n}")}); times]});
        let mut definitions: Map<String, Value> = (0..links).map(|n| (n.to_string(), link(n + 1))).collect();
        definitions.insert(links.to_string(), serde_json::json!({"type": "string"}));
        serde_json::json!({"$ref": "#/$defs/0", "$defs": definitions})
    }

    #[test]
    fn references_are_spelled_out_and_bounded() {
        assert_eq!(check_cost(&chain(30, 1)).map(drop), Ok(()));
        assert_eq!(check_cost(&chain(2000, 1)), Err(SchemaRuleError::Chain));
        assert_eq!(check_cost(&chain(30, 2)), Err(SchemaRuleError::Expanded));
        assert_eq!(check_cost(&chain(5, 2)).map(drop), Ok(()));
    }

    #[test]
    fn a_schema_that_costs_too_much_is_refused_for_each_of_its_reasons() {
        let refused = |schema: Value| check_cost(&schema).unwrap_err();
        let itself = serde_json::json!({"properties": {"a": {"$ref": "#"}}});
        assert_eq!(refused(itself), SchemaRuleError::Recursive(String::from("#")));
        let ring = serde_json::json!({
            "$ref": "#/$defs/a",
            "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"items": {"$ref": "#/$defs/a"}}},
        });
        assert!(matches!(refused(ring), SchemaRuleError::Recursive(_)));
        // The same part by other words is another name for it, and the ring closes all the same.
        let other_words = serde_json::json!({"$defs": {"a": {"items": {"$ref": "#/$defs"}}}, "$ref": "#/$defs/a"});
        assert!(matches!(refused(other_words), SchemaRuleError::Recursive(_)));
        let nowhere = serde_json::json!({"$ref": "#/$defs/a"});
        assert!(matches!(refused(nowhere), SchemaRuleError::UnknownReference(_)));
        let anchor = serde_json::json!({"$ref": "#a", "$defs": {"a": {"$anchor": "a"}}});
        assert!(matches!(
            refused(anchor),
            SchemaRuleError::UnknownReference(_) | SchemaRuleError::Dynamic(_)
        ));
        let base = serde_json::json!({"$defs": {"a": {"$id": "https://example.com/a"}}});
        assert_eq!(refused(base), SchemaRuleError::Dynamic("$id"));
        let dynamic = serde_json::json!({"$dynamicRef": "#/$defs/a", "$defs": {"a": {}}});
        assert_eq!(refused(dynamic), SchemaRuleError::Dynamic("$dynamicRef"));
        let patterns: Vec<Value> = (0..65)
            .map(|n| serde_json::json!({"pattern": format!("a{n}")}))
            .collect();
        assert_eq!(
            refused(serde_json::json!({"allOf": patterns})),
            SchemaRuleError::Patterns
        );
        let uses = vec![serde_json::json!({"$ref": "#/$defs/a"}); 65];
        let used_often = serde_json::json!({"allOf": uses, "$defs": {"a": {"pattern": "a"}}});
        assert_eq!(refused(used_often), SchemaRuleError::Patterns);
        let wide = serde_json::json!({"enum": vec![1; MAX_EXPANDED]});
        assert_eq!(refused(wide), SchemaRuleError::Expanded);
    }

    #[test]
    fn an_ordinary_schema_passes() {
        let schema = serde_json::json!({
            "$id": "https://example.com/settings", "type": "object",
            "properties": {"a": {"$ref": "#/$defs/a"}, "b": {"items": {"$ref": "#/$defs/a"}}, "pattern": {"type": "string"}},
            "$defs": {"a": {"type": "string", "pattern": "^a"}},
        });
        assert_eq!(check_cost(&schema).map(drop), Ok(()));
    }
}
