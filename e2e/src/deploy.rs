//! Puts this checkout's build on a cluster: the images, the chart, and the example plugin.

mod chart;
mod door;
mod images;
mod plugin;

use std::{io, path::PathBuf, process::Command};

use crate::{cluster::Progress, target::Target};

pub use chart::{RELEASE, RELEASE_NAMESPACE};
pub use door::{Exports, show};
pub use images::{PROJECT_IMAGES, ProjectImage, binary, image_spec, project_image};
pub use plugin::package;

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
}

impl From<crate::target::TargetError> for DeployError {
    fn from(error: crate::target::TargetError) -> Self {
        Self::Target(Box::new(error))
    }
}

/// Images, chart and hello, on `target`.
pub async fn everything(target: &Target, progress: &Progress) -> Result<(), DeployError> {
    let images = images::push(target, progress).await?;
    chart::install(target, &images, progress)?;
    plugin::hello(target, progress).await
}

/// The chart alone, with images that were pushed before: what puts back an uninstalled release.
pub async fn chart_only(target: &Target, progress: &Progress) -> Result<(), DeployError> {
    let images = images::push(target, progress).await?;
    chart::install(target, &images, progress)
}

/// Uninstalls the release, and waits until what it made is gone.
pub fn uninstall(target: &Target, progress: &Progress) -> Result<(), DeployError> {
    chart::uninstall(target, progress)
}

/// Takes the release, the plugins and the CRD from a cluster that is not ours to stop.
pub fn remove(target: &Target, progress: &Progress) -> Result<(), DeployError> {
    progress.say("deleting all KitePlugins");
    run("kubectl", target.kubectl().args(["delete", "kiteplugins", "--all", "--ignore-not-found", "--wait=true"])).or_else(|error| {
        // Without the CRD there are none.
        if matches!(&error, DeployError::Failed { output, .. } if output.contains("the server doesn't have a resource type")) {
            Ok(String::new())
        } else {
            Err(error)
        }
    })?;
    chart::uninstall(target, progress)?;
    run(
        "kubectl",
        target
            .kubectl()
            .args(["delete", "crd", "kiteplugins.kite.dev", "--ignore-not-found"]),
    )
    .map(drop)
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
