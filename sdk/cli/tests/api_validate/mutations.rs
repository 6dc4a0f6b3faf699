//! Objects with every field, changed in one or two places at random.

use proptest::{
    prelude::*,
    sample::{Index, select},
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::corpus;

const COUNT: usize = 200;

/// The same ones in each run.
pub(crate) fn some() -> Vec<Value> {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let change = (any::<Index>(), select(changes()));
    let changes = prop::collection::vec(change, 1..=2);
    (0..COUNT)
        .map(|_| {
            let mut object = corpus::every_field();
            for (place, change) in changes.new_tree(&mut runner).unwrap().current() {
                apply(&mut object["spec"], place, &change);
            }
            object
        })
        .collect()
}

#[derive(Clone, Debug)]
enum Change {
    Replace(Value),
    Remove,
    Twice,
    Add(&'static str),
}

fn changes() -> Vec<Change> {
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(100_000_000_000_i64),
        json!(""),
        json!("a"),
        json!("A"),
        json!("*"),
        json!("/a"),
        json!("/{a}"),
        json!("1.0.0"),
        json!("x".repeat(300)),
        json!([]),
        json!(["a"]),
        json!(["a", "a"]),
        json!({}),
        json!({"name": "a"}),
        json!("kite-system"),
    ];
    let mut changes: Vec<Change> = values.into_iter().map(Change::Replace).collect();
    changes.extend([
        Change::Remove,
        Change::Twice,
        Change::Twice,
        Change::Add("extra"),
        Change::Add("name"),
    ]);
    changes
}

/// The pointers of all values in `value`.
fn pointers(value: &Value, pointer: &str, found: &mut Vec<String>) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                pointers(value, &format!("{pointer}/{}", escaped(key)), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
    found.push(pointer.to_owned());
}

fn apply(spec: &mut Value, place: Index, change: &Change) {
    let mut found = Vec::new();
    pointers(spec, "", &mut found);
    found.retain(|pointer| !pointer.is_empty());
    if found.is_empty() {
        return;
    }
    let pointer = place.get(&found).clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match change {
        Change::Replace(value) => *spec.pointer_mut(&pointer).unwrap() = value.clone(),
        Change::Add(field) => {
            if let Value::Object(fields) = spec.pointer_mut(&pointer).unwrap() {
                fields.insert((*field).to_owned(), json!("a"));
            }
        }
        Change::Remove | Change::Twice => match spec.pointer_mut(parent).unwrap() {
            Value::Object(fields) if matches!(change, Change::Remove) => {
                fields.remove(&key.replace("~1", "/").replace("~0", "~"));
            }
            Value::Array(items) => {
                let index: usize = key.parse().unwrap();
                if matches!(change, Change::Remove) {
                    items.remove(index);
                } else {
                    items.push(items[index].clone());
                }
            }
            _ => {}
        },
    }
}
