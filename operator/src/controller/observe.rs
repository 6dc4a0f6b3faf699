//! What runs of a plugin, and what it says that it is.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Event, Pod},
};
use kite_api::{KitePluginStatus, error_chain};

use super::{
    Context, RESYNC, ReconcileError,
    apply::{Applied, ApplyError},
    build::Desired,
    causes,
    describe::{self, Asked, Described},
    differing,
    findings::Findings,
    fleet::{Fleet, named},
    gather::{self, Surroundings},
    object,
    pair::Pair,
    plan,
    revision::Revision,
    status::{self, Before, Refusal, Seen, Situation},
    turns::{Next, Turn},
    validate::ValidatedPlugin,
};

/// What was carried out: what should be there of which revisions, and what the API server has of it.
pub(super) struct CarriedOut<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) desired: &'a Desired,
    pub(super) applied: Pair<Applied>,
}

/// Looks at the pods and asks those that are ready, from when on the `turn` is another plugin's. `before` is what was told last.
pub(super) async fn observe(
    plugin: &ValidatedPlugin,
    before: &KitePluginStatus,
    carried_out: CarriedOut<'_>,
    findings: Findings,
    context: &Context,
    turn: &mut Turn<'_>,
) -> Result<(Situation, Next), ReconcileError> {
    let CarriedOut {
        fleet,
        desired,
        applied,
    } = carried_out;
    let all = pods(plugin, context).await?;
    if all.iter().any(object::is_ready) {
        turn.give_back();
    }
    let uids: BTreeSet<String> = all.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
    if !plugin.enabled {
        context.answers.forget(plugin.name.as_str());
        context.pushes.listeners(&plugin.name, &plugin.uid, Vec::new(), uids);
        let situation = Situation::Disabled {
            pods: count(&all),
            history: fleet.history(),
            findings,
        };
        return Ok((situation, Next::After(RESYNC)));
    }
    let pods = desired
        .running
        .as_ref()
        .map(|running| own(&all, running.number, &running.workload.template));
    let asked = fleet.running.as_ref().zip(pods.as_ref());
    let described = ask(plugin, before, asked, uids, context).await;
    differing::replace(plugin, before, desired.running.lead.number, &described, context).await;
    let Described { verdicts, wait, .. } = described;
    let mut taken = context.pushes.told(&plugin.name).await.settings;
    let now = status::now();
    let both = [pods.lead.as_slice(), pods.next.as_deref().unwrap_or_default()].concat();
    let told = events(&both, now, context).await?;
    let seen = fleet.running.as_ref().zip(applied).zip(pods).zip(verdicts);
    let Pair { lead, next } = seen.map(|(((revision, applied), pods), (verdict, known_for))| Seen {
        named: named(revision),
        applied,
        pods,
        events: told.clone(),
        verdict,
        known_for,
        // Of a revision that is left out nobody is to have settings.
        taken: taken.remove(&revision.number).unwrap_or_default(),
    });
    let announced = plan::until_announced(next.as_ref().and_then(|next| next.known_for));
    let withheld = findings.withheld.as_ref().map(|_| causes::AGAIN);
    let situation = Situation::Running {
        lead: Box::new(lead),
        next: next.map(Box::new),
        history: fleet.history(),
        findings,
    };
    let waits = wait
        .into_iter()
        .chain(fleet.plan.wait)
        .chain(announced)
        .chain(causes::look_again(&both, now))
        .chain(withheld)
        .chain([RESYNC]);
    Ok((situation, Next::After(waits.min().unwrap_or(RESYNC))))
}

/// Asks the pods whether they are what they were made to be, and has those that are told what they must know. `uids` are those of all the
/// plugin's pods.
async fn ask(
    plugin: &ValidatedPlugin,
    before: &KitePluginStatus,
    revisions: Pair<(&Revision, &Vec<Pod>)>,
    uids: BTreeSet<String>,
    context: &Context,
) -> Described {
    let mut asked = revisions.map(|(revision, pods)| Asked {
        number: revision.number,
        version: &revision.version,
        on_record: status::on_record(before, revision.number),
        pods,
    });
    // What one that is to take over offers is recorded when it does.
    if let Some(next) = &mut asked.next {
        next.on_record = None;
    }
    let (identity, answers, metrics) = (&context.identity.get(), &context.answers, &context.metrics);
    let mut described = describe::describe(&plugin.name, asked, identity, answers, metrics).await;
    let listeners = std::mem::take(&mut described.listeners);
    context.pushes.listeners(&plugin.name, &plugin.uid, listeners, uids);
    described
}

/// What it means that the objects could not be applied: a refusal is told together with what runs meanwhile. Whatever the failure, what runs
/// goes on to be told what it must know, for as long as that lasts. `before` is what was told last.
pub(super) async fn refused(
    error: ApplyError,
    plugin: &ValidatedPlugin,
    before: &KitePluginStatus,
    found: &Surroundings,
    fleet: &Fleet,
    mut findings: Findings,
    context: &Context,
) -> Result<ReconcileError, ReconcileError> {
    // Why that could not be comes first.
    let all = match pods(plugin, context).await {
        Ok(all) => all,
        Err(untold) => {
            tracing::warn!(error = error_chain(&untold), "it is not known what runs meanwhile");
            return Ok(ReconcileError::Apply(error, None));
        }
    };
    let uids = all.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
    let mut again = None;
    let runs = |revision: &Revision| {
        let deployment = found.deployments.get(&revision.number)?.clone();
        let pods = own(&all, revision.number, template(&deployment).unwrap_or_default());
        Some((named(revision), deployment, pods))
    };
    let Pair { lead, next } = fleet.running.as_ref();
    let (goes_on, begins) = (runs(lead).filter(|_| plugin.enabled), next.and_then(runs));
    let goes_on = match goes_on {
        None => {
            context.pushes.listeners(&plugin.name, &plugin.uid, Vec::new(), uids);
            None
        }
        Some((named, deployment, pods)) => {
            let next = next.zip(begins.as_ref().map(|(.., pods)| pods));
            let asked = Pair {
                lead: (lead, &pods),
                next,
            };
            let Described { verdicts, wait, .. } = ask(plugin, before, asked, uids, context).await;
            // Pods that change wake the plugin.
            again = wait;
            let taken = context.pushes.told(&plugin.name).await.settings.remove(&lead.number);
            let (verdict, known_for) = verdicts.lead;
            Some(Box::new(Before {
                named,
                deployment,
                pods,
                verdict,
                known_for,
                taken: taken.unwrap_or_default(),
            }))
        }
    };
    let Some(message) = error.refusal() else {
        return Ok(ReconcileError::Apply(error, again));
    };
    findings.rights_refused = error.is_about_rights().then(|| message.clone());
    let refusal = Refusal {
        enabled: plugin.enabled,
        wanted: named(fleet.wanted()),
        before: goes_on,
        pods: count(&all),
        history: fleet.history(),
        findings,
    };
    Ok(ReconcileError::Refused(message, Box::new(refusal), again))
}

fn count(pods: &[Pod]) -> i32 {
    i32::try_from(pods.len()).unwrap_or(i32::MAX)
}

/// What was told of those pods that are not ready though they had time to be.
async fn events(pods: &[Pod], now: Timestamp, context: &Context) -> Result<Vec<Event>, ReconcileError> {
    let namespace = &context.options.namespaces.plugins;
    gather::events(&context.client, namespace, causes::unsettled(pods, now))
        .await
        .map_err(ReconcileError::Gather)
}

/// All pods of the plugin.
async fn pods(plugin: &ValidatedPlugin, context: &Context) -> Result<Vec<Pod>, ReconcileError> {
    gather::pods(&context.client, &context.options.namespaces.plugins, plugin)
        .await
        .map_err(ReconcileError::Gather)
}

/// Those of a revision that are of its present template.
fn own(all: &[Pod], number: i64, template: &str) -> Vec<Pod> {
    object::of_template(object::of_revision(all, number), template)
}

/// Hash of the template of the pods that a Deployment makes.
fn template(deployment: &Deployment) -> Option<&str> {
    let template = &deployment.spec.as_ref()?.template;
    let annotations = template.metadata.as_ref()?.annotations.as_ref()?;
    annotations.get(object::TEMPLATE).map(String::as_str)
}
