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

use super::{FleetError, life::AT_ONCE, scene::Scene};
use crate::testing::{PLUGINS, SYSTEM};

/// Bytes of text in each.
const SIZE: usize = 4096;

/// Makes so many of each kind in each place, and gives how many they all are.
pub(super) async fn make(scene: &Scene, of_each: usize) -> Result<usize, FleetError> {
    let text = "a".repeat(SIZE);
    let mut objects = Vec::new();
    for number in 0..of_each {
        let make = |kind: &ApiResource| {
            let mut object = DynamicObject::new(&format!("foreign-{number:05}"), kind);
            object.metadata.annotations = Some([(String::from("text"), text.clone())].into());
            object
        };
        for kind in [
            ApiResource::erase::<ConfigMap>(&()),
            ApiResource::erase::<Secret>(&()),
            ApiResource::erase::<ServiceAccount>(&()),
            ApiResource::erase::<Role>(&()),
        ] {
            for namespace in [PLUGINS, SYSTEM] {
                let api = Api::<DynamicObject>::namespaced_with(scene.admin(), namespace, &kind);
                objects.push((api, make(&kind)));
            }
        }
        let kind = ApiResource::erase::<ClusterRole>(&());
        objects.push((Api::all_with(scene.admin(), &kind), make(&kind)));
    }
    let count = objects.len();
    let create = |(api, object): (Api<DynamicObject>, DynamicObject)| async move {
        api.create(&PostParams::default(), &object).await?;
        Ok::<_, FleetError>(())
    };
    let all = stream::iter(objects).map(create).buffer_unordered(AT_ONCE);
    all.try_collect::<()>().await?;
    Ok(count)
}
