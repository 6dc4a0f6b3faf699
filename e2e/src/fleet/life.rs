//! What happens to many plugins, and what the operator takes for it.

use std::{collections::HashSet, path::Path, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::jiff::Timestamp;
use kite_api::{KitePlugin, Phase};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde_json::{Value, json};

use super::{
    FleetError,
    bare::versions,
    operator::{Operator, Replica, Took},
    scene::Scene,
};
use crate::{
    audit::Request,
    testing::world::{object, plugins},
};

/// How many are made at once, as by a tool that applies a folder.
pub(super) const AT_ONCE: usize = 32;
/// The one that is changed.
const CHANGED: usize = 0;
/// Nothing is written for so long once all has settled: longer than anything takes that the operator itself waits for.
const SETTLED: Duration = Duration::from_secs(15);
/// How long all may take to settle.
const PATIENCE: Duration = Duration::from_mins(3);

/// How long so many plugins may take for anything. A guard against waiting for ever, and no aim.
pub(super) fn limit(count: usize) -> Duration {
    PATIENCE + Duration::from_secs(1) * u32::try_from(count).unwrap_or(u32::MAX)
}

pub(super) fn name(number: usize) -> String {
    format!("fleet-{number:04}")
}

/// A plugin that may do something, so that it has all that plugins have.
fn plugin(number: usize) -> Value {
    let fields = json!({
        "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
        // So that a change is over when the new revision serves.
        "drainSeconds": 0,
    });
    object(&name(number), fields)
}

fn is_loaded(plugin: &KitePlugin) -> bool {
    plugin.status.as_ref().and_then(|status| status.phase) == Some(Phase::Loaded)
}

/// Makes the plugins, and waits until all are Loaded.
pub(super) async fn made(scene: &Scene, operator: &Operator, count: usize) -> Result<Took, FleetError> {
    let meter = operator.meter()?;
    let api = plugins(&scene.admin());
    let make = |number| {
        let api = api.clone();
        async move {
            let object: DynamicObject = serde_json::from_value(plugin(number)).map_err(FleetError::Json)?;
            api.create(&PostParams::default(), &object).await?;
            Ok::<_, FleetError>(())
        }
    };
    let all = stream::iter(0..count).map(make).buffer_unordered(AT_ONCE);
    all.try_collect::<()>().await?;
    let all: Api<KitePlugin> = Api::all(scene.admin());
    scene
        .some(
            "the plugins Loaded",
            (all, watcher::Config::default()),
            count,
            is_loaded,
            limit(count),
        )
        .await?;
    let took = operator.took(scene, &meter)?;
    settled(scene).await?;
    Ok(took)
}

/// Waits until the operator has written nothing for a while.
async fn settled(scene: &Scene) -> Result<(), FleetError> {
    let settle = async {
        loop {
            let since = Timestamp::now();
            tokio::time::sleep(SETTLED).await;
            if !scene.requests(since)?.iter().any(Request::is_write) {
                return Ok(());
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, settle).await;
    in_time.unwrap_or_else(|_| {
        Err(FleetError::TooLate {
            what: String::from("the operator write nothing more"),
            limit: PATIENCE,
            log: String::new(),
        })
    })
}

/// What the operator takes while nothing happens.
pub(super) async fn steady(scene: &Scene, operator: &Operator, time: Duration) -> Result<Took, FleetError> {
    let meter = operator.meter()?;
    tokio::time::sleep(time).await;
    operator.took(scene, &meter)
}

/// Changes one of the plugins, and waits until its new revision serves.
pub(super) async fn changed(scene: &Scene, operator: &Operator) -> Result<(Took, HashSet<String>), FleetError> {
    let since = Timestamp::now();
    let meter = operator.meter()?;
    let name = name(CHANGED);
    let patch = Patch::Merge(json!({"spec": {"resources": {"limits": {"memory": "64Mi"}}}}));
    let all: Api<KitePlugin> = Api::all(scene.admin());
    all.patch(&name, &PatchParams::default(), &patch).await?;
    let serves = |plugin: &KitePlugin| plugin.status.as_ref().and_then(|status| status.active_revision) == Some(2);
    let all = (all, watcher::Config::default());
    scene.some("the new revision", all, 1, serves, limit(1)).await?;
    let took = operator.took(scene, &meter)?;
    settled(scene).await?;
    let writes = scene.requests(since)?.into_iter().filter(Request::is_write);
    let touched = writes.map(|request| request.object_ref.name);
    let others = touched.filter(|touched| !touched.contains(&name));
    Ok((took, others.collect()))
}

/// Puts another process in the operator's place, and waits until that has looked at every plugin.
pub(super) async fn restarted(
    scene: &Scene,
    operator: Operator,
    program: &Path,
    count: usize,
) -> Result<(Operator, Took, Vec<String>), FleetError> {
    let before = versions(scene).await?;
    operator.end();
    let operator = Operator::start(scene, program, Replica::First)?;
    let meter = operator.meter()?;
    operator
        .is_done(u64::try_from(count).unwrap_or(u64::MAX), limit(count))
        .await?;
    let took = operator.took(scene, &meter)?;
    let written = versions(scene).await?.difference(&before).cloned().collect();
    Ok((operator, took, written))
}
