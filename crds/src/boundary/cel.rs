//! Pieces of CEL: the rights of an object spelled out, and their bounds without spelling them out.

use k8s_openapi::api::admissionregistration::v1::{MatchCondition, Validation, Variable};

use super::{CODE, ESCALATE, TRUST};
use crate::plugin::{
    Verb,
    permission::{CALL_GROUP, CALL_RESOURCE},
};

/// Between the rights of a list, and between the parts of a right: in none of the texts that the schema allows there.
pub(super) const BETWEEN: char = ',';
/// See [`BETWEEN`].
pub(super) const WITHIN: char = '|';
/// Most characters of one right of a name in `calls`, with a name of 40.
pub(super) const CALL_CHARACTERS: usize = 80;

/// The list `field` of `owner`, or `absent`.
fn list(owner: &str, field: &str, absent: &str) -> String {
    format!("(has({owner}.{field}) ? {owner}.{field} : {absent})")
}

fn permissions(object: &str) -> String {
    list(&format!("{object}.spec"), "permissions", "[]")
}

fn calls(object: &str) -> String {
    list(&format!("{object}.spec"), "calls", "[]")
}

/// How many rights a permission `p` grants.
const IN_PERMISSION: &str = "size(p.apiGroups) * size(p.resources) * size(p.verbs) * (has(p.namespaces) ? size(p.namespaces) : 1) * \
                             (has(p.resourceNames) ? size(p.resourceNames) : 1)";

/// How many rights the object grants.
pub(super) fn count(object: &str) -> String {
    let (permissions, calls, verbs) = (permissions(object), calls(object), Verb::CALLS.len());
    format!("({permissions}.map(p, {IN_PERMISSION}).sum() + size({calls}) * {verbs})")
}

/// No less than the characters of all rights of the object: the rights of each permission, each as long as its longest.
pub(super) fn characters(object: &str, plugins: &str) -> String {
    let parts = [
        String::from("p.apiGroups"),
        String::from("p.resources"),
        String::from("p.verbs"),
        list("p", "namespaces", &format!("['{plugins}']")),
        list("p", "resourceNames", "['']"),
    ];
    let longest: Vec<String> = parts
        .iter()
        .map(|part| format!("{part}.map(x, size(x)).max()"))
        .collect();
    let (permissions, calls) = (permissions(object), calls(object));
    let of_call = CALL_CHARACTERS * Verb::CALLS.len();
    format!(
        "({permissions}.map(p, ({IN_PERMISSION}) * ({} + {})).sum() + size({calls}) * {of_call})",
        parts.len(),
        longest.join(" + ")
    )
}

/// The rights of the object, each as `group|resource|verb|namespace|name`. Only where they are known to be few enough.
pub(super) fn rights(object: &str, plugins: &str) -> String {
    let mut one = format!("g + '{WITHIN}' + r + '{WITHIN}' + v + '{WITHIN}' + n + '{WITHIN}' + m");
    for (variable, source) in [
        ("m", list("p", "resourceNames", "['']")),
        ("n", list("p", "namespaces", &format!("['{plugins}']"))),
        ("v", String::from("p.verbs")),
        ("r", String::from("p.resources")),
        ("g", String::from("p.apiGroups")),
    ] {
        one = format!("{source}.map({variable}, {one}).join('{BETWEEN}')");
    }
    let verbs = Verb::CALLS.map(|verb| format!("'{}'", verb.as_str())).join(", ");
    let right = format!("'{CALL_GROUP}{WITHIN}{CALL_RESOURCE}{WITHIN}' + v + '{WITHIN}*{WITHIN}' + c");
    let call = format!("[{verbs}].map(v, {right}).join('{BETWEEN}')");
    format!(
        "({}.map(p, {one}) + {}.map(c, {call})).join('{BETWEEN}').split('{BETWEEN}').filter(r, r != '')",
        permissions(object),
        calls(object)
    )
}

/// Whether the change is one of what code runs, or of what it is given; starting a plugin is.
pub(super) fn code_changed() -> String {
    let fields = CODE.map(|field| format!("object.spec.?{field} != oldObject.spec.?{field}"));
    format!(
        "{} || (object.spec.?enabled.orValue(true) && !oldObject.spec.?enabled.orValue(true))",
        fields.join(" || ")
    )
}

/// Whether a text of the object's permissions has what stands between rights, or between the parts of one. The schema refuses
/// that; an object that is older than the schema may have it, and would read as rights that it does not grant.
pub(super) fn is_ambiguous(object: &str) -> String {
    let lists = format!(
        "[p.apiGroups, p.resources, p.verbs, {}, {}]",
        list("p", "namespaces", "[]"),
        list("p", "resourceNames", "[]")
    );
    let permissions = permissions(object);
    format!(
        "{permissions}.exists(p, {lists}.exists(l, l.exists(t, t.contains('{BETWEEN}') || t.contains('{WITHIN}'))))"
    )
}

/// Only where code changes.
pub(super) fn code_is_new() -> MatchCondition {
    condition("code-changed", &format!("oldObject == null || {}", code_changed()))
}

/// Only where rights or code change.
pub(super) fn changed() -> MatchCondition {
    let grant =
        "object.spec.?permissions != oldObject.spec.?permissions || object.spec.?calls != oldObject.spec.?calls";
    condition(
        "grant-or-code-changed",
        &format!("oldObject == null || {grant} || {}", code_changed()),
    )
}

/// Not for who may escalate.
pub(super) fn may_not_escalate() -> MatchCondition {
    condition("may-not-escalate", &format!("!{}", may(ESCALATE)))
}

/// Whether the user may trust the plugin's pages and middleware.
pub(super) fn may_trust() -> String {
    may(TRUST)
}

fn may(verb: &str) -> String {
    format!("authorizer.group('kite.dev').resource('kiteplugins').name(object.metadata.name).check('{verb}').allowed()")
}

pub(super) fn condition(name: &str, expression: &str) -> MatchCondition {
    MatchCondition {
        name: name.to_owned(),
        expression: expression.to_owned(),
    }
}

pub(super) fn variable(name: &str, expression: String) -> Variable {
    Variable {
        name: name.to_owned(),
        expression,
    }
}

/// A validation with a message, and where there is more to say, an expression that says it.
pub(super) fn validation(expression: String, message: &str, message_expression: Option<String>) -> Validation {
    Validation {
        expression,
        message: Some(message.to_owned()),
        message_expression,
        reason: Some(String::from("Forbidden")),
    }
}
