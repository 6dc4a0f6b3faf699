//! Whether a grant has a right: what the gateway asks for each request, so without spelling the grant out.

use super::{Place, Right};
use crate::plugin::{Permission, Verb};

/// Whether one of the permissions gives `right`. As rights are what RBAC decides about, no two permissions give together what
/// neither of them does.
pub fn grants(permissions: &[Permission], plugins_namespace: &str, right: &Right) -> bool {
    permissions
        .iter()
        .any(|permission| gives(permission, plugins_namespace, right))
}

fn gives(permission: &Permission, plugins_namespace: &str, right: &Right) -> bool {
    let has = |list: &[String], text: &str| list.iter().any(|it| it == "*" || it == text);
    let has_place = match (&permission.namespaces, &right.place) {
        (None, Place::Namespace(name)) => name == plugins_namespace,
        (None, Place::Cluster) => false,
        (Some(all), Place::Namespace(name)) => has(all, name),
        (Some(all), Place::Cluster) => all.iter().any(|it| it == "*"),
    };
    let has_name = match (&permission.resource_names, &right.name) {
        (None, _) => true,
        (Some(names), Some(name)) => names.contains(name),
        (Some(_), None) => false,
    };
    has_place
        && has_name
        && has(&permission.api_groups, &right.group)
        && has(&permission.resources, &right.resource)
        && permission
            .verbs
            .iter()
            .any(|verb| *verb == Verb::All || *verb == right.verb)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::{
        plugin::KitePluginSpec,
        rights::{self, cover::Index},
    };

    fn texts(of: &'static [&'static str], least: usize) -> impl Strategy<Value = Vec<String>> {
        vec(select(of).prop_map(str::to_owned), least..3)
    }

    fn permission() -> impl Strategy<Value = Permission> {
        let names = proptest::option::of(texts(&["a", "b"], 1));
        let namespaces = proptest::option::of(texts(&["shop", "plugins", "*"], 1));
        let kinds = (texts(&["", "apps", "*"], 1), texts(&["pods", "pods/log", "*"], 1));
        let verbs = vec(select(&[Verb::Get, Verb::List, Verb::All][..]), 1..3);
        (kinds, verbs, names, namespaces).prop_map(|((api_groups, resources), verbs, resource_names, namespaces)| {
            Permission {
                api_groups,
                resources,
                verbs,
                resource_names,
                namespaces,
                ..Permission::default()
            }
        })
    }

    fn right() -> impl Strategy<Value = Right> {
        let place = select(&["shop", "plugins", "pay", "*"][..]).prop_map(|name| match name {
            "*" => Place::Cluster,
            name => Place::Namespace(name.to_owned()),
        });
        let kind = (
            select(&["", "apps", "batch"][..]),
            select(&["pods", "pods/log", "nodes"][..]),
        );
        let name = select(&[None, Some("a"), Some("c")][..]);
        (kind, select(&[Verb::Get, Verb::Delete][..]), place, name).prop_map(
            |((group, resource), verb, place, name)| Right {
                group: group.to_owned(),
                resource: resource.to_owned(),
                verb,
                place,
                name: name.map(str::to_owned),
            },
        )
    }

    proptest! {
        #[test]
        fn a_grant_has_the_rights_that_it_spells_out_and_what_they_cover(
            permissions in vec(permission(), 0..3), right in right(),
        ) {
            let spec = KitePluginSpec { permissions, ..KitePluginSpec::default() };
            let all = rights::rights(&spec, "plugins").unwrap();
            prop_assert_eq!(grants(&spec.permissions, "plugins", &right), Index::of(&all).covers(&right));
        }
    }
}
