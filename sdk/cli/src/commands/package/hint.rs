//! The next command after a failure to package, where there is an obvious one.

use super::{PackageArgs, PackageError};
use crate::{
    archive::{WEB_FOLDER, WebError},
    commands::build,
    image::{ImageError, Obstacle},
    manifest::{self, ManifestError},
};

pub(super) fn hint(error: &PackageError, args: &PackageArgs) -> Option<String> {
    match error {
        PackageError::Manifest(ManifestError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Some(format!(
                "name the folder that has the {}: `kite-plugin package DIR`",
                manifest::FILE
            ))
        }
        PackageError::Project(error) => build::hint(error, &args.folder),
        PackageError::Build(ImageError::ReadBinary { .. }) => {
            Some("build the plugin first: `cargo build --release`".to_owned())
        }
        PackageError::Build(ImageError::FindCaCertificates) => Some(format!(
            "give the image a file of them: `{} --ca-certificates FILE`",
            command(args)
        )),
        PackageError::Web(WebError::NoRemoteEntry(_)) => {
            Some(format!("build the front end, so that its files are in {WEB_FOLDER}"))
        }
        PackageError::NothingToDo(path) => Some(format!(
            "say where its image goes: `kite-plugin package {} --push REFERENCE`",
            path.display()
        )),
        PackageError::Push(error) => match error.obstacle() {
            Obstacle::Connection if !args.plain_http => Some(format!(
                "for a registry that speaks HTTP only: `{} --plain-http`",
                command(args)
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
        | PackageError::Web(_)
        | PackageError::Archive(_)
        | PackageError::Write { .. }
        | PackageError::Open { .. }
        | PackageError::Read { .. }
        | PackageError::Document(_) => None,
    }
}

/// The command as it was given.
fn command(args: &PackageArgs) -> String {
    let mut words = vec![format!("kite-plugin package {}", args.folder.display())];
    let paths = [
        ("--output", &args.output),
        ("--binary", &args.binary),
        ("--ca-certificates", &args.ca_certificates),
    ];
    for (option, path) in paths {
        words.extend(path.iter().map(|path| format!("{option} {}", path.display())));
    }
    words.extend(args.push.iter().map(|reference| format!("--push {reference}")));
    words.join(" ")
}
