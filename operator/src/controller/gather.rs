//! What the cluster has already, as far as the decision needs it.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, future::ready, stream};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod, Secret, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kite_api::{labels, object_names};
use kube::{
    Api, Client, Resource,
    api::{ListParams, ObjectMeta},
};
use serde::de::DeserializeOwned;

use super::{build::REVISION, object::TEMPLATE, validate::ValidatedPlugin};
use crate::{Namespaces, identity::certificate::Certified};

/// How many questions are asked at once.
const CONCURRENT: usize = 8;

/// Which question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    #[error("failed to read Deployment {0}")]
    Deployment(String, #[source] Box<kube::Error>),
    #[error("failed to read Secret {0}")]
    Secret(String, #[source] Box<kube::Error>),
    #[error("failed to read ServiceAccount {0}")]
    Account(String, #[source] Box<kube::Error>),
    #[error("failed to read namespace {0}")]
    Namespace(String, #[source] Box<kube::Error>),
    #[error("failed to list the plugin's {0}s")]
    Grants(String, #[source] Box<kube::Error>),
    #[error("failed to list the plugin's pods")]
    Pods(#[source] Box<kube::Error>),
}

/// What was there when the reconcile began.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    pub deployment: Option<Deployment>,
    pub secret: Option<Secret>,
    /// The plugin's account, and whose it is.
    pub account: Option<ObjectMeta>,
    /// Those of the namespaces in the grant that exist and are not on their way out, with their uids.
    pub namespaces: BTreeMap<String, String>,
    /// Every role and binding that carries the plugin's label.
    pub grants: BTreeSet<GrantRef>,
}

impl Surroundings {
    /// Certificate and key that the plugin has now.
    pub fn certificate(&self) -> Option<Certified> {
        Certified::of_data(self.secret.as_ref()?.data.as_ref()?)
    }

    /// The Deployment, if it was made for this very object and not for one that had its name before.
    pub fn deployment_of(&self, plugin: &ValidatedPlugin) -> Option<&Deployment> {
        let deployment = self.deployment.as_ref();
        deployment.filter(|deployment| is_of(&deployment.metadata, plugin))
    }

    /// Whether there is an account, or a Deployment, that was made for an object that had the plugin's name before. Whatever still
    /// runs with it would get this one's rights.
    pub fn is_of_a_namesake(&self, plugin: &ValidatedPlugin) -> bool {
        let deployment = self.deployment.as_ref().map(|deployment| &deployment.metadata);
        let mut found = self.account.iter().chain(deployment);
        found.any(|meta| !is_of(meta, plugin))
    }

    /// Whether the plugin has pods already, or should have some.
    pub fn runs(&self, plugin: &ValidatedPlugin) -> bool {
        let spec = self
            .deployment_of(plugin)
            .and_then(|deployment| deployment.spec.as_ref());
        spec.is_some_and(|spec| spec.replicas != Some(0))
    }

    /// Hash of the template of the pods that the plugin has now.
    pub fn template(&self) -> Option<&str> {
        let annotations = self
            .deployment
            .as_ref()?
            .spec
            .as_ref()?
            .template
            .metadata
            .as_ref()?
            .annotations
            .as_ref()?;
        annotations.get(TEMPLATE).map(String::as_str)
    }
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
    plugin: &ValidatedPlugin,
) -> Result<Surroundings, GatherError> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespaces.plugins);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespaces.plugins);
    let deployment = object_names::revision(&plugin.name, REVISION);
    let secret = object_names::certificate(&plugin.name);
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespaces.plugins);
    let account = object_names::base(&plugin.name);
    let (deployment, secret, account, namespaces, grants) = tokio::try_join!(
        async {
            deployments
                .get_opt(&deployment)
                .await
                .map_err(|error| GatherError::Deployment(deployment.clone(), error.into()))
        },
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
        existing_namespaces(client, plugin),
        grants(client, plugin),
    )?;
    Ok(Surroundings {
        deployment,
        secret,
        account: account.map(|account| account.metadata),
        namespaces,
        grants,
    })
}

/// All pods of the plugin's revision.
pub async fn pods(client: &Client, namespace: &str, plugin: &ValidatedPlugin) -> Result<Vec<Pod>, GatherError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector = format!("{}={},{}={REVISION}", labels::PLUGIN, plugin.name, labels::REVISION);
    let list = pods.list(&ListParams::default().labels(&selector)).await;
    Ok(list.map_err(|error| GatherError::Pods(error.into()))?.items)
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

async fn grants(client: &Client, plugin: &ValidatedPlugin) -> Result<BTreeSet<GrantRef>, GatherError> {
    let (roles, bindings, cluster_roles, cluster_bindings) = tokio::try_join!(
        labelled::<Role>(client, plugin),
        labelled::<RoleBinding>(client, plugin),
        labelled::<ClusterRole>(client, plugin),
        labelled::<ClusterRoleBinding>(client, plugin),
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

/// Namespace and name of every `K` that the operator made for `plugin`.
async fn labelled<K>(client: &Client, plugin: &ValidatedPlugin) -> Result<Vec<(String, String)>, GatherError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let selector = format!(
        "{}={},{}={}",
        labels::PLUGIN,
        plugin.name,
        labels::MANAGED_BY,
        labels::OPERATOR
    );
    let list = Api::<K>::all(client.clone())
        .list_metadata(&ListParams::default().labels(&selector))
        .await;
    let list = list.map_err(|error| GatherError::Grants(K::kind(&()).into_owned(), error.into()))?;
    let names = |meta: ObjectMeta| (meta.namespace.unwrap_or_default(), meta.name.unwrap_or_default());
    // Somebody else's object that was given the labels is not ours to delete.
    let base = object_names::base(&plugin.name);
    let found = list.items.into_iter().map(|object| names(object.metadata));
    Ok(found.filter(|(_, name)| *name == base).collect())
}
