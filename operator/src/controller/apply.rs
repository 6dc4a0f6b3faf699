//! Makes the cluster so: what is no longer granted goes first, then everything is applied, in one order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{ControllerRevision, Deployment},
        core::v1::{Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
};
use kite_api::{labels, object_names};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::ClusterResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    build::{Desired, Running, rbac::Rbac},
    gather::{GrantRef, wants_pods},
    pair::Pair,
    validate::ValidatedPlugin,
};

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

/// An object that could not be applied.
#[derive(Debug, thiserror::Error)]
#[error("failed to apply {kind} {name}")]
pub struct ApplyError {
    kind: String,
    name: String,
    source: Box<kube::Error>,
}

impl ApplyError {
    /// What the API server says, if it refused the object and did not merely fail to answer.
    pub fn refusal(&self) -> Option<String> {
        let kube::Error::Api(status) = self.source.as_ref() else {
            return None;
        };
        // Of the client errors, these are about the moment and not about the object: no valid token, a namespace that has
        // just gone, a conflict, too many requests.
        let refused = matches!(status.code, 400..500) && !matches!(status.code, 401 | 404 | 408 | 409 | 429);
        refused.then(|| format!("the API server refused {} {}: {}", self.kind, self.name, status.message))
    }

    /// Whether it is about what the plugin may do.
    pub fn is_about_rights(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" | "ServiceAccount"
        )
    }

    /// Whether it was refused because of what stands in the cluster already and cannot be changed in place.
    fn is_invalid(&self) -> bool {
        matches!(self.source.as_ref(), kube::Error::Api(status) if status.code == 422)
    }
}

/// The Deployment of a revision that the API server has accepted. Only [`apply`] makes it, so that a status cannot be told from wishes.
#[derive(Clone, Debug)]
pub struct Applied {
    deployment: Deployment,
}

impl Applied {
    /// The Deployment as the API server has it, with its status.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    #[cfg(test)]
    pub(crate) fn of(deployment: Deployment) -> Self {
        Self { deployment }
    }
}

/// Scales to zero those of what was `found` that have pods and should have none, all that can be, and returns the first failure. Where all
/// are at zero already, nothing is written.
pub async fn stop(
    client: &Client,
    found: &mut BTreeMap<i64, Deployment>,
    may_run: impl Fn(i64) -> bool,
) -> Result<(), ApplyError> {
    let mut outcome = Ok(());
    let surplus = found
        .iter()
        .filter(|(number, deployment)| !may_run(**number) && wants_pods(deployment));
    for number in surplus.map(|(number, _)| *number).collect::<Vec<_>>() {
        let Some(deployment) = found.get(&number) else { continue };
        match stopped(client, deployment).await {
            Ok(Some(stopped)) => _ = found.insert(number, stopped),
            Ok(None) => _ = found.remove(&number),
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    outcome
}

/// The Deployment, scaled to zero, if it is still there.
async fn stopped(client: &Client, deployment: &Deployment) -> Result<Option<Deployment>, ApplyError> {
    let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams {
        field_manager: Some(labels::OPERATOR.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
    match api.patch(&deployment.name_any(), &params, &patch).await {
        Ok(stopped) => Ok(Some(stopped)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(source) => Err(failed(deployment, source)),
    }
}

/// Deletes the account and the revisions that a plugin's namesake has left. With its account the tokens of whatever still runs
/// are worth nothing.
pub async fn clear(
    client: &Client,
    plugin: &ValidatedPlugin,
    namespace: &str,
    numbers: &BTreeSet<i64>,
) -> Result<(), ClearError> {
    let failed = |source: kube::Error| ClearError(source.into());
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    delete(accounts, &object_names::base(&plugin.name))
        .await
        .map_err(failed)?;
    forget(client, plugin, namespace, numbers).await.map_err(failed)?;
    tracing::warn!(
        plugin = plugin.name.as_str(),
        "what an object of the same name had left was deleted"
    );
    Ok(())
}

/// Deletes what there is of these revisions, the record last, so that nothing is left of which nobody knows.
pub async fn forget(
    client: &Client,
    plugin: &ValidatedPlugin,
    namespace: &str,
    numbers: impl IntoIterator<Item = &i64>,
) -> Result<(), kube::Error> {
    for number in numbers {
        let name = object_names::revision(&plugin.name, *number);
        delete(Api::<Deployment>::namespaced(client.clone(), namespace), &name).await?;
        delete(Api::<Service>::namespaced(client.clone(), namespace), &name).await?;
        release(client, namespace, [&name]).await?;
        delete(Api::<ControllerRevision>::namespaced(client.clone(), namespace), &name).await?;
    }
    Ok(())
}

/// Deletes the PodDisruptionBudgets of these names, so that they keep no node from being drained.
pub async fn release(
    client: &Client,
    namespace: &str,
    names: impl IntoIterator<Item = &String>,
) -> Result<(), kube::Error> {
    for name in names {
        delete(Api::<PodDisruptionBudget>::namespaced(client.clone(), namespace), name).await?;
    }
    Ok(())
}

/// Deletes the roles and bindings among `found` that are not among the `wanted`, bindings first; all that can be, and returns the
/// first failure.
pub async fn withdraw(
    client: &Client,
    found: &BTreeSet<GrantRef>,
    wanted: &BTreeSet<GrantRef>,
) -> Result<(), WithdrawError> {
    let mut outcome = Ok(());
    for grant in found.difference(wanted) {
        let result = match grant {
            GrantRef::ClusterRoleBinding { name } => delete(Api::<ClusterRoleBinding>::all(client.clone()), name).await,
            GrantRef::RoleBinding { namespace, name } => {
                delete(Api::<RoleBinding>::namespaced(client.clone(), namespace), name).await
            }
            GrantRef::ClusterRole { name } => delete(Api::<ClusterRole>::all(client.clone()), name).await,
            GrantRef::Role { namespace, name } => {
                delete(Api::<Role>::namespaced(client.clone(), namespace), name).await
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

async fn delete<K>(api: Api<K>, name: &str) -> Result<(), kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Applies all of `desired`, and gives the Deployments of what runs. First the roles, all of them: what they no longer
/// give is gone whatever becomes of the others and of the rest. Then what needs others after those: an account before its bindings, all that
/// a pod mounts, and what guards it, before the pod, what records a revision before its Deployment, and what serves before what is to take over: whatever is
/// refused of that keeps nothing from the other.
pub async fn apply(client: &Client, desired: &Desired) -> Result<Pair<Applied>, ApplyError> {
    let rbac = &desired.rbac;
    roles(client, rbac).await?;
    namespaced(client, &rbac.service_account).await?;
    for binding in &rbac.role_bindings {
        let namespace = binding.metadata.namespace.as_deref().unwrap_or_default();
        replaceable(&Api::namespaced(client.clone(), namespace), binding).await?;
    }
    if let Some(binding) = &rbac.cluster_role_binding {
        replaceable(&cluster_api(client), binding).await?;
    }
    let namespace = desired.secret.metadata.namespace.as_deref().unwrap_or_default();
    replaceable(&Api::namespaced(client.clone(), namespace), &desired.secret).await?;
    namespaced(client, &desired.network).await?;
    for budget in &desired.budgets {
        namespaced(client, budget).await?;
    }
    if let Some(record) = &desired.record {
        make(client, record).await?;
    }
    let Pair { lead, next } = desired.running.as_ref();
    Ok(Pair {
        lead: run(client, lead).await?,
        next: match next {
            Some(next) => Some(run(client, next).await?),
            None => None,
        },
    })
}

/// Applies what a revision runs by.
async fn run(client: &Client, running: &Running) -> Result<Applied, ApplyError> {
    let service = &running.service;
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    replaceable(&Api::namespaced(client.clone(), namespace), service).await?;
    let deployment = namespaced(client, &running.workload.deployment).await?;
    Ok(Applied { deployment })
}

/// Makes what records a revision. It is made once and never changed: if another has the number, it is for another look to find a new one.
/// What has its name without being a plugin's record is seen by no look, and would keep the name for ever: it goes.
async fn make(client: &Client, record: &ControllerRevision) -> Result<(), ApplyError> {
    let namespace = record.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<ControllerRevision> = Api::namespaced(client.clone(), namespace);
    let params = PostParams {
        field_manager: Some(labels::OPERATOR.to_owned()),
        ..PostParams::default()
    };
    let Err(error) = api.create(&params, record).await else {
        return Ok(());
    };
    let is_taken = matches!(&error, kube::Error::Api(status) if status.is_already_exists());
    if is_taken && let Some(intruder) = intruder(&api, record).await? {
        let name = record.name_any();
        tracing::warn!(name, "what had the name of a revision's record was replaced");
        let only_it = DeleteParams::background().preconditions(intruder);
        let deleted = api.delete(&name, &only_it).await;
        deleted.map_err(|source| failed(record, source))?;
        let made = api.create(&params, record).await;
        return made.map(drop).map_err(|source| failed(record, source));
    }
    Err(failed(record, error))
}

/// What has the name of `record` and would not be read as a record of its number.
async fn intruder(
    api: &Api<ControllerRevision>,
    record: &ControllerRevision,
) -> Result<Option<Preconditions>, ApplyError> {
    let named = ListParams::default().fields(&format!("metadata.name={}", record.name_any()));
    let there = api.list(&named).await.map_err(|source| failed(record, source))?;
    let is_record = |it: &ControllerRevision| {
        let mut keys = [labels::PLUGIN, labels::MANAGED_BY].into_iter();
        it.revision == record.revision && keys.all(|key| it.labels().get(key) == record.labels().get(key))
    };
    let intruder = there.items.into_iter().find(|it| !is_record(it));
    Ok(intruder.map(|it| Preconditions {
        uid: it.metadata.uid,
        resource_version: it.metadata.resource_version,
    }))
}

/// Applies every role, and returns the first failure.
async fn roles(client: &Client, rbac: &Rbac) -> Result<(), ApplyError> {
    let mut outcome = Ok(());
    for role in &rbac.roles {
        outcome = outcome.and(namespaced(client, role).await.map(drop));
    }
    if let Some(role) = &rbac.cluster_role {
        outcome = outcome.and(cluster_role(client, role).await);
    }
    outcome
}

/// Applies a ClusterRole. One that somebody made to collect the rules of others would never again have those that are
/// applied, which the API server's own controller overwrites: it is deleted and made anew.
async fn cluster_role(client: &Client, role: &ClusterRole) -> Result<(), ApplyError> {
    let api = cluster_api(client);
    let applied: ClusterRole = one(&api, role).await?;
    if applied.aggregation_rule.is_none() {
        return Ok(());
    }
    let name = role.name_any();
    tracing::warn!(
        name,
        "a ClusterRole was replaced, because somebody gave it an aggregation rule"
    );
    anew(&api, role).await.map(drop)
}

fn cluster_api<K: Resource<DynamicType = (), Scope = ClusterResourceScope>>(client: &Client) -> Api<K> {
    Api::all(client.clone())
}

async fn namespaced<K>(client: &Client, object: &K) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
{
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    one(&Api::namespaced(client.clone(), namespace), object).await
}

/// Applies an object with something that cannot be changed in place (what a binding binds, a Secret's type, a Service's port where somebody gave
/// its name to another). If there is one under its name that differs there, it is deleted and made anew.
async fn replaceable<K>(api: &Api<K>, object: &K) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    match one(api, object).await {
        Err(error) if error.is_invalid() => {
            let name = object.name_any();
            tracing::warn!(
                kind = error.kind,
                name,
                "replaced, because it differs in what cannot be changed in place"
            );
            anew(api, object).await
        }
        result => result,
    }
}

/// Makes the object anew in the place of what has its name.
async fn anew<K>(api: &Api<K>, object: &K) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    delete(api.clone(), &object.name_any())
        .await
        .map_err(|source| failed(object, source))?;
    one(api, object).await
}

/// Server-side apply. Where nothing differs, the API server writes nothing.
async fn one<K>(api: &Api<K>, object: &K) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let params = PatchParams::apply(labels::OPERATOR).force();
    api.patch(&object.name_any(), &params, &Patch::Apply(object))
        .await
        .map_err(|source| failed(object, source))
}

fn failed<K: Resource<DynamicType = ()>>(object: &K, source: kube::Error) -> ApplyError {
    let name = match object.meta().namespace.as_deref() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    };
    ApplyError {
        kind: K::kind(&()).into_owned(),
        name,
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn error(code: u16) -> ApplyError {
        let status = Status {
            code,
            message: String::from("no"),
            ..Status::default()
        };
        ApplyError {
            kind: "Role".into(),
            name: "a/b".into(),
            source: Box::new(kube::Error::Api(status.boxed())),
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_failure() {
        for code in [400, 403, 422] {
            assert_eq!(
                error(code).refusal().as_deref(),
                Some("the API server refused Role a/b: no"),
                "{code}"
            );
        }
        for code in [401, 404, 408, 409, 429, 500, 503] {
            assert_eq!(error(code).refusal(), None, "{code}");
        }
    }
}
