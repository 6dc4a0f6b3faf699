//! New settings: read as the author's type, shown to the author's hook, and then current.

use std::{fmt, future::Future, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use kite_api::json_rules;
use serde::de::DeserializeOwned;

use crate::{Kite, Refused, Settings};

type Apply = Arc<dyn Fn(Kite, &[u8]) -> Result<BoxFuture<'static, Result<(), Refused>>, SettingsError> + Send + Sync>;

/// What settings can be read as: a struct with named fields that derives [`serde::Deserialize`]. It is not implemented by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the settings of a plugin",
    label = "the settings of a plugin",
    note = "make the settings a struct with named fields that derives `serde::Deserialize`"
)]
pub trait SettingsFields: DeserializeOwned + Send + Sync + 'static {}

// What the compiler would recommend is a part of it only, and how to get it not at all.
#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + Send + Sync + 'static> SettingsFields for T {}

/// How a plugin takes its settings: as a type that is read by serde, and by a hook that may refuse them.
///
/// Settings that do not fit the type, or that the hook refuses, leave those that were accepted before. Accepted ones are seen by
/// [`Settings`] and [`Kite::settings`] at once. The operator sends them when the plugin becomes ready and whenever they
/// change, the same ones perhaps twice.
#[derive(Clone)]
pub struct ApplySettings(Apply);

impl ApplySettings {
    /// Settings of the type `T`, accepted whenever they fit it.
    pub fn of<T: SettingsFields>() -> Self {
        Self::with(|_, _: Settings<T>| async { Ok(()) })
    }

    /// Settings of the type `T`, shown to `hook` before they are current. Its refusal is told to people, so that it must not
    /// hold secret values.
    pub fn with<T, Run, Running>(hook: Run) -> Self
    where
        T: SettingsFields,
        Run: Fn(Kite, Settings<T>) -> Running + Send + Sync + 'static,
        Running: Future<Output = Result<(), Refused>> + Send + 'static,
    {
        let hook = Arc::new(hook);
        Self(Arc::new(move |kite: Kite, json| {
            let settings = Settings::new(read::<T>(json)?);
            let hook = Arc::clone(&hook);
            Ok(async move {
                hook(kite.clone(), settings.clone()).await?;
                kite.current().set(settings);
                Ok(())
            }
            .boxed())
        }))
    }

    /// Reads settings; what it gives applies them.
    pub(crate) fn apply(
        &self,
        kite: Kite,
        json: &[u8],
    ) -> Result<BoxFuture<'static, Result<(), Refused>>, SettingsError> {
        (self.0)(kite, json)
    }
}

impl fmt::Debug for ApplySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApplySettings")
    }
}

/// Why settings do not fit. It holds no value, as that may be a secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("the settings are not a JSON object")]
    NotAnObject,
    #[error("the settings do not fit what the plugin reads: {0}")]
    Whole(String),
    #[error("the setting {path} does not fit what the plugin reads: {reason}")]
    Field { path: String, reason: String },
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, SettingsError> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(SettingsError::NotAnObject);
    }
    // What breaks the rules for JSON is told in their words, which hold no value; what is no JSON at all is told below.
    if let Some(error) = json_rules::check(json).err().filter(serde_json::Error::is_data) {
        return Err(SettingsError::Whole(error.to_string()));
    }
    let mut reader = serde_json::Deserializer::from_slice(json);
    let settings = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let reason = without_values(error.inner());
        if path == "." {
            SettingsError::Whole(reason)
        } else {
            SettingsError::Field { path, reason }
        }
    })?;
    reader.end().map_err(|_| SettingsError::NotAnObject)?;
    Ok(settings)
}

/// What is wrong, without what stands there: serde quotes it. The name of a missing field is the author's own.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let missing = text
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split_once('`'));
    match missing {
        Some((field, _)) => format!("{field} is missing"),
        None if error.is_data() => "it is of another type or value".to_owned(),
        None => "it is no JSON".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Prices {
        #[expect(dead_code, reason = "only read")]
        currency: Currency,
        #[expect(dead_code, reason = "only read")]
        price: u8,
    }

    #[derive(Debug, Deserialize)]
    enum Currency {
        #[serde(rename = "EUR")]
        Euro,
    }

    #[test]
    fn settings_that_do_not_fit_are_told_by_their_place_and_never_by_their_value() {
        for (json, words) in [
            ("[]", "the settings are not a JSON object"),
            (
                r#"{"currency": "EUR", "price": 1} hunter2"#,
                "the settings are not a JSON object",
            ),
            (
                "{}",
                "the settings do not fit what the plugin reads: currency is missing",
            ),
            (r#"{"currency": "hunter2"}"#, "the setting currency does not fit"),
            (r#"{"price": "hunter2"}"#, "the setting price does not fit"),
            (
                r#"{"price": hunter2}"#,
                "does not fit what the plugin reads: it is no JSON",
            ),
            (r#"{"hunter": 2}"#, "another type or value"),
            (
                r#"{"price": "hunter2", "price": 1}"#,
                "do not fit what the plugin reads: a key appears twice in one object",
            ),
        ] {
            let text = read::<Prices>(json.as_bytes()).unwrap_err().to_string();
            assert!(text.contains(words), "{json}: {text}");
            assert!(!text.contains("hunter2"), "{json}: {text}");
        }
        read::<Prices>(br#"{"currency": "EUR", "price": 1}"#).unwrap();
    }
}
