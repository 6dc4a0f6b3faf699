//! The controller: what happens to a `KitePlugin`, in order.

pub mod apply;
pub mod build;
pub mod describe;
pub mod gather;
pub mod object;
pub mod status;
pub mod validate;
pub mod watches;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::StreamExt;
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
    describe::Memory,
    gather::GatherError,
    object::Object,
    status::{Situation, StatusError},
    validate::ValidatedPlugin,
};
use crate::{
    Namespaces,
    backoff::Failures,
    health::Readiness,
    identity::{Identity, authority::AuthorityError},
    telemetry::chain,
};

/// A plugin is looked at this often though nothing has changed.
const RESYNC: Duration = Duration::from_mins(10);

/// Why a plugin could not be brought to where it should be. All are tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("failed to read what the decision needs")]
    Gather(#[source] GatherError),
    #[error("failed to issue the plugin's certificate")]
    Issue(#[source] AuthorityError),
    #[error("failed to withdraw what is no longer granted")]
    Withdraw(#[source] WithdrawError),
    #[error("failed to apply the plugin's objects")]
    Apply(#[source] ApplyError),
    #[error("failed to tell the plugin's status")]
    Status(#[source] StatusError),
}

/// What every reconcile has at hand.
pub struct Context {
    client: Client,
    namespaces: Namespaces,
    identity: Arc<Identity>,
    plugins: Store<Object>,
    answers: Memory,
    failures: Failures,
}

/// Watches and reconciles until `stop`.
pub async fn run(
    client: &Client,
    namespaces: &Namespaces,
    identity: Arc<Identity>,
    readiness: Readiness,
    stop: &CancellationToken,
) {
    let controller = watches::controller(client, namespaces);
    let plugins = controller.store();
    let context = Arc::new(Context {
        client: client.clone(),
        namespaces: namespaces.clone(),
        identity,
        plugins: plugins.clone(),
        answers: Memory::default(),
        failures: Failures::default(),
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

/// Brings one plugin to where its object says.
async fn reconcile(object: Arc<Object>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    // 1. Is there anything to do, and can the object be understood?                                    pure
    let previous = status::previous(&object, &context.client)
        .await
        .map_err(ReconcileError::Status)?;
    let tell = async |situation: Situation| {
        let wanted = status::decide(&previous, object::generation(&object), &situation, status::now());
        status::tell(&context.client, &object, &previous, &wanted)
            .await
            .map_err(ReconcileError::Status)
    };
    if object::is_being_deleted(&object) {
        tell(Situation::Deleting).await?;
        return Ok(Action::await_change());
    }
    let plugin = match validate::validate(&object, &context.namespaces.plugins) {
        Ok(plugin) => plugin,
        Err(error) => {
            tell(Situation::Invalid { message: chain(&error) }).await?;
            return Ok(Action::await_change());
        }
    };
    // 2. What is there already?                                                                        asks the cluster
    let found = gather::gather(&context.client, &context.namespaces, &plugin)
        .await
        .map_err(ReconcileError::Gather)?;
    // 3. What should be there?                                                                         pure
    let certificate = context
        .identity
        .plugin_certificate(&plugin.name, found.certificate(), SystemTime::now())
        .map_err(ReconcileError::Issue)?;
    let desired = build::build(
        &plugin,
        &found,
        &context.namespaces.plugins,
        certificate,
        &context.identity,
    );
    // 4. Rights that are no longer granted go, before anything new is there to use them.              asks the cluster
    apply::withdraw(&context.client, &found.grants, &desired)
        .await
        .map_err(ReconcileError::Withdraw)?;
    // 5. All else, in one order.                                                                       asks the cluster
    let applied = match apply::apply(&context.client, &desired).await {
        Ok(applied) => applied,
        Err(error) => {
            if let Some(message) = error.refusal() {
                tell(Situation::Refused { message }).await?;
            }
            return Err(ReconcileError::Apply(error));
        }
    };
    // 6. What runs, and what does it say that it is?                                                   asks the cluster
    let (situation, action) = observe(&plugin, applied, &desired, &context).await?;
    // 7. What is there to tell?                                                                        pure, one patch
    tell(situation).await?;
    Ok(action)
}

/// Looks at the pods and asks those that are ready.
async fn observe(
    plugin: &ValidatedPlugin,
    applied: Applied,
    desired: &build::Desired,
    context: &Context,
) -> Result<(Situation, Action), ReconcileError> {
    context.forget_the_deleted();
    let name = plugin.name.as_str();
    if !plugin.enabled {
        context.failures.succeeded(name);
        let version = plugin.version.to_string();
        return Ok((Situation::Disabled { applied, version }, Action::requeue(RESYNC)));
    }
    let pods = gather::pods(&context.client, &context.namespaces.plugins, plugin)
        .await
        .map_err(ReconcileError::Gather)?;
    let pods = object::of_template(pods, &desired.template);
    let verdict = describe::describe(plugin, &pods, &context.identity, &context.answers).await;
    let wait = if verdict.unanswered() {
        context.failures.failed(name)
    } else {
        context.failures.succeeded(name);
        RESYNC
    };
    Ok((
        Situation::Running {
            applied,
            pods,
            verdict,
            version: plugin.version.to_string(),
        },
        Action::requeue(wait),
    ))
}

/// Each plugin waits on its own, longer each time.
#[expect(clippy::needless_pass_by_value, reason = "the controller hands over what it shares")]
fn retry(object: Arc<Object>, _: &ReconcileError, context: Arc<Context>) -> Action {
    Action::requeue(context.failures.failed(object::name(&object)))
}

impl Context {
    /// Nothing else sees that a plugin is gone: one that was deleted is not reconciled.
    fn forget_the_deleted(&self) {
        let exists = |name: &str| self.plugins.get(&ObjectRef::new(name)).is_some();
        self.failures.retain(exists);
        self.answers.retain(exists);
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
                error = chain(&error),
                "a plugin is not where it should be"
            );
        }
        Err(error @ (ControllerError::QueueError(_) | ControllerError::RunnerError(_))) => {
            tracing::warn!(error = chain(&error), "a watch was interrupted");
        }
    }
}
