//! How soon another operator acts when the one that leads is killed, with all plugins there.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::api::resource::Quantity};
use kite_api::{KitePlugin, labels};
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::watcher,
};
use serde_json::json;
use tokio::try_join;

use super::{
    FleetError,
    life::{limit, name},
    operator::{Operator, Replica},
    promise::Promise,
    scene::Scene,
};
use crate::testing::PLUGINS;

/// How soon after the kill what was changed since has its effect.
const WITHIN: Duration = Duration::from_secs(20);
/// What the memory of the plugins that are changed is limited to, and that of no other.
const MEMORY: &str = "96Mi";

/// What came of the kill.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Takeover {
    /// When the other operator led.
    pub(super) led: Duration,
    /// When it had acted, on each plugin that was changed.
    pub(super) acted: Promise,
}

/// Starts a second operator, kills the first, and changes so many of the plugins right after. Several, because one could be lucky
/// with its turn.
pub(super) async fn taken_over(
    scene: &Scene,
    first: Operator,
    program: &Path,
    (plugins, changes): (usize, u16),
) -> Result<Takeover, FleetError> {
    let second = Operator::start(scene, program, Replica::Second)?;
    second.stands_by(limit(0)).await?;
    let names = some(plugins, changes.into());
    let killed = Instant::now();
    first.kill();
    try_join_all(names.iter().map(|name| change(scene, name))).await?;
    let leads = async {
        second.leads(limit(0)).await?;
        Ok::<_, FleetError>(killed.elapsed())
    };
    let acted = try_join_all(names.iter().map(async |name| {
        is_changed(scene, name, limit(plugins)).await?;
        Ok::<_, FleetError>(killed.elapsed())
    }));
    let (led, times) = try_join!(leads, acted)?;
    let what = "the operator that leads is killed and a plugin changed, until another one has made the new Deployment";
    Ok(Takeover {
        led,
        acted: Promise {
            what: what.to_owned(),
            within: WITHIN,
            times,
        },
    })
}

/// The names of so many plugins, or of all, from everywhere among them.
fn some(plugins: usize, count: usize) -> Vec<String> {
    let count = count.min(plugins);
    (0..count).map(|number| name(number * plugins / count)).collect()
}

async fn change(scene: &Scene, name: &str) -> Result<(), FleetError> {
    let patch = Patch::Merge(json!({"spec": {"resources": {"limits": {"memory": MEMORY}}}}));
    let all: Api<KitePlugin> = Api::all(scene.admin());
    all.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Waits until there is the Deployment of what the plugin was changed to.
async fn is_changed(scene: &Scene, name: &str, limit: Duration) -> Result<(), FleetError> {
    let deployments: Api<Deployment> = Api::namespaced(scene.admin(), PLUGINS);
    let its = watcher::Config::default().labels(&format!("{}={name}", labels::PLUGIN));
    scene
        .some(&format!("{name} changed"), (deployments, its), 1, has_memory, limit)
        .await
}

fn has_memory(deployment: &Deployment) -> bool {
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let mut containers = pod.iter().flat_map(|pod| &pod.containers);
    containers.any(|container| {
        let limits = container.resources.as_ref().and_then(|it| it.limits.as_ref());
        limits.and_then(|limits| limits.get("memory")) == Some(&Quantity(MEMORY.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_changed_are_from_everywhere_among_all() {
        assert_eq!(some(10, 3), ["fleet-0000", "fleet-0003", "fleet-0006"]);
        assert_eq!(some(2, 3), ["fleet-0000", "fleet-0001"]);
        assert_eq!(some(0, 3), [""; 0]);
    }
}
