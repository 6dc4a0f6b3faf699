//! A plugin as the gateway reads it from the API server.

use std::borrow::Cow;

use kite_api::{KitePlugin, understood};
use kube::{
    Resource,
    core::{ObjectMeta, PartialObjectMeta, error_boundary::InvalidObject},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// What is understood of a `KitePlugin`, or what can be said of one that is not: one broken object must not stop the watch of all others, and
/// one whose status an operator of another version wrote must not lose its traffic. It is understood while it is read, each object of a list by
/// itself, so that no list of objects as JSON is ever held.
#[derive(Clone, Debug)]
pub(super) struct Understood(pub(super) Result<KitePlugin, InvalidObject>);

impl<'de> Deserialize<'de> for Understood {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let error = match understood::plugin(&object) {
            Ok(plugin) => return Ok(Self(Ok(plugin))),
            Err(error) => error.to_string(),
        };
        let PartialObjectMeta { metadata, .. } =
            PartialObjectMeta::<KitePlugin>::deserialize(&object).map_err(D::Error::custom)?;
        Ok(Self(Err(InvalidObject { error, metadata })))
    }
}

impl Resource for Understood {
    type DynamicType = <KitePlugin as Resource>::DynamicType;
    type Scope = <KitePlugin as Resource>::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        KitePlugin::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        KitePlugin::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        KitePlugin::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        KitePlugin::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0
            .as_ref()
            .map_or_else(|invalid| &invalid.metadata, KitePlugin::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0
            .as_mut()
            .map_or_else(|invalid| &mut invalid.metadata, KitePlugin::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use kube::{
        ResourceExt as _,
        core::{ObjectList, WatchEvent},
    };
    use serde_json::json;

    use super::*;

    fn object(version: &Value, phase: &str) -> Value {
        json!({
            "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin",
            "metadata": {"name": "hello", "resourceVersion": "7"},
            "spec": {"version": version, "image": "a"},
            "status": {"phase": phase, "activeRevision": 1},
        })
    }

    /// The object as a list brings it, and as an event of a watch does.
    fn brought(object: &Value) -> [Understood; 2] {
        let list = json!({
            "apiVersion": "kite.dev/v1alpha1", "kind": "KitePluginList",
            "metadata": {"resourceVersion": "7"}, "items": [object],
        });
        let list: ObjectList<Understood> = serde_json::from_str(&list.to_string()).unwrap();
        let event = json!({"type": "MODIFIED", "object": object}).to_string();
        let WatchEvent::Modified(seen) = serde_json::from_str(&event).unwrap() else {
            panic!("not a change: {event}");
        };
        [list.items.into_iter().next().unwrap(), seen]
    }

    #[test]
    fn a_word_that_is_not_known_in_a_status_costs_that_word_alone() {
        for phase in ["Loaded", "Evolving"] {
            for plugin in brought(&object(&json!("1.0.0"), phase)) {
                assert_eq!(plugin.name_any(), "hello");
                let status = plugin.0.unwrap().status.unwrap();
                let known = (phase == "Loaded").then_some(kite_api::Phase::Loaded);
                assert_eq!((status.phase, status.active_revision), (known, Some(1)));
            }
        }
    }

    #[test]
    fn one_that_asks_for_what_is_not_understood_keeps_its_metadata_and_says_what_is_not() {
        for phase in ["Loaded", "Evolving"] {
            for plugin in brought(&object(&json!(7), phase)) {
                assert_eq!(plugin.name_any(), "hello");
                assert_eq!(plugin.resource_version().as_deref(), Some("7"));
                let error = plugin.0.unwrap_err().to_string();
                assert!(error.contains("invalid type: integer `7`"), "{error}");
            }
        }
    }

    #[test]
    fn it_is_asked_for_where_plugins_are() {
        assert_eq!(Understood::url_path(&(), None), KitePlugin::url_path(&(), None));
    }
}
