//! The configuration files of a node's servers. Pure: their text, from the node's addresses.

use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::{Value, json};

use super::address::Slot;
use super::components::{NODE_NAME, kubeconfig};
use super::debian::Debian;
use super::pki::{DNS, PROXY, Pki};

pub(super) const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";
pub(super) const REGISTRY_PORT: u16 = 5000;
pub(super) const DOMAIN: &str = "cluster.local";
/// The namespace of the servers of which a log is kept.
const SYSTEM: &str = "kite-system";

/// The registry as containerd and the host know it.
pub(super) fn registry_name(slot: Slot) -> String {
    format!("{}:{REGISTRY_PORT}", slot.node())
}

pub(super) fn pause_image(slot: Slot) -> String {
    format!("{}/kite/pause:1", registry_name(slot))
}

pub(super) fn containerd(dir: &Path, debian: &Debian, slot: Slot, snapshotter: &str) -> String {
    let dir = dir.display();
    let cni = debian.cni();
    let (cni, pause) = (cni.display(), pause_image(slot));
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]

[grpc]
address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# Without it no pod starts where root lacks CAP_SYS_RESOURCE.
restrict_oom_score_adj = true
# A profile would be loaded into the host's kernel and stay there.
disable_apparmor = true
stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni}"
conf_dir = "{dir}/config/cni"

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{dir}/config/registries"
"#
    )
}

/// How containerd reaches the registry: without TLS, as it lies in the same node.
pub(super) fn registry_hosts(slot: Slot) -> String {
    let url = format!("http://{}", registry_name(slot));
    format!("server = \"{url}\"\n\n[host.\"{url}\"]\ncapabilities = [\"pull\", \"resolve\"]\n")
}

/// Pods are routed, one link each: on a common bridge, answers between two pods would pass by the node's address
/// translation unless the host's kernel is told otherwise.
pub(super) fn cni(slot: Slot) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "kite",
        "plugins": [
            {
                "type": "ptp",
                "mtu": 1500,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni-addresses",
                    "ranges": [[{"subnet": slot.pods().to_string()}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

pub(super) fn registry(dir: &Path, slot: Slot) -> Value {
    json!({
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": true}},
        "storage": {"filesystem": {"rootdirectory": dir.join("registry")}, "delete": {"enabled": true}},
        "http": {"addr": registry_name(slot)},
    })
}

pub(super) fn kubelet(pki: &Pki, slot: Slot, cgroup: &str, resolv_conf: &Path) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": slot.node(),
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.path("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki.path("kubelet-serving.crt"),
        "tlsPrivateKeyFile": pki.path("kubelet-serving.key"),
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        // The values that it would set are shown to it as set; see the node's mounts.
        "protectKernelDefaults": true,
        "oomScoreAdj": 0,
        "clusterDNS": [slot.node()],
        "clusterDomain": DOMAIN,
        "resolvConf": resolv_conf,
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "maxPods": 400,
        "serializeImagePulls": false,
        "registryPullQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        // Never collect images: the host's disk being full is not this node's to mend.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "50Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%",
        },
    })
}

pub(super) fn kube_proxy(config: &Path, slot: Slot) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": kubeconfig(config, PROXY)},
        "hostnameOverride": NODE_NAME,
        "clusterCIDR": slot.pods().to_string(),
        "bindAddress": slot.node(),
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "oomScoreAdj": 0,
        // These limits are the whole host's, not the namespace's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "100ms"},
    })
}

/// Names outside the cluster do not exist: a node has no way out, and a clear "no" beats a resolver's retries.
pub(super) fn corefile(config: &Path, slot: Slot) -> String {
    let (node, kubeconfig) = (slot.node(), kubeconfig(config, DNS));
    format!(
        "{DOMAIN}:53 in-addr.arpa:53 ip6.arpa:53 {{\n    bind {node}\n    errors\n    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{\n        \
         kubeconfig {}\n        pods insecure\n        ttl 5\n    }}\n}}\n\
         .:53 {{\n    bind {node}\n    template ANY ANY {{\n        rcode NXDOMAIN\n    }}\n}}\n",
        kubeconfig.display()
    )
}

pub(super) fn resolv_conf(node: Ipv4Addr) -> String {
    format!("nameserver {node}\n")
}

/// What the DNS server may read; everything else is part of every cluster.
pub(super) fn dns_role() -> Value {
    let meta = json!({"name": "system:coredns"});
    let group = "rbac.authorization.k8s.io";
    let verbs = json!(["list", "watch"]);
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": meta, "rules": [
            {"apiGroups": [""], "resources": ["services", "namespaces", "pods", "endpoints"], "verbs": verbs},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": verbs},
        ]},
        {"apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": meta,
         "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "system:coredns"},
         "subjects": [{"apiGroup": group, "kind": "User", "name": DNS.user}]},
    ]})
}

/// What an API server that stands alone logs: who has written what, and all that the system's accounts ask for.
pub(super) fn audit_policy_of_writes() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
            {"level": "Metadata", "userGroups": [format!("system:serviceaccounts:{SYSTEM}")]},
            {"level": "None"},
        ],
    })
}

/// What the API server logs: who of the system asked for what, and whether they might. Nothing of what was sent or answered.
pub(super) fn audit_policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Metadata", "userGroups": [format!("system:serviceaccounts:{SYSTEM}")]},
            {"level": "None"},
        ],
    })
}
