//! The node: everything that happens inside its namespaces, from the empty view to Ready.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::address::Slot;
use super::command::{CommandError, run};
use super::components::{self, ApiAddress, EtcdPorts, NODE_NAME, Server, kubeconfig};
use super::config;
use super::debian::Debian;
use super::http;
use super::link::NODE_END;
use super::mounts::{self, MountError};
use super::pause::{self, PauseError};
use super::pki::{ADMIN, CONTROLLER_MANAGER, DNS, KUBELET, PROXY, Pki, PkiError, SCHEDULER};
use super::supervisor::{Supervisor, SupervisorError};

pub(super) const API_PORT: u16 = 6443;

/// What the API server keeps a log of.
const AUDIT_POLICY: &str = "audit-policy.json";
/// The name of that log, among the servers' own.
pub(super) const AUDIT_LOG: &str = "audit";

/// Generous: with both cores busy compiling, everything takes many times what it takes alone.
const LIMIT: Duration = Duration::from_mins(3);

/// The first process of a node's namespaces; `make up` starts it and says on its input what to do.
#[derive(Debug, clap::Args)]
pub struct NodeArgs {
    /// The cluster's folder, shown here so that a list of processes tells whose node this is
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("failed to be the first process of a pid namespace: `node` is started by `up` only")]
    NotFirst,
    #[error("failed to read the plan: `up` ended before it had one")]
    Plan(#[source] io::Error),
    #[error("failed to understand the plan")]
    PlanFormat(#[from] serde_json::Error),
    #[error("failed to write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("failed to set up the node's network")]
    Network(#[source] CommandError),
    #[error("failed to find an iptables that works with this kernel")]
    Iptables(#[source] CommandError),
    #[error("failed to import the pause image")]
    Import(#[source] CommandError),
    #[error("failed to give the DNS server its rights")]
    DnsRole(#[source] CommandError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Pause(#[from] PauseError),
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
}

/// All that the node needs to know.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub slot: Slot,
    pub cgroup: String,
    pub cache: PathBuf,
    pub dir: PathBuf,
    pub debian: Debian,
    pub kube: PathBuf,
    pub coredns: PathBuf,
    pub pause: PathBuf,
    pub registry: PathBuf,
}

struct Node {
    plan: Plan,
    config: PathBuf,
    pki: Pki,
    supervisor: Supervisor,
}

/// Where a node says that it is complete.
pub(super) fn ready_file(dir: &Path) -> PathBuf {
    dir.join("ready")
}

/// Runs a node until it is told to end, or until one of its servers ends.
pub fn supervise(args: &NodeArgs) -> Result<ExitCode, NodeError> {
    if std::process::id() != 1 {
        return Err(NodeError::NotFirst);
    }
    let plan = read_plan()?;
    debug_assert_eq!(plan.dir, args.dir, "the plan is for another cluster");
    let environment = environment(&plan);
    let logs = plan.dir.join("logs");
    make_dir(&logs)?;
    let supervisor = Supervisor::new(&logs, environment)?;
    mounts::set_up(&plan.cache, &plan.dir)?;
    let mut node = Node::prepare(plan, supervisor)?;
    let reason = match node.start() {
        Ok(()) => node.supervisor.run(),
        Err(NodeError::Supervisor(reason)) => reason,
        Err(other) => return Err(other),
    };
    match reason {
        SupervisorError::Told => {
            node.supervisor.stop();
            Ok(ExitCode::SUCCESS)
        }
        reason => Err(reason.into()),
    }
}

/// An end of the input without a plan means that `up` was killed: then this process must end too.
fn read_plan() -> Result<Plan, NodeError> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(NodeError::Plan)?;
    if line.is_empty() {
        return Err(NodeError::Plan(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(serde_json::from_str(&line)?)
}

fn environment(plan: &Plan) -> Vec<(&'static str, String)> {
    let at = |name: &str| plan.dir.join(name).display().to_string();
    vec![
        ("PATH", format!("{}:{}", at("bin"), plan.debian.path())),
        ("LD_LIBRARY_PATH", plan.debian.libraries()),
        ("XTABLES_LIBDIR", plan.debian.xtables().display().to_string()),
        ("HOME", at("tmp")),
        ("TMPDIR", at("tmp")),
    ]
}

impl Node {
    fn prepare(plan: Plan, supervisor: Supervisor) -> Result<Self, NodeError> {
        let config = plan.dir.join("config");
        for dir in ["bin", "tmp", "registry", "config/cni"] {
            make_dir(&plan.dir.join(dir))?;
        }
        let slot = plan.slot;
        let addresses = [slot.node(), slot.api_service(), Ipv4Addr::LOCALHOST];
        let pki = Pki::make(&plan.dir.join("pki"), &addresses, Some(slot.node()))?;
        let node = Self {
            plan,
            config,
            pki,
            supervisor,
        };
        node.network()?;
        node.iptables()?;
        node.write_configuration()?;
        Ok(node)
    }

    fn network(&self) -> Result<(), NodeError> {
        let slot = self.plan.slot;
        let address = format!("{}/30", slot.node());
        let ip = |args: &[&str]| run(self.plan.debian.command("ip").args(args)).map_err(NodeError::Network);
        ip(&["link", "set", "lo", "up"])?;
        ip(&["addr", "add", &address, "dev", NODE_END])?;
        ip(&["link", "set", NODE_END, "up"])?;
        ip(&["route", "add", "default", "via", &slot.host().to_string()])?;
        // This namespace's own: the host's value is another one.
        write(Path::new("/proc/sys/net/ipv4/ip_forward"), "1")
    }

    /// Debian chooses by links that its installer makes, so they are made here, for the first kind that works.
    fn iptables(&self) -> Result<(), NodeError> {
        let mut choice = Err(None);
        for multi in ["xtables-nft-multi", "xtables-legacy-multi"] {
            let program = self.plan.debian.program(multi);
            let mark = [
                "iptables",
                "-t",
                "nat",
                "-A",
                "OUTPUT",
                "-m",
                "comment",
                "--comment",
                "probe",
                "-j",
                "MARK",
                "--or-mark",
                "0",
            ];
            let tried = run(self.supervisor.command(&program).args(mark)).and_then(|_| {
                run(self
                    .supervisor
                    .command(&program)
                    .args(["iptables", "-t", "nat", "-F", "OUTPUT"]))
            });
            match tried {
                Ok(_) => {
                    choice = Ok(program);
                    break;
                }
                Err(error) => choice = Err(Some(error)),
            }
        }
        match choice {
            Ok(program) => self.link_iptables(&program),
            Err(Some(error)) => Err(NodeError::Iptables(error)),
            Err(None) => Ok(()),
        }
    }

    fn link_iptables(&self, program: &Path) -> Result<(), NodeError> {
        for family in ["iptables", "ip6tables"] {
            for end in ["", "-save", "-restore"] {
                let path = self.plan.dir.join("bin").join(format!("{family}{end}"));
                symlink(program, &path).map_err(|source| NodeError::Write { path, source })?;
            }
        }
        Ok(())
    }

    fn write_configuration(&self) -> Result<(), NodeError> {
        let (plan, slot) = (&self.plan, self.plan.slot);
        let server = format!("https://{}:{API_PORT}", slot.node());
        for identity in [CONTROLLER_MANAGER, SCHEDULER, PROXY, DNS, KUBELET] {
            self.pki
                .kubeconfig(identity, &server, &kubeconfig(&self.config, identity))?;
        }
        self.pki.kubeconfig(ADMIN, &server, &plan.dir.join("kubeconfig"))?;
        let resolv = self.config.join("resolv.conf");
        let files = [
            (
                "containerd.toml",
                config::containerd(&plan.dir, &plan.debian, slot, snapshotter(&plan.dir)),
            ),
            ("cni/kite.conflist", config::cni(slot).to_string()),
            ("registry.yaml", config::registry(&plan.dir, slot).to_string()),
            (
                "kubelet.json",
                config::kubelet(&self.pki, slot, &plan.cgroup, &resolv).to_string(),
            ),
            ("kube-proxy.json", config::kube_proxy(&self.config, slot).to_string()),
            ("Corefile", config::corefile(&self.config, slot)),
            ("resolv.conf", config::resolv_conf(slot.node())),
            ("dns-role.json", config::dns_role().to_string()),
            (AUDIT_POLICY, config::audit_policy().to_string()),
        ];
        for (name, text) in files {
            write(&self.config.join(name), &text)?;
        }
        let hosts = self.config.join("registries").join(config::registry_name(slot));
        make_dir(&hosts)?;
        write(&hosts.join("hosts.toml"), &config::registry_hosts(slot))
    }

    /// Starts everything, in the order in which one needs the other.
    fn start(&mut self) -> Result<(), NodeError> {
        self.start_bases()?;
        self.start_api()?;
        self.start_clients()?;
        self.await_node()?;
        write(&ready_file(&self.plan.dir), "")
    }

    /// What needs nothing else.
    fn start_bases(&mut self) -> Result<(), NodeError> {
        let plan = &self.plan;
        let file = |name: &str| self.config.join(name).display().to_string();
        let containerd = ["--config".to_owned(), file("containerd.toml")];
        let registry = ["serve".to_owned(), file("registry.yaml")];
        let servers = [
            components::etcd(&plan.kube, &plan.dir.join("etcd"), EtcdPorts::NODE),
            Server::new("containerd", &plan.debian.program("containerd"), containerd),
            Server::new("registry", &plan.registry, registry),
        ];
        for server in &servers {
            self.supervisor.start(server)?;
        }
        let etcd = SocketAddr::from((Ipv4Addr::LOCALHOST, EtcdPorts::NODE.client));
        self.supervisor
            .wait("etcd listens", "etcd", LIMIT, || http::listens(etcd))?;
        say("etcd: ready");
        Ok(())
    }

    /// The API server; while it starts, containerd gets its first image.
    fn start_api(&mut self) -> Result<(), NodeError> {
        let slot = self.plan.slot;
        let address = ApiAddress {
            bind: Ipv4Addr::UNSPECIFIED,
            advertise: Some(slot.node()),
            port: API_PORT,
            services: slot.services(),
        };
        let server = components::api_server(&self.plan.kube, &self.pki, EtcdPorts::NODE, address);
        let server = components::with_audit(server, &self.config.join(AUDIT_POLICY), &self.supervisor.log(AUDIT_LOG));
        self.supervisor.start(&server)?;
        let connects = || UnixStream::connect(config::CONTAINERD_SOCKET).is_ok();
        self.supervisor
            .wait("containerd listens", "containerd", LIMIT, connects)?;
        self.import_pause()?;
        say("containerd: ready");
        let registry = SocketAddr::from((slot.node(), config::REGISTRY_PORT));
        self.supervisor
            .wait("the registry listens", "registry", LIMIT, || http::listens(registry))?;
        say("registry: ready");
        let (pki, api) = (self.pki.clone(), self.api());
        self.supervisor
            .wait("the API server is ready", "kube-apiserver", LIMIT, || {
                http::get(&pki, api, "/readyz").is_some()
            })?;
        say("API server: ready");
        Ok(())
    }

    fn import_pause(&self) -> Result<(), NodeError> {
        let archive = self.plan.dir.join("tmp/pause.tar");
        pause::write_image(&self.plan.pause, &config::pause_image(self.plan.slot), &archive)?;
        let mut ctr = self.supervisor.command(&self.plan.debian.program("ctr"));
        ctr.args([
            "--address",
            config::CONTAINERD_SOCKET,
            "--namespace",
            "k8s.io",
            "images",
            "import",
        ])
        .arg(&archive);
        run(&mut ctr).map(drop).map_err(NodeError::Import)
    }

    /// All that speaks to the API server.
    fn start_clients(&mut self) -> Result<(), NodeError> {
        let (plan, config) = (&self.plan, &self.config);
        let servers = [
            components::kubelet(&plan.kube, config, plan.slot),
            components::controller_manager(&plan.kube, &self.pki, plan.slot, config),
            components::scheduler(&plan.kube, config),
            components::kube_proxy(&plan.kube, config),
        ];
        for server in &servers {
            self.supervisor.start(server)?;
        }
        self.start_dns()
    }

    /// Rights first: refused once, the DNS server waits a good while before it asks again.
    fn start_dns(&mut self) -> Result<(), NodeError> {
        let mut apply = self.supervisor.command(&self.plan.kube);
        apply
            .arg("kubectl")
            .arg("--kubeconfig")
            .arg(self.plan.dir.join("kubeconfig"))
            .args(["apply", "--filename"]);
        run(apply.arg(self.config.join("dns-role.json"))).map_err(NodeError::DnsRole)?;
        let corefile = ["-conf".to_owned(), self.config.join("Corefile").display().to_string()];
        Ok(self
            .supervisor
            .start(&Server::new("coredns", &self.plan.coredns, corefile))?)
    }

    fn await_node(&mut self) -> Result<(), NodeError> {
        let (pki, api) = (self.pki.clone(), self.api());
        let node = format!("/api/v1/nodes/{NODE_NAME}");
        let ready = || http::get(&pki, api, &node).is_some_and(|body| is_ready(&body));
        self.supervisor.wait("the node is Ready", "kubelet", LIMIT, ready)?;
        say("node: Ready");
        let account = "/api/v1/namespaces/default/serviceaccounts/default";
        let made = || http::get(&pki, api, account).is_some();
        self.supervisor.wait(
            "a namespace gets its ServiceAccount",
            "kube-controller-manager",
            LIMIT,
            made,
        )?;
        let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, 10256));
        self.supervisor
            .wait("kube-proxy listens", "kube-proxy", LIMIT, || http::listens(proxy))?;
        let dns = SocketAddr::from((self.plan.slot.node(), 53));
        self.supervisor
            .wait("the DNS server listens", "coredns", LIMIT, || http::listens(dns))?;
        say("DNS: ready");
        Ok(())
    }

    fn api(&self) -> SocketAddr {
        SocketAddr::from((self.plan.slot.node(), API_PORT))
    }
}

/// How images become file systems: an overlay cannot lie on another one (a cache within a container), where they are
/// copied instead.
fn snapshotter(dir: &Path) -> &'static str {
    match statfs(dir) {
        Ok(held) if held.filesystem_type() == OVERLAYFS_SUPER_MAGIC => "native",
        _ => "overlayfs",
    }
}

/// Whether a Node object says so itself.
fn is_ready(node: &[u8]) -> bool {
    let node: Value = serde_json::from_slice(node).unwrap_or_default();
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|all| {
        all.iter()
            .any(|one| one.get("type") == Some(&"Ready".into()) && one.get("status") == Some(&"True".into()))
    })
}

/// For `up`, which relays it with the time.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn write(path: &Path, text: &str) -> Result<(), NodeError> {
    fs::write(path, text).map_err(|source| NodeError::Write {
        path: path.to_path_buf(),
        source,
    })
}

fn make_dir(path: &Path) -> Result<(), NodeError> {
    fs::create_dir_all(path).map_err(|source| NodeError::Write {
        path: path.to_path_buf(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_ready_by_its_own_condition_only() {
        let node = |kind: &str, status: &str| {
            serde_json::json!({"status": {"conditions": [{"type": kind, "status": status}]}})
                .to_string()
                .into_bytes()
        };
        assert!(is_ready(&node("Ready", "True")));
        assert!(!is_ready(&node("Ready", "Unknown")));
        assert!(!is_ready(&node("MemoryPressure", "True")));
        assert!(!is_ready(b"not JSON"));
    }
}
