//! Which rights a set of rights gives beside its own, without comparing each with each.

use std::collections::BTreeSet;

use super::{Place, Right};
use crate::plugin::Verb;

/// Group, resource, verb, place (`None`: the whole cluster) and name (`None`: all).
type Key<'a> = (&'a str, &'a str, Verb, Option<&'a str>, Option<&'a str>);

/// Which parts of a right are wide: `*`, the whole cluster, all names.
type Shape = [bool; 5];

/// A set of rights in which those that cover another are found by looking up its wider forms, of which there are 32 at
/// most, and as a rule one or two.
pub(super) struct Index<'a> {
    keys: BTreeSet<Key<'a>>,
    shapes: BTreeSet<Shape>,
}

impl<'a> Index<'a> {
    pub(super) fn of(rights: &'a BTreeSet<Right>) -> Self {
        let keys: BTreeSet<Key<'a>> = rights.iter().map(key).collect();
        let shapes = keys.iter().map(shape).collect();
        Self { keys, shapes }
    }

    pub(super) fn covers(&self, right: &Right) -> bool {
        let key = key(right);
        self.shapes
            .iter()
            .any(|shape| self.keys.contains(&widened(key, *shape)))
    }

    /// Whether a right that is not the same covers it.
    pub(super) fn covers_by_another(&self, right: &Right) -> bool {
        let key = key(right);
        let wider = self.shapes.iter().map(|shape| widened(key, *shape));
        wider
            .filter(|wider| *wider != key)
            .any(|wider| self.keys.contains(&wider))
    }
}

/// The rights of `new` that `old` does not cover.
pub(super) fn beyond(old: &BTreeSet<Right>, new: &BTreeSet<Right>) -> BTreeSet<Right> {
    let old = Index::of(old);
    new.iter().filter(|right| !old.covers(right)).cloned().collect()
}

fn key(right: &Right) -> Key<'_> {
    let place = match &right.place {
        Place::Cluster => None,
        Place::Namespace(name) => Some(name.as_str()),
    };
    (&right.group, &right.resource, right.verb, place, right.name.as_deref())
}

fn shape((group, resource, verb, place, name): &Key<'_>) -> Shape {
    [
        *group == "*",
        *resource == "*",
        *verb == Verb::All,
        place.is_none(),
        name.is_none(),
    ]
}

fn widened((group, resource, verb, place, name): Key<'_>, shape: Shape) -> Key<'_> {
    let [any_group, any_resource, any_verb, any_place, any_name] = shape;
    (
        if any_group { "*" } else { group },
        if any_resource { "*" } else { resource },
        if any_verb { Verb::All } else { verb },
        place.filter(|_| !any_place),
        name.filter(|_| !any_name),
    )
}
