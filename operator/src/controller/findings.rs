//! What is known of a plugin beside its pods: how it stands to others, to its surroundings, to its grant and to itself.

use kite_api::{
    dependencies::Standing,
    effect::{WithoutEffect, without_effect},
    host::{self, Host, Unmet},
    labels, rights,
    settings::{self, SettingsError},
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
    /// What the grant allows, in words.
    pub grant: String,
    /// Why the API server refused a role or a binding, if it did.
    pub rights_refused: Option<String>,
    pub settings: Result<(), SettingsError>,
    pub without_effect: WithoutEffect,
    /// Selects the plugin's pods.
    pub selector: String,
}

impl Findings {
    /// Looks at a plugin that stands so to others and to its namespaces.
    pub fn of(
        plugin: &ValidatedPlugin,
        standing: Standing,
        host: &Host,
        places: Places,
        plugins_namespace: &str,
    ) -> Self {
        let compatible = &plugin.compatible_with;
        let spec = &plugin.spec;
        Self {
            standing,
            unmet: host::unmet(compatible.kite.as_ref(), compatible.kubernetes.as_ref(), host),
            places,
            grant: rights::summary(spec, plugins_namespace).note(MAX_GRANT),
            rights_refused: None,
            settings: settings::check(
                spec.settings_schema.as_ref(),
                spec.settings.as_ref(),
                spec.settings_secret_ref.is_some(),
            ),
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
            grant: String::from("it may do nothing"),
            rights_refused: None,
            settings: Ok(()),
            without_effect: WithoutEffect::default(),
            selector: String::from("kite.dev/plugin=hello"),
        }
    }
}
