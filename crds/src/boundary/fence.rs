//! What the operator may write at most, whatever its roles allow, and what nobody but the operator may.
//!
//! It limits mistakes and direct escalation. Who has the operator's credentials can still give a plugin's account a wide role, and run
//! as it.

use super::{
    Parts, Places,
    cel::{condition, validation, variable},
    kinds::{self, RBAC, WRITES},
    rule,
};
use crate::{labels, object_names::PREFIX};

pub(super) fn policies(places: Places<'_>) -> [Parts; 3] {
    [roles(places), rest(places), status(places)]
}

fn is_operator(places: Places<'_>) -> String {
    format!("request.userInfo.username == '{}'", places.operator())
}

/// Roles and bindings of plugins only, and each for the one account of its name.
fn roles(places: Places<'_>) -> Parts {
    let Places { plugins, system } = places;
    let kinds = ["roles", "rolebindings", "clusterroles", "clusterrolebindings"];
    let written = |expression: String| format!("request.operation == 'DELETE' || ({expression})");
    Parts {
        name: String::from("kite-fence-roles"),
        namespace: None,
        rules: vec![rule(&["CREATE", "UPDATE", "DELETE"], RBAC, &kinds)],
        conditions: vec![condition("is-the-operator", &is_operator(places))],
        variables: vec![
            variable(
                "name",
                String::from("request.operation == 'DELETE' ? oldObject.metadata.name : object.metadata.name"),
            ),
            variable("binds", String::from("request.resource.resource.endsWith('bindings')")),
        ],
        validations: vec![
            validation(
                format!("variables.name.startsWith('{PREFIX}')"),
                &format!("the operator writes only roles and bindings whose names begin with {PREFIX}"),
                None,
            ),
            validation(
                written(format!("request.?namespace.orValue('') != '{system}'")),
                &format!("the operator writes no roles and bindings in {system}"),
                None,
            ),
            validation(
                written(String::from(
                    "!variables.binds || object.roleRef.name == object.metadata.name",
                )),
                "the operator binds only the role of the binding's own name",
                None,
            ),
            validation(
                written(format!(
                    "!variables.binds || !has(object.subjects) || object.subjects.all(s, s.kind == 'ServiceAccount' && \
                     s.?namespace.orValue('') == '{plugins}' && s.name == object.metadata.name)"
                )),
                &format!("the operator binds only the ServiceAccount of the binding's own name in {plugins}"),
                None,
            ),
            // What somebody else has put there stays on an update, until the operator has seen it and makes the role anew.
            validation(
                written(String::from(
                    "!has(object.aggregationRule) || (oldObject != null && has(oldObject.aggregationRule))",
                )),
                "the operator makes no role that collects the rules of others",
                None,
            ),
            validation(
                written(format!(
                    "!has(object.metadata.labels) || object.metadata.labels.all(k, k in ['{}', '{}'] || \
                     (oldObject != null && has(oldObject.metadata.labels) && k in oldObject.metadata.labels))",
                    labels::PLUGIN,
                    labels::MANAGED_BY
                )),
                "the operator gives its roles no labels by which they could be collected into others",
                None,
            ),
        ],
    }
}

/// No code and no credentials but those of plugins.
fn rest(places: Places<'_>) -> Parts {
    let Places { plugins, system } = places;
    let all = ["CREATE", "UPDATE", "DELETE"];
    let mut rules = kinds::that_run();
    rules.extend([
        rule(&WRITES, "", &["secrets"]),
        rule(&["CONNECT"], "", &["nodes/proxy"]),
        rule(&all, "apiextensions.k8s.io", &["customresourcedefinitions"]),
        rule(&all, "admissionregistration.k8s.io", &["*"]),
        rule(&all, "apiregistration.k8s.io", &["apiservices"]),
        rule(&all, "certificates.k8s.io", &["*/*"]),
    ]);
    let allowed = format!(
        "request.resource.resource == 'secrets' ? request.?namespace.orValue('') in ['{plugins}', '{system}'] && object.type == \
         'kubernetes.io/tls' : request.?namespace.orValue('') == '{plugins}' && request.?subResource.orValue('') == '' && \
         request.resource.resource in ['deployments', 'controllerrevisions', 'services', 'serviceaccounts']"
    );
    Parts {
        name: String::from("kite-fence"),
        namespace: None,
        rules,
        conditions: vec![condition("is-the-operator", &is_operator(places))],
        variables: Vec::new(),
        validations: vec![validation(
            allowed,
            "the operator may not write this",
            Some(String::from(
                "'the operator may not write ' + request.resource.resource + (request.?subResource.orValue('') == '' ? '' : '/' + \
                 request.subResource) + (request.?namespace.orValue('') == '' ? '' : ' in ' + request.namespace)",
            )),
        )],
    }
}

/// The status decides where traffic goes.
fn status(places: Places<'_>) -> Parts {
    Parts {
        name: String::from("kite-status"),
        namespace: None,
        rules: vec![rule(&["UPDATE"], "kite.dev", &["kiteplugins/status"])],
        conditions: vec![condition("is-not-the-operator", &format!("!({})", is_operator(places)))],
        variables: Vec::new(),
        validations: vec![validation(
            String::from("false"),
            "the status of a KitePlugin is written by the operator alone: it decides where traffic goes",
            None,
        )],
    }
}
