//! What goes into a package: the document, the program, the image.

use std::path::Path;

use super::{PackageArgs, PackageError};
use crate::{
    image::{self, Image, ImageSpec, PythonSpec},
    manifest::{self, Manifest},
    printer::Printer,
    project::{self, Built},
};

pub(super) fn manifest(folder: &Path) -> Result<Manifest, PackageError> {
    manifest::read(folder).map_err(PackageError::Manifest)
}

/// The program that was named, or that of the project.
pub(super) async fn program(
    args: &PackageArgs,
    manifest: &Manifest,
    printer: &mut Printer<'_>,
) -> Result<Built, PackageError> {
    if let Some(binary) = &args.binary {
        return Ok(Built::Binary(binary.clone()));
    }
    printer.talk(&format!("Building {} {}\n", manifest.name, manifest.version));
    let built = project::build(&args.folder, Some(manifest.name.as_str()), printer).await;
    built.map_err(PackageError::Project)
}

pub(super) async fn image(
    args: &PackageArgs,
    manifest: &Manifest,
    program: Built,
    printer: &mut Printer<'_>,
) -> Result<Image, PackageError> {
    let (title, version) = (manifest.name.to_string(), manifest.version.to_string());
    let ca_certificates = args.ca_certificates.clone();
    let from = match &program {
        Built::Binary(path) => path,
        Built::Python(project) => &project.folder,
    };
    printer.talk(&format!(
        "Building the image of {title} {version} from {}\n",
        from.display()
    ));
    let write = move || match program {
        Built::Binary(binary) => {
            let spec = ImageSpec {
                binary,
                entrypoint: ImageSpec::ENTRYPOINT.into(),
                title,
                version,
                ca_certificates,
            };
            image::build(&spec).map(|image| (image, Vec::new()))
        }
        Built::Python(project) => {
            let spec = PythonSpec {
                arguments: project.start.arguments(PythonSpec::FOLDER),
                environment: project.environment,
                project: project.folder,
                title,
                version,
                ca_certificates,
            };
            image::build_python(&spec)
        }
    };
    let built = tokio::task::spawn_blocking(write).await.map_err(PackageError::Join)?;
    let (image, warnings) = built.map_err(PackageError::Build)?;
    for warning in warnings {
        printer.talk(&format!("warning: {warning}\n"));
    }
    Ok(image)
}
