//! `kite-plugin validate`: what is wrong with a plugin's document, or what it is and may do.

mod tell;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::places::PlacesArgs;
use crate::{
    cli::ExitStatus,
    manifest::{self, Checked, ManifestError},
    printer::Printer,
};

/// Say what is wrong with a plugin's document, at which line and column, and what to write instead
///
/// Nothing is asked of a cluster: the rules are those by which an API server with Kite Plugins would judge the document. If
/// it is valid, what is printed is what the plugin is, and its rights in words.
///
/// Exit status: 0 if the document is valid, 1 if it is not, 2 if it could not be read.
#[derive(Args)]
pub(crate) struct ValidateArgs {
    /// Folder with the plugin's plugin.yaml, or the file itself
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,

    #[command(flatten)]
    places: PlacesArgs,

    /// How the answer is written
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// Complaints on stderr, and on stdout what a valid plugin is and may do
    Text,
    /// One JSON object
    Json,
}

pub(crate) fn run(args: &ValidateArgs, printer: &mut Printer<'_>) -> ExitStatus {
    let file = file(&args.path);
    let places = args.places.places();
    match manifest::check_file(&file, places) {
        Ok(checked) => {
            tell::tell(&checked, &file, places, args.output, printer);
            status(&checked)
        }
        Err(error) => {
            printer.error(&error, hint(&error).as_deref());
            ExitStatus::Unanswered
        }
    }
}

fn status(checked: &Checked) -> ExitStatus {
    if checked.manifest.is_some() {
        ExitStatus::Success
    } else {
        ExitStatus::Failure
    }
}

/// The document that `path` means.
fn file(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join(manifest::FILE)
    } else {
        path.to_owned()
    }
}

fn hint(error: &ManifestError) -> Option<String> {
    match error {
        ManifestError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Some(format!(
            "name the folder that has the {}, or the file: `kite-plugin validate PATH`",
            manifest::FILE
        )),
        ManifestError::Read { .. } | ManifestError::Refused(_) | ManifestError::Write(_) => None,
    }
}
