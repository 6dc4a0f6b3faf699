//! What a plugin's settings are, asked once for each generation of an object, each state of its Secret and each schema of its revisions: a schema
//! is written by whoever wrote the plugin, and what it costs to check against it should hold up nobody else.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kite_api::{
    labels,
    settings::{self, FromSecret, SettingsError},
};
use kube::{Api, Client, ResourceExt};
use tokio::task::{self, JoinError};

use super::{gather::GatherError, revision::Revision, validate::ValidatedPlugin};
use crate::push::news::Settings;

/// Why a plugin is not given the settings that its object says.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SettingsFault {
    #[error(transparent)]
    Check(SettingsError),
    #[error(
        "spec.settingsSecretRef names Secret {name}, which is not in namespace {namespace}: make it there, with the label {}: {plugin}",
        labels::PLUGIN
    )]
    Missing {
        name: String,
        namespace: String,
        plugin: String,
    },
    #[error(
        "spec.settingsSecretRef names Secret {name}, which is not read because it is not labelled for the plugin: give it the label {}: {plugin}",
        labels::PLUGIN
    )]
    Unlabelled { name: String, plugin: String },
}

/// The Secret of a plugin's settings, as it was found.
#[derive(Clone, Debug)]
pub enum SettingsSecret {
    /// The object names none.
    Nothing,
    /// It names one that is not used.
    Unusable(SettingsFault),
    /// What is in it, and something that changes when that does.
    There {
        version: String,
        data: BTreeMap<String, ByteString>,
    },
}

impl SettingsSecret {
    /// The one that `plugin` names, if it is labelled as the plugin's: without, whoever may write the object could have any Secret read.
    pub async fn read(client: &Client, namespace: &str, plugin: &ValidatedPlugin) -> Result<Self, GatherError> {
        let Some(reference) = &plugin.spec.settings_secret_ref else {
            return Ok(Self::Nothing);
        };
        let name = reference.name.clone();
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let found = secrets.get_opt(&name).await;
        let found = found.map_err(|error| GatherError::Secret(name.clone(), error.into()))?;
        let plugin = plugin.name.to_string();
        let Some(secret) = found else {
            let namespace = namespace.to_owned();
            return Ok(Self::Unusable(SettingsFault::Missing {
                name,
                namespace,
                plugin,
            }));
        };
        if secret.labels().get(labels::PLUGIN) != Some(&plugin) {
            return Ok(Self::Unusable(SettingsFault::Unlabelled { name, plugin }));
        }
        Ok(Self::There {
            version: format!(
                "{} {}",
                secret.uid().unwrap_or_default(),
                secret.resource_version().unwrap_or_default()
            ),
            data: secret.data.unwrap_or_default(),
        })
    }

    fn version(&self) -> &str {
        match self {
            Self::Nothing | Self::Unusable(_) => "",
            Self::There { version, .. } => version,
        }
    }
}

/// What came of checking, by plugin and revision.
#[derive(Debug, Default)]
pub struct Checked(Mutex<HashMap<String, Answers>>);

/// What came of checking one generation of an object, with its Secret as it was, against the schema of each of its revisions.
#[derive(Debug, Default)]
struct Answers {
    uid: String,
    generation: i64,
    secret: String,
    results: HashMap<i64, Result<Settings, SettingsFault>>,
}

impl Checked {
    /// The settings of `plugin`, if they are what the schema of the revision says. An error: the check did not come to its end.
    pub async fn settings(
        &self,
        plugin: &ValidatedPlugin,
        revision: &Revision,
        secret: &SettingsSecret,
    ) -> Result<Result<Settings, SettingsFault>, JoinError> {
        if let SettingsSecret::Unusable(fault) = secret {
            return Ok(Err(fault.clone()));
        }
        let (name, number) = (plugin.name.as_str(), revision.number);
        let is_same = |answers: &&Answers| {
            answers.uid == plugin.uid && answers.generation == plugin.generation && answers.secret == secret.version()
        };
        let known = self
            .lock()
            .get(name)
            .filter(is_same)
            .and_then(|it| it.results.get(&number).cloned());
        if let Some(result) = known {
            return Ok(result);
        }
        let result = task::spawn_blocking(check(plugin, revision, secret)).await?;
        let mut all = self.lock();
        let answers = all.entry(name.to_owned()).or_default();
        if !is_same(&&*answers) {
            *answers = Answers {
                uid: plugin.uid.clone(),
                generation: plugin.generation,
                secret: secret.version().to_owned(),
                results: HashMap::new(),
            };
        }
        answers.results.insert(number, result.clone());
        Ok(result)
    }

    /// Forgets all plugins but those for which `exists` holds.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| exists(name));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Answers>> {
        // An answer is put in as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The check, which may take its time.
fn check(
    plugin: &ValidatedPlugin,
    revision: &Revision,
    secret: &SettingsSecret,
) -> impl FnOnce() -> Result<Settings, SettingsFault> + Send + use<> {
    let schema = revision.record.spec.settings_schema.clone();
    let given = plugin.spec.settings.clone();
    let secret = secret.clone();
    move || {
        let from_secret = match &secret {
            SettingsSecret::Nothing | SettingsSecret::Unusable(_) => FromSecret::Nothing,
            SettingsSecret::There { data, .. } => FromSecret::Known(data),
        };
        let whole = settings::effective(schema.as_ref(), given.as_ref(), from_secret);
        whole.map(Settings::new).map_err(SettingsFault::Check)
    }
}
