//! What a plugin needs to be granted, as its plugin.yaml says.

use kite_api::{Permission, Verb};

/// The rules in the manifest's order and words.
pub(super) fn written(permissions: Vec<Permission>) -> Vec<kite_proto::Permission> {
    let rule = |permission: Permission| kite_proto::Permission {
        api_groups: permission.api_groups,
        resources: permission.resources,
        verbs: permission
            .verbs
            .into_iter()
            .map(|verb: Verb| verb.as_str().to_owned())
            .collect(),
        resource_names: permission.resource_names.unwrap_or_default(),
        namespaces: permission.namespaces.unwrap_or_default(),
    };
    permissions.into_iter().map(rule).collect()
}
