//! From a validated plugin to the objects that should exist.

pub mod identity;
pub mod rbac;
pub mod workload;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Secret, Service, ServiceAccount},
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kite_api::{KitePlugin, labels};
use kube::{Resource, api::ObjectMeta};

use self::identity::Gateway;
use super::{
    gather::{GrantRef, Surroundings},
    validate::ValidatedPlugin,
};
use crate::{
    Namespaces,
    identity::{Identity, certificate::Certified},
};

/// The one revision of a plugin.
pub const REVISION: i64 = 1;

/// The objects that should exist for a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    pub service_account: ServiceAccount,
    pub roles: Vec<Role>,
    pub role_bindings: Vec<RoleBinding>,
    pub cluster_role: Option<ClusterRole>,
    pub cluster_role_binding: Option<ClusterRoleBinding>,
    pub secret: Secret,
    pub service: Service,
    pub deployment: Deployment,
    /// Hash of the pods' template, which each pod carries.
    pub template: String,
}

impl Desired {
    /// The roles and bindings among them.
    pub fn grants(&self) -> BTreeSet<GrantRef> {
        let place = |meta: &ObjectMeta| {
            (
                meta.namespace.clone().unwrap_or_default(),
                meta.name.clone().unwrap_or_default(),
            )
        };
        let mut grants = BTreeSet::new();
        grants.extend(self.roles.iter().map(|role| {
            let (namespace, name) = place(&role.metadata);
            GrantRef::Role { namespace, name }
        }));
        grants.extend(self.role_bindings.iter().map(|binding| {
            let (namespace, name) = place(&binding.metadata);
            GrantRef::RoleBinding { namespace, name }
        }));
        grants.extend(self.cluster_role.iter().map(|role| GrantRef::ClusterRole {
            name: place(&role.metadata).1,
        }));
        grants.extend(
            self.cluster_role_binding
                .iter()
                .map(|binding| GrantRef::ClusterRoleBinding {
                    name: place(&binding.metadata).1,
                }),
        );
        grants
    }
}

/// What an installation is to all its plugins.
#[derive(Clone, Copy, Debug)]
pub struct Installation<'a> {
    pub namespaces: &'a Namespaces,
    pub identity: &'a Identity,
    /// Where plugins reach the gateway.
    pub gateway_address: &'a str,
}

/// What was decided about a plugin.
#[derive(Clone, Copy, Debug)]
pub struct Decisions<'a> {
    /// The namespaces of its grant in which it gets a Role.
    pub usable: &'a BTreeSet<String>,
    /// Whether it has no pods for now, because something that it needs is not there.
    pub hold: bool,
}

/// What should exist for `plugin`, given what was found.
pub fn build(
    plugin: &ValidatedPlugin,
    found: &Surroundings,
    decisions: Decisions<'_>,
    certificate: Certified,
    installation: Installation<'_>,
) -> Desired {
    let identity = installation.identity;
    let namespace = installation.namespaces.plugins.as_str();
    let rbac = rbac::build(plugin, decisions.usable, namespace);
    let authorities = identity.authorities_hash();
    let (deployment, template) =
        workload::deployment(plugin, namespace, found.template(), &authorities, decisions.hold);
    let gateway = Gateway {
        address: installation.gateway_address,
        ca: identity.serving.certificate(),
    };
    Desired {
        service_account: rbac.service_account,
        roles: rbac.roles,
        role_bindings: rbac.role_bindings,
        cluster_role: rbac.cluster_role,
        cluster_role_binding: rbac.cluster_role_binding,
        secret: identity::secret(plugin, namespace, certificate, identity.clients.certificate(), &gateway),
        service: workload::service(plugin, namespace),
        deployment,
        template,
    }
}

/// Metadata of an object of the plugin's: its labels, and the owner whose end is its end.
fn metadata(plugin: &ValidatedPlugin, name: String, namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: namespace.map(str::to_owned),
        labels: Some(plugin_labels(plugin)),
        owner_references: Some(vec![OwnerReference {
            api_version: KitePlugin::api_version(&()).into_owned(),
            kind: KitePlugin::kind(&()).into_owned(),
            name: plugin.name.to_string(),
            uid: plugin.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}

fn plugin_labels(plugin: &ValidatedPlugin) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::PLUGIN.to_owned(), plugin.name.to_string()),
        (labels::MANAGED_BY.to_owned(), labels::OPERATOR.to_owned()),
    ])
}
