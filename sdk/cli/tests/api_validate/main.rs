//! `validate` and a real API server say the same of an object, apart from what only one of them can see.

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod mutations;
#[cfg(test)]
#[path = "../../../../e2e/tests/admit_spec/refusals.rs"]
mod refusals;
#[cfg(test)]
mod server;

use kite_api::boundary::Places;
use kite_plugin::manifest::{self, Severity};
use serde_json::Value;
use server::Server;

const PLACES: Places<'_> = Places {
    plugins: "kite-plugins",
    system: "kite-system",
};

/// What `validate` refuses and the API server does not, and why that is right.
const STRICTER: [(&str, &str); 4] = [
    (
        "spec.settings",
        "settings are checked against their schema by the operator, which tells it in a condition",
    ),
    (
        "spec.settingsSchema",
        "a schema is looked at by the operator, which tells it in a condition",
    ),
    (
        "status",
        "the API server drops the status of an object that is made, without a word",
    ),
    (
        "metadata.finalizers",
        "a document has no other metadata; what the API server makes of it is no author's affair",
    ),
];

/// What `validate` refuses of an object: the paths.
fn refused(object: &Value) -> Vec<String> {
    let checked = manifest::check("plugin.yaml", object.to_string().into_bytes(), PLACES);
    let errors = checked.complaints.told().iter();
    let errors = errors.filter(|complaint| complaint.severity == Severity::Error);
    let paths: Vec<String> = errors.map(ToString::to_string).collect();
    assert_eq!(paths.is_empty(), checked.manifest.is_some(), "{object}: {paths:?}");
    paths
}

/// What is wrong if the two do not agree about the object, of which `ours` is what `validate` refuses.
async fn disagreement(server: &Server, object: &Value, ours: &[String]) -> Option<String> {
    match (ours.is_empty(), server.refusal(object).await) {
        (true, Some(theirs)) => Some(format!("only the API server refuses {object}: {theirs}")),
        (false, None) => {
            let is_known = |path: &String| STRICTER.iter().any(|(prefix, _)| path.starts_with(prefix));
            (!ours.iter().all(is_known)).then(|| format!("only validate refuses {object}: {}", ours.join("; ")))
        }
        _ => None,
    }
}

/// Both name the same field, or one inside it, or the one that it is missing in.
#[test]
fn what_the_schema_refuses_is_told_at_the_field() {
    for (object, field, says) in corpus::refusals() {
        let told = refused(&object);
        let is_at = |complaint: &String| {
            let path = complaint.split(": ").next().unwrap();
            path.starts_with(field) || field.starts_with(path)
        };
        assert!(told.iter().any(is_at), "{field}, {says}: {told:?}");
    }
}

#[test]
fn they_agree_about_the_corpus_and_about_changes_of_it() {
    Server::with(PLACES, async |server| {
        let corpus = corpus::all();
        assert!(corpus.len() > 250, "{}", corpus.len());
        let mut wrong = Vec::new();
        let mut refusals = 0;
        for object in &corpus {
            let ours = refused(object);
            refusals += usize::from(!ours.is_empty());
            wrong.extend(disagreement(server, object, &ours).await);
        }
        let accepted = corpus.len() - refusals;
        assert!(
            refusals > 100 && accepted > 100,
            "{refusals} refused, {accepted} accepted"
        );
        for object in mutations::some() {
            wrong.extend(disagreement(server, &object, &refused(&object)).await);
        }
        assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    });
}
