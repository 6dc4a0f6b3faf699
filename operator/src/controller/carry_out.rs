//! Brings the cluster to what was decided: what should not run stops, rights that are not granted go, and all else is applied.

use std::collections::BTreeSet;

use futures::TryFutureExt as _;

use super::{
    Context, ReconcileError,
    apply::{self, Applied, ApplyError},
    build::{self, Desired},
    fleet::Fleet,
    gather::{Surroundings, wants_pods},
    pair::Pair,
    turns::Turn,
    validate::ValidatedPlugin,
};

/// Withdraws what is not granted, stops what no longer runs, and applies what should be there.
pub(super) async fn carry_out(
    plugin: &ValidatedPlugin,
    fleet: &Fleet,
    found: &mut Surroundings,
    desired: &Desired,
    context: &Context,
    turn: &mut Turn<'_>,
) -> Result<Result<Pair<Applied>, ApplyError>, ReconcileError> {
    let wanted = desired.rbac.grants();
    turn.during(context.writer().withdraw(&found.grants, &wanted))
        .await
        .map_err(ReconcileError::Withdraw)?;
    let may_run = |number| plugin.enabled && fleet.plan.has_pods(number);
    Ok(match stop(plugin, found, may_run, context, turn).await {
        Ok(()) => turn.during(Box::pin(context.writer().apply(desired, found))).await,
        Err(error) => Err(error),
    })
}

/// Stops what should not run, and withdraws what is not granted, whether or not all could be stopped.
pub(super) async fn take_away(
    plugin: &ValidatedPlugin,
    found: &mut Surroundings,
    context: &Context,
    turn: &mut Turn<'_>,
) -> Result<(), ReconcileError> {
    if !plugin.enabled {
        // What fails here is tried again, and told, where the rest is applied.
        let _ = stop(plugin, found, |_| false, context, turn).await;
    }
    let granted = build::rbac::granted(plugin, &context.options.namespaces.plugins);
    turn.during(context.writer().withdraw(&found.grants, &granted))
        .await
        .map_err(ReconcileError::Withdraw)?;
    found.grants.retain(|grant| granted.contains(grant));
    if found.is_of_a_namesake(plugin) {
        let namespace = &context.options.namespaces.plugins;
        let numbers = found.numbers();
        turn.during(context.writer().clear(plugin, namespace, &numbers))
            .await
            .map_err(ReconcileError::Clear)?;
        found.deployments.clear();
        found.records.clear();
    }
    Ok(())
}

/// Deletes what there is of the plugin and is not kept.
pub(super) async fn forget(
    plugin: &ValidatedPlugin,
    fleet: &Fleet,
    found: &Surroundings,
    desired: &Desired,
    context: &Context,
) -> Result<(), ReconcileError> {
    let (writer, namespace) = (context.writer(), &context.options.namespaces.plugins);
    let surplus = found.surplus_budgets(&desired.budgets);
    let forgotten = writer
        .release(namespace, surplus)
        .and_then(|()| writer.forget(plugin, namespace, &fleet.forgotten));
    forgotten.await.map_err(|error| ReconcileError::Forget(error.into()))
}

/// Scales to zero what has pods and should have none. These may release what they hold before, for a few seconds, while their rights last.
async fn stop(
    plugin: &ValidatedPlugin,
    found: &mut Surroundings,
    may_run: impl Fn(i64) -> bool,
    context: &Context,
    turn: &mut Turn<'_>,
) -> Result<(), ApplyError> {
    let surplus = found.deployments.iter();
    let surplus = surplus.filter(|(number, deployment)| !may_run(**number) && wants_pods(deployment));
    let surplus: BTreeSet<i64> = surplus.map(|(number, _)| *number).collect();
    if !surplus.is_empty() {
        turn.give_back();
    }
    context.pushes.release(&plugin.name, &plugin.uid, &surplus).await;
    apply::stop(&context.client, &mut found.deployments, may_run).await
}
