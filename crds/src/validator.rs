//! Checking values against a schema that a plugin's author wrote, at a cost that is bounded.

#![warn(missing_docs)]

use jsonschema::{Draft, PatternOptions, ValidationError};
use serde_json::Value;

use crate::schema_rules::{self, SchemaRuleError};

/// Most bytes that one pattern is compiled to.
const MAX_COMPILED: usize = 64 * 1024;
/// Most violations that are told at once.
const MOST_TOLD: usize = 5;
/// Most characters of what is told of one.
const LONGEST_TOLD: usize = 300;
/// Most steps of one check: the schema's size times the number of values. It is some tenths of a second.
const MAX_STEPS: usize = 20_000_000;
/// Most steps where all that is wrong is gathered: each may be a violation that is kept, however few of them are told.
const MAX_GATHERED: usize = 100_000;

/// Why nothing can be checked against a schema.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ValidatorError {
    /// The schema exceeds its bounds.
    #[error("the schema cannot be used: {0}")]
    Bounds(#[from] SchemaRuleError),
    /// The schema is none, for this reason.
    #[error("the schema is not a JSON Schema (2020-12): {0}")]
    Schema(String),
}

/// A schema that values are checked against. Patterns are matched by an engine whose time is linear in the text, and references are
/// spelled out before ([`schema_rules::check_cost`]).
#[derive(Clone, Debug)]
pub struct Validator {
    compiled: jsonschema::Validator,
    /// Of the schema with its references spelled out.
    size: usize,
}

impl Validator {
    /// The validator of `schema`, unless that exceeds its bounds.
    pub fn new(schema: &Value) -> Result<Self, ValidatorError> {
        schema_rules::check(schema)?;
        let size = schema_rules::check_cost(schema)?;
        let compiled = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(
                PatternOptions::regex()
                    .size_limit(MAX_COMPILED)
                    .dfa_size_limit(MAX_COMPILED),
            )
            .build(schema)
            .map_err(|error| ValidatorError::Schema(told(&error)))?;
        Ok(Self { compiled, size })
    }

    /// In what `value` is not as the schema says: the first few that `counts` does not pass over, each with its place and without
    /// the value.
    pub fn violations(&self, value: &Value, counts: impl Fn(&ValidationError<'_>) -> bool) -> Vec<String> {
        let violations = self.compiled.iter_errors(value).filter(counts).take(MOST_TOLD);
        let mut told: Vec<String> = violations.map(|error| told(&error)).collect();
        told.dedup();
        told
    }

    /// The same of all, of a value that anybody may have made: one that takes too many steps is refused, and of a large one it is not
    /// told where it does not fit.
    pub fn check(&self, value: &Value) -> Result<(), Vec<String>> {
        let steps = self.bounded(value).map_err(|told| vec![told])?;
        if self.compiled.is_valid(value) {
            return Ok(());
        }
        if steps > MAX_GATHERED {
            return Err(vec![String::from(
                "it does not fit the schema, and has too many values to say where",
            )]);
        }
        match self.violations(value, |_| true) {
            violations if violations.is_empty() => Ok(()),
            violations => Err(violations),
        }
    }

    /// How many steps it takes to check `value`. An error: too many, in words.
    pub fn bounded(&self, value: &Value) -> Result<usize, String> {
        let steps = self.size.saturating_mul(count(value));
        if steps > MAX_STEPS {
            return Err(String::from(
                "there are too many values to compare them with the schema",
            ));
        }
        Ok(steps)
    }
}

/// How many values there are in `value`, itself among them.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

/// The place and the rule, without the value, which may be a secret.
fn told(error: &ValidationError<'_>) -> String {
    let place = match error.instance_path().as_str() {
        "" => String::new(),
        path => format!("{path}: "),
    };
    let whole = format!("{place}{}", error.masked());
    let shown = whole.chars().filter(|character| !character.is_control());
    shown.take(LONGEST_TOLD).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_that_fits_nowhere_costs_no_more_than_its_bound() {
        let nothing = vec![Value::Bool(false); 200];
        let schema = Validator::new(&json!({"properties": {"a": {"items": {"anyOf": nothing}}}})).unwrap();
        let told = |count: usize| schema.check(&json!({"a": vec![1; count]})).unwrap_err();
        assert!(told(3)[0].starts_with("/a/0: "), "{:?}", told(3));
        assert!(told(10_000)[0].contains("to say where"), "{:?}", told(10_000));
        assert!(
            told(99_000)[0].contains("too many values to compare"),
            "{:?}",
            told(99_000)
        );
        assert_eq!(schema.check(&json!({"a": []})), Ok(()));
    }
}
