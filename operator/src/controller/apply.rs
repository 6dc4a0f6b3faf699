//! Makes the cluster so: what is no longer granted goes first, then everything is applied, in one order.

use std::{collections::BTreeMap, fmt::Debug, time::Instant};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{ControllerRevision, Deployment},
        core::v1::Secret,
        rbac::v1::ClusterRole,
    },
};
use kite_api::labels;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    build::{Desired, Running, rbac::Rbac},
    gather::{Surroundings, by_name, wants_pods},
    pair::Pair,
    removal::Writer,
    steady::Verdict,
};

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

    /// Whether it was refused because of what stands in the cluster already and cannot be changed in place: a field is named then. Somebody's
    /// admission policy refuses with the same code, and what is there is not to go for that.
    fn is_invalid(&self) -> bool {
        let kube::Error::Api(status) = self.source.as_ref() else {
            return false;
        };
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        status.code == 422 && causes.any(|cause| !cause.field.is_empty())
    }
}

/// The Deployment of a revision that the API server has accepted. Only [`Writer::apply`] makes it, so that a status cannot be told from wishes.
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

impl Writer<'_> {
    /// Applies all of `desired`, and gives the Deployments of what runs. First the roles, all of them: what they no longer
    /// give is gone whatever becomes of the others and of the rest. Then what needs others after those: an account before its bindings, all
    /// that a pod mounts, and what guards it, before the pod, what records a revision before its Deployment, and what serves before what is
    /// to take over: whatever is refused of that keeps nothing from the other. What stands already is not applied. `there` is what
    /// `desired` was made from.
    pub async fn apply(self, desired: &Desired, there: &Surroundings) -> Result<Pair<Applied>, ApplyError> {
        let rbac = &desired.rbac;
        self.roles(rbac).await?;
        self.namespaced(&rbac.service_account).await?;
        for binding in &rbac.role_bindings {
            self.replaceable(&self.api_of(binding), binding).await?;
        }
        if let Some(binding) = &rbac.cluster_role_binding {
            self.replaceable(&self.everywhere(), binding).await?;
        }
        self.secret(&desired.secret, there.secret.as_ref()).await?;
        self.namespaced(&desired.network).await?;
        for budget in &desired.budgets {
            self.namespaced(budget).await?;
        }
        if let Some(record) = &desired.record {
            make(self.client, record).await?;
        }
        let Pair { lead, next } = desired.running.as_ref();
        Ok(Pair {
            lead: self.run(lead, &there.deployments).await?,
            next: match next {
                Some(next) => Some(self.run(next, &there.deployments).await?),
                None => None,
            },
        })
    }

    /// Applies what a revision runs by.
    async fn run(self, running: &Running, there: &BTreeMap<i64, Deployment>) -> Result<Applied, ApplyError> {
        self.replaceable(&self.api_of(&running.service), &running.service)
            .await?;
        let desired = &running.workload.deployment;
        let there = there.get(&running.number);
        let as_desired = there.filter(|there| self.steady.is_as_desired(*there, desired, Instant::now()));
        let deployment = match as_desired {
            Some(there) => there.clone(),
            None => self.one(&self.api_of(desired), desired).await?,
        };
        Ok(Applied { deployment })
    }

    /// Applies every role, and returns the first failure.
    async fn roles(self, rbac: &Rbac) -> Result<(), ApplyError> {
        let mut outcome = Ok(());
        for role in &rbac.roles {
            outcome = outcome.and(self.namespaced(role).await);
        }
        if let Some(role) = &rbac.cluster_role {
            outcome = outcome.and(self.cluster_role(role).await);
        }
        outcome
    }

    /// Applies a ClusterRole. One that somebody made to collect the rules of others would never again have those that are
    /// applied, which the API server's own controller overwrites: it is deleted and made anew.
    async fn cluster_role(self, role: &ClusterRole) -> Result<(), ApplyError> {
        let api = self.everywhere();
        let collects = |role: &ClusterRole| role.aggregation_rule.is_some();
        let stands = self.stands(&api, role, |there| !collects(there)).await;
        if !stands && collects(&self.one(&api, role).await?) {
            let name = role.name_any();
            tracing::warn!(
                name,
                "a ClusterRole was replaced, because somebody gave it an aggregation rule"
            );
            self.anew(&api, role).await?;
        }
        Ok(())
    }

    /// Applies the Secret, whose certificate is that of the one that was `read`, if that was good for longer. Where somebody has deleted it since,
    /// to have another certificate, it is not brought back; where it has changed since, it is to be read again.
    async fn secret(self, secret: &Secret, read: Option<&Secret>) -> Result<(), ApplyError> {
        let api = self.api_of(secret);
        let Some(read) = read else {
            return self.replaceable(&api, secret).await;
        };
        if self.stands(&api, secret, |_| true).await {
            return Ok(());
        }
        let mut over = secret.clone();
        over.metadata.uid.clone_from(&read.metadata.uid);
        over.metadata
            .resource_version
            .clone_from(&read.metadata.resource_version);
        let applied = self.sent(&api, &over).await;
        self.or_anew(&api, secret, applied).await
    }

    async fn namespaced<K>(self, object: &K) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
    {
        let api = self.api_of(object);
        if !self.stands(&api, object, |_| true).await {
            self.one(&api, object).await?;
        }
        Ok(())
    }

    /// Applies an object with something that cannot be changed in place (what a binding binds, a Secret's type, a Service's port where
    /// somebody gave its name to another). If there is one under its name that differs there, it is deleted and made anew.
    async fn replaceable<K>(self, api: &Api<K>, object: &K) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    {
        if self.stands(api, object, |_| true).await {
            return Ok(());
        }
        let applied = self.sent(api, object).await;
        self.or_anew(api, object, applied).await
    }

    /// Remembers what has come of applying the object, which is made anew where it could not be changed to that.
    async fn or_anew<K>(self, api: &Api<K>, object: &K, applied: Result<K, ApplyError>) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    {
        match applied {
            Ok(applied) => {
                self.steady.applied_as(&applied, object, Instant::now());
                Ok(())
            }
            Err(error) if error.is_invalid() => {
                let name = object.name_any();
                tracing::warn!(
                    kind = error.kind,
                    name,
                    "replaced, because it differs in what cannot be changed in place"
                );
                self.anew(api, object).await
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the object anew in the place of what has its name.
    async fn anew<K>(self, api: &Api<K>, object: &K) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    {
        self.delete(api.clone(), &object.name_any())
            .await
            .map_err(|source| failed(object, source))?;
        self.one(api, object).await.map(drop)
    }

    /// Whether the object is there, `fits`, and is as it should be. It is read where what is known does not tell; where it cannot be read it
    /// is applied.
    async fn stands<K>(self, api: &Api<K>, object: &K, fits: impl Fn(&K) -> bool) -> bool
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    {
        match self.steady.judge(object, Instant::now()) {
            Verdict::Stands => true,
            Verdict::Differs => false,
            Verdict::MayStand => {
                let found = api.list(&by_name(&object.name_any())).await;
                let there = found.as_ref().ok().and_then(|found| found.items.first());
                there.is_some_and(|there| fits(there) && self.steady.is_as_desired(there, object, Instant::now()))
            }
        }
    }

    /// Applies the object, and remembers what has come of it.
    async fn one<K>(self, api: &Api<K>, object: &K) -> Result<K, ApplyError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    {
        let applied = self.sent(api, object).await?;
        self.steady.applied_as(&applied, object, Instant::now());
        Ok(applied)
    }

    /// Server-side apply. Where nothing differs, the API server writes nothing.
    async fn sent<K>(self, api: &Api<K>, object: &K) -> Result<K, ApplyError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    {
        let params = PatchParams::apply(labels::OPERATOR).force();
        let applied = api.patch(&object.name_any(), &params, &Patch::Apply(object)).await;
        applied.map_err(|source| {
            // Only a refusal says that nothing has come of it.
            if !matches!(&source, kube::Error::Api(status) if matches!(status.code, 400..500)) {
                self.steady.may_be_there(object);
            }
            failed(object, source)
        })
    }

    fn api_of<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(self, object: &K) -> Api<K> {
        self.within(object.meta().namespace.as_deref().unwrap_or_default())
    }
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
    let there = api.list(&by_name(&record.name_any())).await;
    let there = there.map_err(|source| failed(record, source))?;
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

    /// As API servers answer: the field of an object that cannot be changed, and a `ValidatingAdmissionPolicy`.
    #[test]
    fn nothing_is_made_anew_because_a_policy_refuses_it() {
        let refused = |field: &str| {
            let details = json!({"causes": [{"reason": "FieldValueInvalid", "message": "no", "field": field}]});
            let status = json!({"status": "Failure", "code": 422, "reason": "Invalid", "details": details});
            let status: Status = serde_json::from_value(status).unwrap();
            let source = kube::Error::Api(status.boxed()).into();
            ApplyError { source, ..error(422) }
        };
        assert!(refused("roleRef").is_invalid());
        assert!(!refused("").is_invalid());
        assert!(!error(422).is_invalid());
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
