//! A plugin's revisions as they are recorded: what one is made of, and how it is written to a `ControllerRevision` and read again.

use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::runtime::RawExtension,
};
use kite_api::{KitePluginSpec, Permission, RevisionSpec, object_names, rights};
use kube::ResourceExt;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::{
    build::{labelled, metadata},
    validate::ValidatedPlugin,
};

/// Why a revision that is recorded cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    #[error("failed to read ControllerRevision {0}: this operator does not understand it; update the operator")]
    Data(String, #[source] serde_json::Error),
    #[error("failed to read the version {version:?} in ControllerRevision {name}")]
    Version {
        name: String,
        version: String,
        source: semver::Error,
    },
}

/// The tokens that a pod gets.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tokens {
    /// For the API server.
    pub api: bool,
    /// For the gateway.
    pub gateway: bool,
}

impl Tokens {
    /// Those that `plugin` has a use for.
    pub fn wanted(plugin: &ValidatedPlugin) -> Self {
        Self {
            api: !plugin.grant.is_empty(),
            gateway: !plugin.calls.is_empty(),
        }
    }

    /// Whether there is nothing among the `others` that is not among these.
    fn include(self, others: Self) -> bool {
        self.api >= others.api && self.gateway >= others.gateway
    }
}

/// What an object wants to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub spec: RevisionSpec,
    pub tokens: Tokens,
}

impl Wanted {
    pub fn of(plugin: &ValidatedPlugin) -> Self {
        Self {
            spec: RevisionSpec::of(&plugin.spec),
            tokens: Tokens::wanted(plugin),
        }
    }
}

/// What a revision records when it is made, and what never changes of it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// The fields of the object that make the revision.
    pub spec: RevisionSpec,
    /// The tokens that its pods get.
    pub tokens: Tokens,
    /// The rights that the object gave when the revision was made.
    pub rights: Rights,
    /// The template of its pods, as the operator made it at the time: a later operator that would make it otherwise restarts nothing.
    pub template: PodTemplateSpec,
}

/// The rights of an object.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Rights {
    permissions: Vec<Permission>,
    calls: Vec<String>,
}

impl Rights {
    pub fn of(spec: &KitePluginSpec) -> Self {
        Self {
            permissions: spec.permissions.clone(),
            calls: spec.calls.clone(),
        }
    }

    /// What of these rights `spec` does not give, in words.
    pub fn withdrawn(&self, spec: &KitePluginSpec, plugins_namespace: &str) -> Vec<String> {
        let with = |permissions: &[Permission], calls: &[String]| KitePluginSpec {
            permissions: permissions.to_vec(),
            calls: calls.to_vec(),
            ..KitePluginSpec::default()
        };
        let before = with(&self.permissions, &self.calls);
        let now = with(&spec.permissions, &spec.calls);
        let changes = rights::changes(Some(&before), &now, plugins_namespace);
        changes.removed.into_iter().map(|statement| statement.text).collect()
    }
}

/// A revision that is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// Counts the plugin's revisions from 1.
    pub number: i64,
    pub version: Version,
    pub record: Record,
}

impl Revision {
    /// The revision that `object` records.
    pub fn read(object: ControllerRevision) -> Result<Self, RevisionError> {
        let name = object.name_any();
        let RawExtension(data) = object.data.unwrap_or_default();
        let record: Record =
            serde_json::from_value(data).map_err(|source| RevisionError::Data(name.clone(), source))?;
        let version = Version::parse(&record.spec.version).map_err(|source| RevisionError::Version {
            name,
            version: record.spec.version.clone(),
            source,
        })?;
        Ok(Self {
            number: object.revision,
            version,
            record,
        })
    }

    /// The object that records the revision.
    pub fn object(&self, plugin: &ValidatedPlugin, namespace: &str) -> ControllerRevision {
        let name = object_names::revision(&plugin.name, self.number);
        let mut metadata = metadata(plugin, name, Some(namespace));
        metadata.labels = Some(labelled(plugin, self.number));
        ControllerRevision {
            // Serializing such a value cannot fail; if it did, the revision would be told as one that is not understood.
            data: Some(RawExtension(serde_json::to_value(&self.record).unwrap_or_default())),
            metadata,
            revision: self.number,
        }
    }

    /// Whether its pods are what is `wanted`. A token that is not needed any longer makes no difference: taking it away would restart them,
    /// and without rights it opens nothing.
    pub fn is(&self, wanted: &Wanted) -> bool {
        self.record.spec == wanted.spec && self.record.tokens.include(wanted.tokens)
    }

    /// Whether a new revision that is `wanted` would be the same.
    pub fn is_just(&self, wanted: &Wanted) -> bool {
        self.record.spec == wanted.spec && self.record.tokens == wanted.tokens
    }

    /// Whether `other` records the same.
    pub fn is_like(&self, other: &Self) -> bool {
        self.record.spec == other.record.spec && self.record.tokens == other.record.tokens
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::validate::tests::plugin;

    /// A revision of the plugin as it is after `change`.
    pub(crate) fn revision(number: i64, change: impl FnOnce(&mut serde_json::Value)) -> Revision {
        let plugin = plugin(change);
        let Wanted { spec, tokens } = Wanted::of(&plugin);
        Revision {
            number,
            version: plugin.version.clone(),
            record: Record {
                spec,
                tokens,
                rights: Rights::of(&plugin.spec),
                template: PodTemplateSpec::default(),
            },
        }
    }

    #[test]
    fn a_revision_is_read_as_it_was_written() {
        let revision = revision(7, |_| {});
        let object = revision.object(&plugin(|_| {}), "kite-plugins");
        assert_eq!(object.metadata.name.as_deref(), Some("kite-plugin-hello-7"));
        let text = serde_json::to_string(&object).unwrap();
        assert_eq!(Revision::read(serde_json::from_str(&text).unwrap()).unwrap(), revision);
    }

    #[test]
    fn one_that_is_not_understood_is_told_by_its_name() {
        let object = |data| {
            let object = json!({"metadata": {"name": "kite-plugin-hello-7"}, "revision": 7, "data": data});
            Revision::read(serde_json::from_value(object).unwrap()).unwrap_err()
        };
        assert!(matches!(object(json!({"spec": 1})), RevisionError::Data(name, _) if name == "kite-plugin-hello-7"));
        let odd = json!({"spec": {"version": "one"}, "tokens": {"api": true, "gateway": true}, "rights": {"permissions": [], "calls": []}, "template": {}});
        assert!(matches!(object(odd), RevisionError::Version { version, .. } if version == "one"));
    }

    #[test]
    fn a_first_right_is_another_revision_and_withdrawing_the_last_is_none() {
        let none = |o: &mut serde_json::Value| o["spec"]["permissions"] = json!([]);
        let calls = |o: &mut serde_json::Value| o["spec"]["calls"] = json!(["other"]);
        let wanted = |change: fn(&mut serde_json::Value)| Wanted::of(&plugin(change));
        let with = revision(1, |_| {});
        assert!(with.is(&wanted(none)) && !with.is_just(&wanted(none)));
        let without = revision(1, none);
        assert!(!without.is(&wanted(|_| {})));
        assert!(!with.is(&wanted(calls)) && revision(1, calls).is(&wanted(|_| {})));
    }

    #[test]
    fn what_was_withdrawn_since_is_told_in_words() {
        let rights = Rights::of(&plugin(|_| {}).spec);
        assert_eq!(
            rights.withdrawn(&plugin(|_| {}).spec, "kite-plugins"),
            Vec::<String>::new()
        );
        let less = plugin(|o| {
            o["spec"]["permissions"].as_array_mut().unwrap().remove(2);
        });
        assert_eq!(
            rights.withdrawn(&less.spec, "kite-plugins"),
            ["get nodes in the whole cluster"]
        );
    }
}
