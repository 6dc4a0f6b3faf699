//! Objects that cannot be read and whose status the API server does not take, because it would not take the object either: these
//! are told by an event, once in each generation.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    Context, ReconcileError,
    events::{self, Notice},
    object::{self, Object, Version},
    status::{Situation, StatusError},
    tell,
};

/// Reason of the event.
const NOT_UNDERSTOOD: &str = "NotUnderstood";

/// Which of them were told, by name.
#[derive(Debug, Default)]
pub struct Unreadable(Mutex<HashMap<String, Version>>);

/// Tells the object's situation in its status; if that is refused and the object cannot be read, by an event.
pub async fn tell(object: &Object, context: &Context, situation: &Situation) -> Result<(), ReconcileError> {
    match (situation, tell::tell(object, context, None, situation).await) {
        (Situation::Invalid { message }, Err(ReconcileError::Status(StatusError::Write(error))))
            if is_refusal(&error) =>
        {
            if context.unreadable.is_news(object) {
                let notice = Notice::warning(NOT_UNDERSTOOD, message.clone());
                events::publish(&context.client, object, [notice]).await;
            }
            // It takes a change, which wakes it.
            Ok(())
        }
        (_, told) => told,
    }
}

impl Unreadable {
    /// Forgets all plugins but those for which `exists` holds.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| exists(name));
    }

    fn is_news(&self, object: &Object) -> bool {
        let version = object::version(object);
        let before = self.lock().insert(object::name(object).to_owned(), version.clone());
        before.is_none_or(|before| before != version)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Version>> {
        // An entry is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the API server holds the object against its schema and refuses it.
fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_news_once_in_each_generation() {
        let object = |uid: &str, generation: i64| -> Object {
            let object = json!({
                "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "spec": {"version": 7},
                "metadata": {"name": "hello", "uid": uid, "generation": generation},
            });
            object::understood(serde_json::from_value(object).unwrap())
        };
        let unreadable = Unreadable::default();
        let news =
            [("a", 1), ("a", 1), ("a", 2), ("b", 2), ("b", 2)].map(|(uid, n)| unreadable.is_news(&object(uid, n)));
        assert_eq!(news, [true, false, true, true, false]);
        unreadable.retain(|_| false);
        assert!(unreadable.is_news(&object("b", 2)));
    }
}
