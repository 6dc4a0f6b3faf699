//! A plugin's settings: what it gets of its object, of the defaults in its schema and of its Secret, and whether that is what the schema says.

#![warn(missing_docs)]

mod defaults;
mod parts;
mod secret;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jsonschema::{ValidationError, error::ValidationErrorKind};
use k8s_openapi::ByteString;
use serde_json::{Map, Value};

use crate::{
    json_rules,
    schema_rules::{MAX_SCHEMA, SchemaRuleError},
    validator::{Validator, ValidatorError},
};

/// Most bytes of `spec.settings`, as JSON.
pub const MAX_SETTINGS: usize = 64 * 1024;
/// Most bytes of all that a plugin gets, as JSON: the settings with the schema's defaults and what is in the Secret.
pub const MAX_WHOLE: usize = 256 * 1024;
/// Most keys of the Secret that are named as not fitting.
const MOST_NAMED: usize = 5;

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
    /// What the Secret has cannot be settings.
    #[error("what the Secret of spec.settingsSecretRef has cannot be settings: {}", .0.join("; "))]
    Secret(Vec<String>),
    /// All together is larger than it may be.
    #[error(
        "the settings have more than {MAX_WHOLE} bytes with the defaults of spec.settingsSchema and what is in the Secret of \
         spec.settingsSecretRef"
    )]
    Whole,
    /// All together is no JSON that everybody reads alike.
    #[error("the settings cannot be given to a plugin: {0}")]
    Json(String),
}

/// What is in the Secret that `spec.settingsSecretRef` names.
#[derive(Clone, Copy)]
pub enum FromSecret<'a> {
    /// The object names none.
    Nothing,
    /// It names one, and what is in it is not known here.
    Unknown,
    /// Its data: each key is a setting.
    Known(&'a BTreeMap<String, ByteString>),
}

/// The settings that a plugin gets. They may hold secrets, and show nothing of what they are.
#[derive(Clone, Eq, PartialEq)]
pub struct Effective(Vec<u8>);

impl Effective {
    /// All of them as one JSON object.
    pub fn into_json(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "settings of {} bytes", self.0.len())
    }
}

/// What a plugin gets of `settings`, of its Secret, which wins over them, and of the defaults in `schema` where neither says anything.
/// Absent settings are empty ones, an absent schema accepts every object. Of a Secret that is not known it is assumed that it has what is
/// missing at the top level.
///
/// A schema is written by whoever wrote the plugin, so that what it costs is bounded ([`Validator`]), and the settings have an end.
pub fn effective(
    schema: Option<&Map<String, Value>>,
    settings: Option<&Map<String, Value>>,
    secret: FromSecret<'_>,
) -> Result<Effective, SettingsError> {
    let mut whole = Value::Object(settings.cloned().unwrap_or_default());
    let size = whole.to_string().len();
    if size > MAX_SETTINGS {
        return Err(SettingsError::Long(size));
    }
    let schema = schema.map(|schema| Value::Object(schema.clone()));
    let validator = schema.as_ref().map(validator).transpose()?;
    let mut from_secret = BTreeSet::new();
    if let (FromSecret::Known(data), Value::Object(whole)) = (secret, &mut whole) {
        secret::merge(whole, schema.as_ref(), data).map_err(SettingsError::Secret)?;
        from_secret.extend(data.keys().map(String::as_str));
    }
    if let (Some(schema), Some(validator)) = (&schema, &validator) {
        bounded(validator, &whole)?;
        defaults::fill(&mut whole, schema, MAX_WHOLE).map_err(|defaults::Full| SettingsError::Whole)?;
    }
    let json = whole.to_string().into_bytes();
    if json.len() > MAX_WHOLE {
        return Err(SettingsError::Whole);
    }
    json_rules::check(&json).map_err(|error| SettingsError::Json(error.to_string()))?;
    if let Some(validator) = &validator {
        bounded(validator, &whole)?;
        let is_known = !matches!(secret, FromSecret::Unknown);
        let violations = violations(validator, &whole, &from_secret, is_known);
        if !violations.is_empty() {
            return Err(SettingsError::Violation(violations));
        }
    }
    Ok(Effective(json))
}

fn validator(schema: &Value) -> Result<Validator, SettingsError> {
    let size = schema.to_string().len();
    if size > MAX_SCHEMA {
        return Err(SettingsError::Bounds(SchemaRuleError::Long(size)));
    }
    Validator::new(schema).map_err(|error| match error {
        ValidatorError::Bounds(error) => SettingsError::Bounds(error),
        ValidatorError::Schema(error) => SettingsError::Schema(error),
    })
}

fn bounded(validator: &Validator, value: &Value) -> Result<(), SettingsError> {
    let refused = validator.bounded(value).err();
    refused.map_or(Ok(()), |told| Err(SettingsError::Violation(vec![told])))
}

/// In what `whole` is not as the schema says. Of what is in the Secret only the key is told: its inside may have names that are secret too.
fn violations(validator: &Validator, whole: &Value, from_secret: &BTreeSet<&str>, is_known: bool) -> Vec<String> {
    let misfits = RefCell::new(BTreeSet::new());
    let mut told = validator.violations(whole, |error| {
        let first = error.instance_path().as_str().split('/').nth(1);
        match first.and_then(|first| from_secret.get(first)) {
            Some(key) => {
                misfits.borrow_mut().insert(*key);
                false
            }
            None => is_known || !is_missing_at_the_top(error),
        }
    });
    let misfits = misfits.into_inner();
    let named = misfits.iter().take(MOST_NAMED);
    told.extend(named.map(|key| format!("/{key}: what the Secret has there does not fit")));
    told
}

fn is_missing_at_the_top(error: &ValidationError<'_>) -> bool {
    matches!(error.kind(), ValidationErrorKind::Required { .. }) && error.instance_path().as_str().is_empty()
}

#[cfg(test)]
mod tests;
