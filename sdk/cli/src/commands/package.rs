//! `kite-plugin package`: a plugin's image, built and sent, and the document that names it.

use std::path::PathBuf;

use clap::Args;

use crate::{
    cli::ExitStatus,
    image::{self, Digest, ImageError, ImageSpec, Obstacle, PushError, PushOptions, Reference},
    manifest::{self, Manifest, ManifestError},
    printer::Printer,
};

/// Build the plugin's image, push it, and print plugin.yaml with the image's digest
///
/// The image holds the binary, the libraries that it needs (taken from this machine), CA certificates and a user
/// without rights. No container engine is used. Pipe what is printed into `kubectl apply -f -`.
#[derive(Args)]
pub(crate) struct PackageArgs {
    /// Folder with the plugin's plugin.yaml
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// The plugin's binary, built for Linux on this machine's architecture
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,

    /// Where the image goes: registry/name, or registry/name:tag [default tag: the plugin's version]
    #[arg(long, value_name = "REFERENCE")]
    image: String,

    /// Speak HTTP instead of HTTPS with the registry
    #[arg(long)]
    plain_http: bool,

    /// PEM file of the CA certificates to put into the image [default: this machine's]
    #[arg(long, value_name = "FILE")]
    ca_certificates: Option<PathBuf>,
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
    #[error("failed to build the image")]
    Build(#[source] ImageError),
    #[error("failed to end the work on the image")]
    Join(#[source] tokio::task::JoinError),
    #[error("failed to push the image")]
    Push(#[source] Box<PushError>),
    #[error("failed to write the plugin's document")]
    Write(#[source] ManifestError),
}

pub(crate) async fn run(args: PackageArgs, printer: &mut Printer<'_>) -> ExitStatus {
    match package(&args, printer).await {
        Ok(document) => {
            printer.data(&document);
            ExitStatus::Success
        }
        Err(error) => {
            if let PackageError::Manifest(ManifestError::Refused(complaints)) = &error {
                printer.talk(&(complaints.report() + "\n"));
            }
            printer.error(&error, hint(&error, &args).as_deref());
            ExitStatus::Failure
        }
    }
}

async fn package(args: &PackageArgs, printer: &mut Printer<'_>) -> Result<String, PackageError> {
    let manifest = manifest::read(&args.folder).map_err(PackageError::Manifest)?;
    let reference = reference(&args.image, &manifest)?;

    printer.talk(&format!(
        "Building the image of {} {} from {}\n",
        manifest.name,
        manifest.version,
        args.binary.display()
    ));
    let spec = ImageSpec {
        binary: args.binary.clone(),
        entrypoint: ImageSpec::ENTRYPOINT.into(),
        title: manifest.name.to_string(),
        version: manifest.version.to_string(),
        ca_certificates: args.ca_certificates.clone(),
    };
    let built = tokio::task::spawn_blocking(move || image::build(&spec))
        .await
        .map_err(PackageError::Join)?;
    let image = built.map_err(PackageError::Build)?;

    printer.talk(&format!("Pushing {} bytes to {reference}\n", image.size()));
    let options = PushOptions {
        plain_http: args.plain_http,
    };
    let digest = image::push(&image, &reference, options)
        .await
        .map_err(|error| PackageError::Push(error.into()))?;
    printer.talk(&format!("Pushed {reference} as {digest}\n"));
    manifest
        .with_image(&by_digest(&reference, &digest))
        .map_err(PackageError::Write)
}

/// Where the image goes. Without a tag it gets the version's, in which `+`, which no tag may have, becomes `_`.
fn reference(text: &str, manifest: &Manifest) -> Result<Reference, PackageError> {
    let parsed: Reference = text.parse().map_err(|source| PackageError::Reference {
        reference: text.to_owned(),
        source,
    })?;
    if parsed.digest().is_some() {
        return Err(PackageError::HasDigest(text.to_owned()));
    }
    let has_tag = text.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if has_tag {
        return Ok(parsed);
    }
    let tag = manifest.version.to_string().replace('+', "_");
    Ok(Reference::with_tag(
        parsed.registry().to_owned(),
        parsed.repository().to_owned(),
        tag,
    ))
}

fn by_digest(reference: &Reference, digest: &Digest) -> String {
    format!("{}/{}@{digest}", reference.registry(), reference.repository())
}

/// The next command, where there is an obvious one.
fn hint(error: &PackageError, args: &PackageArgs) -> Option<String> {
    let folder = args.folder.display();
    match error {
        PackageError::Manifest(ManifestError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Some(format!(
                "name the folder that has the {}: `kite-plugin package DIR --binary FILE --image REFERENCE`",
                manifest::FILE
            ))
        }
        PackageError::Build(ImageError::ReadBinary { .. }) => {
            Some("build the plugin first: `cargo build --release`".to_owned())
        }
        PackageError::Build(ImageError::FindCaCertificates) => Some(format!(
            "give the image a file of them: `kite-plugin package {folder} --binary {} --image {} --ca-certificates FILE`",
            args.binary.display(),
            args.image
        )),
        PackageError::Push(error) => match error.obstacle() {
            Obstacle::Connection if !args.plain_http => Some(format!(
                "for a registry that speaks HTTP only: `kite-plugin package {folder} --binary {} --image {} --plain-http`",
                args.binary.display(),
                args.image
            )),
            Obstacle::Credentials { registry } => Some(format!(
                "log in as somebody who may push there: `docker login {registry}`; \
                 only passwords that stand in Docker's config.json are found, credential helpers are not read"
            )),
            Obstacle::Connection | Obstacle::Other => None,
        },
        PackageError::Manifest(_)
        | PackageError::Reference { .. }
        | PackageError::HasDigest(_)
        | PackageError::Build(_)
        | PackageError::Join(_)
        | PackageError::Write(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, PackageError> {
        let document = "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: a}, spec: {version: 1.0.0+b, image: a}}";
        reference(text, &manifest::parse(document).unwrap()).map(|reference| reference.whole())
    }

    #[test]
    fn a_reference_without_a_tag_gets_the_version() {
        assert_eq!(
            of("registry.example:5000/a").unwrap(),
            "registry.example:5000/a:1.0.0_b"
        );
        assert_eq!(
            of("registry.example:5000/b/a:x").unwrap(),
            "registry.example:5000/b/a:x"
        );
    }

    #[test]
    fn a_reference_is_refused_for_each_of_its_reasons() {
        assert!(matches!(of("Registry/A B"), Err(PackageError::Reference { .. })));
        let digest = format!("registry.example/a@sha256:{}", "0".repeat(64));
        assert!(matches!(of(&digest), Err(PackageError::HasDigest(_))));
    }
}
