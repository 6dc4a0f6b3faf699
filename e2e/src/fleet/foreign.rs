//! Objects that are nobody's plugin's, in all places that the operator looks at: it must not keep them.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Secret, ServiceAccount},
    rbac::v1::{ClusterRole, Role},
};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::json;

use super::{FleetError, life::AT_ONCE, scene::Scene};
use crate::testing::{PLUGINS, SYSTEM};

/// Bytes of text in each.
const SIZE: usize = 4096;

/// Makes so many of each kind in each place, and gives how many they all are.
pub(super) async fn make(scene: &Scene, of_each: usize) -> Result<usize, FleetError> {
    let text = "a".repeat(SIZE);
    let mut objects = Vec::new();
    for number in 0..of_each {
        let metadata = json!({"name": format!("foreign-{number:05}"), "annotations": {"text": text}});
        for kind in [
            ApiResource::erase::<ConfigMap>(&()),
            ApiResource::erase::<Secret>(&()),
            ApiResource::erase::<ServiceAccount>(&()),
            ApiResource::erase::<Role>(&()),
        ] {
            for namespace in [PLUGINS, SYSTEM] {
                let api = Api::<DynamicObject>::namespaced_with(scene.admin(), namespace, &kind);
                objects.push((api, metadata.clone()));
            }
        }
        let kind = ApiResource::erase::<ClusterRole>(&());
        objects.push((Api::all_with(scene.admin(), &kind), metadata));
    }
    let count = objects.len();
    let create = |(api, metadata): (Api<DynamicObject>, _)| async move {
        let object = serde_json::from_value(json!({"metadata": metadata})).map_err(FleetError::Json)?;
        api.create(&PostParams::default(), &object).await?;
        Ok::<_, FleetError>(())
    };
    let all = stream::iter(objects).map(create).buffer_unordered(AT_ONCE);
    all.try_collect::<()>().await?;
    Ok(count)
}
