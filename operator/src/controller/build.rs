//! From a validated plugin to the objects that should exist.

pub mod identity;
pub mod rbac;
pub mod workload;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Secret, Service},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kite_api::{KitePlugin, labels};
use kube::{Resource, api::ObjectMeta};

use self::{
    identity::Gateway,
    rbac::Rbac,
    workload::{Found, Workload},
};
use super::{gather::Surroundings, validate::ValidatedPlugin};
use crate::{
    Namespaces,
    identity::{Identity, certificate::Certified},
};

/// The one revision of a plugin.
pub const REVISION: i64 = 1;

/// The objects that should exist for a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    pub rbac: Rbac,
    pub secret: Secret,
    pub service: Service,
    pub workload: Workload,
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
    /// Whether something that it needs to start is not there.
    pub waits: bool,
    /// Whether it had started before.
    pub started: bool,
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
    let found = Found {
        deployment: found.deployment_of(plugin),
        started: decisions.started,
    };
    let workload = workload::build(plugin, namespace, found, &identity.authorities_hash(), decisions.waits);
    let gateway = Gateway {
        address: installation.gateway_address,
        ca: identity.serving.certificate(),
    };
    Desired {
        rbac,
        secret: identity::secret(plugin, namespace, certificate, identity.clients.certificate(), &gateway),
        service: workload::service(plugin, namespace),
        workload,
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
