//! A plugin's pods are as its object says, restricted all the same, and nothing that drains a node takes them all at once.
#![cfg(test)]

use std::{fs, path::PathBuf};

use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kite_api::KitePluginSpec;
use kite_e2e::{
    cluster::Layout,
    target::Target,
    testing::{
        LABEL, PLUGINS, SOON, START, SYSTEM, Scope, eventually,
        faulty::{PrivateRegistry, faulty},
        pod::is_ready,
        scope, succeeded, unavailable,
    },
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};

/// Waits until the object says that its pods need something, with all these words.
async fn withheld(scope: &Scope, plugin: &str, words: &[&str]) {
    unavailable(scope, plugin, "SecretMissing", words).await;
    assert!(scope.pods_of(plugin).await.is_empty(), "no pod is made without it");
}

/// The pod's part of a spec in which everything is said.
fn pods(registry: &str, secret: &str, config_map: &str) -> Value {
    json!({
        "imagePullSecrets": [{"name": registry}],
        "env": [
            {"name": "PLAIN", "value": "plain"},
            {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": secret, "key": "word"}}},
            {"name": "FROM_CONFIG_MAP", "valueFrom": {"configMapKeyRef": {"name": config_map, "key": "word"}}},
        ],
        "volumes": [{"name": "data", "mountPath": "/data", "emptyDir": {"sizeLimit": "1Mi"}}],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
        "limits": {"timeoutSeconds": 35},
        "metrics": {"allowFrom": {"namespaceSelector": {"matchLabels": {"team": "watchers"}}}},
    })
}

/// `spec` with these fields.
fn with(spec: &mut KitePluginSpec, fields: Value) {
    let mut all = serde_json::to_value(&*spec).unwrap();
    if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
        all.extend(fields);
    }
    *spec = serde_json::from_value(all).unwrap();
}

#[tokio::test]
async fn pods_are_as_the_object_says_and_are_not_all_taken_at_once() {
    scope("workload", async |scope| {
        let registry = PrivateRegistry::start().await;
        let image = faulty().await;
        let (_, path) = image.split_once('/').unwrap();
        let (own, pull) = (format!("{}-own", scope.name), format!("{}-pull", scope.name));
        let fields = pods(&pull, &own, &own);
        let made = |spec: &mut KitePluginSpec| {
            spec.image = format!("{}/{path}", registry.host);
            spec.replicas = Some(2);
            with(spec, fields);
        };
        let plugin = scope.make_plugin("-looks", made).await;

        // What is named has to be there, and to be meant for it.
        withheld(&scope, &plugin, &[&format!("Secret {pull} in"), "is not there"]).await;
        let config = json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": registry.docker_config()}});
        scope.make_in_plugins::<Secret>("-pull", config).await;
        scope
            .make_in_plugins::<Secret>("-own", json!({"stringData": {"word": "secret"}}))
            .await;
        scope
            .make_in_plugins::<ConfigMap>("-own", json!({"data": {"word": "map"}}))
            .await;
        withheld(&scope, &plugin, &[&format!("kubectl label secret -n {PLUGINS} {pull} kite.dev/pull=true")]).await;
        scope.label_in_plugins::<Secret>(&pull, "kite.dev/pull", "true").await;
        scope.label_in_plugins::<ConfigMap>(&own, "kite.dev/plugin", &plugin).await;
        withheld(&scope, &plugin, &[&format!("kubectl label secret -n {PLUGINS} {own} kite.dev/plugin={plugin}")]).await;
        scope.label_in_plugins::<Secret>(&own, "kite.dev/plugin", &plugin).await;
        scope.wait_for_revision(&plugin, 1).await;
        scope.wait_for_answer(&plugin, 200).await;

        for (path, expected) in [
            ("variable/PLAIN", "plain"),
            ("variable/FROM_SECRET", "secret"),
            ("variable/FROM_CONFIG_MAP", "map"),
            ("variable/KITE_GRACE_SECONDS", "45"),
            ("write/data/a", "written"),
            ("write/a", "read-only filesystem or storage medium"),
            ("write/run/kite/a", "read-only filesystem or storage medium"),
        ] {
            assert_eq!(scope.answer(&plugin, path).await, expected, "{path}");
        }
        is_restricted(&scope, &plugin).await;
        is_guarded(&scope, &plugin).await;
        loses_one_at_a_time(&scope, &plugin).await;

        scope.patch_plugin(&plugin, json!({"spec": {"replicas": 1}})).await;
        let budgets: Api<PodDisruptionBudget> = Api::namespaced(scope.client.clone(), PLUGINS);
        eventually("one pod may be evicted", SOON, async || {
            let left = budgets.get_opt(&format!("kite-plugin-{plugin}-1")).await;
            match left.map_err(|error| error.to_string())? {
                None => Ok(()),
                Some(left) => Err(format!("{left:?}")),
            }
        })
        .await;
    })
    .await;
}

/// The pods run where the API server admits nothing else than Pod Security's level `restricted`.
async fn is_restricted(scope: &Scope, plugin: &str) {
    let namespaces: Api<Namespace> = Api::all(scope.client.clone());
    let namespace = namespaces.get(PLUGINS).await.unwrap();
    let level = namespace.labels().get("pod-security.kubernetes.io/enforce");
    assert_eq!(level.map(String::as_str), Some("restricted"));
    for pod in scope.pods_of(plugin).await {
        let spec = pod.spec.unwrap();
        assert_eq!(spec.termination_grace_period_seconds, Some(45));
        assert_eq!(spec.node_selector.unwrap()["kubernetes.io/os"], "linux");
        let resources = spec.containers[0].resources.clone().unwrap();
        let memory = (
            resources.requests.unwrap()["memory"].0.clone(),
            resources.limits.unwrap()["memory"].0.clone(),
        );
        assert_eq!(
            memory,
            (String::from("16Mi"), String::from("128Mi")),
            "the chart's own defaults"
        );
    }
}

/// The policy that a network would keep. Nothing on the local cluster does, so what it would let through is not tried.
async fn is_guarded(scope: &Scope, plugin: &str) {
    let policies: Api<NetworkPolicy> = Api::namespaced(scope.client.clone(), PLUGINS);
    let policy = policies.get(&format!("kite-plugin-{plugin}")).await.unwrap();
    let parts =
        json!([{"key": "app.kubernetes.io/name", "operator": "In", "values": ["kite-gateway", "kite-operator"]}]);
    let expected = json!({
        "podSelector": {"matchLabels": {"kite.dev/plugin": plugin}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "ports": [{"port": 9443, "protocol": "TCP"}],
                "from": [{
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SYSTEM}},
                    "podSelector": {"matchExpressions": parts},
                }],
            },
            {
                "ports": [{"port": 9440, "protocol": "TCP"}],
                "from": [{"namespaceSelector": {"matchLabels": {"team": "watchers"}}}],
            },
        ],
    });
    assert_eq!(serde_json::to_value(policy.spec.unwrap()).unwrap(), expected);
    // Both parts of the system have the label that the policy names.
    for part in ["kite-gateway", "kite-operator"] {
        let pods: Api<Pod> = Api::namespaced(scope.client.clone(), SYSTEM);
        let labelled = ListParams::default().labels(&format!("app.kubernetes.io/name={part}"));
        assert!(!pods.list(&labelled).await.unwrap().items.is_empty(), "{part}");
    }
}

/// Asks the API server once, as `kubectl drain` does again and again, to evict a pod; what it said if it refused.
fn evict(pod: &str) -> Result<(), String> {
    let target = Target::running(&Layout::from_env().unwrap()).unwrap();
    let metadata = json!({"name": pod, "namespace": PLUGINS});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("eviction.json");
    fs::write(&file, eviction.to_string()).unwrap();
    let path = format!("/api/v1/namespaces/{PLUGINS}/pods/{pod}/eviction");
    let output = target
        .kubectl()
        .args(["create", "--raw", &path, "--filename"])
        .arg(&file)
        .output()
        .unwrap();
    succeeded(&output)
}

/// Whoever drains nodes gets one of two pods, and the other only when that has been replaced.
async fn loses_one_at_a_time(scope: &Scope, plugin: &str) {
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(scope.client.clone(), PLUGINS);
    let may_lose_one = async || {
        let budget = budgets.get(&format!("kite-plugin-{plugin}-1")).await;
        let status = budget.map_err(|error| error.to_string())?.status.unwrap_or_default();
        if status.disruptions_allowed == 1 && status.current_healthy == 2 {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    };
    eventually("one of two may be lost", START, may_lose_one).await;
    let names: Vec<String> = scope.pods_of(plugin).await.iter().map(ResourceExt::name_any).collect();
    let [first, second] = names.as_slice() else {
        panic!("{names:?}")
    };
    assert_eq!(evict(first), Ok(()));
    let refused = evict(second).unwrap_err();
    assert!(
        refused.contains("TooManyRequests") && refused.contains("disruption budget"),
        "{refused}"
    );
    eventually("the other may be lost when the first was replaced", START, may_lose_one).await;
}

/// A folder of this machine, which is one of the local cluster's node as well, until this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn make(name: &str) -> Self {
        let target = Target::running(&Layout::from_env().unwrap()).unwrap();
        assert!(
            target.is_local,
            "this machine's files are the local cluster's node's only"
        );
        let path = target.dir.join("volumes").join(name);
        // Of a run that was killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A claim in the plugins' namespace, with a volume that is this folder of this node.
async fn claim(scope: &Scope, folder: &Folder, node: &str) -> String {
    let capacity = json!({"storage": "1Mi"});
    let is_there = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    let volume = json!({
        "metadata": {"name": scope.name, "labels": {LABEL: scope.name}},
        "spec": {
            "capacity": capacity, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": folder.0},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [is_there]}]}},
        },
    });
    let volume = serde_json::from_value(volume).unwrap();
    let volumes: Api<PersistentVolume> = Api::all(scope.client.clone());
    volumes.create(&PostParams::default(), &volume).await.unwrap();
    let claim = json!({"spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": scope.name,
        "resources": {"requests": capacity},
    }});
    scope.make_in_plugins::<PersistentVolumeClaim>("-data", claim).await
}

/// Deletes the plugin's pods, and waits until others are ready and answer.
async fn replace(scope: &Scope, plugin: &str) {
    let pods: Api<Pod> = Api::namespaced(scope.client.clone(), PLUGINS);
    let old: Vec<String> = scope.pods_of(plugin).await.iter().map(ResourceExt::name_any).collect();
    for name in &old {
        // One that is gone by now is as good.
        let _ = pods.delete(name, &DeleteParams::default()).await;
    }
    eventually("other pods are ready", START, async || {
        let pods = scope.pods_of(plugin).await;
        let is_new = |pod: &Pod| !old.contains(&pod.name_any()) && is_ready(pod);
        if !pods.is_empty() && pods.iter().all(is_new) {
            Ok(())
        } else {
            Err(format!(
                "{:?}",
                pods.iter().map(ResourceExt::name_any).collect::<Vec<_>>()
            ))
        }
    })
    .await;
    scope.wait_for_answer(plugin, 200).await;
}

#[tokio::test]
async fn a_plugin_runs_on_the_node_that_it_asks_for_and_its_claim_outlives_its_pods() {
    scope("claimed", async |scope| {
        let nodes: Api<Node> = Api::all(scope.client.clone());
        let node = nodes.list(&ListParams::default()).await.unwrap().items.swap_remove(0);
        let host = &node.labels()["kubernetes.io/hostname"];
        let folder = Folder::make(&scope.name);
        let claim = claim(&scope, &folder, host).await;
        let image = faulty().await;
        let fields = json!({
            "nodeSelector": {"kubernetes.io/hostname": "nowhere"},
            "volumes": [{"name": "data", "mountPath": "/data", "persistentVolumeClaim": {"claimName": claim}}],
        });
        let made = |spec: &mut KitePluginSpec| {
            spec.image = image;
            with(spec, fields);
        };
        let plugin = scope.make_plugin("-looks", made).await;
        let words = ["no node has the labels", "correct spec.nodeSelector"];
        unavailable(&scope, &plugin, "Unschedulable", &words).await;
        let there = json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": host}}});
        scope.patch_plugin(&plugin, there).await;
        scope.wait_for_revision(&plugin, 2).await;
        scope.wait_for_answer(&plugin, 200).await;

        assert_eq!(scope.answer(&plugin, "write/data/a").await, "written");
        assert_eq!(fs::read_to_string(folder.0.join("a")).unwrap(), "a");
        fs::write(folder.0.join("b"), "of the node").unwrap();
        assert_eq!(scope.answer(&plugin, "read/data/b").await, "of the node");
        replace(&scope, &plugin).await;
        assert_eq!(scope.answer(&plugin, "read/data/a").await, "a");
        for pod in scope.pods_of(&plugin).await {
            assert_eq!(pod.spec.unwrap().node_name, node.metadata.name);
        }
    })
    .await;
}
