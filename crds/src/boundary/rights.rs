//! Every right that a change adds must be held by the user who makes it.

use k8s_openapi::api::admissionregistration::v1::Validation;

use super::{
    CHECKS, MOST_ADDED, MOST_CHARACTERS, MOST_RIGHTS, Parts,
    cel::{self, WITHIN, condition, validation, variable},
    plugin_writes,
    preview::{ADVICE, Excess},
};

/// The copy that checks the rights from `copy * CHECKS` on. The first one checks the bounds too; the others are asked only where there are so
/// many.
pub(super) fn policy(copy: usize, plugins: &str) -> Parts {
    let first = copy * CHECKS;
    let mut conditions = vec![cel::changed(), cel::may_not_escalate()];
    if copy > 0 {
        // Cheap, and so before the others.
        let many = format!("{} > {first}", cel::count("object"));
        conditions.insert(0, condition("has-so-many", &many));
    }
    let mut validations = if copy == 0 { bounds(plugins) } else { Vec::new() };
    validations.extend((first..first + CHECKS).map(check));
    Parts {
        name: format!("kite-rights-{copy}"),
        namespace: None,
        rules: plugin_writes(),
        conditions,
        variables: vec![
            variable("rights", spelled_out("object", plugins)),
            variable("all", format!("oldObject == null || {}", cel::code_changed())),
            variable(
                "old",
                format!(
                    "variables.all || {} ? [] : {}",
                    cel::is_ambiguous("oldObject"),
                    spelled_out("oldObject", plugins)
                ),
            ),
            variable(
                "added",
                String::from("variables.all ? variables.rights : variables.rights.filter(r, !(r in variables.old))"),
            ),
        ],
        validations,
    }
}

/// The rights of an object that has not too many of them. One that has is refused by the bounds, or was allowed to somebody who
/// may escalate: then all that is left of it counts as added.
fn spelled_out(object: &str, plugins: &str) -> String {
    let (count, characters) = (cel::count(object), cel::characters(object, plugins));
    let rights = cel::rights(object, plugins);
    format!("{count} > {MOST_RIGHTS} || {characters} > {MOST_CHARACTERS} ? [] : {rights}")
}

fn bounds(plugins: &str) -> Vec<Validation> {
    let (count, characters) = (cel::count("object"), cel::characters("object", plugins));
    vec![
        validation(format!("{count} <= {MOST_RIGHTS}"), &Excess::Rights.to_string(), None),
        validation(
            format!("{count} > {MOST_RIGHTS} || {characters} <= {MOST_CHARACTERS}"),
            &Excess::Characters.to_string(),
            None,
        ),
        validation(
            format!("size(variables.added) <= {MOST_ADDED}"),
            &format!("this change adds more than {MOST_ADDED} rights: add them in several changes, {ADVICE}"),
            Some(format!(
                "'this change adds ' + string(size(variables.added)) + ' rights, and {MOST_ADDED} can be checked at once: add them in \
                 several changes, {ADVICE}'"
            )),
        ),
    ]
}

/// One right, asked of the API server with its subresource apart.
fn check(index: usize) -> Validation {
    let few = format!("size(variables.added) <= {index}");
    let right = format!("[variables.added[{index}].split('{WITHIN}')]");
    let asked = "authorizer.group(f[0]).resource(r[0]).subresource(size(r) > 1 ? r[1] : '')\
                 .namespace(f[3] == '*' ? '' : f[3]).name(f[4]).check(f[2]).allowed()";
    let words = "'\"' + request.userInfo.username + '\" may not grant a right that it does not hold: ' + f[2] + ' ' + f[1] + \
                 (f[0] == '' ? '' : '.' + f[0]) + (f[4] == '' ? '' : ' \"' + f[4] + '\"') + \
                 (f[3] == '*' ? ' in the whole cluster' : ' in namespace ' + f[3])";
    let why = "(variables.all && oldObject != null ? ' (a change of what runs, or of what it is given, counts as granting every right \
               again)' : '')";
    validation(
        format!("{few} || {right}.all(f, [f[1].split('/')].all(r, {asked}))"),
        "a right that the object grants is not yours to give",
        Some(format!("{few} ? '' : {right}.map(f, {words})[0] + {why}")),
    )
}
