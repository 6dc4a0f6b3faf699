//! Takes things away: what is no longer granted, what is not kept, and what a namesake has left.

use std::{collections::BTreeSet, fmt::Debug};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{ControllerRevision, Deployment},
        core::v1::{Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
};
use kite_api::object_names;
use kube::{Api, Client, Resource, api::DeleteParams};
use serde::de::DeserializeOwned;

use super::{gather::GrantRef, steady::Steady, validate::ValidatedPlugin};

/// An object that could not be deleted.
#[derive(Debug, thiserror::Error)]
#[error("failed to delete {grant:?}")]
pub struct WithdrawError {
    grant: GrantRef,
    source: Box<kube::Error>,
}

/// What a namesake has left could not be deleted.
#[derive(Debug, thiserror::Error)]
#[error("failed to delete what an object of the same name has left")]
pub struct ClearError(#[source] Box<kube::Error>);

/// What writes to the cluster, and remembers what it has written.
#[derive(Clone, Copy)]
pub struct Writer<'a> {
    pub client: &'a Client,
    pub steady: &'a Steady,
}

impl Writer<'_> {
    /// Deletes the account and the revisions that a plugin's namesake has left. With its account the tokens of whatever still runs
    /// are worth nothing.
    pub async fn clear(
        self,
        plugin: &ValidatedPlugin,
        namespace: &str,
        numbers: &BTreeSet<i64>,
    ) -> Result<(), ClearError> {
        let failed = |source: kube::Error| ClearError(source.into());
        self.delete::<ServiceAccount>(self.within(namespace), &object_names::base(&plugin.name))
            .await
            .map_err(failed)?;
        self.forget(plugin, namespace, numbers).await.map_err(failed)?;
        tracing::warn!(
            plugin = plugin.name.as_str(),
            "what an object of the same name had left was deleted"
        );
        Ok(())
    }

    /// Deletes what there is of these revisions, the record last, so that nothing is left of which nobody knows.
    pub async fn forget(
        self,
        plugin: &ValidatedPlugin,
        namespace: &str,
        numbers: impl IntoIterator<Item = &i64>,
    ) -> Result<(), kube::Error> {
        for number in numbers {
            let name = object_names::revision(&plugin.name, *number);
            self.delete::<Deployment>(self.within(namespace), &name).await?;
            self.delete::<Service>(self.within(namespace), &name).await?;
            self.release(namespace, [&name]).await?;
            self.delete::<ControllerRevision>(self.within(namespace), &name).await?;
        }
        Ok(())
    }

    /// Deletes the PodDisruptionBudgets of these names, so that they keep no node from being drained.
    pub async fn release(self, namespace: &str, names: impl IntoIterator<Item = &String>) -> Result<(), kube::Error> {
        for name in names {
            self.delete::<PodDisruptionBudget>(self.within(namespace), name).await?;
        }
        Ok(())
    }

    /// Deletes the roles and bindings among `found` that are not among the `wanted`, bindings first; all that can be, and returns the
    /// first failure.
    pub async fn withdraw(self, found: &BTreeSet<GrantRef>, wanted: &BTreeSet<GrantRef>) -> Result<(), WithdrawError> {
        let mut outcome = Ok(());
        for grant in found.difference(wanted) {
            let result = match grant {
                GrantRef::ClusterRoleBinding { name } => {
                    self.delete::<ClusterRoleBinding>(self.everywhere(), name).await
                }
                GrantRef::RoleBinding { namespace, name } => {
                    self.delete::<RoleBinding>(self.within(namespace), name).await
                }
                GrantRef::ClusterRole { name } => self.delete::<ClusterRole>(self.everywhere(), name).await,
                GrantRef::Role { namespace, name } => self.delete::<Role>(self.within(namespace), name).await,
            };
            match result {
                Ok(()) => tracing::info!(?grant, "withdrawn"),
                // The others go all the same.
                Err(source) => {
                    outcome = outcome.and(Err(WithdrawError {
                        grant: grant.clone(),
                        source: source.into(),
                    }));
                }
            }
        }
        outcome
    }

    pub(super) async fn delete<K>(self, api: Api<K>, name: &str) -> Result<(), kube::Error>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let before = self.steady.seen::<K>(api.namespace(), name);
        let deleted = api.delete(name, &DeleteParams::background()).await;
        let deleted = match deleted {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(error),
        };
        // What the watch has brought meanwhile may be of one that was made since.
        let is_gone = deleted.is_ok() && self.steady.seen::<K>(api.namespace(), name) == before;
        self.steady.deleted::<K>(api.namespace(), name, is_gone);
        deleted
    }

    pub(super) fn within<K>(self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) fn everywhere<K: Resource<DynamicType = ()>>(self) -> Api<K> {
        Api::all(self.client.clone())
    }
}
