//! What a new project has of ours is what cargo packs and locks, and protoc makes; `make generate` rewrites it.
#![cfg(test)]

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use flate2::read::GzDecoder;
use kite_api::PluginName;
use kite_conformance::python::Python;
use kite_plugin::scaffold::{self, Language, PACKED, Packed};
use tempfile::TempDir;

/// What cargo adds to say how it packed.
const RECORDS: [&str; 2] = ["Cargo.toml.orig", ".cargo_vcs_info.json"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn cargo(folder: &Path, arguments: &[&str]) {
    let output = Command::new(env!("CARGO")).current_dir(folder).args(arguments).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The folder in which cargo has packed the crates.
fn packed() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().to_str().expect("a path");
    let mut arguments = vec![
        "package",
        "--no-verify",
        "--offline",
        "--exclude-lockfile",
        "--allow-dirty",
    ];
    arguments.extend(["--quiet", "--target-dir", target]);
    for packed in PACKED {
        arguments.extend(["--package", packed.name]);
    }
    cargo(&root(), &arguments);
    folder
}

/// The files of one crate that cargo has packed.
fn files_of(packed: &Packed, folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let top = format!("{}-{}", packed.name, env!("CARGO_PKG_VERSION"));
    let file = fs::File::open(folder.join(format!("package/{top}.crate"))).expect("a packed crate");
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let mut files = BTreeMap::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path");
        let path = path
            .strip_prefix(&top)
            .expect("the top folder")
            .to_str()
            .expect("UTF-8")
            .to_owned();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).expect("a file");
        files.insert(path, data);
    }
    files.retain(|path, _| !RECORDS.contains(&path.as_str()));
    files
}

/// Fails if the committed file has another text; or writes that there, if that is what is wanted.
fn hold(path: &str, fresh: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("KITE_GENERATE").is_some() {
        fs::write(&file, fresh).expect("the generated file is written");
    }
    let committed = fs::read_to_string(&file).expect("the generated file");
    assert!(committed == fresh, "sdk/cli/{path} is not current: run `make generate`");
}

#[test]
fn a_new_project_has_the_crates_as_cargo_packs_them() {
    let folder = packed();
    for packed in PACKED {
        let theirs = files_of(&packed, folder.path());
        let manifest = String::from_utf8(theirs["Cargo.toml"].clone()).expect("UTF-8");
        hold(&format!("generated/{}.toml", packed.name), &manifest);
        let mut ours = packed.files();
        // Of which what was just held is newer than this program.
        ours.insert("Cargo.toml".to_owned(), manifest.into_bytes().into());
        assert_eq!(
            ours.keys().collect::<Vec<_>>(),
            theirs.keys().collect::<Vec<_>>(),
            "the files of {}",
            packed.name
        );
        for (path, data) in ours {
            assert!(*data == *theirs[&path], "{path} of {}", packed.name);
        }
    }
}

#[test]
fn a_new_project_has_the_versions_that_were_tested() {
    let (packed, project) = (packed(), tempfile::tempdir().expect("a folder"));
    let write = |path: &str, data: &[u8]| {
        let path = project.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, data).expect("a file");
    };
    let name = PluginName::parse("some-name").expect("a name");
    let files = scaffold::files(&name, Language::Rust);
    let manifest = String::from_utf8(files["Cargo.toml"].to_vec()).expect("UTF-8");
    write(
        "Cargo.toml",
        manifest.replace("some-name", scaffold::LOCK_ROOT).as_bytes(),
    );
    write("src/main.rs", b"fn main() {}");
    for crate_ in PACKED {
        for (path, data) in files_of(&crate_, packed.path()) {
            write(&format!("vendor/{}/{path}", crate_.name), &data);
        }
    }
    fs::copy(root().join("Cargo.lock"), project.path().join("Cargo.lock")).expect("the lock file");
    // Takes out what is not needed, and nothing else, since nothing else may be had.
    cargo(project.path(), &["update", "--workspace", "--offline", "--quiet"]);
    let lock = fs::read_to_string(project.path().join("Cargo.lock")).expect("a lock file");
    hold("generated/Cargo.lock", &lock);
}

#[test]
fn a_new_project_has_the_modules_that_protoc_makes() {
    let python = Python::ready().expect("Python with grpcio-tools");
    for module in ["plugin_pb2.py", "plugin_pb2_grpc.py"] {
        let path = format!("kite/plugin/v1/{module}");
        let fresh = fs::read_to_string(python.modules().join(&path)).expect("a module");
        hold(&format!("generated/python/{path}"), &fresh);
    }
}

#[test]
fn a_new_project_has_the_packages_that_were_tested() {
    let name = PluginName::parse("some-name").expect("a name");
    let files = scaffold::files(&name, Language::Python);
    let wanted = String::from_utf8(files["requirements.txt"].to_vec()).expect("UTF-8");
    let tested = include_str!("../../conformance/python/requirements.txt");
    for package in ["grpcio", "protobuf"] {
        let version = |list: &str| {
            list.lines()
                .find_map(|line| line.strip_prefix(package)?.strip_prefix("==").map(str::to_owned))
        };
        assert!(version(tested).is_some(), "{package} is tested");
        assert_eq!(version(&wanted), version(tested), "{package}");
    }
}
