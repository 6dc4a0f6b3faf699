//! From an object to a plugin that can be built, or the one thing that is wrong with it.

use std::{
    collections::BTreeMap,
    path::{Component, Path},
};

use kite_api::{
    ImagePullPolicy, KitePlugin, Permission, PluginName, Resources, Verb,
    boundary::{self, Places, Refused},
    name::NameError,
    plugin::{Compatibility, KitePluginSpec, Volume},
    requirement::{Requirement, RequirementError},
};
use kite_proto::MOUNT_PATH;
use kube::core::error_boundary::InvalidObject;
use semver::Version;

use super::{
    build::pod::IDENTITY_VOLUME,
    object::Object,
    relations::{self, RelationError},
};

/// Begin the names of variables that others set.
const RESERVED_VARIABLES: [&str; 2] = ["KITE_", "KUBERNETES_"];

/// What is wrong with an object. The CRD's schema refuses most of it already; an object may be older than the schema.
#[derive(Debug, thiserror::Error)]
pub enum ValidationError {
    #[error(
        "failed to read the object: this operator does not understand it; correct the field, or update the operator"
    )]
    Read(#[source] Box<InvalidObject>),
    #[error("failed to use the object: it has no uid or no generation, as every object of an API server has")]
    Metadata,
    #[error("failed to use metadata.name")]
    Name(#[source] NameError),
    #[error("failed to read spec.version {0:?}")]
    Version(String, #[source] semver::Error),
    #[error("failed to use spec.image: it is empty")]
    Image,
    #[error("failed to use spec.replicas: {0} is less than 1; to stop a plugin, set spec.enabled to false")]
    Replicas(i32),
    #[error("failed to use spec.env: {0} is set by the operator or the kubelet; choose another name")]
    Variable(String),
    #[error("failed to use spec.volumes: {IDENTITY_VOLUME} is the operator's own; choose another name")]
    VolumeName,
    #[error(
        "failed to use spec.volumes: {name} cannot be mounted at {path:?}, because {MOUNT_PATH} holds the plugin's certificate; mount it elsewhere, at a path that begins with / and has no .."
    )]
    MountPath { name: String, path: String },
    #[error("failed to use spec.volumes: {0} names not exactly one of persistentVolumeClaim and emptyDir")]
    VolumeSource(String),
    #[error("failed to use spec.calls: {0:?} is not the name of a plugin")]
    Calls(String, #[source] NameError),
    #[error(transparent)]
    Relations(RelationError),
    #[error("failed to read the requirement {text:?} in spec.compatibility.{field}")]
    Compatibility {
        field: &'static str,
        text: String,
        source: RequirementError,
    },
}

/// A plugin that can be built: nothing about it is in doubt.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedPlugin {
    pub name: PluginName,
    pub uid: String,
    pub generation: i64,
    pub version: Version,
    pub image: String,
    pub image_pull_policy: ImagePullPolicy,
    pub enabled: bool,
    pub replicas: i32,
    pub resources: Option<Resources>,
    pub grant: Grant,
    /// What the object asks for and the rules of the API refuse.
    pub refused: Vec<Refused>,
    /// The plugins that it may call through the gateway.
    pub calls: Vec<PluginName>,
    pub compatible_with: CompatibleWith,
    /// The object's own words, for what is told of them, without what is refused.
    pub spec: KitePluginSpec,
}

/// The versions of its surroundings that a plugin can run with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CompatibleWith {
    pub kite: Option<Requirement>,
    pub kubernetes: Option<Requirement>,
}

/// All that a plugin may do, sorted by where.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Grant {
    /// In the whole cluster.
    pub cluster: Vec<Rule>,
    /// In one namespace, by its name.
    pub namespaces: BTreeMap<String, Vec<Rule>>,
}

impl Grant {
    pub fn is_empty(&self) -> bool {
        self.cluster.is_empty() && self.namespaces.is_empty()
    }
}

/// One rule of a Role.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    pub api_groups: Vec<String>,
    pub resources: Vec<String>,
    pub resource_names: Vec<String>,
    pub verbs: Vec<Verb>,
}

/// Reads `object`; a permission without namespaces speaks of the plugins' namespace. Whatever it has that the API server would refuse
/// today grants nothing: the object may be older than the rules, or was made while they were gone.
pub fn validate(object: &Object, places: Places<'_>) -> Result<ValidatedPlugin, ValidationError> {
    let KitePlugin { metadata, spec, .. } = object
        .0
        .as_ref()
        .map_err(|error| ValidationError::Read(Box::new(error.clone())))?;
    let generation = metadata.generation.ok_or(ValidationError::Metadata)?;
    let uid = metadata.uid.clone().ok_or(ValidationError::Metadata)?;
    let name = PluginName::parse(metadata.name.as_deref().unwrap_or_default()).map_err(ValidationError::Name)?;
    let version =
        Version::parse(&spec.version).map_err(|error| ValidationError::Version(spec.version.clone(), error))?;
    if spec.image.trim().is_empty() {
        return Err(ValidationError::Image);
    }
    if spec.wanted_replicas() < 1 {
        return Err(ValidationError::Replicas(spec.wanted_replicas()));
    }
    pods(spec)?;
    relations::dependencies(spec).map_err(ValidationError::Relations)?;
    let calls = calls(spec)?;
    let compatible_with = compatible_with(spec.compatibility.as_ref())?;
    let (spec, refused) = boundary::accepted(spec, places);
    Ok(ValidatedPlugin {
        name,
        uid,
        generation,
        version,
        image: spec.image.clone(),
        image_pull_policy: spec.image_pull_policy.unwrap_or_default(),
        enabled: spec.is_enabled(),
        replicas: spec.wanted_replicas(),
        resources: spec.resources.clone(),
        grant: grant(&spec.permissions, places.plugins),
        refused,
        calls,
        compatible_with,
        spec,
    })
}

/// Whether what the object says of its pods leaves alone what the operator gives them.
fn pods(spec: &KitePluginSpec) -> Result<(), ValidationError> {
    let is_taken = |name: &str| RESERVED_VARIABLES.iter().any(|prefix| name.starts_with(prefix));
    if let Some(variable) = spec.env.iter().find(|variable| is_taken(&variable.name)) {
        return Err(ValidationError::Variable(variable.name.clone()));
    }
    spec.volumes.iter().try_for_each(volume)
}

fn volume(volume: &Volume) -> Result<(), ValidationError> {
    if volume.name == IDENTITY_VOLUME {
        return Err(ValidationError::VolumeName);
    }
    let (path, own) = (Path::new(&volume.mount_path), Path::new(MOUNT_PATH));
    let is_plain = path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
    // Neither what it would hide, nor what would hide it.
    if !is_plain || own.starts_with(path) || path.starts_with(own) {
        return Err(ValidationError::MountPath {
            name: volume.name.clone(),
            path: volume.mount_path.clone(),
        });
    }
    if volume.persistent_volume_claim.is_some() == volume.empty_dir.is_some() {
        return Err(ValidationError::VolumeSource(volume.name.clone()));
    }
    Ok(())
}

/// Sorted, so that their order in the object changes nothing.
fn calls(spec: &KitePluginSpec) -> Result<Vec<PluginName>, ValidationError> {
    let read = |name: &String| PluginName::parse(name).map_err(|source| ValidationError::Calls(name.clone(), source));
    let mut calls: Vec<PluginName> = spec.calls.iter().map(read).collect::<Result<_, _>>()?;
    calls.sort_unstable();
    calls.dedup();
    Ok(calls)
}

fn compatible_with(compatibility: Option<&Compatibility>) -> Result<CompatibleWith, ValidationError> {
    let read = |field, text: Option<&String>| {
        let parse = |text: &String| {
            Requirement::parse(text).map_err(|source| ValidationError::Compatibility {
                field,
                text: text.clone(),
                source,
            })
        };
        text.map(parse).transpose()
    };
    Ok(CompatibleWith {
        kite: read("kite", compatibility.and_then(|it| it.kite.as_ref()))?,
        kubernetes: read("kubernetes", compatibility.and_then(|it| it.kubernetes.as_ref()))?,
    })
}

fn grant(permissions: &[Permission], plugins_namespace: &str) -> Grant {
    let mut grant = Grant::default();
    let own = [plugins_namespace.to_owned()];
    for permission in permissions {
        let rule = Rule {
            api_groups: permission.api_groups.clone(),
            resources: permission.resources.clone(),
            // An empty list, which would be no name at all, is refused.
            resource_names: permission.resource_names.clone().unwrap_or_default(),
            verbs: permission.verbs.clone(),
        };
        match permission.namespaces.as_deref().unwrap_or(&own) {
            [all] if all == "*" => grant.cluster.push(rule),
            names => {
                for name in names {
                    let rules = grant.namespaces.entry(name.clone()).or_default();
                    // A namespace that is named twice gets the rule once.
                    if rules.last() != Some(&rule) {
                        rules.push(rule.clone());
                    }
                }
            }
        }
    }
    grant
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn hello() -> Value {
        json!({
            "apiVersion": "kite.dev/v1alpha1",
            "kind": "KitePlugin",
            "metadata": {"name": "hello", "uid": "u-1", "generation": 1},
            "spec": {
                "version": "0.1.0",
                "image": "registry.example/hello:0.1.0",
                "permissions": [
                    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
                    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"], "namespaces": ["shop", "pay"]},
                    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"], "namespaces": ["*"]},
                ],
            },
        })
    }

    pub(crate) const PLACES: Places<'_> = Places {
        plugins: "kite-plugins",
        system: "kite-system",
    };

    /// A valid plugin after `change`.
    pub(crate) fn plugin(change: impl FnOnce(&mut Value)) -> ValidatedPlugin {
        spoiled(change).unwrap()
    }

    fn spoiled(change: impl FnOnce(&mut Value)) -> Result<ValidatedPlugin, ValidationError> {
        let mut object = hello();
        change(&mut object);
        validate(&serde_json::from_value(object).unwrap(), PLACES)
    }

    #[test]
    fn a_good_object_is_sorted_by_where_it_grants() {
        let plugin = plugin(|_| {});
        assert_eq!(
            plugin.grant.namespaces.keys().collect::<Vec<_>>(),
            ["kite-plugins", "pay", "shop"]
        );
        assert_eq!(plugin.grant.cluster.len(), 1);
        assert!(plugin.enabled);
        assert_eq!(plugin.replicas, 1);
    }

    #[test]
    fn what_the_rules_refuse_grants_nothing_and_the_rest_holds() {
        let plugin = plugin(|o| {
            o["spec"]["permissions"][1]["namespaces"] = json!(["kite-system"]);
            o["spec"]["permissions"][0]["verbs"] = json!([]);
        });
        assert_eq!(plugin.refused.iter().map(|it| it.index).collect::<Vec<_>>(), [0, 1]);
        assert_eq!((plugin.grant.namespaces.len(), plugin.grant.cluster.len()), (0, 1));
        assert_eq!(plugin.spec.permissions.len(), 1);
    }

    #[test]
    fn an_object_is_refused_for_each_of_its_reasons() {
        macro_rules! refused {
            ($spoil:expr, $error:pat) => {
                let result = spoiled($spoil);
                assert!(matches!(result, Err($error)), "{result:?}");
            };
        }
        refused!(|o| o["spec"]["version"] = json!(1), ValidationError::Read(_));
        refused!(|o| o["metadata"]["uid"] = Value::Null, ValidationError::Metadata);
        refused!(|o| o["metadata"]["generation"] = Value::Null, ValidationError::Metadata);
        refused!(
            |o| o["metadata"]["name"] = json!("tools"),
            ValidationError::Name(NameError::Reserved)
        );
        refused!(|o| o["spec"]["version"] = json!("1"), ValidationError::Version(..));
        refused!(|o| o["spec"]["image"] = json!(" "), ValidationError::Image);
        refused!(|o| o["spec"]["replicas"] = json!(0), ValidationError::Replicas(0));
        refused!(
            |o| o["spec"]["env"] = json!([{"name": "A"}, {"name": "KITE_PLUGIN_NAME"}]),
            ValidationError::Variable(_)
        );
        let volume =
            |name: &str, path: &str| json!({"name": name, "mountPath": path, "emptyDir": {"sizeLimit": "1Mi"}});
        refused!(
            |o| o["spec"]["volumes"] = json!([volume("kite", "/a")]),
            ValidationError::VolumeName
        );
        for path in ["/", "/run", "/run/", "/run/kite", "//run/kite/x", "/a/../run", "a"] {
            refused!(
                |o| o["spec"]["volumes"] = json!([volume("a", path)]),
                ValidationError::MountPath { .. }
            );
        }
        refused!(
            |o| o["spec"]["volumes"] = json!([{"name": "a", "mountPath": "/run/kites"}]),
            ValidationError::VolumeSource(_)
        );
        refused!(
            |o| o["spec"]["calls"] = json!(["Other"]),
            ValidationError::Calls(_, NameError::Characters)
        );
        refused!(
            |o| o["spec"]["dependencies"] = json!([{"name": "other", "version": "latest"}]),
            ValidationError::Relations(RelationError::Requirement { .. })
        );
        refused!(
            |o| o["spec"]["dependencies"] = json!([{"name": "tools", "version": "1"}]),
            ValidationError::Relations(RelationError::Name(..))
        );
        refused!(
            |o| o["spec"]["compatibility"] = json!({"kubernetes": "new"}),
            ValidationError::Compatibility {
                field: "kubernetes",
                ..
            }
        );
    }
}
