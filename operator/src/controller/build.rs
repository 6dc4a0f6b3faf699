//! From a validated plugin to the objects that should exist.

pub mod disruption;
pub mod identity;
pub mod network;
mod overlay;
pub mod pod;
pub mod rbac;
pub mod workload;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        apps::v1::ControllerRevision,
        core::v1::{Secret, Service},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kite_api::{KitePlugin, labels};
use kube::{Resource, api::ObjectMeta};
use semver::Version;

use self::{identity::Gateway, rbac::Rbac, workload::Workload};
use super::{pair::Pair, revision::Revision, validate::ValidatedPlugin};
use crate::{
    Namespaces,
    identity::{Identity, certificate::Certified},
    pod_defaults::PodDefaults,
};

/// The objects that should exist for a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    pub rbac: Rbac,
    pub secret: Secret,
    pub network: NetworkPolicy,
    /// Those of the revisions that have pods.
    pub budgets: Vec<PodDisruptionBudget>,
    /// What records a new revision.
    pub record: Option<ControllerRevision>,
    pub running: Pair<Running>,
}

/// The objects of a revision that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    pub number: i64,
    pub version: Version,
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
    pub pod_defaults: &'a PodDefaults,
}

/// What was decided about a plugin.
#[derive(Clone, Copy, Debug)]
pub struct Decisions<'a> {
    /// The namespaces of its grant in which it gets a Role.
    pub usable: &'a BTreeSet<String>,
    pub running: &'a Pair<Start<'a>>,
    /// Those whose pods stay as they are for a while.
    pub lingering: &'a BTreeSet<i64>,
    /// The one that is not recorded yet.
    pub new: Option<&'a Revision>,
}

/// A revision that is to run.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    pub revision: &'a Revision,
    /// Whether it gets no pods yet, because something that it needs to start is not there.
    pub held: bool,
}

/// What should exist for `plugin`.
pub fn build(
    plugin: &ValidatedPlugin,
    decisions: Decisions<'_>,
    certificate: Certified,
    installation: Installation<'_>,
) -> Desired {
    let identity = installation.identity;
    let namespace = installation.namespaces.plugins.as_str();
    let running = decisions.running.as_ref().map(|Start { revision, held }| Running {
        number: revision.number,
        version: revision.version.clone(),
        service: workload::service(plugin, namespace, revision.number),
        workload: workload::build(plugin, namespace, revision, installation.pod_defaults, *held),
    });
    let gateway = Gateway {
        address: installation.gateway_address,
        ca: &identity.serving.trust(),
    };
    Desired {
        rbac: rbac::build(plugin, decisions.usable, namespace),
        secret: identity::secret(plugin, namespace, certificate, &identity.clients.trust(), &gateway),
        network: network::build(plugin, installation.namespaces),
        budgets: disruption::build(plugin, namespace, &with_pods(&decisions)),
        record: decisions.new.map(|revision| revision.object(plugin, namespace)),
        running,
    }
}

/// The revisions that have pods, or are to have some.
fn with_pods(decisions: &Decisions<'_>) -> BTreeSet<i64> {
    let Pair { lead, next } = decisions.running.as_ref();
    let started = [Some(lead), next].into_iter().flatten().filter(|start| !start.held);
    let started = started.map(|start| start.revision.number);
    decisions.lingering.iter().copied().chain(started).collect()
}

/// Metadata of an object of the plugin's: its labels, and the owner whose end is its end.
pub(super) fn metadata(plugin: &ValidatedPlugin, name: String, namespace: Option<&str>) -> ObjectMeta {
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

/// The labels by which a revision's own objects and pods are found.
pub(super) fn selector(plugin: &ValidatedPlugin, number: i64) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::PLUGIN.to_owned(), plugin.name.to_string()),
        (labels::REVISION.to_owned(), number.to_string()),
    ])
}

/// The labels of a revision's own objects.
pub(super) fn labelled(plugin: &ValidatedPlugin, number: i64) -> BTreeMap<String, String> {
    let mut labels = plugin_labels(plugin);
    labels.extend(selector(plugin, number));
    labels
}
