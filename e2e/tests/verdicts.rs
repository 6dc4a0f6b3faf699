//! What kstatus and the health check for Argo CD say of a plugin in everything that can become of it.
#![cfg(test)]

use std::collections::BTreeMap;

use kite_e2e::testing::judge::Judge;
use serde_json::{Value, json};

/// Objects as the operator's own code tells them, whose tests hold this file against it.
const OBJECTS: &str = include_str!(
    "../../operator/src/controller/status/tests/snapshots/kite_operator__controller__status__tests__judged__others_get_to_see_this.snap"
);

/// What is to be said of each: first by kstatus, then by the health check.
const EXPECTED: [(&str, &str, &str); 27] = [
    ("changed, disabled", "Current", "Healthy"),
    ("changed, disabled, its pod ends", "InProgress", "Progressing"),
    ("changed, disabled, refused", "Failed", "Degraded"),
    ("changed, not seen yet", "InProgress", "Progressing"),
    ("changed, not told because of a failure", "InProgress", "Progressing"),
    ("changed, refused", "Failed", "Degraded"),
    ("changed, refused settings", "Failed", "Degraded"),
    ("changed, the next one has no image", "Failed", "Degraded"),
    ("changed, the next one starts", "InProgress", "Progressing"),
    ("changed, the next one took over", "Current", "Healthy"),
    ("loaded", "Current", "Healthy"),
    ("new, lacks another", "Failed", "Degraded"),
    ("new, not seen yet", "InProgress", "Progressing"),
    ("new, not told because of a failure", "InProgress", "Progressing"),
    ("new, refused", "Failed", "Degraded"),
    ("new, starting", "InProgress", "Progressing"),
    ("new, waits for another", "InProgress", "Progressing"),
    ("new, without its image", "Failed", "Degraded"),
    ("was ready, a failure", "InProgress", "Progressing"),
    ("was ready, deleted", "Terminating", "Progressing"),
    ("was ready, does not answer", "InProgress", "Progressing"),
    ("was ready, is another", "Failed", "Degraded"),
    ("was ready, its pod has no image", "Failed", "Degraded"),
    ("was ready, its pod starts again", "InProgress", "Progressing"),
    ("was ready, lost another", "Failed", "Degraded"),
    ("was ready, needs another that is not", "InProgress", "Progressing"),
    ("was ready, one pod of two", "InProgress", "Progressing"),
];

fn objects() -> BTreeMap<String, Value> {
    let (_, objects) = OBJECTS.rsplit_once("---\n").unwrap();
    serde_json::from_str(objects).unwrap()
}

#[test]
fn nothing_is_current_that_is_not_and_nothing_in_progress_that_needs_a_change() {
    let mut judge = Judge::new();
    let said: Vec<(String, String, String)> = objects()
        .into_iter()
        .map(|(name, object)| {
            let said = judge.verdicts(&object);
            (name, said.kstatus.status, said.argo_cd.status)
        })
        .collect();
    let expected = EXPECTED.map(|(name, kstatus, argo_cd)| (name.to_owned(), kstatus.to_owned(), argo_cd.to_owned()));
    assert_eq!(said, expected);
}

#[test]
fn the_health_check_says_why_in_the_operators_words() {
    let mut judge = Judge::new();
    let mut said = |object: &Value| judge.verdicts(object).argo_cd.message;
    let objects = objects();
    let failed = said(&objects["new, without its image"]);
    assert!(failed.starts_with("the registry has no image"), "{failed}");
    assert_eq!(said(&objects["was ready, deleted"]), "the plugin is being deleted");
    assert_eq!(
        said(&objects["changed, disabled"]),
        "the plugin is disabled: set spec.enabled to true to run it"
    );
    let bare =
        json!({"apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "metadata": {"name": "a", "generation": 1}});
    assert_eq!(said(&bare), "the operator has not looked at this object yet");
}
