//! What the operator is compared with: a client that has nothing to decide, and creates the same objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::{Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    rbac::v1::{Role, RoleBinding},
};
use kite_api::{KitePlugin, labels};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams, ObjectMeta, PostParams},
    runtime::watcher,
};

use super::{
    FleetError,
    life::{AT_ONCE, limit},
    scene::Scene,
};
use crate::testing::PLUGINS;

/// An object, and what it is.
#[derive(Clone, Debug)]
struct Made {
    kind: ApiResource,
    object: DynamicObject,
}

/// All that there is of each plugin, in the order in which it is made.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects(BTreeMap<String, Vec<Made>>);

impl Objects {
    /// What stands in the scene.
    pub(super) async fn of(scene: &Scene) -> Result<Self, FleetError> {
        let mut all = Self::default();
        for kind in kinds() {
            all.take(scene, kind).await?;
        }
        Ok(all)
    }

    async fn take(&mut self, scene: &Scene, kind: ApiResource) -> Result<(), FleetError> {
        for mut object in list(scene, &kind).await? {
            let own = object.labels().get(labels::PLUGIN).cloned();
            let plugin = own.unwrap_or_else(|| object.name_any());
            // No owner: there is none of that uid in another scene.
            object.metadata = ObjectMeta {
                name: object.metadata.name,
                namespace: object.metadata.namespace,
                labels: object.metadata.labels,
                annotations: object.metadata.annotations,
                ..ObjectMeta::default()
            };
            if let Some(fields) = object.data.as_object_mut() {
                fields.remove("status");
            }
            let kind = kind.clone();
            self.0.entry(plugin).or_default().push(Made { kind, object });
        }
        Ok(())
    }

    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Creates all of them, and waits until every plugin has a pod that is available.
    pub(super) async fn create(self, scene: &Scene) -> Result<Duration, FleetError> {
        let count = self.0.len();
        let began = Instant::now();
        let client = scene.admin();
        let plugins = stream::iter(self.0.into_values()).map(|own| create(&client, own));
        plugins.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let deployments: Api<Deployment> = Api::namespaced(scene.admin(), PLUGINS);
        let is_available = |deployment: &Deployment| {
            let status = deployment.status.as_ref();
            status.and_then(|status| status.available_replicas) >= Some(1)
        };
        scene
            .some(
                "the Deployments available",
                (deployments, watcher::Config::default()),
                count,
                is_available,
                limit(count),
            )
            .await?;
        Ok(began.elapsed())
    }
}

/// What there is of a plugin, in the order in which it is made.
fn kinds() -> [ApiResource; 9] {
    [
        ApiResource::erase::<KitePlugin>(&()),
        ApiResource::erase::<Role>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<RoleBinding>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<ControllerRevision>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<Deployment>(&()),
    ]
}

async fn list(scene: &Scene, kind: &ApiResource) -> Result<Vec<DynamicObject>, FleetError> {
    let (api, of_operator): (Api<DynamicObject>, _) = if is_plugin(kind) {
        (Api::all_with(scene.admin(), kind), ListParams::default())
    } else {
        let label = format!("{}={}", labels::MANAGED_BY, labels::OPERATOR);
        let api = Api::namespaced_with(scene.admin(), PLUGINS, kind);
        (api, ListParams::default().labels(&label))
    };
    Ok(api.list(&of_operator).await?.items)
}

/// The version of every plugin and of all that was made for them. What changes none has written nothing, whatever it has asked for.
pub(super) async fn versions(scene: &Scene) -> Result<BTreeSet<String>, FleetError> {
    let mut versions = BTreeSet::new();
    for kind in kinds() {
        for object in list(scene, &kind).await? {
            let version = object.resource_version().unwrap_or_default();
            versions.insert(format!("{} {} at {version}", kind.kind, object.name_any()));
        }
    }
    Ok(versions)
}

fn is_plugin(kind: &ApiResource) -> bool {
    kind.kind == KitePlugin::kind(&())
}

async fn create(client: &Client, own: Vec<Made>) -> Result<(), FleetError> {
    for Made { kind, object } in own {
        let api: Api<DynamicObject> = if is_plugin(&kind) {
            Api::all_with(client.clone(), &kind)
        } else {
            Api::namespaced_with(client.clone(), PLUGINS, &kind)
        };
        api.create(&PostParams::default(), &object).await?;
    }
    Ok(())
}
