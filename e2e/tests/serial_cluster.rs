//! The local cluster's own life, on a second one beside the first: killed at any step it comes up again, and taken down
//! it leaves nothing but the cache.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use kite_e2e::{
    cluster::Layout,
    deploy::binary,
    testing::{Gateway, layout_beside},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// All of the machine that a cluster could leave something in.
#[derive(Debug)]
struct Snapshot {
    mounts: BTreeSet<String>,
    interfaces: BTreeSet<String>,
    routes: BTreeSet<String>,
    filters: BTreeSet<String>,
    cgroups: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Snapshot {
    fn take(layout: &Layout) -> Self {
        let mut cgroups = BTreeSet::new();
        walk(Path::new("/sys/fs/cgroup"), layout.cache(), &mut cgroups);
        let mut files = BTreeSet::new();
        for root in [
            "/etc",
            "/home",
            "/mnt",
            "/opt",
            "/root",
            "/run",
            "/srv",
            "/tmp",
            "/usr/libexec",
            "/usr/local",
            "/var",
        ] {
            walk(Path::new(root), layout.cache(), &mut files);
        }
        Self {
            mounts: lines("/proc/self/mountinfo"),
            interfaces: interfaces(),
            routes: ["/proc/net/route", "/proc/net/ipv6_route"]
                .map(lines)
                .into_iter()
                .flatten()
                .collect(),
            filters: ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"]
                .map(lines)
                .into_iter()
                .flatten()
                .collect(),
            cgroups: cgroups.into_iter().filter(|path| path.contains(layout.id())).collect(),
            files: files.into_iter().filter(|path| is_of_a_cluster(path)).collect(),
        }
    }

    /// What came since `before`. What others of this machine took away meanwhile is theirs.
    fn since(&self, before: &Self) -> Vec<String> {
        let new = |what: &str, before: &BTreeSet<String>, after: &BTreeSet<String>| -> Vec<String> {
            after.difference(before).map(|item| format!("{what}: {item}")).collect()
        };
        [
            new("mount", &before.mounts, &self.mounts),
            new("interface", &before.interfaces, &self.interfaces),
            new("route", &before.routes, &self.routes),
            new("iptables table", &before.filters, &self.filters),
            new("cgroup", &before.cgroups, &self.cgroups),
            new("file", &before.files, &self.files),
        ]
        .concat()
    }
}

/// Processes that the cluster's folder or its cgroup tells to be its own, this test's aside.
fn processes(layout: &Layout) -> Vec<String> {
    let own = |process: &PathBuf| {
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let cgroups = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        let is_own = command.contains(&layout.dir().display().to_string()) || cgroups.contains(&layout.cgroup());
        is_own.then_some(command)
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter_map(|path| own(&path))
        .collect()
}

/// Whether a file's name is one that a part of a cluster could have made.
fn is_of_a_cluster(path: &str) -> bool {
    [
        "apt.",
        "apt-",
        "calico",
        "cni",
        "containerd",
        "etcd",
        "helm",
        "kite",
        "kube",
        "runc",
    ]
    .iter()
    .any(|word| path.contains(word))
}

/// The machine's interfaces, but those of other checkouts' clusters.
fn interfaces() -> BTreeSet<String> {
    let entries = fs::read_dir("/sys/class/net").unwrap().filter_map(Result::ok);
    let foreign = |path: &Path| {
        let alias = fs::read_to_string(path.join("ifalias")).unwrap_or_default();
        alias.starts_with("kite-") && !alias.trim().ends_with("-second")
    };
    entries
        .filter(|entry| !foreign(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn lines(file: &str) -> BTreeSet<String> {
    fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// All files and folders below `root`, but for the caches, in which cargo, Go and the clusters work.
fn walk(root: &Path, cache: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(root).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        let is_cache = path == cache
            || [".cargo", ".rustup", "go-build", "pkg", "target"]
                .iter()
                .any(|name| path.ends_with(name));
        if is_cache {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, cache, found);
        }
        found.insert(path.display().to_string());
    }
}

/// `kite-e2e` on the second cluster.
fn second(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("kite-e2e").unwrap());
    command
        .args(arguments)
        .env("KITE_CLUSTER_ID", layout_beside("second").id());
    // Whatever cluster the tests run on, this one is local.
    for variable in ["KITE_CONTEXT", "KITE_REGISTRY", "KITE_URL", "KUBECONFIG"] {
        command.env_remove(variable);
    }
    command
}

fn succeed(arguments: &[&str]) -> String {
    let output = second(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

/// Starts `up` and kills it as soon as what it has said is enough; the last line of that. None if it ended before, as
/// when a node that an earlier one began was ready already.
fn kill_when(arguments: &[&str], mut enough: impl FnMut(usize, &str) -> bool) -> Option<String> {
    let mut up: Child = second(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(up.stderr.take().unwrap()).lines().map(Result::unwrap);
    let last = lines.enumerate().find(|(n, line)| enough(n + 1, line));
    up.kill().unwrap();
    up.wait().unwrap();
    last.map(|(_, line)| line)
}

/// Starts `up` and kills it while helm is at work, when it has left a record that says so.
fn kill_in_the_middle_of_helm(layout: &Layout) {
    let mut up = second(&["up"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pending = [
        "get",
        "secrets",
        "--selector",
        "owner=helm,status in (pending-install,pending-upgrade)",
        "--output=name",
    ];
    while kubectl(layout, &pending).is_empty() {
        assert_eq!(up.try_wait().unwrap(), None, "it ended before helm was seen at work");
    }
    up.kill().unwrap();
    up.wait().unwrap();
}

fn kubectl(layout: &Layout, arguments: &[&str]) -> String {
    let mut kubectl = kite_e2e::cluster::tools(layout).unwrap().kubectl();
    kubectl
        .env("KUBECONFIG", layout.dir().join("kubeconfig"))
        .args(arguments);
    String::from_utf8_lossy(&kubectl.output().unwrap().stdout).into_owned()
}

/// Takes the second cluster down, whatever becomes of the test.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        let _ = second(&["down"]).output();
    }
}

#[tokio::test]
async fn killed_at_any_step_it_comes_up_again_and_down_leaves_nothing() {
    let layout = layout_beside("second");
    let _down = Down;
    succeed(&["down"]);
    let before = Snapshot::take(&layout);

    let steps = succeed(&["up", "--bare"]).lines().count();
    let again = succeed(&["up", "--bare"]);
    assert!(
        again.lines().count() < steps,
        "what is up is not started again: {again}"
    );
    let nodes = kubectl(&layout, &["get", "nodes", "--no-headers"]);
    assert!(nodes.contains(" Ready "), "{nodes}");
    let gateway = Gateway::from_env();
    let first = gateway.get(gateway.admin(), "hello/hello").await;
    assert_eq!(first.status, 200, "the first cluster goes on beside it");

    // The node's first process alone: the kernel takes all the rest with it.
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(layout.dir().join("record.json")).unwrap()).unwrap();
    let pid = i32::try_from(record["process"]["pid"].as_i64().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    for step in [1, 2, steps / 2, steps - 1] {
        println!("killed after {:?}", kill_when(&["up", "--bare"], |n, _| n == step));
    }
    kill_in_the_middle_of_helm(&layout);
    for word in [
        "pushed",
        "installing the chart",
        "operator and gateway are ready",
        "packaging",
    ] {
        let said = kill_when(&["up"], |_, line| line.contains(word));
        println!(
            "killed after {:?}",
            said.unwrap_or_else(|| panic!("it never said {word:?}"))
        );
    }
    succeed(&["up"]);
    assert!(!processes(&layout).is_empty(), "its processes are found while it is up");

    succeed(&["down"]);
    assert_eq!(processes(&layout), Vec::<String>::new());
    assert_eq!(Snapshot::take(&layout).since(&before), Vec::<String>::new());
    assert!(!layout.dir().exists());
    succeed(&["down"]);
}
