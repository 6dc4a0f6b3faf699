//! The controller: what happens to a `KitePlugin`, in order.

pub mod apply;
pub mod build;
pub mod describe;
pub mod events;
pub mod findings;
pub mod gather;
pub mod host;
pub mod namespaces;
pub mod object;
pub mod relations;
pub mod settings;
pub mod status;
pub mod validate;
pub mod watches;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::StreamExt;
use kite_api::{PluginName, dependencies::Standing, error_chain, host::unmet};
use kube::{
    Client,
    runtime::{
        controller::{Action, Error as ControllerError},
        reflector::{ObjectRef, Store},
    },
};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use self::{
    apply::{Applied, ApplyError, ClearError, WithdrawError},
    build::{Decisions, Installation},
    describe::Memory,
    events::Told,
    findings::{Around, Findings},
    gather::{GatherError, Surroundings},
    host::{HostError, Versions},
    namespaces::Places,
    object::Object,
    relations::Relations,
    settings::Checked,
    status::{Refusal, Situation, StatusError},
    validate::{CompatibleWith, ValidatedPlugin},
};
use crate::{
    Options,
    backoff::{Failures, Trouble},
    health::Health,
    identity::{Identity, authority::AuthorityError},
    metrics::Metrics,
};

/// A plugin is looked at this often though nothing has changed.
const RESYNC: Duration = Duration::from_mins(10);
/// The graph of dependencies learns of a plugin this soon.
const MOMENT: Duration = Duration::from_secs(1);

/// Why a plugin could not be brought to where it should be. All are tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("failed to read what the decision needs")]
    Gather(#[source] GatherError),
    #[error("failed to find out what the plugin runs with")]
    Host(#[source] HostError),
    #[error("failed to check the settings to the end")]
    Settings(#[source] JoinError),
    #[error("failed to issue the plugin's certificate")]
    Issue(#[source] AuthorityError),
    #[error("failed to withdraw what is no longer granted")]
    Withdraw(#[source] WithdrawError),
    #[error("failed to take the name over")]
    Clear(#[source] ClearError),
    #[error("failed to apply the plugin's objects")]
    Apply(#[source] ApplyError),
    /// It takes a change to end it.
    #[error("failed to apply the plugin's objects: {0}")]
    Refused(String, Box<Refusal>),
    #[error("failed to tell the plugin's status")]
    Status(#[source] StatusError),
}

/// What every reconcile has at hand.
pub struct Context {
    client: Client,
    options: Options,
    identity: Arc<Identity>,
    plugins: Store<Object>,
    relations: Arc<Relations>,
    versions: Versions,
    answers: Memory,
    failures: Failures,
    told: Told,
    checked: Checked,
    metrics: Metrics,
}

/// Watches and reconciles until `stop`.
pub async fn run(
    client: &Client,
    options: &Options,
    identity: Arc<Identity>,
    health: &Health,
    stop: &CancellationToken,
) {
    let relations = Arc::new(Relations::default());
    let controller = watches::controller(client, &options.namespaces, &relations);
    let plugins = controller.store();
    let context = Arc::new(Context {
        client: client.clone(),
        options: options.clone(),
        identity,
        plugins: plugins.clone(),
        relations,
        versions: Versions::default(),
        answers: Memory::default(),
        failures: Failures::default(),
        told: Told::default(),
        checked: Checked::default(),
        metrics: health.metrics.clone(),
    });
    let work = controller
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, retry, context)
        .for_each(async |result| report(result.map(drop)));
    let synced = async {
        if plugins.wait_until_ready().await.is_ok() {
            health.readiness.watch_is_synced();
        }
    };
    tokio::join!(work, synced);
}

/// Brings one plugin to where its object says, and tells if that failed.
async fn reconcile(object: Arc<Object>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    context.forget_the_deleted();
    let name = object::name(&object);
    let error = match Box::pin(attempt(&object, &context)).await {
        // Only now: a status that could not be written is a failure as well.
        Ok(action) => {
            context.failures.succeeded(name, Instant::now());
            return Ok(action);
        }
        Err(error) => error,
    };
    let generation = object::generation(&object);
    let told = context
        .failures
        .failed(name, generation, error.trouble(), Instant::now());
    if let (Some(Trouble { message, .. }), Some(situation)) = (told, error.situation()) {
        let told = tell(&object, &context, &situation(message)).await;
        if let Err(untold) = told {
            tracing::warn!(
                plugin = name,
                error = error_chain(&untold),
                "a failure could not be told"
            );
        }
    }
    Err(error)
}

/// The steps, in their order.
async fn attempt(object: &Object, context: &Context) -> Result<Action, ReconcileError> {
    let namespaces = &context.options.namespaces;
    // 1. Is there anything to do, and can the object be understood?                                    pure
    let standing = context.standing(object);
    if object::is_being_deleted(object) {
        let standing = standing.unwrap_or_default();
        tell(object, context, &Situation::Deleting { standing }).await?;
        return Ok(Action::await_change());
    }
    let plugin = match validate::validate(object, namespaces.places()) {
        Ok(plugin) => plugin,
        Err(error) => {
            let message = error_chain(&error);
            // What it grants is not known.
            context.metrics.refused_permissions(object::name(object), 0);
            tell(object, context, &Situation::Invalid { message }).await?;
            return Ok(Action::await_change());
        }
    };
    context
        .metrics
        .refused_permissions(object::name(object), plugin.refused.len());
    // The graph is a moment behind; nothing is started before it says whether that may be.
    let Some(standing) = standing else {
        return Ok(Action::requeue(MOMENT));
    };
    // 2. What is there already?                                                                        asks the cluster
    let mut found = gather::gather(&context.client, namespaces, &plugin)
        .await
        .map_err(ReconcileError::Gather)?;
    // 3. What should not run stops, and rights that are not granted any longer go, before anything new is there to use them
    //    and whatever comes of the rest.                                                               asks the cluster
    let stopped = take_away(&plugin, &mut found, context).await?;
    // 4. For which namespaces was the grant given? That stands in the status before any Role does, so that one which is
    //    made again is known as another whenever this program ends.                                    pure, one patch
    let Some(places) = places(object, &plugin, &found, context).await? else {
        return Ok(Action::await_change());
    };
    // 5. What else is there to know, and what should be there?                                         asks for versions, pure
    let mut findings = context.findings(&plugin, standing, places).await?;
    let certificate = context
        .identity
        .plugin_certificate(&plugin.name, found.certificate(), SystemTime::now())
        .map_err(ReconcileError::Issue)?;
    let decisions = Decisions {
        usable: &findings.places.usable,
        waits: !findings.may_start(),
        started: plugin.enabled && (found.runs(&plugin) || object::has_started(object)),
    };
    let desired = build::build(&plugin, &found, decisions, certificate, context.installation());
    findings.kept = desired.workload.kept.then(|| desired.workload.version.to_string());
    // 6. A namespace that was made again has had its rights withdrawn with it, or loses them now; then all else, in one
    //    order.                                                                                        asks the cluster
    apply::withdraw(&context.client, &found.grants, &desired.rbac.grants())
        .await
        .map_err(ReconcileError::Withdraw)?;
    let applied = match stopped {
        Ok(()) => apply::apply(&context.client, &desired).await,
        Err(error) => Err(error),
    };
    let applied = match applied {
        Ok(applied) => applied,
        Err(error) => return Err(not_applied(error, &plugin, &found, findings, context).await?),
    };
    // 7. What runs, and what does it say that it is?                                                   asks the cluster
    let (situation, action) = observe(plugin, applied, &desired, findings, context).await?;
    // 8. What is there to tell?                                                                        pure, one patch
    tell(object, context, &situation).await?;
    Ok(action)
}

/// Stops what should not run, and withdraws what the object does not grant. That something could not be stopped keeps no right
/// from being withdrawn.
async fn take_away(
    plugin: &ValidatedPlugin,
    found: &mut Surroundings,
    context: &Context,
) -> Result<Result<(), ApplyError>, ReconcileError> {
    let stopped = if plugin.enabled {
        Ok(())
    } else {
        apply::stop(&context.client, &mut found.deployment).await
    };
    let granted = build::rbac::granted(plugin, &context.options.namespaces.plugins);
    apply::withdraw(&context.client, &found.grants, &granted)
        .await
        .map_err(ReconcileError::Withdraw)?;
    found.grants.retain(|grant| granted.contains(grant));
    if found.is_of_a_namesake(plugin) {
        apply::clear(&context.client, plugin, &context.options.namespaces.plugins)
            .await
            .map_err(ReconcileError::Clear)?;
        found.deployment = None;
    }
    Ok(stopped)
}

/// The namespaces of the grant, sorted and recorded. `None`: somebody else has just written the object, which wakes it again.
async fn places(
    object: &Object,
    plugin: &ValidatedPlugin,
    found: &Surroundings,
    context: &Context,
) -> Result<Option<Places>, ReconcileError> {
    let own = context.options.namespaces.plugins.as_str();
    let sort = |before| namespaces::sort(plugin.grant.namespaces.keys(), &found.namespaces, before, own);
    if plugin.grant.namespaces.keys().all(|name| name == own) {
        return Ok(Some(sort(&[])));
    }
    let recorded = status::recorded(object, &context.client)
        .await
        .map_err(ReconcileError::Status)?;
    let Some(recorded) = recorded else { return Ok(None) };
    let places = sort(&recorded.status.namespaces);
    let stands = status::record(&context.client, object, &recorded, &places.record)
        .await
        .map_err(ReconcileError::Status)?;
    Ok(stands.then_some(places))
}

/// Writes the status that tells `situation`, and tells as events what has come of it.
async fn tell(object: &Object, context: &Context, situation: &Situation) -> Result<(), ReconcileError> {
    let recorded = status::recorded(object, &context.client)
        .await
        .map_err(ReconcileError::Status)?;
    let Some(recorded) = recorded else { return Ok(()) };
    let wanted = status::decide(&recorded.status, object::generation(object), situation, status::now());
    let stands = status::tell(&context.client, object, &recorded, &wanted)
        .await
        .map_err(ReconcileError::Status)?;
    if !stands {
        return Ok(());
    }
    let places = context.options.namespaces.places();
    let applied = object.0.as_ref().ok().filter(|_| situation.is_applied());
    let grant = applied.and_then(|plugin| context.told.grant(plugin, &recorded.status, places));
    let refused = events::refused(&recorded.status, &wanted);
    let relations = situation
        .standing()
        .map(|standing| events::relations(&recorded.status, &wanted, standing));
    let notices = grant.into_iter().chain(refused).chain(relations.into_iter().flatten());
    events::publish(&context.client, object, notices).await;
    Ok(())
}

/// What it means that the objects could not be applied: a refusal is told together with what runs meanwhile.
async fn not_applied(
    error: ApplyError,
    plugin: &ValidatedPlugin,
    found: &Surroundings,
    mut findings: Findings,
    context: &Context,
) -> Result<ReconcileError, ReconcileError> {
    let Some(message) = error.refusal() else {
        return Ok(ReconcileError::Apply(error));
    };
    findings.rights_refused = error.is_about_rights().then(|| message.clone());
    let pods = gather::pods(&context.client, &context.options.namespaces.plugins, plugin)
        .await
        .map_err(ReconcileError::Gather)?;
    let refusal = Refusal {
        enabled: plugin.enabled,
        version: plugin.version.to_string(),
        deployment: found.deployment.clone(),
        pods: object::of_template(pods, found.template().unwrap_or_default()),
        findings,
    };
    Ok(ReconcileError::Refused(message, Box::new(refusal)))
}

/// Looks at the pods and asks those that are ready.
async fn observe(
    mut plugin: ValidatedPlugin,
    applied: Applied,
    desired: &build::Desired,
    findings: Findings,
    context: &Context,
) -> Result<(Situation, Action), ReconcileError> {
    // The pods are asked whether they are what they were made to be, which may be what the object wanted before.
    plugin.version = desired.workload.version.clone();
    let version = plugin.version.to_string();
    if !plugin.enabled {
        let situation = Situation::Disabled {
            applied,
            version,
            findings,
        };
        return Ok((situation, Action::requeue(RESYNC)));
    }
    let pods = gather::pods(&context.client, &context.options.namespaces.plugins, &plugin)
        .await
        .map_err(ReconcileError::Gather)?;
    let pods = object::of_template(pods, &desired.workload.template);
    let (verdict, wait) = describe::describe(&plugin, &pods, &context.identity, &context.answers).await;
    Ok((
        Situation::Running {
            applied,
            pods,
            verdict,
            version,
            findings,
        },
        Action::requeue(wait.unwrap_or(RESYNC)),
    ))
}

/// Each plugin waits on its own, longer each time.
#[expect(clippy::needless_pass_by_value, reason = "the controller hands over what it shares")]
fn retry(object: Arc<Object>, _: &ReconcileError, context: Arc<Context>) -> Action {
    Action::requeue(context.failures.wait(object::name(&object), Instant::now()))
}

impl ReconcileError {
    /// What stands of it until it is tried again.
    fn trouble(&self) -> Trouble {
        match self {
            Self::Refused(message, _) => Trouble {
                refused: true,
                message: message.clone(),
            },
            other => Trouble {
                refused: false,
                message: error_chain(other),
            },
        }
    }

    /// What is told of it, with a message; nothing, if it is the telling that failed.
    fn situation(&self) -> Option<impl FnOnce(String) -> Situation> {
        let refusal = match self {
            Self::Status(_) => return None,
            Self::Refused(_, refusal) => Some(refusal.as_ref().clone()),
            Self::Gather(_)
            | Self::Host(_)
            | Self::Settings(_)
            | Self::Issue(_)
            | Self::Withdraw(_)
            | Self::Clear(_)
            | Self::Apply(_) => None,
        };
        Some(move |message| match refusal {
            Some(refusal) => Situation::Refused { message, refusal },
            None => Situation::Failing { message },
        })
    }
}

impl Context {
    /// How the plugin stands to others, if the graph knows it yet.
    fn standing(&self, object: &Object) -> Option<Standing> {
        let name = PluginName::parse(object::name(object)).ok()?;
        self.relations.standing(&name)
    }

    /// What is known of a plugin that stands so to others and to its namespaces.
    async fn findings(
        &self,
        plugin: &ValidatedPlugin,
        standing: Standing,
        places: Places,
    ) -> Result<Findings, ReconcileError> {
        let CompatibleWith { kite, kubernetes } = &plugin.compatible_with;
        let unmet = if kite.is_none() && kubernetes.is_none() {
            Vec::new()
        } else {
            let host = self.versions.now(&self.client).await.map_err(ReconcileError::Host)?;
            unmet(kite.as_ref(), kubernetes.as_ref(), &host)
        };
        let settings = self.checked.settings(plugin).await.map_err(ReconcileError::Settings)?;
        let around = Around {
            standing,
            unmet,
            places,
            settings,
        };
        Ok(Findings::of(plugin, around, &self.options.namespaces.plugins))
    }

    fn installation(&self) -> Installation<'_> {
        Installation {
            namespaces: &self.options.namespaces,
            identity: &self.identity,
            gateway_address: &self.options.gateway_address,
        }
    }

    /// Nothing else sees that a plugin is gone: one that was deleted is not reconciled.
    fn forget_the_deleted(&self) {
        let exists = |name: &str| self.plugins.get(&ObjectRef::new(name)).is_some();
        self.failures.retain(exists);
        self.answers.retain(exists);
        self.told.retain(exists);
        self.checked.retain(exists);
        self.metrics.retain(exists);
    }
}

/// Writes what went wrong to the log.
fn report<Q: std::error::Error + 'static>(result: Result<(), ControllerError<ReconcileError, Q>>) {
    match result {
        // A plugin that was deleted meanwhile is no error.
        Ok(()) | Err(ControllerError::ObjectNotFound(_)) => {}
        Err(ControllerError::ReconcilerFailed(error, object)) => {
            tracing::warn!(
                plugin = object.name,
                error = error_chain(&error),
                "a plugin is not where it should be"
            );
        }
        Err(error @ (ControllerError::QueueError(_) | ControllerError::RunnerError(_))) => {
            tracing::warn!(error = error_chain(&error), "a watch was interrupted");
        }
    }
}
