//! Installs and uninstalls the chart, which is the only way that a cluster gets operator and gateway.

use std::path::Path;

use super::{DeployError, images::Pushed, run};
use serde::Deserialize;

use crate::{
    cluster::{CommandError, Progress, run_logged},
    target::{Target, variable},
};

/// The release's name.
const RELEASE: &str = "kite";
/// Where Helm keeps the release: neither of the two namespaces that the chart makes.
const RELEASE_NAMESPACE: &str = "default";

/// Installs or upgrades the release, and waits until operator and gateway are ready.
pub(super) fn install(
    target: &Target,
    images: &[Pushed],
    values: &[String],
    progress: &Progress,
) -> Result<(), DeployError> {
    progress.say("installing the chart, and waiting for operator and gateway");
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/kite-plugins");
    if target.is_local {
        forget_interrupted(target, progress)?;
    }
    let mut helm = target.helm();
    helm.args(["upgrade", "--install", RELEASE]).arg(chart);
    helm.args(["--namespace", RELEASE_NAMESPACE, "--wait", "--timeout", "4m"]);
    for image in images {
        let Pushed {
            name,
            repository,
            digest,
        } = image;
        helm.args([
            "--set-string",
            &format!("{name}.image.repository={repository},{name}.image.digest={digest}"),
        ]);
    }
    for value in values {
        helm.args(["--set", value]);
    }
    if let Some(name) = gateway_name() {
        helm.args(["--set", &format!("gateway.names={{{name}}}")]);
    }
    let log = target.dir.join("helm.log");
    run_logged(progress, "helm", &helm, &log).map_err(|error| explained(target, error))?;
    progress.say("operator and gateway are ready");
    Ok(())
}

/// What `helm status` says of a release.
#[derive(Deserialize)]
struct ReleaseStatus {
    version: u64,
    info: ReleaseInfo,
}

#[derive(Deserialize)]
struct ReleaseInfo {
    status: String,
}

/// Removes the record of an installation that was killed, which helm would take for one that is still under way. What it had
/// made is taken over by the next. On a cluster of others it could really be under way, so this is for the local one.
fn forget_interrupted(target: &Target, progress: &Progress) -> Result<(), DeployError> {
    let status = ["status", RELEASE, "--namespace", RELEASE_NAMESPACE, "--output", "json"];
    let Ok(status) = run("helm", target.helm().args(status)) else {
        return Ok(()); // There is no release yet.
    };
    let release: ReleaseStatus = serde_json::from_str(&status).map_err(DeployError::Release)?;
    if release.info.status == "uninstalling" {
        return uninstall(target, progress);
    }
    if !release.info.status.starts_with("pending-") {
        return Ok(());
    }
    progress.say(&format!("forgetting a release that was left {}", release.info.status));
    let record = format!("sh.helm.release.v1.{RELEASE}.v{}", release.version);
    run(
        "kubectl",
        target
            .kubectl()
            .args(["--namespace", RELEASE_NAMESPACE, "delete", "secret", &record]),
    )
    .map(drop)
}

/// Uninstalls the release, and waits until what it made is gone.
pub(super) fn uninstall(target: &Target, progress: &Progress) -> Result<(), DeployError> {
    progress.say("uninstalling the chart");
    let arguments = [
        "uninstall",
        RELEASE,
        "--namespace",
        RELEASE_NAMESPACE,
        "--ignore-not-found",
        "--wait",
        "--timeout",
        "4m",
    ];
    run("helm", target.helm().args(arguments)).map(drop)
}

/// The host of the address by which a cluster that is not ours is reached, for the gateway's certificate.
fn gateway_name() -> Option<String> {
    variable("KITE_CONTEXT")?;
    let url = reqwest::Url::parse(&variable("KITE_URL")?).ok()?;
    url.host_str().map(str::to_owned)
}

/// helm's error, which only says that it waited too long, with what the pods and the events say.
fn explained(target: &Target, source: CommandError) -> DeployError {
    let ask =
        |arguments: &[&str]| run("kubectl", target.kubectl().args(arguments)).unwrap_or_else(|error| error.to_string());
    let pods = ask(&["-n", "kite-system", "get", "pods", "-o", "wide"]);
    let events = ask(&["-n", "kite-system", "get", "events", "--sort-by=.lastTimestamp"]);
    let logs = ask(&[
        "-n",
        "kite-system",
        "logs",
        "-l",
        "app.kubernetes.io/name",
        "--prefix",
        "--tail=20",
    ]);
    DeployError::Install {
        source,
        cluster: format!("{pods}\n{events}\n{logs}"),
    }
}
