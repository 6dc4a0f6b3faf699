//! The defaults of a schema, where settings say nothing.

use serde_json::Value;

use super::parts::parts;

/// There would be too much of it.
#[derive(Debug)]
pub(super) struct Full;

/// Fills the defaults of `schema` into `value`: those of `properties` that an object does not have, in objects and lists at any depth, and
/// by way of references. As in Kubernetes, an absent object is not made for what is inside it. At most `most` bytes are added.
pub(super) fn fill(value: &mut Value, schema: &Value, most: usize) -> Result<(), Full> {
    let mut filling = Filling {
        root: schema,
        left: most,
    };
    filling.fill(value, schema)
}

struct Filling<'a> {
    root: &'a Value,
    /// How many bytes may be added.
    left: usize,
}

impl<'a> Filling<'a> {
    fn fill(&mut self, value: &mut Value, schema: &'a Value) -> Result<(), Full> {
        for part in parts(self.root, schema) {
            match value {
                Value::Object(fields) => {
                    let properties = part.get("properties").and_then(Value::as_object);
                    for (name, schema) in properties.into_iter().flatten() {
                        if !fields.contains_key(name)
                            && let Some(default) = self.default(name, schema)?
                        {
                            fields.insert(name.clone(), default);
                        }
                        if let Some(field) = fields.get_mut(name) {
                            self.fill(field, schema)?;
                        }
                    }
                }
                Value::Array(items) => {
                    if let Some(schema) = part.get("items") {
                        for item in items {
                            self.fill(item, schema)?;
                        }
                    }
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        Ok(())
    }

    /// What stands for the property where it is absent.
    fn default(&mut self, name: &str, schema: &'a Value) -> Result<Option<Value>, Full> {
        let found = parts(self.root, schema).find_map(|part| part.get("default"));
        let Some(default) = found else { return Ok(None) };
        let size = default.to_string().len() + name.len();
        self.left = self.left.checked_sub(size).ok_or(Full)?;
        Ok(Some(default.clone()))
    }
}
