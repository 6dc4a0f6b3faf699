//! What is known of a plugin beside its pods: how it stands to others, to its surroundings, to its grant and to itself.

use kite_api::{
    dependencies::Standing,
    effect::{WithoutEffect, without_effect},
    host::Unmet,
    labels, rights,
    settings::SettingsError,
};

use super::{namespaces::Places, validate::ValidatedPlugin};

/// Most bytes of what a grant allows, in a condition's message.
const MAX_GRANT: usize = 4096;

/// What is known of a plugin beside its pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    pub standing: Standing,
    /// What of its surroundings the plugin cannot run with.
    pub unmet: Vec<Unmet>,
    pub places: Places,
    /// The version that goes on, where the one that the object wants waits for what it needs.
    pub kept: Option<String>,
    /// What the grant allows, in words.
    pub grant: String,
    /// What of the grant the rules of the API refuse.
    pub refused: Vec<String>,
    /// Why the API server refused a role or a binding, if it did.
    pub rights_refused: Option<String>,
    pub settings: Result<(), SettingsError>,
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
    pub settings: Result<(), SettingsError>,
}

impl Findings {
    /// What the plugin's own object says, beside what it is to others.
    pub fn of(plugin: &ValidatedPlugin, around: Around, plugins_namespace: &str) -> Self {
        let spec = &plugin.spec;
        Self {
            standing: around.standing,
            unmet: around.unmet,
            places: around.places,
            settings: around.settings,
            kept: None,
            grant: rights::summary(spec, plugins_namespace).note(MAX_GRANT),
            refused: plugin.refused.iter().map(ToString::to_string).collect(),
            rights_refused: None,
            without_effect: without_effect(spec),
            selector: format!("{}={}", labels::PLUGIN, plugin.name),
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
            standing: Standing::default(),
            unmet: Vec::new(),
            places: Places::default(),
            kept: None,
            grant: String::from("it may do nothing"),
            refused: Vec::new(),
            rights_refused: None,
            settings: Ok(()),
            without_effect: WithoutEffect::default(),
            selector: String::from("kite.dev/plugin=hello"),
        }
    }
}
