//! What a schema says in its own words and in those that it refers to.

use std::iter;

use serde_json::{Map, Value};

use crate::schema_rules::MAX_REFERENCES;

/// `schema`, which is a part of `root`, then what it refers to, and so on.
pub(super) fn parts<'a>(root: &'a Value, schema: &'a Value) -> impl Iterator<Item = &'a Map<String, Value>> {
    let chain = iter::successors(schema.as_object(), |part| {
        let target = part.get("$ref")?.as_str()?.strip_prefix('#')?;
        root.pointer(target)?.as_object()
    });
    chain.take(MAX_REFERENCES)
}
