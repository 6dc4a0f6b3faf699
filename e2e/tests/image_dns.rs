//! Images that this project writes run in pods, are pulled from the registry, and resolve names there.

use k8s_openapi::api::core::v1::{Pod, Service};
use kite_api::labels::PLUGIN;
use kite_e2e::{
    cluster::Layout,
    deploy::{PROJECT_IMAGES, image_spec, project_image},
    target::Target,
    testing::{PLUGINS, START, SYSTEM, eventually, scope},
};
use kite_plugin::image::{self, PushOptions};
use kube::{
    Api,
    api::{ListParams, LogParams},
};
use serde_json::json;

#[tokio::test]
async fn a_pod_resolves_the_name_of_a_service() {
    scope("dns", async |scope| {
        let target = Target::running(&Layout::from_env().unwrap()).unwrap();
        // A program of the host that asks the C library's resolver, which is what plugins do.
        let image = image::build(&image_spec("/usr/bin/getent".into(), "getent", "1.0.0")).unwrap();
        let text = format!("{}/kite/test/getent:1.0.0", target.registry.host);
        let options = PushOptions {
            plain_http: target.registry.plain_http,
        };
        let digest = image::push(&image, &text.parse().unwrap(), options).await.unwrap();
        let pod = scope
            .pod(json!({
                "restartPolicy": "Never",
                "containers": [{
                    "name": "getent",
                    "image": format!("{}/kite/test/getent@{digest}", target.registry.host),
                    "args": ["hosts", "kubernetes.default.svc"],
                }],
            }))
            .await;
        let pods: Api<Pod> = Api::namespaced(scope.client.clone(), "default");
        eventually("the pod has ended well", START, async || {
            let status = pods
                .get(&pod)
                .await
                .map_err(|error| error.to_string())?
                .status
                .unwrap_or_default();
            if status.phase.as_deref() == Some("Succeeded") {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
        let log = pods.logs(&pod, &LogParams::default()).await.unwrap();
        let services: Api<Service> = Api::namespaced(scope.client.clone(), "default");
        let address = services
            .get("kubernetes")
            .await
            .unwrap()
            .spec
            .unwrap()
            .cluster_ip
            .unwrap();
        assert!(log.contains(&address), "{address} in {log:?}");
    })
    .await;
}

#[tokio::test]
async fn this_build_is_what_runs() {
    scope("digests", async |scope| {
        let running = async |namespace: &str, labels: &str| {
            let pods: Api<Pod> = Api::namespaced(scope.client.clone(), namespace);
            let pods = pods.list(&ListParams::default().labels(labels)).await.unwrap().items;
            let running = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
            let statuses = running.filter_map(|pod| pod.status?.container_statuses).flatten();
            statuses.map(|status| status.image_id).collect::<Vec<_>>()
        };
        for project in PROJECT_IMAGES {
            let digest = project_image(project).unwrap().digest().to_string();
            let ids = running(SYSTEM, &format!("app.kubernetes.io/name={}", project.binary)).await;
            assert!(!ids.is_empty(), "{} runs", project.name);
            assert!(ids.iter().all(|id| id.ends_with(&digest)), "{ids:?} are {digest}");
        }
        let image = scope.hello().await.image;
        let (_, digest) = image.split_once('@').expect("hello's image is named by digest");
        let ids = running(PLUGINS, &format!("{PLUGIN}=hello")).await;
        assert!(ids.iter().all(|id| id.ends_with(digest)), "{ids:?} are {digest}");
    })
    .await;
}
