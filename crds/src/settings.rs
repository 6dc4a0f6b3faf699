//! Whether a plugin's settings are what its schema says.

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::{Map, Value};

use crate::{
    schema_rules::{MAX_SCHEMA, SchemaRuleError},
    validator::{Validator, ValidatorError},
};

/// Most bytes of the settings, as JSON.
pub const MAX_SETTINGS: usize = 64 * 1024;

/// Why settings are not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// The schema is outside its bounds.
    #[error("spec.settingsSchema cannot be used: {0}")]
    Bounds(SchemaRuleError),
    /// The schema is not a JSON Schema.
    #[error("spec.settingsSchema is not a JSON Schema (2020-12): {0}")]
    Schema(String),
    /// The settings are larger than they may be.
    #[error("spec.settings has {0} bytes, the limit is {MAX_SETTINGS}")]
    Long(usize),
    /// The settings are not what the schema says.
    #[error("spec.settings is not what spec.settingsSchema says: {}", .0.join("; "))]
    Violation(Vec<String>),
}

/// Checks `settings` against `schema`; absent settings are empty ones, an absent schema accepts every object. If `has_secret`,
/// settings that are missing at the top level are not complained about, as they may stand in the Secret.
///
/// A schema is written by whoever wrote the plugin, so that what it costs is bounded ([`Validator`]), and the settings have an end.
pub fn check(
    schema: Option<&Map<String, Value>>,
    settings: Option<&Map<String, Value>>,
    has_secret: bool,
) -> Result<(), SettingsError> {
    let settings = Value::Object(settings.cloned().unwrap_or_default());
    let size = settings.to_string().len();
    if size > MAX_SETTINGS {
        return Err(SettingsError::Long(size));
    }
    let Some(schema) = schema else { return Ok(()) };
    let schema = Value::Object(schema.clone());
    let size = schema.to_string().len();
    if size > MAX_SCHEMA {
        return Err(SettingsError::Bounds(SchemaRuleError::Long(size)));
    }
    let validator = Validator::new(&schema).map_err(|error| match error {
        ValidatorError::Bounds(error) => SettingsError::Bounds(error),
        ValidatorError::Schema(error) => SettingsError::Schema(error),
    })?;
    let violations = validator.violations(&settings, |error| !(has_secret && is_missing_at_the_top(error)));
    if violations.is_empty() {
        Ok(())
    } else {
        Err(SettingsError::Violation(violations))
    }
}

fn is_missing_at_the_top(error: &ValidationError<'_>) -> bool {
    matches!(error.kind(), ValidationErrorKind::Required { .. }) && error.instance_path().as_str().is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(schema: Value, settings: Value, has_secret: bool) -> Result<(), String> {
        let map = |value: Value| value.as_object().cloned();
        check(map(schema).as_ref(), map(settings).as_ref(), has_secret).map_err(|error| error.to_string())
    }

    fn schema() -> Value {
        json!({
            "type": "object", "required": ["currency"], "additionalProperties": false,
            "properties": {
                "currency": {"enum": ["EUR", "USD"]},
                "price": {"type": "number", "minimum": 0},
                "token": {"type": "string"},
            },
        })
    }

    #[test]
    fn settings_that_hold_are_accepted() {
        assert_eq!(
            checked(schema(), json!({"currency": "EUR", "price": 0.5}), false),
            Ok(())
        );
        assert_eq!(checked(Value::Null, json!({"a": 1}), false), Ok(()), "without a schema");
        assert_eq!(checked(json!({}), Value::Null, false), Ok(()), "without settings");
    }

    #[test]
    fn each_violation_is_told_with_its_place_and_without_the_value() {
        let error = checked(schema(), json!({"currency": "hunter2", "price": -1}), false).unwrap_err();
        assert!(error.contains("/currency: "), "{error}");
        assert!(error.contains("\"EUR\""), "{error}");
        assert!(error.contains("/price: "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_is_missing_may_stand_in_the_secret() {
        assert!(
            checked(schema(), json!({}), false)
                .unwrap_err()
                .contains("\"currency\"")
        );
        assert_eq!(checked(schema(), json!({}), true), Ok(()));
        assert!(checked(schema(), json!({"price": -1}), true).is_err());
    }

    #[test]
    fn a_schema_is_refused_for_each_of_its_reasons() {
        let refused = |schema: Value| checked(schema, json!({}), false).unwrap_err();
        assert!(refused(json!({"type": "text"})).contains("not a JSON Schema"));
        assert!(refused(json!({"pattern": "("})).contains("not a JSON Schema"));
        assert!(refused(json!({"$ref": "https://example.com/schema"})).contains("outside itself"));
        assert!(refused(json!({"description": "a".repeat(MAX_SCHEMA)})).contains("bytes"));
    }

    #[test]
    fn settings_have_an_end() {
        let long = checked(Value::Null, json!({"a": "a".repeat(MAX_SETTINGS)}), false).unwrap_err();
        assert!(long.contains("the limit is 65536"), "{long}");
    }

    #[test]
    fn regex_bomb_a_pattern_made_to_be_large_is_refused() {
        let schema = json!({"properties": {"a": {"pattern": "((a{100}){100}){100}"}}});
        assert!(
            checked(schema, json!({}), false)
                .unwrap_err()
                .contains("not a JSON Schema")
        );
        let words = json!({"properties": {"a": {"pattern": "^[\\w-]+( \\d{1,20})?$"}}});
        assert_eq!(checked(words, json!({"a": "size 12"}), false), Ok(()));
    }

    #[test]
    fn regex_bomb_a_pattern_made_to_be_slow_is_not() {
        let schema = json!({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}});
        let settings = json!({"a": format!("{}b", "a".repeat(50_000))});
        let began = std::time::Instant::now();
        assert!(checked(schema, settings, false).is_err());
        assert!(
            began.elapsed() < std::time::Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    }
}
