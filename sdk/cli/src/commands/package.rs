//! `kite-plugin package`: a plugin's image and package, built and sent, and the document that names the image.

mod gather;
mod hint;
mod refer;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::{
    archive::{self, ArchiveError, Package, WebError, WriteError},
    cli::ExitStatus,
    image::{self, Image, ImageError, PushError, PushOptions, Reference, layer},
    manifest::ManifestError,
    printer::Printer,
    project::BuildError,
};

/// Build the plugin, and write its package, or push its image and print plugin.yaml with the image's digest
///
/// Without --output and --push, the package <name>-<version>.tar.gz is written into the current folder. DIR may be such
/// a package too: then its image is pushed as it is. The image holds the program, what it needs of this machine's
/// libraries, CA certificates and a user without rights. No container engine is used. Pipe what is printed into
/// `kubectl apply -f -`.
#[derive(Args)]
pub(crate) struct PackageArgs {
    /// Folder with the plugin's plugin.yaml, or a package to push
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// Write the package to this file
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Push the image to registry/name, or registry/name:tag [default tag: the plugin's version]
    #[arg(long, value_name = "REFERENCE")]
    push: Option<String>,

    /// Take this binary, built for Linux on this machine's architecture, instead of building the project
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,

    /// PEM file of the CA certificates to put into the image [default: this machine's]
    #[arg(long, value_name = "FILE")]
    ca_certificates: Option<PathBuf>,

    /// Speak HTTP instead of HTTPS with the registry
    #[arg(long, requires = "push")]
    plain_http: bool,
}

/// Why a plugin could not be packaged.
#[derive(Debug, thiserror::Error)]
enum PackageError {
    #[error("failed to read the plugin's document")]
    Manifest(#[source] ManifestError),
    #[error("failed to understand the image reference {reference:?}")]
    Reference {
        reference: String,
        source: oci_client::ParseError,
    },
    #[error("failed to use the image reference {0:?}: it has a digest, which only the built image can have")]
    HasDigest(String),
    #[error("failed to build the project")]
    Project(#[source] BuildError),
    #[error("failed to build the image")]
    Build(#[source] ImageError),
    #[error("failed to end the work on the image")]
    Join(#[source] tokio::task::JoinError),
    #[error("failed to take the web files")]
    Web(#[source] WebError),
    #[error("failed to write the package")]
    Archive(#[source] WriteError),
    #[error("failed to write the package to {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("failed to open the package {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("failed to read the package {path}")]
    Read { path: PathBuf, source: Box<ArchiveError> },
    #[error("failed to make anything of the package {0}: it is pushed, or nothing")]
    NothingToDo(PathBuf),
    #[error("failed to push the image")]
    Push(#[source] Box<PushError>),
    #[error("failed to write the plugin's document")]
    Document(#[source] ManifestError),
}

pub(crate) async fn run(args: PackageArgs, printer: &mut Printer<'_>) -> ExitStatus {
    let packaged = if args.folder.is_file() {
        push_package(&args, printer).await
    } else {
        package(&args, printer).await
    };
    match packaged {
        Ok(()) => ExitStatus::Success,
        Err(error) => {
            if let PackageError::Manifest(ManifestError::Refused(complaints)) = &error {
                printer.talk(&(complaints.report() + "\n"));
            }
            printer.error(&error, hint::hint(&error, &args).as_deref());
            ExitStatus::Failure
        }
    }
}

async fn package(args: &PackageArgs, printer: &mut Printer<'_>) -> Result<(), PackageError> {
    let manifest = gather::manifest(&args.folder)?;
    let reference = refer::reference(args.push.as_deref(), &manifest)?;
    let program = gather::program(args, &manifest, printer).await?;
    let image = gather::image(args, &manifest, program, printer).await?;
    let document = manifest
        .with_image(&refer::by_digest(&reference, image.digest()))
        .map_err(PackageError::Document)?;

    if args.output.is_some() || args.push.is_none() {
        let package = Package {
            web: archive::read_web(&args.folder, &manifest.spec()).map_err(PackageError::Web)?,
            manifest,
            document: document.clone(),
            image: image.clone(),
        };
        let name = || format!("{}-{}.tar.gz", package.manifest.name, package.manifest.version).into();
        write(&package, &args.output.clone().unwrap_or_else(name), printer)?;
    }
    if args.push.is_some() {
        push(&image, &reference, args, printer).await?;
        printer.data(&document);
    }
    Ok(())
}

/// Pushes the image of a package, whose digest stays what it is, wherever it goes.
async fn push_package(args: &PackageArgs, printer: &mut Printer<'_>) -> Result<(), PackageError> {
    let path = &args.folder;
    if args.push.is_none() || args.output.is_some() || args.binary.is_some() || args.ca_certificates.is_some() {
        return Err(PackageError::NothingToDo(path.clone()));
    }
    let package = read(path)?;
    let reference = refer::reference(args.push.as_deref(), &package.manifest)?;
    let document = package
        .manifest
        .with_image(&refer::by_digest(&reference, package.image.digest()))
        .map_err(PackageError::Document)?;
    push(&package.image, &reference, args, printer).await?;
    printer.data(&document);
    Ok(())
}

fn read(path: &Path) -> Result<Package, PackageError> {
    let file = fs::File::open(path).map_err(|source| PackageError::Open {
        path: path.to_owned(),
        source,
    })?;
    archive::read(file).map_err(|source| PackageError::Read {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn write(package: &Package, path: &Path, printer: &mut Printer<'_>) -> Result<(), PackageError> {
    let bytes = archive::write(package).map_err(PackageError::Archive)?;
    fs::write(path, &bytes).map_err(|source| PackageError::Write {
        path: path.to_owned(),
        source,
    })?;
    let digest = layer::digest(&bytes);
    printer.talk(&format!(
        "Wrote {} bytes to {}, {digest}\n",
        bytes.len(),
        path.display()
    ));
    Ok(())
}

async fn push(
    image: &Image,
    reference: &Reference,
    args: &PackageArgs,
    printer: &mut Printer<'_>,
) -> Result<(), PackageError> {
    printer.talk(&format!("Pushing {} bytes to {reference}\n", image.size()));
    let options = PushOptions {
        plain_http: args.plain_http,
    };
    let digest = image::push(image, reference, options)
        .await
        .map_err(|error| PackageError::Push(error.into()))?;
    printer.talk(&format!("Pushed {reference} as {digest}\n"));
    Ok(())
}
