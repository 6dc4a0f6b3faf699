//! How soon all pods of a plugin are told its settings when these change, with all other plugins there.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kite_api::{KitePlugin, conditions::SETTINGS_ACCEPTED};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde_json::json;
use tokio::time::{interval, timeout};

use super::{
    FleetError,
    life::limit,
    operator::Operator,
    promise::Promise,
    scene::Scene,
    told::{PLUGIN, Settings, firsts},
};
use crate::testing::world::{object, plugins};

/// How soon every pod is told.
const WITHIN: Duration = Duration::from_secs(2);
/// How many pods there are to be told.
const PODS: usize = 3;
/// How often is looked at what they have noted. They note the time themselves.
const TURN: Duration = Duration::from_millis(20);

/// Makes a plugin that can be told settings, and changes them so often, each time when the change before is over.
pub(super) async fn pushed(scene: &Scene, operator: &Operator, changes: u16) -> Result<Promise, FleetError> {
    make(scene).await?;
    told(scene, operator, 0).await?;
    accepted(scene).await?;
    let mut times = Vec::new();
    for change in 1..=changes {
        let began = Timestamp::now();
        want(scene, change).await?;
        let last = told(scene, operator, change).await?;
        times.push(last.duration_since(began).unsigned_abs());
        accepted(scene).await?;
    }
    Ok(Promise {
        what: format!("the settings of a plugin change, until each of its {PODS} pods was told"),
        within: WITHIN,
        times,
    })
}

async fn make(scene: &Scene) -> Result<(), FleetError> {
    let fields = json!({
        "replicas": PODS,
        "settings": Settings { change: 0 },
        // They are checked before they are told.
        "settingsSchema": {"type": "object", "required": ["change"], "properties": {"change": {"type": "integer"}}},
        "drainSeconds": 0,
    });
    let object: DynamicObject = serde_json::from_value(object(PLUGIN, fields)).map_err(FleetError::Json)?;
    let api = plugins(&scene.admin());
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}

/// Changes the settings.
async fn want(scene: &Scene, change: u16) -> Result<(), FleetError> {
    let patch = Patch::Merge(json!({"spec": {"settings": Settings { change }}}));
    let api = plugins(&scene.admin());
    api.patch(PLUGIN, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Waits until each pod was told this change, and gives when the last of them was.
async fn told(scene: &Scene, operator: &Operator, change: u16) -> Result<Timestamp, FleetError> {
    let mut turns = interval(TURN);
    let mut count = 0;
    let all = async {
        loop {
            turns.tick().await;
            let pods = firsts(&scene.said_by_plugins()?, change);
            count = pods.len();
            if count >= PODS
                && let Some(last) = pods.into_values().max()
            {
                return Ok(last);
            }
        }
    };
    let in_time = timeout(limit(PODS), all).await;
    in_time.unwrap_or_else(|_| {
        let what = format!("change {change} of the settings told: {count} of {PODS} pods were");
        Err(operator.too_late(what, limit(PODS)))
    })
}

/// Waits until the object says that the settings as they are now have been accepted.
async fn accepted(scene: &Scene) -> Result<(), FleetError> {
    let all: Api<KitePlugin> = Api::all(scene.admin());
    let it = watcher::Config::default().fields(&format!("metadata.name={PLUGIN}"));
    scene
        .some("the settings accepted", (all, it), 1, has_accepted, limit(1))
        .await
}

fn has_accepted(plugin: &KitePlugin) -> bool {
    let mut conditions = plugin.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|it| {
        it.type_ == SETTINGS_ACCEPTED && it.status == "True" && it.observed_generation == plugin.metadata.generation
    })
}
