//! The answer for people and for programs.

use std::{collections::BTreeSet, path::Path};

use k8s_openapi::api::authorization::v1::ResourceAttributes;
use kite_api::{
    boundary::preview::Need,
    rights::{self, Right},
};
use serde::Serialize;

use super::{Answer, Missing, Object, Output};
use crate::printer::Printer;

/// Most missing rights that are told one by one. More are told together, in fewer sentences.
const MOST_LINES: usize = 16;

pub(super) fn tell(answer: &Answer, file: &Path, output: Output, printer: &mut Printer<'_>) {
    printer.talk(&how(answer));
    match output {
        Output::Text => printer.data(&text(answer)),
        Output::Json => printer.data(&json(answer)),
    }
    printer.hint(&next(answer, file));
}

/// What the questions were about.
fn how(answer: &Answer) -> String {
    let plugin = &answer.plugin;
    if answer.may_escalate {
        return format!("You may \"escalate\" {plugin}: its rights, Secrets and trust are not asked about\n");
    }
    let (what, counts) = match (answer.object, answer.code_is_new) {
        (Object::Absent, _) => (
            "is not in the cluster yet",
            "every right that it grants counts as added",
        ),
        (Object::Unseen, _) => (
            "is not yours to see, so what it grants at present is not known",
            "every right counts as added",
        ),
        (Object::Present, true) => (
            "is in the cluster, and what runs, or what it is given, changes",
            "that counts as granting every right again",
        ),
        (Object::Present, false) => (
            "is in the cluster, and what runs stays",
            "only rights that it does not grant yet are asked about",
        ),
    };
    format!("{plugin} {what}: {counts}\n")
}

fn text(answer: &Answer) -> String {
    if answer.may_apply() {
        return String::from("yes\n");
    }
    let mut lines = vec![String::from("no")];
    let (rights, others): (Vec<&Missing>, Vec<&Missing>) = answer.missing.iter().partition(|it| it.right().is_some());
    let (access, others): (Vec<&Missing>, Vec<&Missing>) = others.into_iter().partition(|it| it.need.is_none());
    lines.extend(access.iter().map(|missing| missing.line()));
    if rights.len() > MOST_LINES {
        let rights: BTreeSet<Right> = rights.iter().filter_map(|missing| missing.right().cloned()).collect();
        lines.extend(rights::sentences(&rights).into_iter().map(|sentence| sentence.text));
    } else {
        lines.extend(rights.iter().map(|missing| missing.line()));
    }
    lines.extend(others.iter().map(|missing| missing.line()));
    lines.extend(answer.refusals.iter().cloned());
    lines.join("\n") + "\n"
}

impl Missing {
    fn right(&self) -> Option<&Right> {
        match &self.need {
            Some(Need::Right(right)) => Some(right),
            Some(Need::Secret(_) | Need::Trust) | None => None,
        }
    }

    fn line(&self) -> String {
        let why = match self.need {
            Some(Need::Right(_)) => "",
            Some(Need::Secret(_)) => ", which the object names",
            Some(Need::Trust) => ", for its pages or middleware",
            None => ", to apply it at all",
        };
        format!("{}{why}", self.question)
    }

    fn kind(&self) -> &'static str {
        match self.need {
            Some(Need::Right(_)) => "right",
            Some(Need::Secret(_)) => "secret",
            Some(Need::Trust) => "trust",
            None => "access",
        }
    }
}

/// The answer for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    plugin: &'a str,
    may_apply: bool,
    object: Object,
    code_is_new: bool,
    may_escalate: bool,
    questions: usize,
    missing: Vec<JsonMissing>,
    refusals: &'a [String],
}

#[derive(Serialize)]
struct JsonMissing {
    kind: &'static str,
    text: String,
    /// What a review of access is asked.
    attributes: ResourceAttributes,
}

fn json(answer: &Answer) -> String {
    let missing = answer.missing.iter().map(|missing| JsonMissing {
        kind: missing.kind(),
        text: missing.question.to_string(),
        attributes: missing.question.attributes(),
    });
    let json = Json {
        plugin: &answer.plugin,
        may_apply: answer.may_apply(),
        object: answer.object,
        code_is_new: answer.code_is_new,
        may_escalate: answer.may_escalate,
        questions: answer.asked,
        missing: missing.collect(),
        refusals: &answer.refusals,
    };
    // Texts, numbers and lists of them: nothing that JSON could not hold.
    serde_json::to_string_pretty(&json).unwrap_or_default() + "\n"
}

fn next(answer: &Answer, file: &Path) -> String {
    let file = file.display();
    if answer.may_apply() {
        return format!(
            "what else is in the document is for the API server to judge: `kubectl apply --server-side --dry-run=server -f {file}`"
        );
    }
    if answer.missing.is_empty() {
        return format!("change the grant as it says, and ask again: `kite-plugin can-i-apply {file}`");
    }
    format!(
        "ask a cluster admin to give you a role with these rights, or somebody who holds them to apply the document: \
         `kubectl apply --server-side -f {file}`"
    )
}
