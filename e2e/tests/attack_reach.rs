//! The operator says that the policies are in force, and who reaches the plugins in spite of them.
#![cfg(test)]

use k8s_openapi::api::{core::v1::Pod, events::v1::Event, rbac::v1::RoleBinding};
use kite_e2e::{
    target::config_of,
    testing::{PLUGINS, SOON, SYSTEM, Scope, eventually, kubeconfig, scope},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

/// What the operator's own page says, once it has this.
async fn says(scope: &Scope, page: &str, has: &str) -> String {
    let pods: Api<Pod> = Api::namespaced(scope.client.clone(), SYSTEM);
    eventually(&format!("{page} of the operator has {has:?}"), SOON, async || {
        let operators = ListParams::default().labels("app.kubernetes.io/name=kite-operator");
        let found = pods.list(&operators).await.map_err(|error| error.to_string())?;
        let is_there = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
        let pod = found.items.iter().find(is_there).ok_or("no pod")?.name_any();
        let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/{page}");
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let text = scope
            .client
            .request_text(request)
            .await
            .map_err(|error| error.to_string())?;
        if text.contains(has) { Ok(text) } else { Err(text) }
    })
    .await
}

/// Who makes bindings in every namespace is not asked by the policies, as nobody was before there were any.
async fn controller() -> Client {
    let mut config = config_of(&kubeconfig()).await.unwrap();
    config.auth_info.impersonate = Some(String::from("system:kube-controller-manager"));
    config.auth_info.impersonate_groups = Some(vec![String::from("system:masters")]);
    Client::try_from(config).unwrap()
}

#[tokio::test]
async fn the_operator_tells_that_the_policies_are_in_force() {
    scope("in-force", async |scope| {
        says(&scope, "readyz", "ok\nlease: ").await;
        says(&scope, "readyz", "\nboundary: the policies are installed and bound\n").await;
        says(&scope, "metrics", "kite_operator_boundary_faults 0\n").await;
        says(&scope, "metrics", "kite_operator_boundary_known 1\n").await;
    })
    .await;
}

#[tokio::test]
async fn a_binding_by_which_others_act_as_plugins_is_told_on_it() {
    scope("reach", async |scope| {
        let bindings: Api<RoleBinding> = Api::namespaced(controller().await, PLUGINS);
        let _ = bindings.delete("reach", &DeleteParams::default()).await;
        let binding = json!({
            "metadata": {"name": "reach"},
            "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        });
        let binding = serde_json::from_value(binding).unwrap();
        let made = bindings.create(&PostParams::default(), &binding).await.unwrap();
        let events: Api<Event> = Api::namespaced(scope.client.clone(), PLUGINS);
        let note = eventually("the binding has an event", SOON, async || {
            let all = events
                .list(&ListParams::default())
                .await
                .map_err(|error| error.to_string())?;
            let is_on_it = |event: &&Event| event.regarding.as_ref().is_some_and(|it| it.uid == made.metadata.uid);
            let event = all.items.iter().find(is_on_it).ok_or("none")?;
            Ok((event.reason.clone(), event.note.clone().unwrap_or_default()))
        })
        .await;
        assert_eq!(note.0.as_deref(), Some("ReachesPlugins"));
        assert!(note.1.contains("ClusterRole \"edit\" in kite-plugins"), "{note:?}");
        says(&scope, "readyz", "more than view in the plugins' namespace: 1").await;
        bindings.delete("reach", &DeleteParams::default()).await.unwrap();
        says(&scope, "metrics", "kite_operator_boundary_reaching_bindings 0\n").await;
    })
    .await;
}
