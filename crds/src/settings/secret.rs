//! Settings that stand in a Secret: each of its keys is one, at the top level.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde_json::{Map, Value};

use super::parts::parts;

/// Puts what is in the Secret into `settings`, where it wins. A value is text; where the schema has a type there that is not text, it is
/// read as JSON. What is wrong is told by the keys.
pub(super) fn merge(
    settings: &mut Map<String, Value>,
    schema: Option<&Value>,
    data: &BTreeMap<String, ByteString>,
) -> Result<(), Vec<String>> {
    let mut wrong = Vec::new();
    for (key, ByteString(bytes)) in data {
        let Ok(text) = str::from_utf8(bytes) else {
            wrong.push(format!("{key:?} is not UTF-8"));
            continue;
        };
        if is_text(schema, key) {
            settings.insert(key.clone(), Value::String(text.to_owned()));
            continue;
        }
        match serde_json::from_str(text) {
            Ok(value) => _ = settings.insert(key.clone(), value),
            // What serde says of it quotes it.
            Err(_) => wrong.push(format!("{key:?} is not JSON, as the type in spec.settingsSchema needs")),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Whether the schema allows text as this setting, or does not say.
fn is_text(schema: Option<&Value>, key: &str) -> bool {
    let property = schema.and_then(|root| {
        let mut parts = parts(root, root);
        let property = parts.find_map(|part| part.get("properties")?.get(key))?;
        Some((root, property))
    });
    let Some((root, property)) = property else { return true };
    let kind = parts(root, property).find_map(|part| part.get("type"));
    match kind {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        _ => true,
    }
}
