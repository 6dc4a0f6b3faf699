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
pub struct Validator(jsonschema::Validator);

impl Validator {
    /// The validator of `schema`, unless that exceeds its bounds.
    pub fn new(schema: &Value) -> Result<Self, ValidatorError> {
        schema_rules::check(schema)?;
        schema_rules::check_cost(schema)?;
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(
                PatternOptions::regex()
                    .size_limit(MAX_COMPILED)
                    .dfa_size_limit(MAX_COMPILED),
            )
            .build(schema)
            .map(Self)
            .map_err(|error| ValidatorError::Schema(told(&error)))
    }

    /// In what `value` is not as the schema says: the first few that `counts` does not pass over, each with its place and without
    /// the value.
    pub fn violations(&self, value: &Value, counts: impl Fn(&ValidationError<'_>) -> bool) -> Vec<String> {
        let violations = self.0.iter_errors(value).filter(counts).take(MOST_TOLD);
        let mut told: Vec<String> = violations.map(|error| told(&error)).collect();
        told.dedup();
        told
    }

    /// The same of all.
    pub fn check(&self, value: &Value) -> Result<(), Vec<String>> {
        match self.violations(value, |_| true) {
            violations if violations.is_empty() => Ok(()),
            violations => Err(violations),
        }
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
