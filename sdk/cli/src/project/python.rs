//! A project in Python: its virtual environment, made from its requirements, and where it starts.

mod start;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
pub(crate) use start::{Start, StartError};
use tokio::process::Command;

use super::{
    PYPROJECT,
    run::{RunError, run},
};
use crate::{image::layer, printer::Printer};

/// The virtual environment's folder in the project's.
pub(crate) const ENVIRONMENT: &str = ".venv";
/// The list of all packages with their versions, and best with their digests; instead of what `pyproject.toml` asks for.
const REQUIREMENTS: &str = "requirements.txt";
/// In an environment that this command has made: the digest of what it was made from.
const STAMP: &str = "kite-plugin.stamp";

/// Why there is no environment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PythonError {
    #[error("failed to find the project's folder")]
    Folder(#[source] io::Error),
    #[error("failed to read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to parse {path}")]
    Parse { path: PathBuf, source: toml::de::Error },
    #[error("failed to know the project's packages: they are `dynamic` in {PYPROJECT}, and there is no {REQUIREMENTS}")]
    DynamicDependencies,
    #[error("failed to know where the plugin starts")]
    Start(#[source] StartError),
    #[error("failed to ask Python for its version")]
    Version(#[source] RunError),
    #[error("failed to make the virtual environment {path}")]
    Make { path: PathBuf, source: RunError },
    #[error("failed to install the project's packages")]
    Install(#[source] RunError),
    #[error("failed to mark the virtual environment {path} as made")]
    Stamp { path: PathBuf, source: io::Error },
}

/// A project that can be run.
#[derive(Clone, Debug)]
pub(crate) struct PythonProject {
    /// Its folder.
    pub(crate) folder: PathBuf,
    pub(crate) environment: PathBuf,
    pub(crate) start: Start,
}

/// What is read of `pyproject.toml`.
#[derive(Default, Deserialize)]
struct Document {
    #[serde(default)]
    project: Table,
}

#[derive(Default, Deserialize)]
struct Table {
    #[serde(default)]
    dependencies: Vec<String>,
    #[serde(default)]
    scripts: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    dynamic: Vec<String>,
}

/// What goes into the environment.
enum Packages {
    /// All that this file lists.
    Listed(PathBuf),
    /// These, and what they need, in the versions that are newest now.
    Asked(Vec<String>),
}

/// Makes the environment of the project in `folder`, if it is not there as the requirements are now.
pub(super) async fn build(
    folder: &Path,
    name: Option<&str>,
    printer: &mut Printer<'_>,
) -> Result<PythonProject, PythonError> {
    let folder = folder.canonicalize().map_err(PythonError::Folder)?;
    let path = folder.join(PYPROJECT);
    let document = read(&path)?;
    let document: Document = toml::from_str(&document).map_err(|source| PythonError::Parse { path, source })?;
    let start = start::find(&folder, &document.project.scripts, name).map_err(PythonError::Start)?;
    let packages = packages(&folder, document.project)?;
    let environment = folder.join(ENVIRONMENT);
    make(&folder, &environment, &packages, printer).await?;
    Ok(PythonProject {
        folder,
        environment,
        start,
    })
}

fn read(path: &Path) -> Result<String, PythonError> {
    fs::read_to_string(path).map_err(|source| PythonError::Read {
        path: path.to_owned(),
        source,
    })
}

fn packages(folder: &Path, project: Table) -> Result<Packages, PythonError> {
    let listed = folder.join(REQUIREMENTS);
    if listed.is_file() {
        Ok(Packages::Listed(listed))
    } else if project.dynamic.iter().any(|field| field == "dependencies") {
        Err(PythonError::DynamicDependencies)
    } else {
        Ok(Packages::Asked(project.dependencies))
    }
}

/// An environment of ours that is outdated is made anew, so that nothing is left in it; one of the author's own is
/// theirs, and gets what the project asks for beside what they have put there.
async fn make(
    folder: &Path,
    environment: &Path,
    packages: &Packages,
    printer: &mut Printer<'_>,
) -> Result<(), PythonError> {
    let stamp = environment.join(STAMP);
    let wanted = digest(packages, printer).await?;
    let present = fs::read_to_string(&stamp).ok();
    if present.as_ref() == Some(&wanted) {
        return Ok(());
    }
    let is_ours = present.is_some() || !environment.exists();
    if is_ours {
        printer.talk(&format!("Making the virtual environment {ENVIRONMENT}\n"));
        let mut command = python();
        // Without pip, which the plugin does not need: the one beside `python3` installs into it.
        command
            .args(["-m", "venv", "--clear", "--without-pip"])
            .arg(environment);
        run(command, printer).await.map_err(|source| PythonError::Make {
            path: environment.to_owned(),
            source,
        })?;
    } else {
        printer.talk(&format!(
            "Taking your virtual environment {ENVIRONMENT} as it is, with all that is in it\n"
        ));
    }
    install(folder, environment, packages, printer).await?;
    if is_ours {
        fs::write(&stamp, wanted).map_err(|source| PythonError::Stamp { path: stamp, source })?;
    }
    Ok(())
}

async fn install(
    folder: &Path,
    environment: &Path,
    packages: &Packages,
    printer: &mut Printer<'_>,
) -> Result<(), PythonError> {
    let mut command = python();
    command
        // Where the requirements name files by their places in the project.
        .current_dir(folder)
        .args(["-m", "pip", "--python"])
        .arg(environment)
        // What is compiled holds times and folders.
        .args([
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "install",
            "--no-compile",
        ]);
    match packages {
        Packages::Listed(file) => {
            printer.talk(&format!("Installing the packages of {REQUIREMENTS}\n"));
            command.arg("--requirement").arg(file);
        }
        Packages::Asked(requirements) if requirements.is_empty() => return Ok(()),
        Packages::Asked(requirements) => {
            printer.talk(&format!(
                "Installing the packages of {PYPROJECT}, in their newest versions, since there is no {REQUIREMENTS}\n"
            ));
            command.arg("--").args(requirements);
        }
    }
    run(command, printer).await.map(drop).map_err(PythonError::Install)
}

/// Of all that the environment is made from.
async fn digest(packages: &Packages, printer: &mut Printer<'_>) -> Result<String, PythonError> {
    let mut command = python();
    command.args(["-c", "import sys; print(sys.version, sys.base_prefix)"]);
    let mut whole = run(command, printer).await.map_err(PythonError::Version)?;
    match packages {
        Packages::Listed(file) => whole.extend(read(file)?.bytes()),
        Packages::Asked(requirements) => whole.extend(requirements.join("\n").bytes()),
    }
    Ok(layer::digest(&whole).to_string())
}

fn python() -> Command {
    Command::new("python3")
}
