//! What runs of a plugin, and what it says that it is.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Event, Pod},
};
use kite_api::KitePluginStatus;

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
    let history = fleet.history();
    let uids: BTreeSet<String> = all.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
    if !plugin.enabled {
        context.pushes.listeners(&plugin.name, &plugin.uid, Vec::new(), uids);
        let pods = i32::try_from(all.len()).unwrap_or(i32::MAX);
        let situation = Situation::Disabled {
            pods,
            history,
            findings,
        };
        return Ok((situation, Next::After(RESYNC)));
    }
    let pods = desired
        .running
        .as_ref()
        .map(|running| own(&all, running.number, &running.workload.template));
    let described = ask(plugin, before, desired, &pods, uids, context).await;
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
        taken: taken.remove(&revision.number).unwrap_or_default(),
    });
    let announced = plan::until_announced(next.as_ref().and_then(|next| next.known_for));
    let withheld = findings.withheld.as_ref().map(|_| causes::AGAIN);
    let situation = Situation::Running {
        lead: Box::new(lead),
        next: next.map(Box::new),
        history,
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

/// Asks the pods whether they are what they were made to be, and has those that are told what they must know.
async fn ask(
    plugin: &ValidatedPlugin,
    before: &KitePluginStatus,
    desired: &Desired,
    pods: &Pair<Vec<Pod>>,
    uids: BTreeSet<String>,
    context: &Context,
) -> Described {
    let asked = desired.running.as_ref().zip(pods.as_ref());
    let mut asked = asked.map(|(running, pods)| Asked {
        number: running.number,
        version: &running.version,
        on_record: status::on_record(before, running.number),
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

/// What it means that the objects could not be applied: a refusal is told together with what runs meanwhile.
pub(super) async fn refused(
    error: ApplyError,
    plugin: &ValidatedPlugin,
    found: &Surroundings,
    fleet: &Fleet,
    mut findings: Findings,
    context: &Context,
) -> Result<ReconcileError, ReconcileError> {
    let Some(message) = error.refusal() else {
        return Ok(ReconcileError::Apply(error));
    };
    findings.rights_refused = error.is_about_rights().then(|| message.clone());
    let all = pods(plugin, context).await?;
    let lead = &fleet.running.lead;
    let before = found.deployments.get(&lead.number).map(|deployment| {
        Box::new(Before {
            named: named(lead),
            pods: own(&all, lead.number, template(deployment).unwrap_or_default()),
            deployment: deployment.clone(),
        })
    });
    let refusal = Refusal {
        enabled: plugin.enabled,
        wanted: named(fleet.wanted()),
        before,
        pods: i32::try_from(all.len()).unwrap_or(i32::MAX),
        history: fleet.history(),
        findings,
    };
    Ok(ReconcileError::Refused(message, Box::new(refusal)))
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
