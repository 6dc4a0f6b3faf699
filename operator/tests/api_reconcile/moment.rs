//! Not for a moment does what runs anew have the rights of what ran before: the order of writes, by the API server's own count.

use std::{fmt::Debug, pin::pin, time::Duration};

use futures::TryStreamExt;
use k8s_openapi::api::{
    apps::v1::Deployment,
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::support::{World, world};

const LIMIT: Duration = Duration::from_secs(30);
const OLD_IMAGE: &str = "registry.invalid/hello:0.1.0";
const NEW_IMAGE: &str = "registry.invalid/other:0.1.0";

/// What happens to one object from now on.
struct Log<K> {
    api: Api<K>,
    name: String,
    since: String,
}

impl<K> Log<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    /// Of an object that is there.
    async fn of(api: Api<K>, name: &str) -> Self {
        Self::with(api, name, 1).await
    }

    /// Of an object that is not there yet.
    async fn before(api: Api<K>, name: &str) -> Self {
        Self::with(api, name, 0).await
    }

    async fn with(api: Api<K>, name: &str, count: usize) -> Self {
        let params = ListParams::default().fields(&format!("metadata.name={name}"));
        let list = api.list(&params).await.unwrap();
        assert_eq!(list.items.len(), count, "{} {name}", K::kind(&()));
        Self {
            api,
            name: name.to_owned(),
            since: list.metadata.resource_version.unwrap(),
        }
    }

    /// The count at which it came to be so, first of all. The API server has one count for the writes of all objects.
    async fn when(&self, holds: impl Fn(&WatchEvent<K>) -> bool) -> u64 {
        let params = WatchParams::default().fields(&format!("metadata.name={}", self.name));
        let mut events = pin!(self.api.watch(&params, &self.since).await.unwrap());
        let first = async {
            while let Some(event) = events.try_next().await.unwrap() {
                if let (true, WatchEvent::Added(it) | WatchEvent::Modified(it) | WatchEvent::Deleted(it)) =
                    (holds(&event), &event)
                {
                    return it.resource_version().unwrap().parse().unwrap();
                }
            }
            panic!("the watch of {} {} has ended", K::kind(&()), self.name);
        };
        tokio::time::timeout(LIMIT, first)
            .await
            .unwrap_or_else(|_| panic!("{} {} did not come to be so", K::kind(&()), self.name))
    }

    async fn deleted(&self) -> u64 {
        self.when(|event| matches!(event, WatchEvent::Deleted(_))).await
    }
}

/// Whether the Deployment came to run the new image.
fn runs_the_new(event: &WatchEvent<Deployment>) -> bool {
    let (WatchEvent::Added(deployment) | WatchEvent::Modified(deployment)) = event else {
        return false;
    };
    let pods = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let images = pods.iter().flat_map(|pods| &pods.containers);
    images
        .filter_map(|container| container.image.as_deref())
        .any(|image| image == NEW_IMAGE)
}

fn grant(resources: &[&str], verbs: &[&str], namespaces: &[&str]) -> Value {
    json!({"apiGroups": [""], "resources": resources, "verbs": verbs, "namespaces": namespaces})
}

#[test]
fn whoever_takes_all_rights_and_changes_the_image_at_once_runs_nothing_with_them() {
    world().run(async |w: &World| {
        let (own, other) = (w.plugins_namespace(), format!("moment-{}", w.plugins_namespace()));
        w.make_namespace(&other).await;
        let permissions = [
            grant(&["pods"], &["get"], &[own, &other]),
            grant(&["nodes"], &["list"], &["*"]),
        ];
        // The rights in the cluster and those on other plugins are given by one binding; each of them alone is too.
        for (plugin, fields) in [
            ("moment", json!({"permissions": permissions, "calls": ["other"]})),
            ("moment-permissions", json!({"permissions": permissions})),
            (
                "moment-calls",
                json!({"permissions": permissions.get(..1), "calls": ["other"]}),
            ),
        ] {
            let mut before = fields;
            before["image"] = json!(OLD_IMAGE);
            w.apply(plugin, before).await;
            w.observed(plugin, 1).await;
            let name = format!("kite-plugin-{plugin}");
            let deployment = Log::<Deployment>::before(w.plugins(), &format!("{name}-2")).await;
            let here = Log::<RoleBinding>::of(w.plugins(), &name).await;
            let there = Log::<RoleBinding>::of(w.within(&other), &name).await;
            let everywhere = Log::<ClusterRoleBinding>::of(w.everywhere(), &name).await;

            w.apply(plugin, json!({"image": NEW_IMAGE})).await;
            let started = deployment.when(runs_the_new).await;
            for (what, gone) in [
                ("in its namespace", here.deleted().await),
                ("in another", there.deleted().await),
                ("in the cluster", everywhere.deleted().await),
            ] {
                assert!(gone < started, "{plugin}: {what} {gone}, started {started}");
            }
        }
    });
}

#[test]
fn whoever_takes_some_rights_and_changes_the_image_at_once_runs_nothing_with_them() {
    world().run(async |w: &World| {
        let own = w.plugins_namespace();
        let permissions = |verbs: &[&str]| json!([grant(&["pods"], verbs, &[own]), grant(&["nodes"], verbs, &["*"])]);
        let before = json!({"permissions": permissions(&["get", "list"]), "image": OLD_IMAGE});
        w.apply("moment-less", before).await;
        w.observed("moment-less", 1).await;
        let name = "kite-plugin-moment-less";
        let deployment = Log::<Deployment>::before(w.plugins(), &format!("{name}-2")).await;
        let here = Log::<Role>::of(w.plugins(), name).await;
        let everywhere = Log::<ClusterRole>::of(w.everywhere(), name).await;

        let after = json!({"permissions": permissions(&["get"]), "image": NEW_IMAGE});
        w.apply("moment-less", after).await;
        let started = deployment.when(runs_the_new).await;
        let is_less = |rules: &Option<Vec<PolicyRule>>| rules.iter().flatten().all(|rule| rule.verbs == ["get"]);
        let narrowed = here
            .when(|event| matches!(event, WatchEvent::Modified(role) if is_less(&role.rules)))
            .await;
        assert!(narrowed < started, "in its namespace {narrowed}, started {started}");
        let narrowed = everywhere
            .when(|event| matches!(event, WatchEvent::Modified(role) if is_less(&role.rules)))
            .await;
        assert!(narrowed < started, "in the cluster {narrowed}, started {started}");
    });
}
