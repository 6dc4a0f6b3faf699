//! Puts this checkout's build on a cluster: the images, the chart, and the example plugin.

mod chart;
mod door;
pub mod images;
mod plugin;

use std::{io, path::PathBuf, process::Command};

use crate::{
    cluster::{CommandError, Layout, Lock, Progress, remove_dir},
    target::Target,
};

pub use door::{Exports, show};
pub use images::{PROJECT_IMAGES, ProjectImage, binary, image_spec, project_image};
pub use plugin::{apply, package};

/// The name of the CRD.
const CRD: &str = "kiteplugins.kite.dev";

#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error("failed to find {}: build it with `cargo build --workspace`", path.display())]
    BinaryMissing { path: PathBuf },
    #[error("failed to build the image {name}")]
    Build {
        name: &'static str,
        source: Box<kite_plugin::image::ImageError>,
    },
    #[error("failed to push the image {reference}")]
    Push {
        reference: String,
        source: Box<kite_plugin::image::PushError>,
    },
    #[error("failed to read the image reference {reference}")]
    Reference { reference: String },
    #[error("failed to run {program}")]
    Run { program: &'static str, source: io::Error },
    #[error("{program} failed:\n{output}")]
    Failed { program: &'static str, output: String },
    #[error("failed to install the chart; what the cluster says:\n{cluster}")]
    Install { source: CommandError, cluster: String },
    #[error("failed to ask the API server for {what}")]
    Ask { what: &'static str, source: kube::Error },
    #[error("failed to find {what}")]
    Missing { what: &'static str },
    #[error("{name} was not Loaded within {seconds} s; its conditions:\n{conditions}")]
    NotLoaded {
        name: String,
        seconds: u64,
        conditions: String,
    },
    #[error("failed to write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("failed to call the gateway at {url}")]
    Call { url: String, source: reqwest::Error },
    #[error("the gateway answered {status} at {url}: {body}")]
    Answer { url: String, status: u16, body: String },
    #[error(transparent)]
    Target(Box<crate::target::TargetError>),
    #[error("failed to wait for other commands that deploy")]
    Lock(#[source] crate::cluster::StateError),
    #[error("failed to forget the cluster")]
    Forget(#[source] crate::cluster::StateError),
    #[error("failed to read what helm says of the release")]
    Release(#[source] serde_json::Error),
}

impl From<crate::target::TargetError> for DeployError {
    fn from(error: crate::target::TargetError) -> Self {
        Self::Target(Box::new(error))
    }
}

/// Images, chart and hello, on `target`.
pub async fn everything(target: &Target, layout: &Layout, progress: &Progress) -> Result<(), DeployError> {
    let _lock = Lock::take(&layout.deploy_lock(), progress).map_err(DeployError::Lock)?;
    let images = images::push(target, progress).await?;
    chart::install(target, &images, &[], progress)?;
    plugin::hello(target, progress).await
}

/// The chart alone, with images that were pushed before, and with these values beside: what puts back an uninstalled release.
pub async fn chart_only(
    target: &Target,
    layout: &Layout,
    progress: &Progress,
    values: &[String],
) -> Result<(), DeployError> {
    let _lock = Lock::take(&layout.deploy_lock(), progress).map_err(DeployError::Lock)?;
    let images = images::push(target, progress).await?;
    chart::install(target, &images, values, progress)
}

/// Uninstalls the release, and waits until what it made is gone.
pub fn uninstall(target: &Target, progress: &Progress) -> Result<(), DeployError> {
    chart::uninstall(target, progress)
}

/// Takes what `everything` brought from a cluster that is not ours to stop. Plugins of others stay, and so the CRD.
pub fn remove(target: &Target, layout: &Layout, progress: &Progress) -> Result<(), DeployError> {
    let _lock = Lock::take(&layout.deploy_lock(), progress).map_err(DeployError::Lock)?;
    let kubectl = |arguments: &[&str]| run("kubectl", target.kubectl().args(arguments));
    let is_there = !kubectl(&["get", "crd", CRD, "--ignore-not-found", "--output=name"])?.is_empty();
    if is_there {
        progress.say("deleting the plugin hello");
        kubectl(&["delete", "kiteplugins", "hello", "--ignore-not-found"])?;
    }
    chart::uninstall(target, progress)?;
    door::close(target)?;
    if is_there {
        let others = kubectl(&["get", "kiteplugins", "--output=name"])?;
        if others.is_empty() {
            kubectl(&["delete", "crd", CRD])?;
        } else {
            progress.say(&format!(
                "the CRD stays, because of: {}",
                others.split_whitespace().collect::<Vec<_>>().join(", ")
            ));
        }
    }
    // It holds credentials.
    remove_dir(&target.dir).map_err(DeployError::Forget)
}

/// Runs a command to its end and returns what it printed.
fn run(program: &'static str, command: &mut Command) -> Result<String, DeployError> {
    let output = command
        .output()
        .map_err(|source| DeployError::Run { program, source })?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let output = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr))
        .trim()
        .to_owned();
    Err(DeployError::Failed { program, output })
}
