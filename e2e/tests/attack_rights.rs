//! A plugin has the rights of its grant and no other, as the API server itself says.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kite_e2e::testing::{PLUGINS, SOON, SYSTEM, eventually, scope};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;

/// Pods with their restarts, to tell whether any was restarted.
fn lives(pods: &[Pod]) -> Vec<(String, i32)> {
    let restarts = |pod: &Pod| {
        pod.status
            .iter()
            .flat_map(|s| s.container_statuses.iter().flatten())
            .map(|c| c.restart_count)
            .sum()
    };
    pods.iter()
        .map(|pod| (pod.uid().unwrap_or_default(), restarts(pod)))
        .collect()
}

fn is_forbidden<T>(result: Result<T, kube::Error>) -> bool {
    matches!(result, Err(kube::Error::Api(status)) if status.code == 403)
}

#[tokio::test]
async fn the_service_account_has_the_grant_and_no_more() {
    scope("grant", async |scope| {
        let token = scope.token_of(PLUGINS, "kite-plugin-hello").await;
        let client = scope.client_with(&token).await;
        let all = ListParams::default();
        assert!(
            Api::<Pod>::namespaced(client.clone(), PLUGINS).list(&all).await.is_ok(),
            "pods are granted"
        );
        assert!(is_forbidden(
            Api::<Secret>::namespaced(client.clone(), PLUGINS).list(&all).await
        ));
        assert!(is_forbidden(
            Api::<Secret>::namespaced(client.clone(), PLUGINS)
                .get("kite-plugin-hello-tls")
                .await
        ));
        assert!(is_forbidden(
            Api::<Secret>::namespaced(client.clone(), SYSTEM)
                .get("kite-ca-servers")
                .await
        ));
        assert!(is_forbidden(
            Api::<ConfigMap>::namespaced(client.clone(), PLUGINS).list(&all).await
        ));
        assert!(is_forbidden(
            Api::<Pod>::namespaced(client.clone(), SYSTEM).list(&all).await
        ));
        assert!(is_forbidden(Api::<Pod>::all(client).list(&all).await));
    })
    .await;
}

#[tokio::test]
async fn a_withdrawn_permission_is_gone_within_seconds_without_a_restart() {
    scope("withdrawn", async |scope| {
        let plugin = scope.loaded_plugin("", |_| {}).await;
        let admin = scope.gateway.admin();
        assert_eq!(scope.gateway.get(admin, &format!("{plugin}/pods")).await.status, 200);
        let before = lives(&scope.pods_of(&plugin).await);
        assert_eq!(before.len(), 1);
        let client = scope
            .client_with(&scope.token_of(PLUGINS, &format!("kite-plugin-{plugin}")).await)
            .await;
        let pods: Api<Pod> = Api::namespaced(client, PLUGINS);
        assert!(pods.list(&ListParams::default()).await.is_ok());

        scope
            .patch_plugin(&plugin, json!({"spec": {"permissions": null}}))
            .await;
        eventually("the right is gone", SOON, async || {
            if is_forbidden(pods.list(&ListParams::default()).await) {
                Ok(())
            } else {
                Err("still there".into())
            }
        })
        .await;
        assert_ne!(scope.gateway.get(admin, &format!("{plugin}/pods")).await.status, 200);
        assert_eq!(
            scope.gateway.get(admin, &format!("{plugin}/hello")).await.status,
            200,
            "the rest goes on"
        );
        scope.wait_for_phase(&plugin, kite_api::Phase::Loaded).await;
        assert_eq!(
            lives(&scope.pods_of(&plugin).await),
            before,
            "no pod was restarted or replaced"
        );
    })
    .await;
}

#[tokio::test]
async fn a_grant_in_other_namespaces_and_cluster_wide_holds_where_it_says() {
    scope("elsewhere", async |scope| {
        let namespace = scope.namespace("-ns").await;
        let rule = |resource: &str, namespaces: &[&str]| {
            json!({"apiGroups": [""], "resources": [resource], "verbs": ["list"], "namespaces": namespaces})
        };
        let grant = json!([rule("configmaps", &[&namespace]), rule("nodes", &["*"])]);
        let plugin = scope.loaded_plugin("", |spec| spec.permissions = serde_json::from_value(grant).unwrap()).await;
        let client = scope.client_with(&scope.token_of(PLUGINS, &format!("kite-plugin-{plugin}")).await).await;
        let all = ListParams::default();
        eventually("the rights are there", SOON, async || {
            let nodes = Api::<k8s_openapi::api::core::v1::Node>::all(client.clone()).list(&all).await.map(drop);
            let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace).list(&all).await.map(drop);
            nodes.and(maps).map_err(|error| error.to_string())
        })
        .await;
        assert!(is_forbidden(Api::<ConfigMap>::namespaced(client.clone(), PLUGINS).list(&all).await));
        assert!(is_forbidden(Api::<Pod>::namespaced(client, PLUGINS).list(&all).await));
    })
    .await;
}
