//! Installs and uninstalls the chart, which is the only way that a cluster gets operator and gateway.

use std::path::Path;

use super::{DeployError, images::Pushed, run};
use crate::{cluster::Progress, target::Target};

/// The release's name.
pub const RELEASE: &str = "kite";
/// Where Helm keeps the release: neither of the two namespaces that the chart makes.
pub const RELEASE_NAMESPACE: &str = "default";

/// Installs or upgrades the release, and waits until operator and gateway are ready.
pub(super) fn install(target: &Target, images: &[Pushed], progress: &Progress) -> Result<(), DeployError> {
    progress.say("installing the chart, and waiting for operator and gateway");
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/kite-plugins");
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
    run("helm", &mut helm)
        .map(drop)
        .map_err(|error| with_pods(target, error))?;
    progress.say("operator and gateway are ready");
    Ok(())
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

/// Adds to helm's error, which only says that it waited too long, what the pods and the events say.
fn with_pods(target: &Target, error: DeployError) -> DeployError {
    let DeployError::Failed { program, output } = error else {
        return error;
    };
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
    DeployError::Failed {
        program,
        output: format!("{output}\n\n{pods}\n{events}\n{logs}"),
    }
}
