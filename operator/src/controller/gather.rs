//! What the cluster has already, as far as the decision needs it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use futures::{StreamExt, TryStreamExt, future::ready, stream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{ControllerRevision, Deployment},
        core::v1::{ConfigMap, Event, Namespace, Pod, Secret, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
};
use kite_api::{labels, object_names};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, ObjectMeta},
};
use serde::de::DeserializeOwned;

use super::{
    references::{self, Found, Reference},
    revision::{Revision, RevisionError},
    steady::{Key, Steady},
    validate::ValidatedPlugin,
};
use crate::{Namespaces, identity::certificate::Certified};

/// How many questions are asked at once.
const CONCURRENT: usize = 8;
/// Of how many pods the Events are read.
const MOST_LOOKED_AT: usize = 3;
/// How many Events are read of a pod. The kubelet tells a few dozen, and repeats them by counting.
const MOST_EVENTS: u32 = 100;

/// Which question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    #[error("failed to list the plugin's Deployments")]
    Deployments(#[source] Box<kube::Error>),
    #[error("failed to list the plugin's ControllerRevisions")]
    Revisions(#[source] Box<kube::Error>),
    #[error("failed to read what is recorded of the plugin")]
    Revision(#[source] RevisionError),
    #[error("failed to read Secret {0}")]
    Secret(String, #[source] Box<kube::Error>),
    #[error("failed to read ServiceAccount {0}")]
    Account(String, #[source] Box<kube::Error>),
    #[error("failed to read namespace {0}")]
    Namespace(String, #[source] Box<kube::Error>),
    #[error("failed to list the plugin's PodDisruptionBudgets")]
    Budgets(#[source] Box<kube::Error>),
    #[error("failed to read {0}, which the object names")]
    Reference(Reference, #[source] Box<kube::Error>),
    #[error("failed to list the plugin's {0}s")]
    Grants(String, #[source] Box<kube::Error>),
    #[error("failed to list the plugin's pods")]
    Pods(#[source] Box<kube::Error>),
    #[error("failed to list the Events about the plugin's pods")]
    Events(#[source] Box<kube::Error>),
}

/// What was there when the reconcile began.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The Deployments of its revisions, by their numbers.
    pub deployments: BTreeMap<i64, Deployment>,
    /// What records its revisions.
    pub records: Vec<ControllerRevision>,
    pub secret: Option<Secret>,
    /// The plugin's account, and whose it is.
    pub account: Option<ObjectMeta>,
    /// Those of the namespaces in the grant that exist and are not on their way out, with their uids.
    pub namespaces: BTreeMap<String, String>,
    /// Every role and binding that carries the plugin's label.
    pub grants: BTreeSet<GrantRef>,
    /// The names of the plugin's PodDisruptionBudgets.
    pub budgets: BTreeSet<String>,
    /// What the object names, with the labels of what is there.
    pub references: Found,
}

impl Surroundings {
    /// Certificate and key that the plugin has now.
    pub fn certificate(&self) -> Option<Certified> {
        Certified::of_data(self.secret.as_ref()?.data.as_ref()?)
    }

    /// Whether there is anything that was made for an object that had the plugin's name before. Whatever still runs with its account would
    /// get this one's rights, and a revision of its would be taken for one of this one.
    pub fn is_of_a_namesake(&self, plugin: &ValidatedPlugin) -> bool {
        let deployments = self.deployments.values().map(|deployment| &deployment.metadata);
        let records = self.records.iter().map(|record| &record.metadata);
        let mut found = self.account.iter().chain(deployments).chain(records);
        found.any(|meta| !is_of(meta, plugin))
    }

    /// The revisions that are recorded, the oldest first. What records another than the `active` one and is not understood, as a newer
    /// operator may have left it, is passed over.
    pub fn revisions(&self, active: Option<i64>) -> Result<Vec<Revision>, GatherError> {
        let mut revisions = Vec::with_capacity(self.records.len());
        for record in &self.records {
            match Revision::read(record.clone()) {
                Ok(revision) => revisions.push(revision),
                Err(error) if Some(record.revision) == active => return Err(GatherError::Revision(error)),
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "left as it is"),
            }
        }
        revisions.sort_by_key(|revision| revision.number);
        Ok(revisions)
    }

    /// Whether the revision has pods already, or should have some.
    pub fn runs(&self, number: i64) -> bool {
        self.deployments.get(&number).is_some_and(wants_pods)
    }

    /// Whether there is a record of the revision, be it understood or not.
    pub fn is_recorded(&self, number: i64) -> bool {
        self.records.iter().any(|record| record.revision == number)
    }

    /// The PodDisruptionBudgets that are not among the `wanted`.
    pub fn surplus_budgets<'a>(&'a self, wanted: &'a [PodDisruptionBudget]) -> impl Iterator<Item = &'a String> {
        let is_wanted = move |name: &String| wanted.iter().any(|budget| budget.metadata.name.as_ref() == Some(name));
        self.budgets.iter().filter(move |name| !is_wanted(name))
    }

    /// Number of every revision of which there is anything.
    pub fn numbers(&self) -> BTreeSet<i64> {
        let records = self.records.iter().map(|record| record.revision);
        self.deployments.keys().copied().chain(records).collect()
    }
}

/// Whether it should have pods.
pub fn wants_pods(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().and_then(|spec| spec.replicas) != Some(0)
}

/// Whether the plugin owns the object.
fn is_of(meta: &ObjectMeta, plugin: &ValidatedPlugin) -> bool {
    let mut owners = meta.owner_references.iter().flatten();
    owners.any(|owner| owner.uid == plugin.uid)
}

/// A role or a binding. Bindings sort first, and so are withdrawn first: it is they that give rights.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum GrantRef {
    ClusterRoleBinding { name: String },
    RoleBinding { namespace: String, name: String },
    ClusterRole { name: String },
    Role { namespace: String, name: String },
}

/// Reads what is there for `plugin`.
pub async fn gather(
    client: &Client,
    namespaces: &Namespaces,
    steady: &Steady,
    plugin: &ValidatedPlugin,
) -> Result<Surroundings, GatherError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespaces.plugins);
    let secret = object_names::certificate(&plugin.name);
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespaces.plugins);
    let account = object_names::base(&plugin.name);
    let (deployments, records, secret, account, budgets, references, namespaces, grants) = tokio::try_join!(
        deployments(client, &namespaces.plugins, plugin),
        records(client, &namespaces.plugins, plugin),
        async {
            secrets
                .get_opt(&secret)
                .await
                .map_err(|error| GatherError::Secret(secret.clone(), error.into()))
        },
        async {
            accounts
                .get_metadata_opt(&account)
                .await
                .map_err(|error| GatherError::Account(account.clone(), error.into()))
        },
        budgets(client, &namespaces.plugins, steady, plugin),
        named(client, &namespaces.plugins, plugin),
        existing_namespaces(client, plugin),
        grants(client, steady, plugin),
    )?;
    Ok(Surroundings {
        deployments,
        records,
        secret,
        account: account.map(|account| account.metadata),
        namespaces,
        grants,
        budgets,
        references,
    })
}

/// What has this name, as a list: of some kinds the operator may read no other way.
pub(super) fn by_name(name: &str) -> ListParams {
    ListParams::default().fields(&format!("metadata.name={name}"))
}

/// All pods of the plugin, of whatever revision.
pub async fn pods(client: &Client, namespace: &str, plugin: &ValidatedPlugin) -> Result<Vec<Pod>, GatherError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector = format!("{}={}", labels::PLUGIN, plugin.name);
    let list = pods.list(&ListParams::default().labels(&selector)).await;
    Ok(list.map_err(|error| GatherError::Pods(error.into()))?.items)
}

/// The Events about a few of these pods: where one does not come up, the others seldom do for another reason.
pub async fn events(
    client: &Client,
    namespace: &str,
    pods: impl Iterator<Item = &Pod>,
) -> Result<Vec<Event>, GatherError> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let mut found = Vec::new();
    for uid in pods.filter_map(|pod| pod.metadata.uid.as_deref()).take(MOST_LOOKED_AT) {
        let about = ListParams::default()
            .fields(&format!("involvedObject.uid={uid}"))
            .limit(MOST_EVENTS);
        let list = api.list(&about).await;
        found.extend(list.map_err(|error| GatherError::Events(error.into()))?.items);
    }
    Ok(found)
}

/// The Deployments that were made for revisions of the plugin. Somebody else's that was given the labels is not ours.
async fn deployments(
    client: &Client,
    namespace: &str,
    plugin: &ValidatedPlugin,
) -> Result<BTreeMap<i64, Deployment>, GatherError> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let list = api.list(&ListParams::default().labels(&ours(plugin))).await;
    let list = list.map_err(|error| GatherError::Deployments(error.into()))?;
    let numbered = list.items.into_iter().filter_map(|deployment| {
        let number = deployment.labels().get(labels::REVISION)?.parse().ok()?;
        (deployment.name_any() == object_names::revision(&plugin.name, number)).then_some((number, deployment))
    });
    Ok(numbered.collect())
}

/// What records the plugin's revisions.
async fn records(
    client: &Client,
    namespace: &str,
    plugin: &ValidatedPlugin,
) -> Result<Vec<ControllerRevision>, GatherError> {
    let api: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    let list = api.list(&ListParams::default().labels(&ours(plugin))).await;
    let mut records = list.map_err(|error| GatherError::Revisions(error.into()))?.items;
    records.retain(|record| record.name_any() == object_names::revision(&plugin.name, record.revision));
    Ok(records)
}

/// The names of the plugin's PodDisruptionBudgets.
async fn budgets(
    client: &Client,
    namespace: &str,
    steady: &Steady,
    plugin: &ValidatedPlugin,
) -> Result<BTreeSet<String>, GatherError> {
    let api: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), namespace);
    let found = known_or_listed(&api, steady, plugin, ListParams::default()).await;
    let found = found.map_err(|error| GatherError::Budgets(error.into()))?;
    // Somebody else's object that was given the labels is not ours to delete.
    let before = format!("{}-", object_names::base(&plugin.name));
    let is_ours = |name: &String| {
        let number = name.strip_prefix(&before);
        number.is_some_and(|number| number.parse::<i64>().is_ok())
    };
    Ok(found.into_iter().map(|(_, name)| name).filter(is_ours).collect())
}

/// Namespace and name of every `K` of the plugin's, as the watch tells it. It is listed where that does not tell.
async fn known_or_listed<K>(
    api: &Api<K>,
    steady: &Steady,
    plugin: &ValidatedPlugin,
    params: ListParams,
) -> Result<Vec<Key>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let (name, now) = (plugin.name.as_str(), Instant::now());
    if let Some(known) = steady.of_plugin::<K>(name, now) {
        return Ok(known);
    }
    let list = api.list_metadata(&params.labels(&ours(plugin))).await?;
    let found: Vec<ObjectMeta> = list.items.into_iter().map(|object| object.metadata).collect();
    steady.listed::<K>(name, &found, now);
    let key = |meta: ObjectMeta| (meta.namespace, meta.name.unwrap_or_default());
    Ok(found.into_iter().map(key).collect())
}

/// What the object names, with the labels of what is there.
async fn named(client: &Client, namespace: &str, plugin: &ValidatedPlugin) -> Result<Found, GatherError> {
    stream::iter(references::of(&plugin.spec))
        .map(async |reference| {
            let labels = match reference.kind() {
                references::Kind::Secret => labels_of::<Secret>(client, namespace, &reference).await,
                references::Kind::ConfigMap => labels_of::<ConfigMap>(client, namespace, &reference).await,
            };
            labels.map(|labels| (reference, labels))
        })
        .buffer_unordered(CONCURRENT)
        .try_collect()
        .await
}

/// The labels of what the reference names, if it is there.
async fn labels_of<K>(
    client: &Client,
    namespace: &str,
    reference: &Reference,
) -> Result<Option<BTreeMap<String, String>>, GatherError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let api = Api::<K>::namespaced(client.clone(), namespace);
    let found = api.get_metadata_opt(reference.name()).await;
    let found = found.map_err(|error| GatherError::Reference(reference.clone(), error.into()))?;
    Ok(found.map(|found| found.metadata.labels.unwrap_or_default()))
}

/// Selects what the operator made for the plugin.
fn ours(plugin: &ValidatedPlugin) -> String {
    let (operator, name) = (labels::OPERATOR, &plugin.name);
    format!("{}={name},{}={operator}", labels::PLUGIN, labels::MANAGED_BY)
}

async fn existing_namespaces(
    client: &Client,
    plugin: &ValidatedPlugin,
) -> Result<BTreeMap<String, String>, GatherError> {
    let names: Vec<String> = plugin.grant.namespaces.keys().cloned().collect();
    stream::iter(names)
        .map(|name| existing_namespace(client, name))
        .buffer_unordered(CONCURRENT)
        .try_filter_map(|name| ready(Ok(name)))
        .try_collect()
        .await
}

/// `name` and the namespace's uid, if it exists; one that is going takes nothing new.
async fn existing_namespace(client: &Client, name: String) -> Result<Option<(String, String)>, GatherError> {
    match Api::<Namespace>::all(client.clone()).get_metadata_opt(&name).await {
        Ok(found) => Ok(found
            .filter(|found| found.metadata.deletion_timestamp.is_none())
            .and_then(|found| Some((name, found.metadata.uid?)))),
        Err(error) => Err(GatherError::Namespace(name, error.into())),
    }
}

async fn grants(client: &Client, steady: &Steady, plugin: &ValidatedPlugin) -> Result<BTreeSet<GrantRef>, GatherError> {
    let (roles, bindings, cluster_roles, cluster_bindings) = tokio::try_join!(
        labelled::<Role>(client, steady, plugin),
        labelled::<RoleBinding>(client, steady, plugin),
        labelled::<ClusterRole>(client, steady, plugin),
        labelled::<ClusterRoleBinding>(client, steady, plugin),
    )?;
    let mut grants = BTreeSet::new();
    grants.extend(
        roles
            .into_iter()
            .map(|(namespace, name)| GrantRef::Role { namespace, name }),
    );
    grants.extend(
        bindings
            .into_iter()
            .map(|(namespace, name)| GrantRef::RoleBinding { namespace, name }),
    );
    grants.extend(
        cluster_roles
            .into_iter()
            .map(|(_, name)| GrantRef::ClusterRole { name }),
    );
    grants.extend(
        cluster_bindings
            .into_iter()
            .map(|(_, name)| GrantRef::ClusterRoleBinding { name }),
    );
    Ok(grants)
}

/// Namespace and name of every `K` that the operator made for `plugin`. They have one name, and somebody else's that was given the labels, which
/// is not ours to delete, has another. What is in no namespace the API server finds by it, and need not go through all there are.
async fn labelled<K>(
    client: &Client,
    steady: &Steady,
    plugin: &ValidatedPlugin,
) -> Result<Vec<(String, String)>, GatherError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let base = object_names::base(&plugin.name);
    let found = known_or_listed(&Api::<K>::all(client.clone()), steady, plugin, by_name(&base)).await;
    let found = found.map_err(|error| GatherError::Grants(K::kind(&()).into_owned(), error.into()))?;
    let ours = found.into_iter().filter(|(_, name)| *name == base);
    Ok(ours
        .map(|(namespace, name)| (namespace.unwrap_or_default(), name))
        .collect())
}
