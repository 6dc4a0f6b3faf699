//! The Secrets that an object names must be the user's to read, and pages and middleware theirs to trust.

use super::{
    MOST_SECRETS, Parts,
    cel::{self, validation, variable},
    plugin_writes,
    preview::Excess,
};

pub(super) fn policy(plugins: &str) -> Parts {
    let named = "(has(object.spec.settingsSecretRef) ? [object.spec.settingsSecretRef.name] : []) + \
                 (has(object.spec.imagePullSecrets) ? object.spec.imagePullSecrets.map(s, s.name) : []) + \
                 (has(object.spec.env) ? object.spec.env.filter(e, has(e.valueFrom) && has(e.valueFrom.secretKeyRef))\
                 .map(e, e.valueFrom.secretKeyRef.name) : [])";
    let mut validations = vec![
        validation(
            format!("size(variables.secrets) <= {MOST_SECRETS}"),
            &Excess::Secrets.to_string(),
            None,
        ),
        validation(
            format!(
                "!(has(object.spec.frontend) || has(object.spec.middleware)) || {}",
                cel::may_trust()
            ),
            "pages run in every viewer's browser session, and middleware sees the requests to plugins: that needs the verb \"trust\" on this kiteplugin",
            None,
        ),
    ];
    validations.extend((0..MOST_SECRETS).map(|index| {
        let few = format!("size(variables.secrets) <= {index}");
        let secret = format!("variables.secrets[{index}]");
        validation(
            format!(
                "{few} || authorizer.group('').resource('secrets').namespace('{plugins}').name({secret}).check('get').allowed()"
            ),
            "a Secret that the object names is not yours to read",
            Some(format!(
                "{few} ? '' : '\"' + request.userInfo.username + '\" may not get the Secret \"' + {secret} + '\" in {plugins}, which the object names'"
            )),
        )
    }));
    Parts {
        name: String::from("kite-references"),
        namespace: None,
        rules: plugin_writes(),
        conditions: vec![cel::code_is_new(), cel::may_not_escalate()],
        variables: vec![variable("secrets", named.to_owned())],
        validations,
    }
}
