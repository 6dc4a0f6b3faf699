//! New plugins, from `kite-plugin init` to their answers on the cluster, by the commands of their authors.
#![cfg(test)]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use kite_api::Phase;
use kite_e2e::{
    cluster::Layout,
    deploy::{self, binary},
    target::Target,
    testing::{LABEL, Scope, scope},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the program writes to stdout, if it ends well.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let [data, talk] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(
        output.status.success(),
        "{command:?}: {}\n{data}\n{talk}",
        output.status
    );
    data
}

fn kite_plugin() -> Command {
    Command::new(binary("kite-plugin").unwrap())
}

/// A new project called as the test, in a folder far from this repository.
fn made(scope: &Scope, language: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut init = kite_plugin();
    init.args(["init", &scope.name, "--language", language]);
    run(init.current_dir(folder.path()));
    let project = folder.path().join(&scope.name);
    // By this label the test's object is removed.
    let path = project.join("plugin.yaml");
    let document = fs::read_to_string(&path).unwrap();
    let labelled = format!("metadata:\n  labels: {{{LABEL}: {}}}\n", scope.name);
    fs::write(path, document.replacen("metadata:\n", &labelled, 1)).unwrap();
    (folder, project)
}

/// Validates, packages and applies the project, and asks what it offers.
async fn answers(scope: &Scope, project: &Path, environment: &[(&str, &str)]) {
    let target = Target::running(&Layout::from_env().unwrap()).unwrap();
    let name = &scope.name;
    let words = run(kite_plugin().arg("validate").arg(project));
    assert!(
        words.contains("is valid") && words.contains("may get and list pods"),
        "{words}"
    );
    let mut package = kite_plugin();
    package.arg("package").arg(project).arg("--push");
    package.arg(format!("{}/kite/test/{name}", target.registry.host));
    if target.registry.plain_http {
        package.arg("--plain-http");
    }
    let document = run(package.envs(environment.iter().copied()));
    deploy::apply(&target, &document).unwrap();
    scope.wait_for_phase(name, Phase::Loaded).await;
    scope.wait_for_answer(name, 200).await;

    let admin = scope.gateway.admin();
    let hello = scope.gateway.get(admin, &format!("{name}/hello")).await.json();
    let message = hello["message"].as_str().unwrap();
    assert!(
        message.starts_with("Hello, ") && message.len() > "Hello, !".len(),
        "{message}"
    );
    let pods = scope.gateway.get(admin, &format!("{name}/pods")).await;
    assert_eq!(pods.status, 200, "{pods:?}");
    let own = format!("kite-plugin-{name}-1-");
    let pods = pods.json()["pods"].as_array().cloned().unwrap_or_default();
    let is_own = |pod: &Value| pod.as_str().is_some_and(|pod| pod.starts_with(&own));
    assert!(pods.iter().any(is_own), "{own} in {pods:?}");
    let tool = format!("plugin_{name}_hello");
    let greeted = scope.gateway.tool(admin, &tool, json!({"name": "Ann"})).await;
    assert_eq!(
        (greeted.status, &greeted.json()["result"]),
        (200, &json!("Hello, Ann!"))
    );
    let refused = scope.gateway.tool(admin, &tool, json!({})).await;
    assert_eq!(refused.problem().0, 422);
}

#[tokio::test]
async fn a_scaffold_in_python_answers_on_the_cluster() {
    scope("scaffold-python", async |scope| {
        let (_folder, project) = made(&scope, "python");
        run(kite_plugin().arg("build").arg(&project));
        let mut tests = Command::new(project.join(".venv/bin/python"));
        run(tests.args(["-m", "unittest"]).current_dir(&project));
        answers(&scope, &project, &[]).await;
    })
    .await;
}

#[tokio::test]
async fn a_scaffold_in_rust_answers_on_the_cluster() {
    scope("scaffold-rust", async |scope| {
        let (_folder, made) = made(&scope, "rust");
        let kept = Kept::take(&made.join("Cargo.lock"));
        let project = kept.folder.join("project");
        sync(&made, &project);
        let target = kept.folder.join("target");
        let environment = [
            ("CARGO_TARGET_DIR", target.to_str().unwrap()),
            // What is tested is the same, and built sooner.
            ("CARGO_PROFILE_DEV_DEBUG", "0"),
            ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
            ("CARGO_INCREMENTAL", "0"),
        ];
        let mut tests = Command::new("cargo");
        tests.args(["test", "--locked"]).current_dir(&project);
        let told = run(tests.envs(environment));
        assert!(
            told.contains("test result: ok. ") && !told.contains(" 0 passed"),
            "{told}"
        );
        answers(&scope, &project, &environment).await;
    })
    .await;
}

/// What cargo has built for these versions, and may build on; nobody else does meanwhile. It lies among what cargo builds for this
/// repository, and goes with that when it was not used for long.
struct Kept {
    folder: PathBuf,
    _lock: File,
}

impl Kept {
    fn take(versions: &Path) -> Self {
        let digest = kite_proto::sha256(&fs::read(versions).unwrap());
        let key: String = digest.trim_start_matches("sha256:").chars().take(12).collect();
        let layout = Layout::from_env().unwrap();
        let folder = layout.cache().join("target").join(format!("scaffold-{key}"));
        fs::create_dir_all(&folder).unwrap();
        // Made anew, so that the folder's time is that of its last use.
        let path = folder.join("used");
        let lock = File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let _ = fs::remove_file(&path);
        File::create(path).unwrap();
        Self { folder, _lock: lock }
    }
}

/// Makes `to` what `from` is, and does not touch files that are so already: cargo goes by their times.
fn sync(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(to).unwrap() {
        let there = entry.unwrap().path();
        let wanted = from.join(there.file_name().unwrap());
        if there.is_dir() && !wanted.is_dir() {
            fs::remove_dir_all(there).unwrap();
        } else if !there.is_dir() && !wanted.is_file() {
            fs::remove_file(there).unwrap();
        }
    }
    for entry in fs::read_dir(from).unwrap() {
        let wanted = entry.unwrap().path();
        let there = to.join(wanted.file_name().unwrap());
        if wanted.is_dir() {
            sync(&wanted, &there);
        } else if fs::read(&there).ok() != fs::read(&wanted).ok() {
            fs::copy(wanted, there).unwrap();
        }
    }
}
