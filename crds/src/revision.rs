//! What makes a revision of a plugin: the fields of its object that only mean something together, as a revision records them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    KitePluginSpec,
    plugin::{
        EnvVar, Frontend, ImagePullPolicy, Middleware, ResourceType, Resources, Route, SecretReference, Toleration,
        Tool, Volume,
    },
};

/// Where in a `ControllerRevision`'s data a [`RevisionSpec`] stands.
const SPEC: &str = "spec";

/// How many revisions are kept beside the active one, where the object does not say it.
pub const HISTORY_LIMIT: usize = 5;
/// How long pages that were loaded from an old revision go on with it, in seconds, where the object does not say it.
pub const DRAIN_SECONDS: u64 = 300;

/// The fields of a plugin's object that belong together, and take effect all at once: what runs, and what is served of it. A change of any
/// of them is another revision; every other field holds at once, for all revisions.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RevisionSpec {
    pub version: String,
    pub image: String,
    pub image_pull_policy: ImagePullPolicy,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<SecretReference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings_schema: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frontend: Option<Frontend>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_types: Vec<ResourceType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub middleware: Option<Middleware>,
}

impl RevisionSpec {
    /// What of `spec` makes a revision. Defaults are filled in where they are one value, and lists whose order means nothing are sorted,
    /// so that the same in other words is the same revision.
    pub fn of(spec: &KitePluginSpec) -> Self {
        let mut of = Self {
            version: spec.version.clone(),
            image: spec.image.clone(),
            image_pull_policy: spec.image_pull_policy.unwrap_or_default(),
            image_pull_secrets: spec.image_pull_secrets.clone(),
            env: spec.env.clone(),
            volumes: spec.volumes.clone(),
            resources: spec.resources.clone(),
            node_selector: spec.node_selector.clone(),
            tolerations: spec.tolerations.clone(),
            settings_schema: spec.settings_schema.clone(),
            frontend: spec.frontend.clone(),
            routes: spec.routes.clone(),
            tools: spec.tools.clone(),
            resource_types: spec.resource_types.clone(),
            middleware: spec.middleware.clone(),
        };
        of.image_pull_secrets.sort_by(|a, b| a.name.cmp(&b.name));
        of.routes.sort_by(|a, b| a.path.cmp(&b.path));
        of.tools.sort_by(|a, b| a.name.cmp(&b.name));
        of.resource_types.sort_by(|a, b| a.name.cmp(&b.name));
        of
    }

    /// What a revision has recorded, out of the data of its `ControllerRevision`. An error if it stands there in no form that this version
    /// understands.
    pub fn recorded(data: &Value) -> Result<Self, serde_json::Error> {
        Self::deserialize(data.get(SPEC).unwrap_or(&Value::Null))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Fields that hold at once, whichever revision serves.
    const AT_ONCE: [&str; 17] = [
        "audit",
        "author",
        "calls",
        "compatibility",
        "dependencies",
        "description",
        "drainSeconds",
        "enabled",
        "limits",
        "metrics",
        "permissions",
        "priority",
        "rateLimit",
        "replicas",
        "revisionHistoryLimit",
        "settings",
        "settingsSecretRef",
    ];

    fn full() -> Value {
        json!({
            "version": "1.0.0", "image": "a", "imagePullPolicy": "Always", "imagePullSecrets": [{"name": "b"}, {"name": "a"}],
            "env": [{"name": "A"}], "volumes": [{"name": "a", "mountPath": "/a", "emptyDir": {"sizeLimit": "1Mi"}}],
            "resources": {"limits": {"cpu": 1}}, "nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}],
            "settingsSchema": {}, "frontend": {"remoteEntry": "a.js"}, "routes": [{"path": "/b"}, {"path": "/a"}],
            "tools": [{"name": "b"}, {"name": "a"}], "resourceTypes": [{"name": "b"}, {"name": "a"}],
            "middleware": {"paths": ["/api/v1/plugins/a/**"]},
        })
    }

    fn of(spec: Value) -> RevisionSpec {
        RevisionSpec::of(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn every_field_of_the_schema_belongs_to_a_revision_or_holds_at_once() {
        let revision = serde_json::to_value(of(full())).unwrap();
        let crd = serde_json::to_value(crate::crd()).unwrap();
        let fields = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties");
        for field in fields.unwrap().as_object().unwrap().keys() {
            assert_ne!(
                revision.get(field).is_some(),
                AT_ONCE.contains(&field.as_str()),
                "{field}"
            );
        }
    }

    #[test]
    fn a_change_of_any_field_is_another_revision_and_other_words_are_none() {
        let base = of(full());
        for field in full().as_object().unwrap().keys() {
            let mut other = full();
            match field.as_str() {
                "version" => other["version"] = json!("2.0.0"),
                "image" => other["image"] = json!("b"),
                _ => _ = other.as_object_mut().unwrap().remove(field),
            }
            assert_ne!(of(other), base, "{field}");
        }
        let mut same = full();
        same["routes"] = json!([{"path": "/a"}, {"path": "/b"}]);
        same["description"] = json!("in other words");
        assert_eq!(of(same), base);
        let said = of(json!({"version": "1.0.0", "image": "a", "imagePullPolicy": "IfNotPresent"}));
        assert_eq!(said, of(json!({"version": "1.0.0", "image": "a"})));
    }

    #[test]
    fn what_was_recorded_is_read_again() {
        let spec = of(full());
        let data = json!({"spec": spec, "more": 1});
        assert_eq!(RevisionSpec::recorded(&data).unwrap(), spec);
        assert!(RevisionSpec::recorded(&json!({})).is_err());
    }
}
