//! `kite-plugin build`: a plugin's program, built as `package` builds it.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::{
    cli::ExitStatus,
    manifest,
    printer::Printer,
    project::{self, BuildError, Built, PythonError, RustError},
};

/// Build the plugin's program, and print where it is
///
/// A folder with a Cargo.toml is a project in Rust: `cargo build --release`, by the Cargo.lock if there is one, and so
/// that the same sources give the same binary in whatever folder they lie. One with a pyproject.toml is a project in
/// Python: its virtual environment .venv, with the packages of requirements.txt, or else of pyproject.toml. Printed is
/// the path of the binary, or of the environment.
#[derive(Args)]
pub(crate) struct BuildArgs {
    /// Folder with the plugin's Cargo.toml or pyproject.toml
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

pub(crate) async fn run(args: BuildArgs, printer: &mut Printer<'_>) -> ExitStatus {
    // A program can be built before its document is right.
    let name = manifest::read(&args.folder).ok().map(|manifest| manifest.name);
    let name = name.as_ref().map(kite_api::PluginName::as_str);
    match project::build(&args.folder, name, printer).await {
        Ok(Built::Binary(path)) => {
            printer.data(&format!("{}\n", path.display()));
            ExitStatus::Success
        }
        Ok(Built::Python(project)) => {
            printer.data(&format!("{}\n", project.environment.display()));
            ExitStatus::Success
        }
        Err(error) => {
            printer.error(&error, hint(&error, &args.folder).as_deref());
            ExitStatus::Failure
        }
    }
}

/// The next command, where there is an obvious one.
pub(super) fn hint(error: &BuildError, folder: &Path) -> Option<String> {
    let text = match error {
        BuildError::NoProject(_) => {
            "name the folder that has it: `kite-plugin build DIR`; for a program in another language, \
             `kite-plugin package DIR --binary FILE` takes one that is built already"
        }
        BuildError::Rust(RustError::Ask(source)) if source.is_absent() => {
            "install Rust, see https://rustup.rs, and see that it is found: `cargo --version`"
        }
        BuildError::Rust(RustError::NoPackage(_)) => "name the folder of one of its packages: `kite-plugin build DIR`",
        BuildError::Rust(RustError::SeveralBinaries { .. }) => {
            "name one in Cargo.toml, as `default-run = \"NAME\"` under [package]"
        }
        BuildError::Rust(RustError::Compile(_)) => {
            return Some(format!(
                "see what the compiler says above, and whether the project builds: `cargo build --release --manifest-path {}`",
                folder.join(project::CARGO).display()
            ));
        }
        BuildError::Python(PythonError::Version(source)) if source.is_absent() => {
            "install Python 3, and see that it is found: `python3 --version`"
        }
        BuildError::Python(PythonError::Make { .. }) => {
            "see whether Python has the module venv, which Debian has in the package python3-venv: `python3 -m venv --help`"
        }
        BuildError::Python(PythonError::Install(_)) => {
            "see what pip says above, and whether it is version 22.3 or newer: `python3 -m pip --version`"
        }
        BuildError::Python(PythonError::DynamicDependencies) => {
            "list the packages with their versions, as pip-tools does: `pip-compile --generate-hashes`"
        }
        BuildError::Python(PythonError::Start(_)) => {
            "give pyproject.toml a script called as the plugin, as `NAME = \"module:function\"` under [project.scripts]"
        }
        BuildError::Rust(
            RustError::Folder(_)
            | RustError::Ask(_)
            | RustError::Metadata(_)
            | RustError::NoBinary(_)
            | RustError::Messages(_)
            | RustError::NoArtifact(_),
        )
        | BuildError::Python(
            PythonError::Folder(_)
            | PythonError::Read { .. }
            | PythonError::Parse { .. }
            | PythonError::Version(_)
            | PythonError::Stamp { .. },
        ) => return None,
    };
    Some(text.to_owned())
}
