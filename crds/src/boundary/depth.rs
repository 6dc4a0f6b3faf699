//! Settings and their schema are as deep as whoever reads the object can follow, and no deeper.
//!
//! The schema of the CRD cannot see into them. A parser has a bound on nesting (128 levels in operator and gateway), and one that meets it
//! in a list of all plugins reads none of them.

use super::{
    Parts,
    cel::{condition, validation},
    plugin_writes,
};
use crate::schema_rules::MAX_DEPTH;

pub(super) fn policy() -> Parts {
    let shallow = |field: &str| {
        // What the schema leaves open is an object without fields to the API server's check of types, and anything to `dyn`.
        let anything = format!("dyn(object.spec.{field})");
        validation(
            format!("!has(object.spec.{field}) || {}", shallow(&anything, MAX_DEPTH)),
            &format!("spec.{field} is nested deeper than {MAX_DEPTH} levels"),
            None,
        )
    };
    Parts {
        name: String::from("kite-depth"),
        namespace: None,
        rules: plugin_writes(),
        conditions: vec![condition(
            // An object from before goes on, and can be deleted.
            "settings-changed",
            "oldObject == null || object.spec.?settings != oldObject.spec.?settings || \
             object.spec.?settingsSchema != oldObject.spec.?settingsSchema",
        )],
        variables: Vec::new(),
        validations: vec![shallow("settings"), shallow("settingsSchema")],
    }
}

/// That nothing in `value`, itself a level, is deeper than `levels`. Maps become the lists of their values, so that one name for a level
/// is enough, and the expression grows by a line with each level and not to twice its size.
fn shallow(value: &str, levels: usize) -> String {
    if levels == 0 {
        return format!("type({value}) != map && type({value}) != list");
    }
    let (key, inner) = (format!("k{levels}"), format!("v{levels}"));
    let children =
        format!("(type({value}) == map ? {value}.map({key}, {value}[{key}]) : type({value}) == list ? {value} : [])");
    format!("{children}.all({inner}, {})", shallow(&inner, levels - 1))
}
