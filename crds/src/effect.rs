//! What of an object has no effect (yet).

use crate::plugin::{KitePluginSpec, frontend::SLOTS};

/// What has no effect.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct WithoutEffect {
    /// Fields on which this version does not act, as they stand below `spec`.
    pub not_yet_built: Vec<&'static str>,
    /// Slots of `frontend.injections` that the dashboard does not have.
    pub unknown_slots: Vec<String>,
}

/// What of `spec` has no effect. Only fields that stand in the object are named.
pub fn without_effect(spec: &KitePluginSpec) -> WithoutEffect {
    let not_yet_built = [
        spec.priority.map(|_| "priority"),
        (!spec.resource_types.is_empty()).then_some("resourceTypes"),
        spec.middleware.as_ref().map(|_| "middleware"),
        spec.rate_limit.as_ref().map(|_| "rateLimit"),
        spec.audit.as_ref().map(|_| "audit"),
        spec.frontend.as_ref().map(|_| "frontend"),
    ];
    let injections = spec.frontend.iter().flat_map(|frontend| &frontend.injections);
    let unknown = injections.filter(|injection| !SLOTS.contains(&injection.slot.as_str()));
    let mut unknown_slots: Vec<String> = unknown.map(|injection| injection.slot.clone()).collect();
    unknown_slots.sort_unstable();
    unknown_slots.dedup();
    WithoutEffect {
        not_yet_built: not_yet_built.into_iter().flatten().collect(),
        unknown_slots,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::crd;

    /// Fields on which this version acts, or that ask for nothing.
    const IN_EFFECT: [&str; 26] = [
        "author",
        "calls",
        "compatibility",
        "dependencies",
        "description",
        "drainSeconds",
        "enabled",
        "env",
        "image",
        "imagePullPolicy",
        "imagePullSecrets",
        "limits",
        "metrics",
        "nodeSelector",
        "permissions",
        "replicas",
        "resources",
        "revisionHistoryLimit",
        "routes",
        "settings",
        "settingsSchema",
        "settingsSecretRef",
        "tolerations",
        "tools",
        "version",
        "volumes",
    ];

    fn full() -> Value {
        json!({
            "version": "1.0.0", "image": "a", "imagePullSecrets": [{"name": "a"}], "priority": 1,
            "routes": [{"path": "/a"}], "tools": [{"name": "a"}], "resourceTypes": [{"name": "a"}],
            "middleware": {"paths": ["/api/v1/plugins/a/**"]}, "rateLimit": {}, "limits": {}, "audit": {}, "metrics": {},
            "settings": {}, "settingsSecretRef": {"name": "a"}, "revisionHistoryLimit": 1, "drainSeconds": 1,
            "frontend": {"remoteEntry": "a.js", "injections": [
                {"slot": "pod-detail", "module": "./A"}, {"slot": "moon", "module": "./A"}, {"slot": "moon", "module": "./B"},
            ]},
            "nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}], "env": [{"name": "A"}],
            "volumes": [{"name": "a", "mountPath": "/a", "emptyDir": {"sizeLimit": "1Mi"}}],
        })
    }

    #[test]
    fn every_field_of_the_schema_is_in_effect_or_told() {
        let without = without_effect(&serde_json::from_value(full()).unwrap());
        let crd = serde_json::to_value(crd()).unwrap();
        let fields = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties");
        for field in fields.unwrap().as_object().unwrap().keys() {
            let is_told = without.not_yet_built.contains(&field.as_str());
            assert_ne!(is_told, IN_EFFECT.contains(&field.as_str()), "{field}");
        }
    }

    #[test]
    fn an_unknown_slot_is_told_once() {
        let without = without_effect(&serde_json::from_value(full()).unwrap());
        assert_eq!(without.unknown_slots, ["moon"]);
    }

    #[test]
    fn an_object_of_today_is_wholly_in_effect() {
        let spec = serde_json::from_value(json!({"version": "1.0.0", "image": "a"})).unwrap();
        assert_eq!(without_effect(&spec), WithoutEffect::default());
    }
}
