//! An author's project: the language that it is written in, and what building it makes.

mod python;
mod run;
mod rust;

use std::path::{Path, PathBuf};

pub(crate) use python::{PythonError, PythonProject};
pub(crate) use rust::RustError;

use crate::printer::Printer;

/// The file that makes a folder a project in Rust.
pub(crate) const CARGO: &str = "Cargo.toml";
/// The file that makes a folder a project in Python.
pub(crate) const PYPROJECT: &str = "pyproject.toml";

/// What was built.
pub(crate) enum Built {
    /// A binary for this machine.
    Binary(PathBuf),
    /// A virtual environment with the packages that the project asks for.
    Python(PythonProject),
}

/// Why a project could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("failed to find a project in {}: it has neither {CARGO} (Rust) nor {PYPROJECT} (Python)", .0.display())]
    NoProject(PathBuf),
    #[error("failed to build the project in Rust")]
    Rust(#[source] RustError),
    #[error("failed to build the project in Python")]
    Python(#[source] PythonError),
}

/// Builds the project in `folder` for a plugin called `name`. In a folder that has both files, the language is Rust:
/// packages for Python that are written in Rust have both, and so have plugins with a script beside them.
pub(crate) async fn build(folder: &Path, name: Option<&str>, printer: &mut Printer<'_>) -> Result<Built, BuildError> {
    if folder.join(CARGO).is_file() {
        let binary = rust::build(folder, name, printer).await;
        return binary.map(Built::Binary).map_err(BuildError::Rust);
    }
    if folder.join(PYPROJECT).is_file() {
        let project = python::build(folder, name, printer).await;
        return project.map(Built::Python).map_err(BuildError::Python);
    }
    Err(BuildError::NoProject(folder.to_owned()))
}
