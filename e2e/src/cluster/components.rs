//! How each server of the control plane is started. Pure: what to run, from where things lie.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::address::{Network, Slot};
use super::pki::{CONTROLLER_MANAGER, Identity, KUBELET_CLIENT, Pki, SCHEDULER};

/// One server: its name is the name of its log too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub name: &'static str,
    pub program: PathBuf,
    pub args: Vec<String>,
}

impl Server {
    pub(super) fn new(name: &'static str, program: &Path, args: impl IntoIterator<Item = String>) -> Self {
        Self {
            name,
            program: program.to_path_buf(),
            args: args.into_iter().collect(),
        }
    }

    /// One of the servers that are one program, which the first argument tells apart.
    fn of_kube(name: &'static str, kube: &Path, args: impl IntoIterator<Item = String>) -> Self {
        Self::new(name, kube, std::iter::once(name.to_owned()).chain(args))
    }
}

/// Where etcd listens; always on loopback, as it asks nobody who they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct EtcdPorts {
    pub client: u16,
    pub peer: u16,
}

impl EtcdPorts {
    pub(super) const NODE: Self = Self {
        client: 2379,
        peer: 2380,
    };

    fn url(self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }
}

pub(super) fn etcd(kube: &Path, data: &Path, ports: EtcdPorts) -> Server {
    let peer = format!("http://127.0.0.1:{}", ports.peer);
    let args = [
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={}", ports.url()),
        format!("--advertise-client-urls={}", ports.url()),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // A cluster is never started from what another start has written, so nothing needs to be safe on disk.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    Server::of_kube("etcd", kube, args)
}

/// What differs between the API server of a node and one that stands alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct ApiAddress {
    pub bind: Ipv4Addr,
    /// Behind the `kubernetes` Service; loopback is refused there.
    pub advertise: Option<Ipv4Addr>,
    pub port: u16,
    pub services: Network,
}

pub(super) fn api_server(kube: &Path, pki: &Pki, etcd: EtcdPorts, address: ApiAddress) -> Server {
    let file = |flag: &str, name: &str| format!("--{flag}={}", pki.path(name).display());
    let mut args = vec![
        format!("--etcd-servers={}", etcd.url()),
        format!("--bind-address={}", address.bind),
        format!("--secure-port={}", address.port),
        format!("--service-cluster-ip-range={}", address.services),
        "--authorization-mode=Node,RBAC".to_owned(),
        // The second is not everywhere, and where it is, whoever makes an owner that blocks deletion must hold its finalizers.
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement".to_owned(),
        "--allow-privileged=true".to_owned(),
        file("client-ca-file", "ca.crt"),
        file("tls-cert-file", "apiserver.crt"),
        file("tls-private-key-file", "apiserver.key"),
        file("service-account-key-file", "service-accounts.pub"),
        file("service-account-signing-key-file", "service-accounts.key"),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        // The node's name is one that nobody resolves.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        file("kubelet-certificate-authority", "ca.crt"),
        file("kubelet-client-certificate", &format!("{}.crt", KUBELET_CLIENT.file)),
        file("kubelet-client-key", &format!("{}.key", KUBELET_CLIENT.file)),
        file("requestheader-client-ca-file", "front-proxy-ca.crt"),
        file("proxy-client-cert-file", "front-proxy.crt"),
        file("proxy-client-key-file", "front-proxy.key"),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
    ];
    args.extend(
        address
            .advertise
            .map(|advertise| format!("--advertise-address={advertise}")),
    );
    Server::of_kube("kube-apiserver", kube, args)
}

/// Makes an API server keep a log of the requests that `policy` says, as much of it as a run of all tests makes.
pub(super) fn with_audit(mut server: Server, policy: &Path, log: &Path) -> Server {
    server.args.extend([
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", log.display()),
        // Megabytes of each of these and of the one that is written.
        "--audit-log-maxsize=64".to_owned(),
        "--audit-log-maxbackup=3".to_owned(),
    ]);
    server
}

pub(super) fn controller_manager(kube: &Path, pki: &Pki, slot: Slot, config: &Path) -> Server {
    let file = |flag: &str, name: &str| format!("--{flag}={}", pki.path(name).display());
    let mut args = as_client(CONTROLLER_MANAGER, config);
    args.extend([
        "--leader-elect=false".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        "--use-service-account-credentials=true".to_owned(),
        "--allocate-node-cidrs=true".to_owned(),
        // One node has the whole range.
        format!("--cluster-cidr={}", slot.pods()),
        format!("--node-cidr-mask-size={}", slot.pods().bits),
        format!("--service-cluster-ip-range={}", slot.services()),
        "--kube-api-qps=200".to_owned(),
        "--kube-api-burst=400".to_owned(),
        file("root-ca-file", "ca.crt"),
        file("service-account-private-key-file", "service-accounts.key"),
        file("cluster-signing-cert-file", "ca.crt"),
        file("cluster-signing-key-file", "ca.key"),
    ]);
    Server::of_kube("kube-controller-manager", kube, args)
}

pub(super) fn scheduler(kube: &Path, config: &Path) -> Server {
    let mut args = as_client(SCHEDULER, config);
    args.extend(["--leader-elect=false".to_owned(), "--bind-address=127.0.0.1".to_owned()]);
    args.extend(["--kube-api-qps=200".to_owned(), "--kube-api-burst=400".to_owned()]);
    Server::of_kube("kube-scheduler", kube, args)
}

pub(super) fn kubelet(kube: &Path, config: &Path, slot: Slot) -> Server {
    let args = [
        format!("--config={}", config.join("kubelet.json").display()),
        format!("--kubeconfig={}", config.join("kubelet.kubeconfig").display()),
        format!("--node-ip={}", slot.node()),
        format!("--hostname-override={NODE_NAME}"),
        "--root-dir=/var/lib/kubelet".to_owned(),
    ];
    Server::of_kube("kubelet", kube, args)
}

pub(super) fn kube_proxy(kube: &Path, config: &Path) -> Server {
    Server::of_kube(
        "kube-proxy",
        kube,
        [format!("--config={}", config.join("kube-proxy.json").display())],
    )
}

/// The node's name, which its certificate carries too.
pub(super) const NODE_NAME: &str = "node";

/// Where the kubeconfig of a component lies.
pub(super) fn kubeconfig(config: &Path, identity: Identity) -> PathBuf {
    config.join(format!("{}.kubeconfig", identity.file))
}

/// These ask the API server both for their work and for who may read their metrics.
fn as_client(identity: Identity, config: &Path) -> Vec<String> {
    let path = kubeconfig(config, identity);
    ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"]
        .map(|flag| format!("--{flag}={}", path.display()))
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> Slot {
        Slot::candidates(2).next().unwrap()
    }

    #[test]
    fn first_argument_says_what_the_program_is() {
        let kube = Path::new("/bin/kube");
        let config = Path::new("/c");
        let servers = [
            scheduler(kube, config),
            kubelet(kube, config, slot()),
            kube_proxy(kube, config),
        ];
        for server in servers {
            assert_eq!(server.args.first().map(String::as_str), Some(server.name));
        }
    }

    #[test]
    fn etcd_is_reached_on_loopback_only() {
        let server = etcd(
            Path::new("/bin/kube"),
            Path::new("/d"),
            EtcdPorts { client: 1, peer: 2 },
        );
        for arg in server.args.iter().filter(|arg| arg.contains("-urls")) {
            assert!(arg.contains("=http://127.0.0.1:"), "{arg}");
        }
    }
}
