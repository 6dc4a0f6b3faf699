//! Packages the example plugin as its author would, applies it as an admin would, and waits until it is Loaded.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use futures::TryStreamExt;
use kite_api::{KitePlugin, Phase};
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};

use super::{DeployError, images::binary, run};
use crate::{
    cluster::Progress,
    target::{Registry, Target},
};

const PATIENCE: Duration = Duration::from_mins(3);

/// Runs `kite-plugin package` on the example `hello`, and returns the document that it printed.
pub fn package(registry: &Registry) -> Result<String, DeployError> {
    let example: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/examples/hello");
    let mut command = Command::new(binary("kite-plugin")?);
    command
        .arg("package")
        .arg(example)
        .arg("--binary")
        .arg(binary("hello")?);
    command.arg("--push").arg(format!("{}/kite/hello", registry.host));
    if registry.plain_http {
        command.arg("--plain-http");
    }
    run("kite-plugin", &mut command)
}

/// Packages and applies hello, and waits until it is Loaded.
pub(super) async fn hello(target: &Target, progress: &Progress) -> Result<(), DeployError> {
    progress.say("packaging and applying the plugin hello");
    let document = package(&target.registry)?;
    apply(target, &document)?;
    wait_until_loaded(target.client().await?, "hello", progress).await?;
    progress.say("hello is Loaded");
    Ok(())
}

/// Applies a document as whoever the kubeconfig says.
pub fn apply(target: &Target, document: &str) -> Result<(), DeployError> {
    let failed = |source| DeployError::Run {
        program: "kubectl",
        source,
    };
    let mut kubectl = target.kubectl();
    kubectl.args(["apply", "--server-side", "-f", "-"]);
    let mut child = kubectl
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(document.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(DeployError::Failed {
        program: "kubectl",
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

async fn wait_until_loaded(client: kube::Client, name: &str, progress: &Progress) -> Result<(), DeployError> {
    let api: Api<KitePlugin> = Api::all(client);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut last = None;
    let watched = async {
        let mut changes = std::pin::pin!(watcher(api, config).default_backoff().applied_objects());
        loop {
            // A broken watch is begun again by the watcher; only its end is the end.
            let Ok(Some(plugin)) = changes.try_next().await else {
                continue;
            };
            progress.say(&format!("{name}: {}", in_a_word(&plugin)));
            if is_loaded(&plugin) {
                return;
            }
            last = Some(plugin);
        }
    };
    tokio::time::timeout(PATIENCE, watched)
        .await
        .map_err(|_| DeployError::NotLoaded {
            name: name.to_owned(),
            seconds: PATIENCE.as_secs(),
            conditions: last.as_ref().map(conditions).unwrap_or_default(),
        })
}

/// Whether the operator has seen this generation and everything holds.
fn is_loaded(plugin: &KitePlugin) -> bool {
    plugin.status.as_ref().is_some_and(|status| {
        let ready = status.conditions.iter().any(|condition| {
            condition.type_ == kite_api::conditions::READY
                && condition.status == "True"
                && condition.observed_generation == plugin.metadata.generation
        });
        status.phase == Some(Phase::Loaded) && ready
    })
}

/// The phase, and why it is not Ready.
fn in_a_word(plugin: &KitePlugin) -> String {
    let status = plugin.status.clone().unwrap_or_default();
    let ready = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kite_api::conditions::READY);
    let message = ready.map_or("", |ready| ready.message.as_str());
    format!("{:?} {message}", status.phase.unwrap_or_default())
}

fn conditions(plugin: &KitePlugin) -> String {
    let conditions = plugin.status.iter().flat_map(|status| &status.conditions);
    conditions
        .map(|c| format!("  {}={} {}: {}", c.type_, c.status, c.reason, c.message))
        .collect::<Vec<_>>()
        .join("\n")
}
