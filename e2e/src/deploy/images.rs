//! The project's own images, made by the same code that makes plugins' images.

use std::path::PathBuf;

use kite_plugin::image::{self, Image, ImageSpec, PushOptions};

use super::DeployError;
use crate::{cluster::Progress, target::Target};

/// One image of the project.
#[derive(Clone, Copy, Debug)]
pub struct ProjectImage {
    /// Its name in the chart's values.
    pub name: &'static str,
    /// The binary that it runs.
    pub binary: &'static str,
}

/// What the chart installs.
pub const PROJECT_IMAGES: [ProjectImage; 2] = [
    ProjectImage {
        name: "operator",
        binary: "kite-operator",
    },
    ProjectImage {
        name: "gateway",
        binary: "kite-gateway",
    },
];

/// An image that the registry has.
pub(super) struct Pushed {
    pub(super) name: &'static str,
    pub(super) repository: String,
    pub(super) digest: String,
}

/// The path of a binary of this workspace: where cargo puts it, beside the running program, or a folder up from a test.
pub fn binary(name: &str) -> Result<PathBuf, DeployError> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(|folder| PathBuf::from(folder).join("debug"));
    let own = std::env::current_exe().unwrap_or_default();
    let found = target
        .iter()
        .map(PathBuf::as_path)
        .chain(own.ancestors().skip(1).take(2))
        .map(|folder| folder.join(name));
    found
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| DeployError::BinaryMissing {
            path: PathBuf::from(name),
        })
}

/// What an image of this program holds.
pub fn image_spec(binary: PathBuf, title: &str, version: &str) -> ImageSpec {
    ImageSpec {
        entrypoint: ImageSpec::ENTRYPOINT.into(),
        binary,
        title: title.to_owned(),
        version: version.to_owned(),
        ca_certificates: None,
    }
}

/// Builds one image of the project; the same binary always makes the same digest.
pub fn project_image(project: ProjectImage) -> Result<Image, DeployError> {
    let spec = image_spec(binary(project.binary)?, project.binary, env!("CARGO_PKG_VERSION"));
    image::build(&spec).map_err(|source| DeployError::Build {
        name: project.name,
        source: Box::new(source),
    })
}

/// Builds and pushes the project's images; what the registry has already is not sent again.
pub(super) async fn push(target: &Target, progress: &Progress) -> Result<Vec<Pushed>, DeployError> {
    let mut pushed = Vec::new();
    for project in PROJECT_IMAGES {
        let image = project_image(project)?;
        let repository = format!("{}/kite/{}", target.registry.host, project.name);
        let text = format!("{repository}:{}", env!("CARGO_PKG_VERSION"));
        let reference = text.parse().map_err(|_| DeployError::Reference {
            reference: text.clone(),
        })?;
        let options = PushOptions {
            plain_http: target.registry.plain_http,
        };
        let digest = image::push(&image, &reference, options)
            .await
            .map_err(|source| DeployError::Push {
                reference: text.clone(),
                source: Box::new(source),
            })?;
        progress.say(&format!("pushed {text} as {digest}"));
        pushed.push(Pushed {
            name: project.name,
            repository,
            digest: digest.to_string(),
        });
    }
    Ok(pushed)
}
