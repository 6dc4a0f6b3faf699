//! What is known of a plugin beside its pods: how it stands to others, to its surroundings, to its grant and to itself.

use kite_api::{
    dependencies::Standing,
    effect::{WithoutEffect, without_effect},
    host::Unmet,
    labels, rights,
};

use super::{causes::Cause, namespaces::Places, settings::SettingsFault, validate::ValidatedPlugin};

/// Most bytes of what a grant allows, in a condition's message.
const MAX_GRANT: usize = 4096;

/// What is known of a plugin beside its pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// Of which generation of the object that is.
    pub generation: i64,
    pub standing: Standing,
    /// What of its surroundings the plugin cannot run with.
    pub unmet: Vec<Unmet>,
    pub places: Places,
    /// The version that goes on, where the one that the object wants waits for what it needs.
    pub kept: Option<String>,
    /// What of the Secrets and `ConfigMaps` that the object names keeps the revision that it wants from being started.
    pub withheld: Option<Cause>,
    /// What the grant allows, in words.
    pub grant: String,
    /// What of the grant the rules of the API refuse.
    pub refused: Vec<String>,
    /// Why the API server refused a role or a binding, if it did.
    pub rights_refused: Option<String>,
    /// Whether there are settings for the revision that serves: what the object says, as its schema says.
    pub settings: Result<(), SettingsFault>,
    /// The same of the schema of the one that is to take over, if there is one.
    pub settings_of_next: Result<(), SettingsFault>,
    /// What the revision that serves was allowed when it was made, and is not any longer, while another is to take over.
    pub lacking: Vec<String>,
    pub without_effect: WithoutEffect,
    /// Selects the plugin's pods.
    pub selector: String,
}

/// What was found around an object.
#[derive(Clone, Debug)]
pub struct Around {
    pub standing: Standing,
    pub unmet: Vec<Unmet>,
    pub places: Places,
    pub settings: Result<(), SettingsFault>,
    pub settings_of_next: Result<(), SettingsFault>,
}

impl Findings {
    /// What the plugin's own object says, beside what it is to others.
    pub fn of(plugin: &ValidatedPlugin, around: Around, plugins_namespace: &str) -> Self {
        let spec = &plugin.spec;
        Self {
            generation: plugin.generation,
            standing: around.standing,
            unmet: around.unmet,
            places: around.places,
            settings: around.settings,
            settings_of_next: around.settings_of_next,
            lacking: Vec::new(),
            kept: None,
            withheld: None,
            grant: rights::summary(spec, plugins_namespace).note(MAX_GRANT),
            refused: plugin.refused.iter().map(ToString::to_string).collect(),
            rights_refused: None,
            without_effect: without_effect(spec),
            selector: format!("{}={}", labels::PLUGIN, plugin.name),
        }
    }

    /// The same once the revision that is to take over has done so.
    #[must_use]
    pub fn of_next(&self) -> Self {
        Self {
            settings: self.settings_of_next.clone(),
            settings_of_next: Ok(()),
            lacking: Vec::new(),
            kept: None,
            ..self.clone()
        }
    }

    /// Whether all is there that the plugin needs to start. One that runs already is not stopped for it.
    pub fn may_start(&self) -> bool {
        self.standing.is_satisfied() && self.unmet.is_empty()
    }
}

#[cfg(test)]
impl Default for Findings {
    /// Nothing is amiss.
    fn default() -> Self {
        Self {
            generation: 1,
            standing: Standing::default(),
            unmet: Vec::new(),
            places: Places::default(),
            kept: None,
            withheld: None,
            grant: String::from("it may do nothing"),
            refused: Vec::new(),
            rights_refused: None,
            settings: Ok(()),
            settings_of_next: Ok(()),
            lacking: Vec::new(),
            without_effect: WithoutEffect::default(),
            selector: String::from("kite.dev/plugin=hello"),
        }
    }
}
