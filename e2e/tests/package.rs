//! Packages and images of plugins, without a cluster: other people's tools accept them, and what is in them runs.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use futures::stream;
use kite_conformance::{Subject, python::Python};
use kite_e2e::{
    cluster::{self, Layout},
    deploy::binary,
};
use kite_plugin::archive::{self, Package};
use kite_proto::{CallContext, DescribeRequest, HttpRequest, HttpRequestHead, MOUNT_PATH, User};
use serde_json::{Value, json};
use tempfile::TempDir;

const START: Duration = Duration::from_secs(30);

/// Runs a program to its end; what it wrote.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn kite_plugin() -> Command {
    Command::new(binary("kite-plugin").unwrap())
}

/// A project, in a folder of its own.
fn project(name: &str, files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let document = json!({
        "apiVersion": "kite.dev/v1alpha1",
        "kind": "KitePlugin",
        "metadata": {"name": name},
        "spec": {"version": "1.0.0", "image": format!("registry.example/{name}:1.0.0")},
    });
    let document = ("plugin.yaml", document.to_string());
    let files = files.iter().map(|(path, text)| (*path, (*text).to_owned()));
    for (path, text) in files.chain([document]) {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// A registry, as long as it is held.
struct Registry {
    address: SocketAddr,
    server: Child,
    _folder: TempDir,
}

impl Registry {
    fn start(layout: &Layout) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 200 + NEXT.fetch_add(1, Ordering::Relaxed), high, low.max(1));
        let address = SocketAddr::from((address, 5000));
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "version": "0.1",
            "storage": {"filesystem": {"rootdirectory": folder.path()}},
            "http": {"addr": address.to_string()},
        });
        let path = folder.path().join("registry.yaml");
        fs::write(&path, config.to_string()).unwrap();
        let mut server = Command::new(cluster::registry(layout).unwrap())
            .arg("serve")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let (ready, is_ready) = mpsc::channel();
        // It is read to its end, so that the server can go on writing.
        thread::spawn(move || {
            while let Some(Ok(line)) = lines.next() {
                if line.contains("listening on") {
                    let _ = ready.send(());
                }
            }
        });
        let registry = Self {
            address,
            server,
            _folder: folder,
        };
        is_ready.recv_timeout(START).expect("the registry listens");
        registry
    }

    fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Unpacks a package as its users do, and gives the folder of the image in it.
fn unpack(package: &Path, name: &str, folder: &Path) -> PathBuf {
    run(Command::new("tar").arg("-xzf").arg(package).arg("-C").arg(folder));
    folder.join(name).join("image")
}

/// That crane and skopeo find the image in the package, and in a registry, to be one, whoever brought it there.
fn is_accepted_by_others(name: &str, folder: &Path, more: &[&str]) {
    let layout = Layout::from_env().unwrap();
    let registry = Registry::start(&layout);
    let crane = |arguments: &[&str]| {
        let mut command = Command::new(cluster::crane(&layout).unwrap());
        run(command.args(arguments).arg("--insecure"))
    };
    let skopeo = |arguments: &[&str]| {
        run(cluster::skopeo(&layout)
            .unwrap()
            .arg("--insecure-policy")
            .args(arguments))
    };

    let out = tempfile::tempdir().unwrap();
    let package = out.path().join("out.tar.gz");
    let pushed = registry.image("kite/pushed");
    let mut command = kite_plugin();
    command
        .arg("package")
        .arg(folder)
        .args(more)
        .arg("--output")
        .arg(&package);
    let document = run(command.args(["--push", &pushed, "--plain-http"]));
    let document: Value = serde_saphyr::from_str(&document).unwrap();
    let image = document["spec"]["image"].as_str().unwrap();
    let digest = image
        .strip_prefix(&format!("{pushed}@"))
        .expect("it is named by its digest");

    let tagged = format!("{pushed}:1.0.0");
    assert_eq!(crane(&["digest", &tagged]), digest);
    crane(&["validate", "--remote", &tagged]);

    let unpacked = unpack(&package, name, out.path());
    let oci = format!("oci:{}", unpacked.display());
    let manifest = crane(&["manifest", image]);
    assert_eq!(skopeo(&["inspect", "--raw", &oci]), manifest);
    let inspected: Value = serde_json::from_str(&skopeo(&["inspect", &oci])).unwrap();
    assert_eq!(inspected["Digest"], digest);
    assert_eq!(inspected["Labels"]["org.opencontainers.image.title"], name);
    let config: Value = serde_json::from_str(&crane(&["config", image])).unwrap();
    assert_eq!(config["config"]["User"], "65532:65532");

    let by_crane = registry.image("kite/crane:1");
    crane(&["push", unpacked.to_str().unwrap(), &by_crane]);
    assert_eq!(crane(&["digest", &by_crane]), digest);
    let by_skopeo = registry.image("kite/skopeo:1");
    let to = format!("docker://{by_skopeo}");
    skopeo(&["copy", "--preserve-digests", "--dest-tls-verify=false", &oci, &to]);
    assert_eq!(crane(&["digest", &by_skopeo]), digest);

    let again = registry.image("kite/again");
    let mut command = kite_plugin();
    let document = run(command
        .arg("package")
        .arg(&package)
        .args(["--push", &again, "--plain-http"]));
    assert!(document.contains(&format!("{again}@{digest}")), "{document}");
    crane(&["validate", "--remote", &format!("{again}:1.0.0")]);
}

#[test]
fn the_image_of_a_binary_is_accepted_by_other_tools() {
    let folder = project("shell", &[("web/dist/assets/page.js", "")]);
    is_accepted_by_others("shell", folder.path(), &["--binary", "/bin/sh"]);
}

#[test]
fn the_image_of_a_project_in_python_is_accepted_by_other_tools() {
    let files = [("pyproject.toml", "[project]\nname = \"snake\"\n"), ("plugin.py", "")];
    is_accepted_by_others("snake", project("snake", &files).path(), &[]);
}

/// Unpacks the layers of an image over one another, and gives the root that its process has.
fn root(package: &Package) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for layer in &package.image.layers {
        let file = root.path().with_extension("layer");
        fs::write(&file, &layer.data).unwrap();
        run(Command::new("tar").arg("-xzf").arg(&file).arg("-C").arg(root.path()));
        fs::remove_file(file).unwrap();
    }
    // Its process is another user, to whom a temporary folder is closed.
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    root
}

/// Bytes that nobody can guess.
fn rand(count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let source = fs::File::open("/dev/urandom").unwrap();
    source.take(count).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Makes what containers have as `/dev/urandom`, where one may make devices and open them.
fn urandom(path: &Path) {
    let mut mknod = Command::new("mknod");
    let made = mknod.args(["-m", "666"]).arg(path).args(["c", "1", "9"]).output();
    if made.is_ok_and(|made| made.status.success()) {
        if fs::File::open(path).is_ok() {
            return;
        }
        fs::remove_file(path).unwrap();
    }
    // Elsewhere bytes in a file are as good: grpcio reads 2048 of them, once, and gets all others from the kernel.
    fs::write(path, rand(4096)).unwrap();
}

/// All files below `folder`, with their sizes.
fn files(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            all.extend(files(&entry.path()));
        }
        all.insert(entry.path(), metadata.len());
    }
    all
}

/// What the image's configuration says of its process.
fn config(package: &Package) -> Value {
    let config: Value = serde_json::from_slice(&package.image.config.data).unwrap();
    config["config"].clone()
}

fn texts(list: &Value) -> Vec<String> {
    serde_json::from_value(list.clone()).unwrap()
}

/// The image's process, as a container runtime starts it: in its root, as its user, with nothing of this machine's.
fn process(root: &Path, config: &Value) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-user=65532", "--map-group=65532"])
        .arg(format!("--root={}", root.display()))
        .arg(format!("--wd={}", config["WorkingDir"].as_str().unwrap()))
        .args(texts(&config["Entrypoint"]))
        .env_clear();
    for variable in texts(&config["Env"]) {
        let (name, value) = variable.split_once('=').unwrap();
        command.env(name, value);
    }
    command
}

/// The plugin in Python of the conformance suite, as a project.
fn snake(python: &Python) -> TempDir {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/conformance/python");
    let read = |file: &str| fs::read_to_string(source.join(file)).unwrap();
    let wanted = |line: &&str| line.starts_with("grpcio==") || line.starts_with("protobuf==");
    let requirements: Vec<String> = read("requirements.txt")
        .lines()
        .filter(wanted)
        .map(str::to_owned)
        .collect();
    let files = [
        ("pyproject.toml", "[project]\nname = \"snake\"\nversion = \"1.0.0\"\n"),
        ("requirements.txt", &requirements.join("\n")),
        ("plugin.py", &read("plugin.py")),
    ];
    let project = project("snake", &files);
    run(Command::new("cp")
        .arg("-r")
        .arg(python.modules().join("kite"))
        .arg(project.path()));
    project
}

#[tokio::test]
async fn a_plugin_in_python_runs_from_its_image_and_writes_nothing() {
    // Fails only if there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let project = snake(&Python::ready().unwrap());
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("snake.tar.gz");
    run(kite_plugin().arg("package").arg(project.path()).arg("-o").arg(&file));
    let package = archive::read(fs::File::open(&file).unwrap()).unwrap();
    let (root, config) = (root(&package), config(&package));

    let command = |folder: &Path, address: IpAddr| {
        // What the operator mounts, where it does, without the links that lead out of here.
        fs::create_dir(root.path().join("run")).unwrap();
        run(Command::new("cp")
            .arg("-rL")
            .arg(folder)
            .arg(root.path().join("run/kite")));
        // And what the runtime does: grpcio reads it as it starts.
        fs::create_dir(root.path().join("dev")).unwrap();
        urandom(&root.path().join("dev/urandom"));
        let mut command = process(root.path(), &config);
        command.arg("--address").arg(address.to_string());
        // The environment names a folder that is not in there.
        command.arg("--folder").arg(MOUNT_PATH);
        tokio::process::Command::from(command)
    };
    let before = files(root.path());
    let plugin = Subject::start("snake", command).await.unwrap();
    let mut client = plugin.client().await.unwrap();
    let described = client.describe(DescribeRequest::default()).await.unwrap().into_inner();
    assert_eq!(described.name, "snake");
    let request = HttpRequest {
        head: Some(HttpRequestHead {
            context: Some(CallContext {
                user: Some(User {
                    name: "anna".to_owned(),
                    ..User::default()
                }),
                ..CallContext::default()
            }),
            method: "GET".to_owned(),
            path_and_query: "/hello".to_owned(),
            ..HttpRequestHead::default()
        }),
        end: true,
        ..HttpRequest::default()
    };
    let mut answer = client.http(stream::iter([request])).await.unwrap().into_inner();
    let message = answer.message().await.unwrap().unwrap();
    assert_eq!(message.data, br#"{"message": "Hello, anna!"}"#.as_slice());

    plugin.terminate().unwrap();
    assert!(plugin.ended().await.unwrap().success());
    let mounted = ["run", "dev"].map(|folder| root.path().join(folder));
    let written: Vec<PathBuf> = files(root.path())
        .into_iter()
        .filter(|(path, size)| before.get(path) != Some(size) && !mounted.iter().any(|folder| path.starts_with(folder)))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(written, Vec::<PathBuf>::new());
}

#[test]
fn modules_of_the_standard_library_and_their_libraries_are_in_the_image() {
    let script = "
import bz2, ctypes, curses, hashlib, lzma, multiprocessing, readline, sqlite3, ssl, sys, threading, zlib
print(len(ssl.create_default_context().get_ca_certs()) > 0)
print(hashlib.new('sha256', b'').hexdigest()[:8], sqlite3.connect(':memory:').execute('select 1').fetchone())
print(sys.flags.utf8_mode, sys.dont_write_bytecode, sys.prefix, sys.base_prefix)
thread = threading.Thread(target=print, args=('a thread',))
thread.start()
thread.join()
";
    let pyproject = "[project]\nname = \"own\"\n[project.scripts]\nown = \"own.start:main\"\n";
    let start = format!("def main():\n{}", script.replace('\n', "\n    "));
    let files = [
        ("pyproject.toml", pyproject),
        ("src/own/start.py", start.as_str()),
        ("src/own/__init__.py", ""),
    ];
    let project = project("own", &files);
    let file = project.path().join("out.tar.gz");
    run(kite_plugin().arg("package").arg(project.path()).arg("-o").arg(&file));
    let package = archive::read(fs::File::open(&file).unwrap()).unwrap();
    let root = root(&package);
    assert_eq!(
        run(&mut process(root.path(), &config(&package))),
        "True\ne3b0c442 (1,)\n1 True /opt/venv /opt/python\na thread"
    );
}
