//! Changes for tests.

use serde_json::{Value, json};

use super::{Asked, Change};
use crate::boundary::Places;

pub(super) const PLACES: Places<'_> = Places {
    plugins: "kite-plugins",
    system: "kite-system",
};

/// A spec with these fields.
pub(super) fn spec(fields: &Value) -> Value {
    let mut spec = json!({"version": "1.0.0", "image": "registry.example/plugin:1.0.0"});
    for (field, value) in fields.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}

pub(super) fn asked(old: Option<&Value>, new: &Value) -> Asked {
    change(old, new).asked().unwrap()
}

pub(super) fn change<'a>(old: Option<&'a Value>, new: &'a Value) -> Change<'a> {
    Change {
        name: "hello",
        places: PLACES,
        old,
        new,
    }
}

/// The questions in words.
pub(super) fn words(old: Option<&Value>, new: &Value) -> Vec<String> {
    let needs = asked(old, new).needs;
    needs
        .iter()
        .map(|need| change(old, new).question(need).to_string())
        .collect()
}
