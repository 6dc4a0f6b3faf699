//! The resource type: notes, in memory, which are gone when the pod is.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kite_plugin_sdk::{ListQuery, Object, ObjectKey, Page, ResourceContext, ResourceError, ResourceVerb, Resources};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most notes that are kept.
const MOST: usize = 100;

/// What somebody notes.
#[derive(Clone, Deserialize, JsonSchema, Serialize)]
pub(crate) struct Note {
    /// The text of the note.
    #[schemars(length(min = 1, max = 1000))]
    text: String,
}

/// All notes.
#[derive(Default)]
pub(crate) struct Notes(Mutex<BTreeMap<ObjectKey, Object<Note>>>);

impl Notes {
    fn all(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Object<Note>>> {
        // A note is put or taken as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resources for Notes {
    type Fields = Note;
    const NAME: &'static str = "notes";
    const DESCRIPTION: &'static str = "Notes of a namespace.";
    const VERBS: &'static [ResourceVerb] = &[
        ResourceVerb::List,
        ResourceVerb::Get,
        ResourceVerb::Create,
        ResourceVerb::Delete,
    ];

    async fn list(&self, _: &ResourceContext, query: ListQuery) -> Result<Page<Note>, ResourceError> {
        let all: Vec<_> = self.all().values().cloned().collect();
        query.page(all)
    }

    async fn get(&self, _: &ResourceContext, key: &ObjectKey) -> Result<Object<Note>, ResourceError> {
        self.all().get(key).cloned().ok_or(ResourceError::NotFound)
    }

    async fn create(&self, _: &ResourceContext, note: Object<Note>) -> Result<Object<Note>, ResourceError> {
        let mut all = self.all();
        if all.contains_key(&note.key()) {
            return Err(ResourceError::AlreadyExists);
        }
        if all.len() >= MOST {
            return Err(ResourceError::Precondition(format!(
                "there are {MOST} notes: delete one"
            )));
        }
        all.insert(note.key(), note.clone());
        Ok(note)
    }

    async fn delete(&self, _: &ResourceContext, key: &ObjectKey) -> Result<Object<Note>, ResourceError> {
        self.all().remove(key).ok_or(ResourceError::NotFound)
    }
}
