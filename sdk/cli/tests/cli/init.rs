//! New plugins: what is told, what is there afterwards, and what is not after a failure.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use kite_api::PluginName;
use kite_plugin::{
    manifest,
    scaffold::{self, CrateName, Language},
};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::output::run;

const DOCUMENTATION: &str = include_str!("../../../../docs/write-a-plugin.md");

/// Runs the command for `path` in a folder that is made for it.
async fn init(folder: &TempDir, path: &str, options: &[&str]) -> String {
    let path = folder.path().join(path);
    let arguments = [&["init", path.to_str().unwrap()], options].concat();
    run(&arguments, Some(folder.path())).await
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// All files in a folder, by their paths in it.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

/// The names in a folder.
fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs the program in `folder`, as a person does.
fn program(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kite-plugin"));
    command.current_dir(folder).args(arguments).output().unwrap()
}

#[tokio::test]
async fn help_of_init() {
    insta::assert_snapshot!(run(&["init", "--help"], None).await);
}

#[tokio::test]
async fn without_a_name() {
    insta::assert_snapshot!(run(&["init"], None).await);
}

#[tokio::test]
async fn made_in_rust() {
    let folder = folder();
    insta::assert_snapshot!(init(&folder, "cost-analyzer", &[]).await);
    let name = PluginName::parse("cost-analyzer").unwrap();
    let expected: BTreeSet<String> = scaffold::files(&name, Language::Rust).into_keys().collect();
    assert_eq!(files(&folder.path().join("cost-analyzer")), expected);
    assert_eq!(entries(folder.path()), ["cost-analyzer"]);
}

#[tokio::test]
async fn made_in_python() {
    let folder = folder();
    insta::assert_snapshot!(init(&folder, "cost-analyzer", &["--language", "python"]).await);
    let name = PluginName::parse("cost-analyzer").unwrap();
    let expected: BTreeSet<String> = scaffold::files(&name, Language::Python).into_keys().collect();
    assert_eq!(files(&folder.path().join("cost-analyzer")), expected);
    assert_eq!(entries(folder.path()), ["cost-analyzer"]);
}

#[tokio::test]
async fn names_that_are_none() {
    let long = "a-very-".repeat(6) + "long-name";
    let mut all = String::new();
    for name in ["My_Plugin", "tools", "-", "café", "a.b", &long] {
        let folder = folder();
        all.push_str(&init(&folder, name, &[]).await);
        all.push('\n');
        assert_eq!(entries(folder.path()), [""; 0]);
    }
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn another_name_than_the_folders() {
    let folder = folder();
    let told = init(&folder, "tools", &["--name", "tool-box"]).await;
    assert!(
        told.contains("Made the plugin tool-box, in Rust, in DIR/tools:"),
        "{told}"
    );
    let manifest = manifest::read(&folder.path().join("tools")).unwrap();
    assert_eq!(manifest.name.as_str(), "tool-box");
    insta::assert_snapshot!(init(&folder, "other", &["--name", "Other Name"]).await);
}

#[tokio::test]
async fn a_folder_that_is_not_empty() {
    let folder = folder();
    fs::create_dir(folder.path().join("hello")).unwrap();
    fs::write(folder.path().join("hello/README.md"), "mine").unwrap();
    insta::assert_snapshot!(init(&folder, "hello", &[]).await);
    assert_eq!(entries(&folder.path().join("hello")), ["README.md"]);
    assert_eq!(fs::read(folder.path().join("hello/README.md")).unwrap(), b"mine");
}

#[tokio::test]
async fn a_file_in_its_place() {
    let folder = folder();
    fs::write(folder.path().join("hello"), "mine").unwrap();
    insta::assert_snapshot!(init(&folder, "hello", &[]).await);
    assert_eq!(fs::read(folder.path().join("hello")).unwrap(), b"mine");
}

#[tokio::test]
async fn a_parent_that_is_not_there() {
    let folder = folder();
    insta::assert_snapshot!(init(&folder, "plugins/hello", &[]).await);
    assert_eq!(entries(folder.path()), [""; 0]);
}

#[tokio::test]
async fn a_parent_that_takes_no_folders() {
    // Nobody makes folders there, not even root.
    let told = run(&["init", "/proc/self/hello"], None).await;
    assert!(told.starts_with("Failure\n"), "{told}");
    assert!(
        told.contains("because: failed to make a folder in /proc/self\n"),
        "{told}"
    );
}

#[test]
fn the_present_folder_gives_the_name_and_keeps_its_repository() {
    let folder = folder();
    let project = folder.path().join("my-plugin");
    fs::create_dir_all(project.join(".git")).unwrap();
    let output = program(&project, &["init", "."]);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(manifest::read(&project).unwrap().name.as_str(), "my-plugin");
    let made = entries(&project);
    assert!(
        made.contains(&".git".to_owned()) && made.contains(&"src".to_owned()),
        "{made:?}"
    );
    assert!(
        !made.iter().any(|name| name.starts_with(".kite-plugin-init")),
        "{made:?}"
    );
    let again = program(&project, &["init", ".", "--language", "python"]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let again = String::from_utf8(again.stderr).unwrap();
    assert!(
        again.contains("`kite-plugin init ./my-plugin-plugin --name my-plugin --language python`"),
        "{again}"
    );

    let root = program(&project, &["init", "/"]);
    assert_eq!(root.status.code(), Some(1), "{root:?}");
    insta::assert_snapshot!(String::from_utf8(root.stderr).unwrap());
}

#[test]
fn what_was_made_can_be_read_by_those_who_can_read_other_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    fs::create_dir(folder.path().join("other")).unwrap();
    let output = program(folder.path(), &["init", "hello"]);
    assert!(output.status.success(), "{output:?}");
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("hello"), mode("other"));
}

/// What the documentation shows behind this command.
fn documented(command: &str) -> String {
    let (_, rest) = DOCUMENTATION.split_once(&format!("$ {command}\n")).unwrap();
    rest.split_once("```").unwrap().0.trim_end().to_owned()
}

#[test]
fn the_documentation_shows_what_is_made() {
    for command in [
        "kite-plugin init cost-analyzer",
        "kite-plugin init cost-analyzer --language python",
    ] {
        let folder = folder();
        let arguments: Vec<&str> = command.split(' ').skip(1).collect();
        let output = program(folder.path(), &arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(documented(command), told.trim_end());
    }
}

#[test]
fn names_are_what_they_are_to_cargo() {
    for (name, expected) in [
        ("hello", "hello"),
        ("cost-analyzer", "cost-analyzer"),
        ("a1", "a1"),
        ("9lives", "plugin-9lives"),
        ("async", "plugin-async"),
        ("test", "plugin-test"),
        ("build", "plugin-build"),
        ("serde", "plugin-serde"),
        ("kite-plugin-sdk", "plugin-kite-plugin-sdk"),
    ] {
        let name = PluginName::parse(name).unwrap();
        assert_eq!(CrateName::of(&name).as_str(), expected);
    }
}

#[tokio::test]
async fn cargo_takes_the_project_and_its_lock_file_whatever_the_name() {
    for name in ["a", "9lives", "cost-analyzer", "serde", "zz-top"] {
        let folder = folder();
        init(&folder, name, &[]).await;
        // It resolves all, and writes nothing: any other lock file would be an error.
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(folder.path().join(name));
        cargo.args(["update", "--workspace", "--locked", "--offline", "--quiet"]);
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
    }
}

#[tokio::test]
async fn a_project_is_formatted_as_cargo_formats() {
    let folder = folder();
    init(&folder, "hello", &[]).await;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(folder.path().join("hello")).args(["fmt", "--check"]);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

proptest! {
    #[test]
    fn every_name_gives_a_project_that_says_so(name in "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?") {
        let Ok(name) = PluginName::parse(&name) else { return Ok(()) };
        let crate_name = CrateName::of(&name);
        for (language, file) in [(Language::Rust, "Cargo.toml"), (Language::Python, "pyproject.toml")] {
            let files = scaffold::files(&name, language);
            let text = |path: &str| String::from_utf8(files[path].to_vec()).unwrap();
            let manifest = manifest::parse(&text("plugin.yaml")).unwrap();
            prop_assert_eq!(manifest.name.as_str(), name.as_str());
            prop_assert_eq!(manifest.version.to_string(), "0.1.0");
            let package = if language == Language::Rust { crate_name.as_str() } else { name.as_str() };
            let line = format!("name = \"{package}\"");
            prop_assert!(text(file).lines().any(|found| found == line));
        }
        let files = scaffold::files(&name, Language::Rust);
        let lock = String::from_utf8(files["Cargo.lock"].to_vec()).unwrap();
        let packages: Vec<&str> = lock.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
        let root = format!("\"{crate_name}\"");
        prop_assert_eq!(packages.iter().filter(|package| **package == root).count(), 1);
        prop_assert!(packages.is_sorted_by_key(|package| package.trim_matches('"')));
    }
}
