//! What those who judge from outside make of a plugin that starts, fails, recovers, is disabled and is deleted: kstatus, Argo CD's health check
//! and `kubectl wait`, asked of every state that the API server has told.
#![cfg(test)]

use std::{pin::pin, process::Output, time::Duration};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kite_api::KitePlugin;
use kite_e2e::{
    cluster,
    testing::{
        START, Scope,
        judge::{Judge, Verdicts},
        pod::is_ready,
        scope,
    },
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinHandle,
};

/// What kubectl waits for where a plugin is to be ready.
const READY: &str = "condition=Ready";

/// What the plugin became. `None`: it is gone.
type State = Option<KitePlugin>;

/// All that becomes of a plugin, and what is said of it.
struct Watched<'a> {
    scope: &'a Scope,
    name: String,
    judge: Judge,
    states: UnboundedReceiver<State>,
    watch: JoinHandle<()>,
}

impl<'a> Watched<'a> {
    /// Of a plugin that is not there yet.
    async fn begin(scope: &'a Scope) -> Self {
        let api = scope.plugins();
        let since = api
            .list(&ListParams::default())
            .await
            .unwrap()
            .metadata
            .resource_version
            .unwrap();
        let name = scope.name.clone();
        let fields = format!("metadata.name={name}");
        let (tell, states) = unbounded_channel();
        let watch = tokio::spawn(async move {
            let params = WatchParams::default().fields(&fields).timeout(290);
            let mut events = pin!(api.watch(&params, &since).await.unwrap());
            while let Some(event) = events.try_next().await.unwrap() {
                let state = match event {
                    WatchEvent::Added(plugin) | WatchEvent::Modified(plugin) => Some(plugin),
                    WatchEvent::Deleted(_) => None,
                    WatchEvent::Bookmark(_) => continue,
                    WatchEvent::Error(error) => panic!("{error:?}"),
                };
                // Nobody listens once the test has ended.
                let _ = tell.send(state);
            }
        });
        Self {
            scope,
            name,
            judge: Judge::new(),
            states,
            watch,
        }
    }

    async fn next(&mut self) -> State {
        let next = tokio::time::timeout(START, self.states.recv()).await;
        next.unwrap_or_else(|_| panic!("nothing more becomes of {}", self.name))
            .expect("the watch goes on")
    }

    /// Waits until this is said of this generation; before that it has to be in progress.
    async fn comes_to(&mut self, generation: i64, status: &str) -> KitePlugin {
        loop {
            let plugin = self.next().await.expect("the plugin is there");
            let said = self.judge.verdicts(&plugin);
            agree(&said);
            // What was still said of an older one was awaited before.
            if plugin.metadata.generation != Some(generation) {
                continue;
            }
            if said.kstatus.status == status {
                self.is_as_said(&plugin, status).await;
                return plugin;
            }
            assert_eq!(
                said.kstatus.status, "InProgress",
                "not {status}: {said:?} of {plugin:#?}"
            );
        }
    }

    /// Changes the plugin, and waits until this is said of what it is then.
    async fn changed(&mut self, spec: Value, status: &str) -> KitePlugin {
        let patch = Patch::Merge(json!({"spec": spec}));
        let plugins = self.scope.plugins();
        let changed = plugins
            .patch(&self.name, &PatchParams::default(), &patch)
            .await
            .unwrap();
        self.comes_to(changed.metadata.generation.unwrap(), status).await
    }

    /// Whether what is said to be done is so in the cluster.
    async fn is_as_said(&self, plugin: &KitePlugin, status: &str) {
        if status != "Current" {
            return;
        }
        let pods = self.scope.pods_of(&self.name).await;
        if plugin.spec.enabled == Some(false) {
            assert!(pods.is_empty(), "{pods:#?}");
            return;
        }
        let wanted = usize::try_from(plugin.spec.replicas.unwrap_or(1)).unwrap();
        let good = pods
            .iter()
            .filter(|pod| is_ready(pod) && runs(pod, &plugin.spec.image))
            .count();
        assert_eq!(good, wanted, "{pods:#?}");
    }

    /// Deletes the plugin, and waits until it is gone; until then it has to be on its way.
    async fn deleted(mut self) {
        let delete = DeleteParams::foreground();
        self.scope.plugins().delete(&self.name, &delete).await.unwrap();
        let mut terminating = 0;
        while let Some(plugin) = self.next().await {
            let said = self.judge.verdicts(&plugin);
            agree(&said);
            if plugin.metadata.deletion_timestamp.is_some() {
                assert_eq!(said.kstatus.status, "Terminating");
                terminating += 1;
            }
        }
        assert!(terminating > 0, "it was seen on its way");
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// The health check says the same in Argo CD's words.
fn agree(said: &Verdicts) {
    let same = match said.kstatus.status.as_str() {
        "Current" => "Healthy",
        "InProgress" | "Terminating" => "Progressing",
        "Failed" => "Degraded",
        other => panic!("{other}"),
    };
    assert_eq!(said.argo_cd.status, same, "{said:?}");
}

fn runs(pod: &Pod, image: &str) -> bool {
    let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.any(|container| container.image.as_deref() == Some(image))
}

/// Has kubectl wait for something that becomes of the plugin, in its own words.
fn kubectl_waits(name: &str, what: &str, limit: Duration) -> JoinHandle<Output> {
    let tools = cluster::tools(&cluster::Layout::from_env().unwrap()).unwrap();
    let mut kubectl = tools.kubectl();
    kubectl.args(["wait", &format!("kp/{name}"), &format!("--for={what}")]);
    kubectl.arg(format!("--timeout={}s", limit.as_secs()));
    tokio::task::spawn_blocking(move || kubectl.output().unwrap())
}

async fn comes(waits: JoinHandle<Output>) {
    let output = waits.await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

async fn does_not_come(waits: JoinHandle<Output>) {
    let output = waits.await.unwrap();
    assert!(!output.status.success(), "{output:?}");
}

#[tokio::test]
async fn who_judges_from_outside_sees_a_plugin_as_it_is() {
    scope("verdicts", async |scope| {
        let mut watched = Watched::begin(&scope).await;
        let name = scope.make_plugin("", |_| {}).await;
        let good = scope.hello().await.image;
        let (repository, _) = good.split_once('@').unwrap();
        let bad = format!("{repository}:9.9.9");
        let ready = kubectl_waits(&name, READY, START);
        watched.comes_to(1, "Current").await;
        comes(ready).await;

        // The next one does not come up, and the old one serves.
        let stalled = kubectl_waits(&name, "condition=Stalled", START);
        watched.changed(json!({"image": bad}), "Failed").await;
        comes(stalled).await;
        watched.changed(json!({"image": good}), "Current").await;
        watched.changed(json!({"replicas": 2}), "Current").await;

        watched
            .changed(json!({"enabled": false, "replicas": 1}), "Current")
            .await;
        comes(kubectl_waits(&name, READY, START)).await;

        // Nothing of it comes up, and then it recovers.
        watched.changed(json!({"enabled": true, "image": bad}), "Failed").await;
        does_not_come(kubectl_waits(&name, READY, Duration::from_secs(1))).await;
        let ready = kubectl_waits(&name, READY, START);
        let recovered = watched.changed(json!({"image": good}), "Current").await;
        comes(ready).await;
        assert_eq!(recovered.name_any(), name);

        does_not_come(kubectl_waits(&name, "delete", Duration::from_secs(1))).await;
        let gone = kubectl_waits(&name, "delete", START);
        watched.deleted().await;
        comes(gone).await;
    })
    .await;
}
