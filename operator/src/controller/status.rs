//! From what was seen to the status that tells it, written when it differs from the one that is there.

pub mod condition;
pub mod workload;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kite_api::{
    KitePlugin, KitePluginStatus, Phase, RevisionState, RevisionStatus, ToolStatus,
    conditions::{DESCRIBED, READY, RECONCILING, STALLED, WORKLOAD_AVAILABLE, reasons},
    labels,
};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use self::{
    condition::{Fact, Truth},
    workload::{Trouble, Workload},
};
use super::{
    apply::Applied,
    build::REVISION,
    describe::Verdict,
    object::{self, Object},
};

/// Why a status could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error("failed to read the object")]
    Read(#[source] Box<kube::Error>),
    #[error("failed to write the status")]
    Write(#[source] Box<kube::Error>),
    #[error("failed to write the status as JSON")]
    Serialize(#[source] serde_json::Error),
}

/// What a reconcile came upon.
#[derive(Debug)]
pub enum Situation {
    /// Somebody deleted the object, and its dependents are going.
    Deleting,
    /// The object cannot be used.
    Invalid { message: String },
    /// The API server refused one of the plugin's objects.
    Refused { message: String },
    /// It should not run.
    Disabled { applied: Applied, version: String },
    /// It should run.
    Running {
        applied: Applied,
        pods: Vec<Pod>,
        verdict: Verdict,
        version: String,
    },
}

/// The present time, as precise as a condition can say it.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// The status that the object has.
pub async fn previous(object: &Object, client: &Client) -> Result<KitePluginStatus, StatusError> {
    if let Ok(plugin) = &object.0 {
        return Ok(plugin.status.clone().unwrap_or_default());
    }
    // Of an object that is not understood only metadata was kept.
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<KitePlugin>(&()));
    let found = api
        .get_opt(object::name(object))
        .await
        .map_err(|error| StatusError::Read(error.into()))?;
    let status = found.and_then(|found| serde_json::from_value(found.data.get("status")?.clone()).ok());
    Ok(status.unwrap_or_default())
}

/// The status that tells `situation`, after the status `previous`.
pub fn decide(
    previous: &KitePluginStatus,
    generation: Option<i64>,
    situation: &Situation,
    now: Timestamp,
) -> KitePluginStatus {
    let (mut status, facts) = match situation {
        Situation::Deleting => deleting(previous),
        Situation::Invalid { message } | Situation::Refused { message } => stuck(previous, message),
        Situation::Disabled { applied, version } => disabled(applied, version),
        Situation::Running {
            applied,
            pods,
            verdict,
            version,
        } => running(previous, &workload::look(applied.deployment(), pods), verdict, version),
    };
    status.observed_generation = generation;
    status.tool_count = status.active_revision.and(i32::try_from(status.tools.len()).ok());
    status.conditions = condition::write(&previous.conditions, facts, generation, now);
    status
}

fn deleting(previous: &KitePluginStatus) -> (KitePluginStatus, Vec<Fact>) {
    let status = KitePluginStatus {
        phase: Some(Phase::Stopped),
        active_revision: None,
        tools: Vec::new(),
        revisions: Vec::new(),
        ..previous.clone()
    };
    (
        status,
        vec![Fact::new(
            READY,
            Truth::False,
            reasons::STOPPED,
            "the plugin is being deleted",
        )],
    )
}

/// What should be cannot be made. What runs already goes on, as long as it does.
fn stuck(previous: &KitePluginStatus, message: &str) -> (KitePluginStatus, Vec<Fact>) {
    let stalled = Fact::new(STALLED, Truth::True, reasons::REFUSED, message);
    if previous.active_revision.is_some() {
        let kept = [WORKLOAD_AVAILABLE, DESCRIBED, READY];
        let mut facts: Vec<_> = kept
            .into_iter()
            .filter_map(|kind| Fact::kept(&previous.conditions, kind))
            .collect();
        facts.push(stalled);
        return (previous.clone(), facts);
    }
    let status = KitePluginStatus {
        phase: Some(Phase::Failed),
        tools: Vec::new(),
        ..previous.clone()
    };
    let facts = vec![
        Fact::new(WORKLOAD_AVAILABLE, Truth::False, reasons::REFUSED, message),
        Fact::new(READY, Truth::False, reasons::REFUSED, message),
        stalled,
    ];
    (status, facts)
}

fn disabled(applied: &Applied, version: &str) -> (KitePluginStatus, Vec<Fact>) {
    let workload = workload::look(applied.deployment(), &[]);
    let mut facts = vec![Fact::new(
        READY,
        Truth::True,
        reasons::DISABLED,
        "the plugin is disabled: set spec.enabled to true to run it",
    )];
    if workload.replicas > 0 {
        facts.push(Fact::new(
            RECONCILING,
            Truth::True,
            reasons::PROGRESSING,
            "the plugin's pods are stopping",
        ));
    }
    let status = KitePluginStatus {
        phase: Some(Phase::Disabled),
        revisions: vec![revision(version, None, RevisionState::Stopped, None)],
        replicas: Some(workload.replicas),
        ready_replicas: Some(workload.ready),
        ..KitePluginStatus::default()
    };
    (status, facts)
}

fn running(
    previous: &KitePluginStatus,
    workload: &Workload,
    verdict: &Verdict,
    version: &str,
) -> (KitePluginStatus, Vec<Fact>) {
    let available = workload.fact();
    let described = described(previous, verdict);
    let ready = match [&available, &described]
        .into_iter()
        .find(|fact| fact.truth != Truth::True)
    {
        Some(failing) => Fact {
            kind: READY,
            truth: Truth::False,
            ..failing.clone()
        },
        None => Fact::new(READY, Truth::True, reasons::LOADED, "the plugin is loaded"),
    };
    let is_ready = ready.truth == Truth::True;
    let mismatch = matches!(verdict, Verdict::Mismatch { .. });
    let refused = !workload.available && workload.trouble.as_ref().is_some_and(Trouble::is_refusal);
    let failed = mismatch || refused;
    let progress = progress(workload, &ready, failed);

    let mut status = traffic(previous, workload, verdict, version, &ready);
    status.phase = Some(match (failed, is_ready, previous.phase) {
        (true, ..) => Phase::Failed,
        (false, true, _) | (false, false, Some(Phase::Loaded)) => Phase::Loaded,
        (false, false, _) => Phase::Pending,
    });
    status.replicas = Some(workload.replicas);
    status.ready_replicas = Some(workload.ready);
    (
        status,
        [available, described, ready].into_iter().chain(progress).collect(),
    )
}

fn described(previous: &KitePluginStatus, verdict: &Verdict) -> Fact {
    let fact = |truth, reason, message: &str| Fact::new(DESCRIBED, truth, reason, message);
    match verdict {
        Verdict::Described { unanswered: None, .. } => fact(
            Truth::True,
            reasons::DESCRIBED,
            "the running plugin is what the object says",
        ),
        Verdict::Described {
            unanswered: Some(message),
            ..
        } => fact(
            Truth::True,
            reasons::DESCRIBED,
            &format!("the running plugin is what the object says, but {message}"),
        ),
        Verdict::Unreachable { message } => fact(Truth::False, reasons::UNREACHABLE, message),
        Verdict::Mismatch { reason, message, .. } => fact(Truth::False, reason, message),
        // While pods come and go, what was said of them stays true.
        Verdict::NotAsked => previous
            .active_revision
            .and_then(|_| Fact::kept(&previous.conditions, DESCRIBED))
            .unwrap_or_else(|| fact(Truth::Unknown, reasons::PROGRESSING, "no pod is ready to be asked yet")),
    }
}

/// The conditions by which kstatus tells work from defeat.
fn progress(workload: &Workload, ready: &Fact, failed: bool) -> Option<Fact> {
    if failed {
        return Some(Fact {
            kind: STALLED,
            truth: Truth::True,
            ..ready.clone()
        });
    }
    match &workload.trouble {
        // New pods fail while old ones serve.
        Some(trouble) if workload.available && !workload.rolled_out => {
            Some(Fact::new(STALLED, Truth::True, trouble.reason, &trouble.message))
        }
        _ if ready.truth != Truth::True => Some(Fact {
            kind: RECONCILING,
            truth: Truth::True,
            ..ready.clone()
        }),
        _ if !workload.rolled_out => Some(Fact::new(
            RECONCILING,
            Truth::True,
            reasons::PROGRESSING,
            "not all pods are up to date and available yet",
        )),
        _ => None,
    }
}

/// Which revision takes traffic, and what is recorded of it. Once it does, it goes on while pods come and go; it ends
/// when the pods turn out not to be what the object says.
fn traffic(
    previous: &KitePluginStatus,
    workload: &Workload,
    verdict: &Verdict,
    version: &str,
    ready: &Fact,
) -> KitePluginStatus {
    let recorded = previous.active();
    let starting = || revision(version, None, RevisionState::Starting, Some(ready.message.clone()));
    let (active, entry, tools, version): (_, _, &[ToolStatus], _) = match verdict {
        Verdict::Described { hash, tools, .. } if recorded.is_some() || workload.available => {
            let entry = revision(version, Some(hash.clone()), RevisionState::Active, None);
            (true, entry, tools, Some(version.to_owned()))
        }
        // Ready, and the Deployment has not counted it yet.
        Verdict::Described { .. } => (false, starting(), &[], Some(version.to_owned())),
        Verdict::NotAsked | Verdict::Unreachable { .. } => match recorded {
            Some(entry) => (true, entry.clone(), &previous.tools, previous.version.clone()),
            None => (false, starting(), &[], None),
        },
        Verdict::Mismatch {
            version: said, hashes, ..
        } => {
            let still_there = |entry: &&RevisionStatus| {
                entry
                    .definitions_hash
                    .as_ref()
                    .is_some_and(|hash| hashes.contains(hash))
            };
            match recorded.filter(still_there) {
                Some(entry) => (true, entry.clone(), &previous.tools, said.clone()),
                None => (false, starting(), &[], said.clone()),
            }
        }
    };
    KitePluginStatus {
        version,
        active_revision: active.then_some(REVISION),
        revisions: vec![entry],
        tools: tools.to_vec(),
        ..KitePluginStatus::default()
    }
}

fn revision(version: &str, hash: Option<String>, state: RevisionState, message: Option<String>) -> RevisionStatus {
    RevisionStatus {
        number: REVISION,
        version: version.to_owned(),
        definitions_hash: hash,
        state,
        message,
    }
}

/// Every field of a status, so that one that is no longer there is removed.
const FIELDS: [&str; 10] = [
    "observedGeneration",
    "phase",
    "version",
    "activeRevision",
    "revisions",
    "toolCount",
    "tools",
    "replicas",
    "readyReplicas",
    "conditions",
];

/// Writes `wanted`, unless it stands there already.
pub async fn tell(
    client: &Client,
    object: &Object,
    previous: &KitePluginStatus,
    wanted: &KitePluginStatus,
) -> Result<(), StatusError> {
    if previous == wanted {
        return Ok(());
    }
    let api: Api<Object> = Api::all(client.clone());
    let params = PatchParams {
        field_manager: Some(labels::OPERATOR.to_owned()),
        ..PatchParams::default()
    };
    let patch = patch(object, wanted).map_err(StatusError::Serialize)?;
    match api
        .patch_status(object::name(object), &params, &Patch::Merge(patch))
        .await
    {
        Ok(_) => Ok(()),
        // It is gone, or another of the same name has its place.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(StatusError::Write(error.into())),
    }
}

/// A merge patch that leaves nothing of what was there before, for the very object that was looked at.
fn patch(object: &Object, wanted: &KitePluginStatus) -> Result<Value, serde_json::Error> {
    let mut fields = serde_json::to_value(wanted)?;
    if let Value::Object(fields) = &mut fields {
        for field in FIELDS {
            fields.entry(field).or_insert(Value::Null);
        }
    }
    Ok(json!({"metadata": {"uid": object.meta().uid}, "status": fields}))
}

#[cfg(test)]
mod tests;
