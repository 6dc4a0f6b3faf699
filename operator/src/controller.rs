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
pub mod status;
pub mod validate;
pub mod watches;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::StreamExt;
use kite_api::{PluginName, dependencies::Standing, error_chain};
use kube::{
    Client,
    runtime::{
        controller::{Action, Error as ControllerError},
        reflector::{ObjectRef, Store},
    },
};
use tokio_util::sync::CancellationToken;

use self::{
    apply::{Applied, ApplyError, WithdrawError},
    build::{Decisions, Installation},
    describe::Memory,
    events::Told,
    findings::Findings,
    gather::{GatherError, Surroundings},
    host::{HostError, Versions},
    namespaces::Places,
    object::Object,
    relations::Relations,
    status::{Refusal, Situation, StatusError},
    validate::ValidatedPlugin,
};
use crate::{
    Options,
    backoff::{Failures, Trouble},
    health::Readiness,
    identity::{Identity, authority::AuthorityError},
};

/// A plugin is looked at this often though nothing has changed.
const RESYNC: Duration = Duration::from_mins(10);

/// Why a plugin could not be brought to where it should be. All are tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("failed to read what the decision needs")]
    Gather(#[source] GatherError),
    #[error("failed to find out what the plugin runs with")]
    Host(#[source] HostError),
    #[error("failed to issue the plugin's certificate")]
    Issue(#[source] AuthorityError),
    #[error("failed to withdraw what is no longer granted")]
    Withdraw(#[source] WithdrawError),
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
}

/// Watches and reconciles until `stop`.
pub async fn run(
    client: &Client,
    options: &Options,
    identity: Arc<Identity>,
    readiness: Readiness,
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
    });
    let work = controller
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, retry, context)
        .for_each(async |result| report(result.map(drop)));
    let synced = async {
        if plugins.wait_until_ready().await.is_ok() {
            readiness.watch_is_synced();
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
        let told = tell(&object, &context, &situation(message), &Standing::default()).await;
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
        let situation = Situation::Deleting {
            standing: standing.clone(),
        };
        tell(object, context, &situation, &standing).await?;
        return Ok(Action::await_change());
    }
    let plugin = match validate::validate(object, &namespaces.plugins) {
        Ok(plugin) => plugin,
        Err(error) => {
            let message = error_chain(&error);
            tell(object, context, &Situation::Invalid { message }, &standing).await?;
            return Ok(Action::await_change());
        }
    };
    // 2. What is there already?                                                                        asks the cluster
    let mut found = gather::gather(&context.client, namespaces, &plugin)
        .await
        .map_err(ReconcileError::Gather)?;
    let host = context
        .versions
        .now(&context.client)
        .await
        .map_err(ReconcileError::Host)?;
    // 3. For which namespaces was the grant given? That stands in the status before any Role does, so that one which is
    //    made again is known as another whenever this program ends.                                    pure, one patch
    let Some(places) = places(object, &plugin, &found, context).await? else {
        return Ok(Action::await_change());
    };
    // 4. What should be there?                                                                         pure
    let findings = Findings::of(&plugin, standing, &host, places, &namespaces.plugins);
    let certificate = context
        .identity
        .plugin_certificate(&plugin.name, found.certificate(), SystemTime::now())
        .map_err(ReconcileError::Issue)?;
    let decisions = Decisions {
        usable: &findings.places.usable,
        hold: !findings.may_start() && !found.runs(),
    };
    let desired = build::build(&plugin, &found, decisions, certificate, context.installation());
    // 5. What should not run stops, whatever comes of the rest; rights that are no longer granted go, before anything new
    //    is there to use them.                                                                         asks the cluster
    let stopped = if plugin.enabled {
        Ok(())
    } else {
        apply::stop(&context.client, &mut found.deployment).await
    };
    apply::withdraw(&context.client, &found.grants, &desired)
        .await
        .map_err(ReconcileError::Withdraw)?;
    // 6. All else, in one order.                                                                       asks the cluster
    let applied = match stopped {
        Ok(()) => apply::apply(&context.client, &desired).await,
        Err(error) => Err(error),
    };
    let applied = match applied {
        Ok(applied) => applied,
        Err(error) => return Err(not_applied(error, &plugin, &found, findings, context).await?),
    };
    // 7. What runs, and what does it say that it is?                                                   asks the cluster
    let standing = findings.standing.clone();
    let (situation, action) = observe(&plugin, applied, &desired, findings, context).await?;
    // 8. What is there to tell?                                                                        pure, one patch
    tell(object, context, &situation, &standing).await?;
    Ok(action)
}

/// The namespaces of the grant, sorted and recorded. `None`: somebody else has just written the object, which wakes it again.
async fn places(
    object: &Object,
    plugin: &ValidatedPlugin,
    found: &Surroundings,
    context: &Context,
) -> Result<Option<Places>, ReconcileError> {
    let own = context.options.namespaces.plugins.as_str();
    let sort = |recorded| namespaces::sort(plugin.grant.namespaces.keys(), &found.namespaces, recorded, own);
    if plugin.grant.namespaces.keys().all(|name| name == own) {
        return Ok(Some(sort(&[])));
    }
    let standing = status::standing(object, &context.client)
        .await
        .map_err(ReconcileError::Status)?;
    let Some(standing) = standing else { return Ok(None) };
    let places = sort(&standing.status.namespaces);
    let recorded = status::record(&context.client, object, &standing, &places.record)
        .await
        .map_err(ReconcileError::Status)?;
    Ok(recorded.then_some(places))
}

/// Writes the status that tells `situation`, and tells as events what has come of it.
async fn tell(
    object: &Object,
    context: &Context,
    situation: &Situation,
    relations: &Standing,
) -> Result<(), ReconcileError> {
    let standing = status::standing(object, &context.client)
        .await
        .map_err(ReconcileError::Status)?;
    let Some(standing) = standing else { return Ok(()) };
    let wanted = status::decide(&standing.status, object::generation(object), situation, status::now());
    let stands = status::tell(&context.client, object, &standing, &wanted)
        .await
        .map_err(ReconcileError::Status)?;
    if !stands {
        return Ok(());
    }
    let grant = object
        .0
        .as_ref()
        .ok()
        .filter(|_| situation.is_applied())
        .and_then(|plugin| {
            context
                .told
                .grant(plugin, &standing.status, &context.options.namespaces.plugins)
        });
    let notices = grant
        .into_iter()
        .chain(events::relations(&standing.status, &wanted, relations));
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
    plugin: &ValidatedPlugin,
    applied: Applied,
    desired: &build::Desired,
    findings: Findings,
    context: &Context,
) -> Result<(Situation, Action), ReconcileError> {
    let version = plugin.version.to_string();
    if !plugin.enabled {
        let situation = Situation::Disabled {
            applied,
            version,
            findings,
        };
        return Ok((situation, Action::requeue(RESYNC)));
    }
    let pods = gather::pods(&context.client, &context.options.namespaces.plugins, plugin)
        .await
        .map_err(ReconcileError::Gather)?;
    let pods = object::of_template(pods, &desired.template);
    let (verdict, wait) = describe::describe(plugin, &pods, &context.identity, &context.answers).await;
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
            Self::Gather(_) | Self::Host(_) | Self::Issue(_) | Self::Withdraw(_) | Self::Apply(_) => None,
        };
        Some(move |message| match refusal {
            Some(refusal) => Situation::Refused { message, refusal },
            None => Situation::Failing { message },
        })
    }
}

impl Context {
    /// How the plugin stands to others.
    fn standing(&self, object: &Object) -> Standing {
        let name = PluginName::parse(object::name(object)).ok();
        name.and_then(|name| self.relations.standing(&name)).unwrap_or_default()
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
