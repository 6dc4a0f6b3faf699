//! Whether settings are what their schema says, asked once for each generation of an object: a schema is written by whoever wrote
//! the plugin, and what it costs to check against it should hold up nobody else.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kite_api::settings::{self, SettingsError};
use tokio::task::{self, JoinError};

use super::validate::ValidatedPlugin;

/// What came of checking, by plugin.
#[derive(Debug, Default)]
pub struct Checked(Mutex<HashMap<String, Answer>>);

/// What came of checking one generation of an object.
#[derive(Clone, Debug)]
struct Answer {
    uid: String,
    generation: i64,
    result: Result<(), SettingsError>,
}

impl Checked {
    /// Whether the settings of `plugin` are what their schema says. An error: the check did not come to its end.
    pub async fn settings(&self, plugin: &ValidatedPlugin) -> Result<Result<(), SettingsError>, JoinError> {
        let name = plugin.name.as_str();
        let is_same = |answer: &&Answer| answer.uid == plugin.uid && answer.generation == plugin.generation;
        if let Some(answer) = self.lock().get(name).filter(is_same) {
            return Ok(answer.result.clone());
        }
        let spec = plugin.spec.clone();
        let check = move || {
            settings::check(
                spec.settings_schema.as_ref(),
                spec.settings.as_ref(),
                spec.settings_secret_ref.is_some(),
            )
        };
        let result = task::spawn_blocking(check).await?;
        let answer = Answer {
            uid: plugin.uid.clone(),
            generation: plugin.generation,
            result: result.clone(),
        };
        self.lock().insert(name.to_owned(), answer);
        Ok(result)
    }

    /// Forgets all plugins but those for which `exists` holds.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| exists(name));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Answer>> {
        // An entry is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
