//! What the cluster does with Deployments: pods that run at once, and are counted.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    pin::pin,
    time::Duration,
};

use futures::TryStreamExt;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Secret},
};
use kite_api::labels;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::plugin::{self, Running};

/// Of the image that pods run.
const DIGEST: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000aa";

/// What could not be done because something was changed meanwhile is tried again after so long.
const AGAIN: Duration = Duration::from_millis(200);

/// Looks after the Deployments of one plugin until it is dropped.
pub(crate) struct Node(JoinHandle<()>);

impl Node {
    pub(crate) fn start(client: &Client, namespace: &str, subject: &str) -> Self {
        let work = Work {
            deployments: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            secrets: Api::namespaced(client.clone(), namespace),
            subject: subject.to_owned(),
            running: HashMap::new(),
        };
        Self(tokio::spawn(work.go_on()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Work {
    deployments: Api<Deployment>,
    pods: Api<Pod>,
    secrets: Api<Secret>,
    subject: String,
    /// What runs, by the pod.
    running: HashMap<String, Running>,
}

impl Work {
    async fn go_on(mut self) {
        let ours = watcher::Config::default().labels(&format!("{}={}", labels::PLUGIN, self.subject));
        let mut events = pin!(watcher(self.deployments.clone(), ours));
        let mut turns = tokio::time::interval(AGAIN);
        let mut failed: BTreeSet<String> = BTreeSet::new();
        loop {
            let event = tokio::select! {
                event = events.try_next() => event,
                _ = turns.tick(), if !failed.is_empty() => {
                    for name in mem::take(&mut failed) {
                        if self.look_again(&name).await.is_err() {
                            failed.insert(name);
                        }
                    }
                    continue;
                }
            };
            let (deployment, outcome) = match event {
                Ok(Some(Event::Apply(deployment) | Event::InitApply(deployment))) => {
                    let outcome = self.look_after(&deployment).await;
                    (deployment, outcome)
                }
                Ok(Some(Event::Delete(deployment))) => {
                    let outcome = self.look_again(&deployment.name_any()).await;
                    (deployment, outcome)
                }
                Ok(Some(Event::Init | Event::InitDone)) | Err(_) => continue,
                Ok(None) => return,
            };
            if outcome.is_err() {
                failed.insert(deployment.name_any());
            }
        }
    }

    /// Looks after the Deployment of that name as it is now; if there is none, its pods go.
    async fn look_again(&mut self, name: &str) -> Result<(), kube::Error> {
        if let Some(deployment) = self.deployments.get_opt(name).await? {
            return self.look_after(&deployment).await;
        }
        let revision = name.rsplit('-').next().unwrap_or_default();
        let pods = self.pods_of(revision).await?;
        self.end(pods).await
    }

    async fn look_after(&mut self, deployment: &Deployment) -> Result<(), kube::Error> {
        let Some(spec) = &deployment.spec else { return Ok(()) };
        let revision = deployment.labels().get(labels::REVISION).map_or("", String::as_str);
        let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or_default();
        let of_now = spec.template.metadata.clone().unwrap_or_default().annotations;
        let uid = deployment.uid();
        let is_good = |pod: &Pod| pod.metadata.annotations == of_now && owner(pod) == uid;
        let (mut good, mut surplus): (Vec<Pod>, Vec<Pod>) =
            self.pods_of(revision).await?.into_iter().partition(is_good);
        surplus.extend(good.split_off(wanted.min(good.len())));
        self.end(surplus).await?;
        for _ in good.len()..wanted {
            self.begin(deployment).await?;
        }
        let counted = json!({
            "observedGeneration": deployment.metadata.generation,
            "replicas": wanted, "updatedReplicas": wanted, "readyReplicas": wanted, "availableReplicas": wanted,
        });
        let stands = serde_json::to_value(&deployment.status).unwrap_or_default();
        let differs = |(key, value): (&String, &Value)| stands.get(key).unwrap_or(&json!(0)) != value;
        if counted.as_object().is_some_and(|counted| counted.iter().any(differs)) {
            let patch = Patch::Merge(json!({"status": counted}));
            let name = deployment.name_any();
            self.deployments
                .patch_status(&name, &PatchParams::default(), &patch)
                .await?;
        }
        Ok(())
    }

    /// The pods of the revision, of whichever Deployment it had.
    async fn pods_of(&self, revision: &str) -> Result<Vec<Pod>, kube::Error> {
        let selector = format!("{}={},{}={revision}", labels::PLUGIN, self.subject, labels::REVISION);
        let list = self.pods.list(&ListParams::default().labels(&selector)).await?;
        Ok(list.items)
    }

    /// Makes a pod, and runs in it what its image says: the version is the image's tag.
    async fn begin(&mut self, deployment: &Deployment) -> Result<(), kube::Error> {
        let template = deployment.spec.clone().unwrap_or_default().template;
        let secret = self.secrets.get(&format!("kite-plugin-{}-tls", self.subject)).await?;
        let mut containers = template.spec.iter().flat_map(|spec| &spec.containers);
        let image = containers
            .find_map(|container| container.image.clone())
            .unwrap_or_default();
        let version = image.rsplit(':').next().unwrap_or_default();
        let Some(running) = plugin::start(&self.subject, version, &secret).await else {
            return Ok(());
        };
        let mut pod = Pod {
            metadata: template.metadata.unwrap_or_default(),
            spec: template.spec,
            status: None,
        };
        pod.metadata.generate_name = Some(format!("{}-", deployment.name_any()));
        pod.metadata.owner_references = deployment.controller_owner_ref(&()).map(|owner| vec![owner]);
        let pod = self.pods.create(&PostParams::default(), &pod).await?;
        let status = json!({"status": {
            "phase": "Running",
            "podIP": running.address,
            "podIPs": [{"ip": running.address}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{
                "name": "plugin", "image": image, "imageID": format!("registry.invalid/hello@{DIGEST}"),
                "ready": true, "restartCount": 0,
            }],
        }});
        let name = pod.name_any();
        self.pods
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
            .await?;
        self.running.insert(name, running);
        Ok(())
    }

    async fn end(&mut self, pods: Vec<Pod>) -> Result<(), kube::Error> {
        let now = DeleteParams::default().grace_period(0);
        for pod in pods {
            match self.pods.delete(&pod.name_any(), &now).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                outcome => _ = outcome?,
            }
            self.running.remove(&pod.name_any());
        }
        Ok(())
    }
}

fn owner(pod: &Pod) -> Option<String> {
    let owners = pod.metadata.owner_references.as_ref()?;
    owners.first().map(|owner| owner.uid.clone())
}
