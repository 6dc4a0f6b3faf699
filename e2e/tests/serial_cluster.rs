//! The local cluster's own life, on a second one beside the first: killed at any step it comes up again, and taken down
//! it leaves nothing but the cache.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use kite_e2e::{cluster::Layout, deploy::binary, testing::Gateway};

const ID: &str = "test-second";

/// All of the machine that a cluster could leave something in.
#[derive(Debug, Eq, PartialEq)]
struct Snapshot {
    pid_namespaces: BTreeSet<PathBuf>,
    processes: BTreeSet<String>,
    mounts: BTreeSet<String>,
    links: BTreeSet<String>,
    routes: BTreeSet<String>,
    filters: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
}

impl Snapshot {
    fn take(layout: &Layout) -> Self {
        // The cluster under which this test runs goes on with its own affairs.
        let own_cgroup = Layout::from_env().unwrap().cgroup();
        let mut cgroups = BTreeSet::new();
        folders(Path::new("/sys/fs/cgroup"), &mut cgroups, &|path| {
            path.file_name().is_some_and(|name| *name == *own_cgroup)
        });
        let mut files = BTreeSet::new();
        for root in [
            "/etc",
            "/run",
            "/var",
            "/opt",
            "/srv",
            "/home",
            "/mnt",
            "/usr/local",
            "/usr/libexec",
        ] {
            folders(Path::new(root), &mut files, &|path| path.starts_with(layout.cache()));
        }
        files.extend(
            fs::read_dir("/tmp")
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| {
                    let name = path.to_string_lossy().into_owned();
                    ["kite", "kube", "containerd", "runc", "etcd", "cni"]
                        .iter()
                        .any(|word| name.contains(word))
                }),
        );
        Self {
            pid_namespaces: processes()
                .filter_map(|process| fs::read_link(process.join("ns/pid")).ok())
                .collect(),
            processes: processes()
                .filter_map(|process| command_line(&process))
                .filter(|line| line.contains(layout.id()))
                .collect(),
            mounts: lines(&fs::read_to_string("/proc/self/mountinfo").unwrap()),
            links: output("ip", &["-o", "link"])
                .iter()
                .filter_map(|line| line.split(':').nth(1).map(str::to_owned))
                .collect(),
            routes: output("ip", &["route", "show", "table", "all"]),
            filters: lines(&fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default()),
            cgroups,
            files,
        }
    }

    /// What is in one and not in the other, by field.
    fn difference(&self, after: &Self) -> Vec<String> {
        fn of<T: Ord + std::fmt::Debug>(what: &str, before: &BTreeSet<T>, after: &BTreeSet<T>) -> Vec<String> {
            before
                .symmetric_difference(after)
                .map(|item| format!("{what}: {item:?}"))
                .collect()
        }
        [
            of("pid namespace", &self.pid_namespaces, &after.pid_namespaces),
            of("process", &self.processes, &after.processes),
            of("mount", &self.mounts, &after.mounts),
            of("interface", &self.links, &after.links),
            of("route", &self.routes, &after.routes),
            of("iptables table", &self.filters, &after.filters),
            of("cgroup", &self.cgroups, &after.cgroups),
            of("file", &self.files, &after.files),
        ]
        .concat()
    }
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let numbers = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(numbers)
}

fn command_line(process: &Path) -> Option<String> {
    let line = fs::read(process.join("cmdline")).ok()?;
    Some(String::from_utf8_lossy(&line).replace('\0', " "))
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

fn output(program: &str, arguments: &[&str]) -> BTreeSet<String> {
    lines(&String::from_utf8_lossy(
        &Command::new(program).args(arguments).output().unwrap().stdout,
    ))
}

/// All files and folders below `root`, but those that `left_out` names.
fn folders(root: &Path, found: &mut BTreeSet<PathBuf>, left_out: &dyn Fn(&Path) -> bool) {
    for entry in fs::read_dir(root).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if left_out(&path) {
            continue;
        }
        let is_cgroup_file = root.starts_with("/sys/fs/cgroup") && path.is_file();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders(&path, found, left_out);
        }
        if !is_cgroup_file {
            found.insert(path);
        }
    }
}

/// `kite-e2e` on the second cluster.
fn second(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("kite-e2e").unwrap());
    command
        .args(arguments)
        .env("KITE_CLUSTER_ID", ID)
        .env_remove("KUBECONFIG");
    command
}

fn succeed(arguments: &[&str]) -> String {
    let output = second(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

/// Starts `up` and kills it as soon as what it has said is enough; the last line of that.
fn kill_when(arguments: &[&str], mut enough: impl FnMut(usize, &str) -> bool) -> String {
    let mut up: Child = second(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(up.stderr.take().unwrap()).lines().map(Result::unwrap);
    let last = lines.enumerate().find(|(n, line)| enough(n + 1, line));
    up.kill().unwrap();
    up.wait().unwrap();
    last.expect("it ended before it was killed").1
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

fn kubectl(layout: &Layout, arguments: &[&str]) -> BTreeSet<String> {
    let mut kubectl = kite_e2e::cluster::tools(layout).unwrap().kubectl();
    kubectl
        .env("KUBECONFIG", layout.dir().join("kubeconfig"))
        .args(arguments);
    lines(&String::from_utf8_lossy(&kubectl.output().unwrap().stdout))
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
    let layout = Layout::from_env().unwrap().with_id(ID).unwrap();
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
    assert!(nodes.iter().any(|node| node.contains(" Ready ")), "{nodes:?}");
    let gateway = Gateway::from_env();
    assert_eq!(
        gateway.get(gateway.admin(), "hello/hello").await.status,
        200,
        "the first cluster goes on beside it"
    );

    // The node's first process alone: the kernel takes all the rest with it.
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(layout.dir().join("record.json")).unwrap()).unwrap();
    let pid = record["process"]["pid"].as_i64().unwrap().to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    for step in [1, 2, steps / 2, steps - 1] {
        println!("killed after {}", kill_when(&["up", "--bare"], |n, _| n == step));
    }
    kill_in_the_middle_of_helm(&layout);
    for word in [
        "pushed",
        "installing the chart",
        "installing the chart",
        "operator and gateway are ready",
        "packaging",
    ] {
        println!("killed after {}", kill_when(&["up"], |_, line| line.contains(word)));
    }
    succeed(&["up"]);
    let nodes = kubectl(&layout, &["get", "nodes", "--no-headers"]);
    assert!(nodes.iter().any(|node| node.contains(" Ready ")), "{nodes:?}");

    succeed(&["down"]);
    let after = Snapshot::take(&layout);
    assert_eq!(before.difference(&after), Vec::<String>::new());
    assert!(!layout.dir().exists());
    succeed(&["down"]);
}
