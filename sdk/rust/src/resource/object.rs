//! Objects, and what names them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ResourceError;

/// Most bytes of an object's name.
const MAX_NAME: usize = 253;

/// What every object has beside its author's fields, in the words of Kubernetes.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Name of the object, in its namespace.
    pub name: String,
    /// Namespace of the object, if its type has namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels, by which lists are narrowed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What else is noted about the object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Changes with each change of the object. A change that carries another one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

/// An object: its author's fields, and `metadata` beside them.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Object<T> {
    /// What names the object.
    pub metadata: Metadata,
    /// The author's fields, which stand beside `metadata` in JSON.
    #[serde(flatten)]
    pub fields: T,
}

impl<T> Object<T> {
    /// The object called `name`, without a namespace.
    pub fn new(name: impl Into<String>, fields: T) -> Self {
        Self {
            metadata: Metadata {
                name: name.into(),
                ..Metadata::default()
            },
            fields,
        }
    }

    /// The object that `key` finds.
    pub fn of(key: &ObjectKey, fields: T) -> Self {
        let mut object = Self::new(key.name.clone(), fields);
        object.metadata.namespace.clone_from(&key.namespace);
        object
    }

    /// The same object in `namespace`.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.metadata.namespace = Some(namespace.into());
        self
    }

    /// What finds the object.
    pub fn key(&self) -> ObjectKey {
        ObjectKey {
            namespace: self.metadata.namespace.clone(),
            name: self.metadata.name.clone(),
        }
    }

    /// Whether the object may take the place of one whose version is `current`: an error if it was made from another one, or
    /// from none.
    pub fn supersedes(&self, current: &str) -> Result<(), ResourceError> {
        if self.metadata.resource_version.as_deref() == Some(current) {
            Ok(())
        } else {
            Err(ResourceError::Conflict)
        }
    }
}

/// What finds an object among those of its type. The order is that of lists.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectKey {
    /// The namespace, if the type has namespaces.
    pub namespace: Option<String>,
    /// The name in it.
    pub name: String,
}

/// Whether `name` may be an object's: it is safe as a segment of a path.
pub(super) fn is_name(name: &str) -> bool {
    let inner = |c: char| !c.is_control() && !matches!(c, '/' | '%' | '\\');
    (1..=MAX_NAME).contains(&name.len()) && name != "." && name != ".." && name.chars().all(inner)
}
