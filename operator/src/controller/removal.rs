//! Takes things away: what is no longer granted, what is not kept, and what a namesake has left.

use std::{collections::BTreeSet, fmt::Debug};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::{Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
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
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        self.delete(accounts, &object_names::base(&plugin.name))
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
            self.delete(Api::<Deployment>::namespaced(self.client.clone(), namespace), &name)
                .await?;
            self.delete(Api::<Service>::namespaced(self.client.clone(), namespace), &name)
                .await?;
            self.release(namespace, [&name]).await?;
            self.delete(
                Api::<ControllerRevision>::namespaced(self.client.clone(), namespace),
                &name,
            )
            .await?;
        }
        Ok(())
    }

    /// Deletes the PodDisruptionBudgets of these names, so that they keep no node from being drained.
    pub async fn release(self, namespace: &str, names: impl IntoIterator<Item = &String>) -> Result<(), kube::Error> {
        for name in names {
            self.delete(
                Api::<PodDisruptionBudget>::namespaced(self.client.clone(), namespace),
                name,
            )
            .await?;
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
                    self.delete(Api::<ClusterRoleBinding>::all(self.client.clone()), name)
                        .await
                }
                GrantRef::RoleBinding { namespace, name } => {
                    self.delete(Api::<RoleBinding>::namespaced(self.client.clone(), namespace), name)
                        .await
                }
                GrantRef::ClusterRole { name } => self.delete(Api::<ClusterRole>::all(self.client.clone()), name).await,
                GrantRef::Role { namespace, name } => {
                    self.delete(Api::<Role>::namespaced(self.client.clone(), namespace), name)
                        .await
                }
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
        let deleted = api.delete(name, &DeleteParams::background()).await;
        self.steady.deleted::<K>(api.namespace(), name);
        match deleted {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}
