//! Whether an object already is what a server-side apply would make of it, as far as that can be read from it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::Resource;
use serde::Serialize;
use serde_json::{Map, Value};

/// Whether applying `desired` as `manager` would leave `there` as it is: `manager` has applied just these fields before, and
/// each still has the value that it would get.
///
/// What is not read so may still be the same: the API server writes some values differently from how they were applied, and adds
/// what is missing to parts that are owned as a whole.
///
/// The form of what is owned: [`FieldsV1`](https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management), by
/// structured-merge-diff's `fieldpath`: `f:` a field, `k:` an element by its keys, `v:` an element of a set, `.` the thing itself.
pub(super) fn is_as_applied<K>(there: &K, desired: &K, manager: &str) -> bool
where
    K: Resource + Serialize,
{
    let entries = there.meta().managed_fields.iter().flatten();
    let mut applied = entries.filter(|entry| is_an_apply(entry, manager));
    let Some(fields) = applied.next().and_then(|entry| entry.fields_v1.as_ref()) else {
        return false;
    };
    let (Ok(there), Ok(mut desired)) = (serde_json::to_value(there), serde_json::to_value(desired)) else {
        return false;
    };
    drop_what_names_it(&mut desired);
    is_same(&desired, Some(&there), &fields.0)
}

fn is_an_apply(entry: &ManagedFieldsEntry, manager: &str) -> bool {
    entry.manager.as_deref() == Some(manager)
        && entry.operation.as_deref() == Some("Apply")
        && entry.subresource.as_deref().unwrap_or_default().is_empty()
}

/// Of what names an object nobody is the owner.
fn drop_what_names_it(object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    object.remove("apiVersion");
    object.remove("kind");
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("name");
        metadata.remove("namespace");
    }
}

/// Whether `there` has the values of `desired`, and `fields` are just the fields of it.
fn is_same(desired: &Value, there: Option<&Value>, fields: &Value) -> bool {
    let Some(fields) = fields.as_object() else { return false };
    let parts = fields.keys().filter(|key| *key != ".").count();
    if parts == 0 {
        return there == Some(desired);
    }
    match desired {
        Value::Object(desired) => {
            let is_field_same = |(name, value): (&String, &Value)| {
                let owned = fields.get(&format!("f:{name}"));
                let there = there.and_then(|there| there.get(name));
                owned.is_some_and(|owned| is_same(value, there, owned))
            };
            parts == desired.len() && desired.iter().all(is_field_same)
        }
        Value::Array(desired) => {
            let there = there.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let places: Option<Vec<usize>> = desired.iter().map(|element| place(element, there, fields)).collect();
            // An apply restores the order, too.
            parts == desired.len() && places.is_some_and(|places| places.is_sorted_by(|one, next| one < next))
        }
        _ => false,
    }
}

/// At which place of `there` the element stands with the values of `desired`, if it is owned as that.
fn place(desired: &Value, there: &[Value], fields: &Map<String, Value>) -> Option<usize> {
    fields.iter().find_map(|(name, owned)| match name.split_once(':')? {
        ("k", keys) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
            let has_keys = |element: &Value| keys.iter().all(|(key, value)| element.get(key) == Some(value));
            let place = there.iter().position(has_keys)?;
            (has_keys(desired) && is_same(desired, there.get(place), owned)).then_some(place)
        }
        ("v", value) => {
            let value: Value = serde_json::from_str(value).ok()?;
            let place = there.iter().position(|element| *element == value)?;
            (value == *desired).then_some(place)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;

    const WE: &str = "we";

    fn desired() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "a", "namespace": "b", "labels": {"app": "a"}, "finalizers": ["x/y"],
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}],
            },
            "spec": {
                "selector": {"app": "a"},
                "ports": [{"name": "one", "port": 1, "protocol": "TCP"}, {"name": "two", "port": 2, "protocol": "TCP"}],
            },
        })
    }

    /// As an API server has it that has defaulted and that others have written to.
    fn there() -> Value {
        let port = |number: u16| {
            let key = json!({"port": number, "protocol": "TCP"}).to_string();
            (
                format!("k:{key}"),
                json!({".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}}),
            )
        };
        let mut ports = Map::from_iter([port(1), port(2)]);
        ports.insert(".".to_owned(), json!({}));
        let mut there = desired();
        there["metadata"]["labels"]["theirs"] = "x".into();
        there["spec"]["clusterIP"] = "None".into();
        there["spec"]["ports"][0]["targetPort"] = 1.into();
        there["metadata"]["managedFields"] = json!([
            {"manager": "them", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": {"f:theirs": {}}}}},
            {"manager": WE, "operation": "Update", "fieldsV1": {"f:spec": {"f:clusterIP": {}}}},
            {"manager": WE, "operation": "Apply", "fieldsV1": {
                "f:metadata": {
                    "f:labels": {".": {}, "f:app": {}}, "f:finalizers": {".": {}, "v:\"x/y\"": {}},
                    "f:ownerReferences": {"k:{\"uid\":\"u\"}": {}},
                },
                "f:spec": {"f:selector": {}, "f:ports": ports},
            }},
        ]);
        there
    }

    fn is(there: Value, desired: Value) -> bool {
        let read = |value| serde_json::from_value::<Service>(value).unwrap();
        is_as_applied(&read(there), &read(desired), WE)
    }

    #[test]
    fn what_others_have_added_makes_no_difference() {
        assert!(is(there(), desired()));
    }

    #[test]
    fn each_other_value_there_makes_a_difference() {
        let paths = [
            "/metadata/labels/app",
            "/metadata/ownerReferences/0/name",
            "/spec/selector/app",
            "/spec/ports/1/name",
        ];
        for path in paths {
            let mut other = there();
            *other.pointer_mut(path).unwrap() = "other".into();
            assert!(!is(other, desired()), "{path}");
        }
        let mut other = there();
        other["spec"]["selector"]["more"] = "x".into();
        assert!(!is(other, desired()), "a selector is owned as a whole");
        let mut other = there();
        other["metadata"]["finalizers"] = json!(["z/z"]);
        assert!(!is(other, desired()));
    }

    #[test]
    fn each_field_more_or_less_makes_a_difference() {
        let mut more = desired();
        more["metadata"]["labels"]["new"] = "x".into();
        assert!(!is(there(), more));
        let mut more = desired();
        let port = json!({"name": "three", "port": 3, "protocol": "TCP"});
        more["spec"]["ports"].as_array_mut().unwrap().push(port);
        assert!(!is(there(), more));
        for (parent, field) in [
            ("/metadata", "labels"),
            ("/metadata", "finalizers"),
            ("/spec", "ports"),
            ("/spec/ports/0", "name"),
        ] {
            let mut less = desired();
            less.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(field);
            assert!(!is(there(), less), "{parent}/{field} would be taken away");
        }
    }

    #[test]
    fn another_order_makes_a_difference() {
        let mut other = there();
        other["spec"]["ports"].as_array_mut().unwrap().swap(0, 1);
        assert!(!is(other, desired()));
        let mut among_theirs = there();
        let port = json!({"name": "theirs", "port": 3, "protocol": "TCP"});
        among_theirs["spec"]["ports"].as_array_mut().unwrap().insert(1, port);
        assert!(is(among_theirs, desired()));
    }

    #[test]
    fn what_was_taken_from_us_is_not_as_we_applied_it() {
        let mut taken = there();
        let ours = &mut taken["metadata"]["managedFields"][2];
        ours["fieldsV1"]["f:metadata"]
            .as_object_mut()
            .unwrap()
            .remove("f:labels");
        assert!(!is(taken, desired()));
        let mut unknown = there();
        unknown["metadata"].as_object_mut().unwrap().remove("managedFields");
        assert!(!is(unknown, desired()));
        let mut by_update = there();
        by_update["metadata"]["managedFields"][2]["operation"] = "Update".into();
        assert!(!is(by_update, desired()));
        let mut of_status = there();
        of_status["metadata"]["managedFields"][2]["subresource"] = "status".into();
        assert!(!is(of_status, desired()));
    }

    #[test]
    fn junk_in_what_is_owned_is_never_the_same() {
        for junk in [
            json!(null),
            json!([]),
            json!("x"),
            json!({"f:spec": 1}),
            json!({"k:{": {}}),
            json!({"": {}}),
        ] {
            let mut other = there();
            other["metadata"]["managedFields"][2]["fieldsV1"] = junk;
            assert!(!is(other, desired()));
        }
    }
}
