//! Patches: JSON Merge Patch and JSON Patch.

use json_patch::PatchOperation;
use kite_api::json_rules;
use serde_json::Value;

use super::{MAX_OBJECT, ResourceError};

/// Most operations of a JSON Patch.
const MAX_OPERATIONS: usize = 256;

/// A change of some of an object's fields.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Patch {
    /// JSON Merge Patch, RFC 7396.
    Merge(Value),
    /// JSON Patch, RFC 6902.
    Json(json_patch::Patch),
}

impl Patch {
    pub(super) fn merge(body: &[u8]) -> Result<Self, ResourceError> {
        read(body).map(Self::Merge)
    }

    pub(super) fn json(body: &[u8]) -> Result<Self, ResourceError> {
        let patch: json_patch::Patch = read(body)?;
        if patch.len() > MAX_OPERATIONS {
            return Err(ResourceError::Invalid(format!(
                "the patch has {} operations, the limit is {MAX_OPERATIONS}",
                patch.len()
            )));
        }
        Ok(Self::Json(patch))
    }

    /// Changes `object`, unless it would be larger than an object may be. If that fails, what it is then is of no use.
    pub fn apply(&self, object: &mut Value) -> Result<(), ResourceError> {
        match self {
            Self::Merge(patch) => json_patch::merge(object, patch),
            Self::Json(patch) => {
                for operation in patch.iter() {
                    let failed = |error: json_patch::PatchError| match error.kind {
                        json_patch::PatchErrorKind::TestFailed => {
                            ResourceError::Precondition(format!("the patch's test of {} failed", error.path))
                        }
                        kind => {
                            ResourceError::Invalid(format!("the patch cannot be applied at {}: {kind}", error.path))
                        }
                    };
                    json_patch::patch(object, std::slice::from_ref(operation)).map_err(failed)?;
                    // Each copy may double the object.
                    if matches!(operation, PatchOperation::Copy(_)) {
                        bounded(object)?;
                    }
                }
            }
        }
        bounded(object)
    }
}

fn bounded(object: &Value) -> Result<(), ResourceError> {
    let size = serde_json::to_vec(object)?.len();
    if size > MAX_OBJECT {
        return Err(too_large(size));
    }
    Ok(())
}

pub(super) fn too_large(size: usize) -> ResourceError {
    ResourceError::Invalid(format!("the object has {size} bytes, the limit is {MAX_OBJECT}"))
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, ResourceError> {
    let read = json_rules::check(body).and_then(|()| serde_json::from_slice(body));
    read.map_err(|error| ResourceError::Invalid(format!("the patch is none: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(patch: Result<Patch, ResourceError>) -> Result<Value, ResourceError> {
        let mut object = json!({"a": 1, "b": {"c": 2, "d": 3}});
        patch?.apply(&mut object)?;
        Ok(object)
    }

    fn json_patch(patch: &Value) -> Result<Value, ResourceError> {
        patched(Patch::json(patch.to_string().as_bytes()))
    }

    #[test]
    fn a_merge_patch_sets_and_removes() {
        let patch = Patch::merge(br#"{"a": null, "b": {"c": 4}}"#);
        assert_eq!(patched(patch), Ok(json!({"b": {"c": 4, "d": 3}})));
    }

    #[test]
    fn a_json_patch_does_its_operations_in_their_order() {
        let patch = json!([
            {"op": "test", "path": "/a", "value": 1},
            {"op": "move", "from": "/a", "path": "/b/a"},
            {"op": "remove", "path": "/b/c"},
        ]);
        assert_eq!(json_patch(&patch), Ok(json!({"b": {"a": 1, "d": 3}})));
    }

    #[test]
    fn a_patch_is_refused_for_each_of_its_reasons() {
        assert!(matches!(Patch::merge(b"{"), Err(ResourceError::Invalid(_))));
        assert!(matches!(Patch::json(b"{}"), Err(ResourceError::Invalid(_))));
        for twice in [
            Patch::merge(br#"{"a": 1, "a": 2}"#),
            Patch::json(br#"[{"op": "remove", "path": "/a", "path": "/b"}]"#),
        ] {
            assert!(matches!(twice, Err(ResourceError::Invalid(_))));
        }
        let operation = json!({"op": "add", "path": "/a", "value": 1});
        assert!(matches!(
            json_patch(&json!(vec![&operation; 257])),
            Err(ResourceError::Invalid(_))
        ));
        assert!(matches!(
            json_patch(&json!([{"op": "test", "path": "/a", "value": 2}])),
            Err(ResourceError::Precondition(_))
        ));
        assert!(matches!(
            json_patch(&json!([{"op": "remove", "path": "/x"}])),
            Err(ResourceError::Invalid(_))
        ));
    }

    #[test]
    fn copies_do_not_grow_an_object_beyond_its_bound() {
        let doubled = json!([{"op": "add", "path": "/l", "value": ["a".repeat(1000)]}]);
        let mut operations = doubled.as_array().unwrap().clone();
        operations.extend((0..200).map(|_| json!({"op": "copy", "from": "/l", "path": "/l/-"})));
        let refused = json_patch(&Value::Array(operations)).unwrap_err();
        assert!(
            matches!(&refused, ResourceError::Invalid(reason) if reason.contains("the limit is")),
            "{refused}"
        );
    }
}
