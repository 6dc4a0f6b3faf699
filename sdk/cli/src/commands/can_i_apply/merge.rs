//! What server-side apply makes of the object: what the document says, and what others own beside it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::DynamicObject;
use serde_json::Value;

/// Under this name kubectl owns what it applied by itself, before it let the API server do it. It takes that over.
const BEFORE: &str = "kubectl-client-side-apply";

/// The spec that `manager` gets by applying `spec`. A field of it is taken as a whole; one that the document does not have stays where
/// somebody else owns it.
pub(super) fn applied(spec: Value, present: &DynamicObject, manager: &str) -> Value {
    let mut spec = without_nulls(spec);
    let managers = present.metadata.managed_fields.as_deref().unwrap_or_default();
    let (Value::Object(fields), Some(Value::Object(there))) = (&mut spec, present.data.get("spec")) else {
        return spec;
    };
    for (field, value) in there {
        if !fields.contains_key(field) && is_owned_by_others(field, managers, manager) {
            fields.insert(field.clone(), value.clone());
        }
    }
    spec
}

/// A field that is null is one that is absent.
pub(super) fn without_nulls(mut spec: Value) -> Value {
    if let Value::Object(fields) = &mut spec {
        fields.retain(|_, value| !value.is_null());
    }
    spec
}

fn is_owned_by_others(field: &str, managers: &[ManagedFieldsEntry], manager: &str) -> bool {
    managers.iter().filter(|entry| !is_of(entry, manager)).any(|entry| {
        let fields = entry.fields_v1.as_ref();
        fields
            .and_then(|fields| fields.0.get("f:spec")?.get(format!("f:{field}")))
            .is_some()
    })
}

/// Whether what the entry owns goes with the manager's next apply, where that does not have it.
fn is_of(entry: &ManagedFieldsEntry, manager: &str) -> bool {
    let (name, operation) = (entry.manager.as_deref(), entry.operation.as_deref());
    (name == Some(manager) && operation == Some("Apply")) || (manager == "kubectl" && name == Some(BEFORE))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn owner(manager: &str, operation: &str, fields: &[&str]) -> Value {
        let fields: serde_json::Map<String, Value> =
            fields.iter().map(|field| (format!("f:{field}"), json!({}))).collect();
        json!({"manager": manager, "operation": operation, "fieldsV1": {"f:spec": fields}})
    }

    fn present(owners: &[Value]) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "metadata": {"name": "a", "managedFields": owners},
            "spec": {"image": "old", "calls": ["b"], "replicas": 3},
        }))
        .unwrap()
    }

    #[test]
    fn what_others_own_stays_and_ones_own_goes() {
        for (owners, kept) in [
            (
                vec![owner("kubectl", "Apply", &["image", "calls", "replicas"])],
                json!({"image": "new"}),
            ),
            (
                vec![
                    owner("kubectl", "Apply", &["image", "calls"]),
                    owner("scaler", "Update", &["replicas"]),
                ],
                json!({"image": "new", "replicas": 3}),
            ),
            (
                vec![
                    owner("kubectl", "Apply", &["calls"]),
                    owner("other", "Apply", &["image", "calls"]),
                ],
                json!({"image": "new", "calls": ["b"]}),
            ),
            (
                vec![owner("kubectl-client-side-apply", "Update", &["image", "calls"])],
                json!({"image": "new"}),
            ),
            (
                vec![owner("kubectl", "Update", &["calls"])],
                json!({"image": "new", "calls": ["b"]}),
            ),
            (vec![], json!({"image": "new"})),
        ] {
            let spec = json!({"image": "new", "enabled": null});
            assert_eq!(applied(spec, &present(&owners), "kubectl"), kept, "{owners:?}");
        }
    }
}
