//! Lists of objects, in pages.

use kube::core::Selector;
use serde::Serialize;

use super::{Object, ObjectKey, ResourceError, selector};

/// Most objects of a page.
pub(super) const MAX_PAGE: usize = 500;
/// Most bytes of a page's objects, so that the message with them has room.
pub(super) const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024 - 64 * 1024;
/// Most bytes of what leads to the next page.
pub(super) const MAX_CONTINUE: usize = 1024;

/// Which objects are asked for.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// The namespace; `None`: all of them.
    pub namespace: Option<String>,
    /// By their labels. One that is empty selects all.
    pub selector: Selector,
    /// Most objects of the page: 1 to 500.
    pub limit: usize,
    /// [`Page::next`] of the page before, if it is not the first.
    pub after: Option<String>,
}

/// A page of objects, in an order that does not change from page to page.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// At most as many as were asked for.
    pub objects: Vec<Object<T>>,
    /// What leads to the next page, at most 1 KiB; `None` after the last.
    pub next: Option<String>,
}

impl ListQuery {
    /// Whether the object is among those asked for, on whichever page.
    pub fn selects<T>(&self, object: &Object<T>) -> bool {
        let metadata = &object.metadata;
        let here = self.namespace.is_none() || self.namespace == metadata.namespace;
        here && selector::selects(&self.selector, &metadata.labels)
    }

    /// The page out of all objects there are: for who has them in memory. They are ordered by namespace and name, so that a page
    /// goes on rightly when objects come and go in between.
    pub fn page<T: Serialize>(&self, all: impl IntoIterator<Item = Object<T>>) -> Result<Page<T>, ResourceError> {
        let after = self.after.as_deref().map(key_of).transpose()?;
        let mut selected: Vec<(ObjectKey, Object<T>)> = all
            .into_iter()
            .filter(|object| self.selects(object))
            .map(|object| (object.key(), object))
            .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after))
            .collect();
        selected.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut bytes = 0;
        let mut page = Page {
            objects: Vec::new(),
            next: None,
        };
        let mut last = None;
        for (key, object) in selected {
            bytes += serde_json::to_vec(&object)?.len();
            let full = page.objects.len() == self.limit.clamp(1, MAX_PAGE) || bytes > MAX_PAGE_BYTES;
            if full && !page.objects.is_empty() {
                page.next = last;
                break;
            }
            last = Some(token_of(&key));
            page.objects.push(object);
        }
        Ok(page)
    }
}

/// No namespace and no name has a slash.
fn token_of(key: &ObjectKey) -> String {
    format!("{}/{}", key.namespace.as_deref().unwrap_or_default(), key.name)
}

fn key_of(token: &str) -> Result<ObjectKey, ResourceError> {
    let (namespace, name) = token.split_once('/').ok_or(ResourceError::Expired)?;
    Ok(ObjectKey {
        namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Object<()>> {
        ["b/x", "a/z", "a/y", "c/x", "b/w"]
            .into_iter()
            .map(|key| key.split_once('/').unwrap())
            .map(|(namespace, name)| Object::new(name, ()).in_namespace(namespace))
            .collect()
    }

    fn pages(mut query: ListQuery) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        loop {
            let page = query.page(all()).unwrap();
            pages.push(page.objects.iter().map(|object| token_of(&object.key())).collect());
            match page.next {
                Some(next) => query.after = Some(next),
                None => return pages,
            }
        }
    }

    #[test]
    fn pages_together_are_the_whole_in_one_order() {
        let query = ListQuery {
            limit: 2,
            ..ListQuery::default()
        };
        assert_eq!(pages(query), [vec!["a/y", "a/z"], vec!["b/w", "b/x"], vec!["c/x"]]);
        let query = ListQuery {
            limit: 500,
            namespace: Some("b".to_owned()),
            ..ListQuery::default()
        };
        assert_eq!(pages(query), [["b/w", "b/x"]]);
    }

    #[test]
    fn a_page_has_no_more_bytes_than_a_message() {
        let text = "a".repeat(1024 * 1024);
        let large = |name: &str| Object::new(name, std::collections::BTreeMap::from([("text", text.clone())]));
        let query = ListQuery {
            limit: 500,
            ..ListQuery::default()
        };
        let page = query.page(["a", "b", "c", "d", "e"].map(large)).unwrap();
        assert_eq!((page.objects.len(), page.next.as_deref()), (3, Some("/c")));
    }

    #[test]
    fn a_token_that_is_none_is_expired() {
        let query = ListQuery {
            after: Some("x".to_owned()),
            ..ListQuery::default()
        };
        assert_eq!(query.page(all()).unwrap_err(), ResourceError::Expired);
    }
}
