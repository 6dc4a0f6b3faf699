//! The Secrets and ConfigMaps that an object names for its pods: each says by a label that it may be used so. Without it whoever may write a
//! plugin's object could have anybody's read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use kite_api::{KitePluginSpec, PluginName, labels};

use super::causes::{self, Cause};

/// Something in the plugins' namespace that an object names.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Reference {
    /// A Secret to pull the image with.
    Pull(String),
    /// A Secret of which the environment has a key.
    Secret(String),
    /// A `ConfigMap` of which the environment has a key.
    ConfigMap(String),
}

/// What a reference leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Secret,
    ConfigMap,
}

/// What an object names, with the labels of what is there.
pub type Found = BTreeMap<Reference, Option<BTreeMap<String, String>>>;

impl Reference {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Pull(_) | Self::Secret(_) => Kind::Secret,
            Self::ConfigMap(_) => Kind::ConfigMap,
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Pull(name) | Self::Secret(name) | Self::ConfigMap(name) => name,
        }
    }

    /// Where in the object it stands.
    fn field(&self) -> &'static str {
        match self {
            Self::Pull(_) => "spec.imagePullSecrets",
            Self::Secret(_) | Self::ConfigMap(_) => "spec.env",
        }
    }

    /// The label that it must have.
    fn label<'a>(&self, plugin: &'a PluginName) -> (&'static str, &'a str) {
        match self {
            Self::Pull(_) => (labels::PULL, "true"),
            Self::Secret(_) | Self::ConfigMap(_) => (labels::PLUGIN, plugin.as_str()),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind() {
            Kind::Secret => "Secret",
            Kind::ConfigMap => "ConfigMap",
        };
        write!(f, "{kind} {}", self.name())
    }
}

/// All that `spec` names for its pods.
pub fn of(spec: &KitePluginSpec) -> BTreeSet<Reference> {
    let pull = spec
        .image_pull_secrets
        .iter()
        .map(|secret| Reference::Pull(secret.name.clone()));
    let sources = spec.env.iter().filter_map(|variable| variable.value_from.as_ref());
    let keys = sources.flat_map(|source| {
        let secret = source.secret_key_ref.as_ref();
        let config_map = source.config_map_key_ref.as_ref();
        [
            secret.map(|key| Reference::Secret(key.name.clone())),
            config_map.map(|key| Reference::ConfigMap(key.name.clone())),
        ]
    });
    pull.chain(keys.flatten()).collect()
}

/// What keeps pods of `plugin` from being made with what was `found` in `namespace`. `None`: all is there, and may be used.
pub fn withheld(found: &Found, plugin: &PluginName, namespace: &str) -> Option<Cause> {
    found.iter().find_map(|(reference, labels)| {
        let field = reference.field();
        let Some(labels) = labels else {
            let sentence = format!("{reference} in {namespace}, which {field} names, is not there");
            return Some(Cause::new(causes::Kind::SecretMissing, sentence));
        };
        let (key, value) = reference.label(plugin);
        if labels.get(key).is_some_and(|has| has == value) {
            return None;
        }
        let kind = match reference.kind() {
            Kind::Secret => "secret",
            Kind::ConfigMap => "configmap",
        };
        let sentence = format!(
            "{reference} in {namespace}, which {field} names, is not labelled {key}={value}, and is not used without"
        );
        let name = reference.name();
        let label =
            format!("if it is meant for that, say so with `kubectl label {kind} -n {namespace} {name} {key}={value}`");
        Some(Cause::new(causes::Kind::SecretMissing, sentence).next_step(label))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec() -> KitePluginSpec {
        let key = |name: &str| json!({"name": name, "key": "a"});
        serde_json::from_value(json!({
            "version": "1.0.0", "image": "a", "imagePullSecrets": [{"name": "registry"}],
            "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": key("prices")}},
                {"name": "B", "valueFrom": {"configMapKeyRef": key("prices")}},
                {"name": "C", "valueFrom": {"secretKeyRef": key("prices")}},
                {"name": "D", "value": "d"},
            ],
        }))
        .unwrap()
    }

    /// Everything as it should be.
    fn good() -> Found {
        let labelled = |key: &str, value: &str| Some([(key.to_owned(), value.to_owned())].into());
        let all = of(&spec()).into_iter().map(|reference| match reference {
            Reference::Pull(_) => (reference, labelled("kite.dev/pull", "true")),
            _ => (reference, labelled("kite.dev/plugin", "hello")),
        });
        all.collect()
    }

    fn told(found: &Found) -> Option<String> {
        let plugin = PluginName::parse("hello").unwrap();
        withheld(found, &plugin, "kite-plugins").map(|cause| cause.message())
    }

    #[test]
    fn each_is_named_once() {
        let name = || String::from("prices");
        let expected = [
            Reference::Pull(String::from("registry")),
            Reference::Secret(name()),
            Reference::ConfigMap(name()),
        ];
        assert_eq!(of(&spec()), expected.into());
    }

    #[test]
    fn what_is_there_and_labelled_is_used() {
        assert_eq!(told(&good()), None);
        assert_eq!(told(&Found::new()), None);
    }

    #[test]
    fn secret_by_reference_what_is_not_there_or_not_labelled_is_told_with_what_to_do() {
        let mut messages = Vec::new();
        for reference in of(&spec()) {
            let other = [("kite.dev/plugin".to_owned(), "other".to_owned())].into();
            for state in [None, Some(BTreeMap::new()), Some(other)] {
                let mut found = good();
                found.insert(reference.clone(), state);
                messages.push(told(&found).expect("a cause"));
            }
        }
        insta::assert_snapshot!(messages.join("\n"));
    }
}
