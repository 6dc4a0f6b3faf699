//! Images of plugins in Python: the interpreter with its library, the packages of the project's virtual environment, and
//! the project's own files.

mod interpreter;
mod tree;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use bytes::Bytes;

use self::{
    interpreter::Interpreter,
    tree::{Selection, Tree},
};
use super::{
    Image, ImageError, Process, assemble, base_files,
    layer::{self, File, Paths},
    libraries::{self, Module, Unfound},
    read_binary, read_ca_certificates,
    search::SearchPath,
};

/// Where the interpreter's library goes.
const HOME: &str = "/opt/python";
/// Where the virtual environment goes: it has the interpreter too, which finds its packages by where it lies itself.
const ENVIRONMENT: &str = "/opt/venv";
const INTERPRETER: &str = "/opt/venv/bin/python3";
/// In whose folder, if the project has one, its packages lie instead of in its own.
const SOURCES: &str = "src";

/// What an image of a plugin in Python is made from.
#[derive(Clone, Debug)]
pub struct PythonSpec {
    /// The project's folder, whose files go to [`PythonSpec::FOLDER`].
    pub project: PathBuf,
    /// The virtual environment, whose interpreter and packages the image gets.
    pub environment: PathBuf,
    /// What the interpreter is told to run: a file below [`PythonSpec::FOLDER`], or `-c` and a script.
    pub arguments: Vec<String>,
    /// What the image is called in its label `org.opencontainers.image.title`.
    pub title: String,
    /// What is in its label `org.opencontainers.image.version`.
    pub version: String,
    /// PEM file with the certificates of the CAs that the process trusts. Absent: this machine's.
    pub ca_certificates: Option<PathBuf>,
}

impl PythonSpec {
    /// Where the project's files lie in the image, and in which folder it runs.
    pub const FOLDER: &str = "/app";
}

/// Why an interpreter, its library or its packages could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum PythonImageError {
    #[error("failed to start the interpreter {path}")]
    Start { path: PathBuf, source: io::Error },
    #[error("failed to ask the interpreter {path} where its parts are: {status}: {text}")]
    Ask {
        path: PathBuf,
        status: ExitStatus,
        text: String,
    },
    #[error("failed to understand what the interpreter {path} says of its parts")]
    Understand { path: PathBuf, source: serde_json::Error },
    #[error("failed to use the interpreter {path}: it is {found}, and images are written for CPython 3.8 or newer")]
    Implementation { path: PathBuf, found: String },
    #[error("failed to use the interpreter {path}: its packages are in {packages}, outside of its environment")]
    Outside { path: PathBuf, packages: PathBuf },
    #[error("failed to list the files in {path}")]
    List { path: PathBuf, source: walkdir::Error },
    #[error("failed to read the file {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to take the file {0} of the project: it is a link or a device")]
    NoFile(PathBuf),
}

/// Builds the image of a plugin in Python, and tells which of its modules lack libraries. It takes processor time for the
/// compression: call it from a thread that may be blocked.
pub fn build_python(spec: &PythonSpec) -> Result<(Image, Vec<Unfound>), ImageError> {
    let interpreter = Interpreter::of(&spec.environment)?;
    let (binary, elf) = read_binary(&interpreter.executable)?;
    let architecture = elf.architecture.clone();

    let library = tree::read(&interpreter.library, &interpreter.library_in(HOME), Selection::Library)?;
    let mut packages = Tree::new();
    for (folder, place) in interpreter.packages_in(ENVIRONMENT)? {
        packages.extend(tree::read(&folder, &place, Selection::Packages)?);
    }
    let folder = Path::new(PythonSpec::FOLDER);
    let project = tree::read(&spec.project, folder, Selection::Project)?;
    let has_sources = project.keys().any(|path| path.starts_with(folder.join(SOURCES)));

    let modules = modules([&library, &packages, &project]);
    let search = SearchPath::of_host(&architecture);
    let needed = libraries::closure(&interpreter.executable, elf, &modules, &search)?;
    let mut base = base_files(needed.files, read_ca_certificates(spec.ca_certificates.as_deref())?);
    base.extend(files(library));
    let own = [
        (INTERPRETER.into(), 0o755, Bytes::from(binary)),
        (
            Path::new(ENVIRONMENT).join("pyvenv.cfg"),
            0o644,
            Bytes::from(interpreter.configuration(HOME)),
        ),
    ];
    base.extend(own.map(|(path, mode, content)| (path, File { mode, content })));

    let mut layers = Vec::new();
    for files in [base, files(packages), files(project)] {
        if !files.is_empty() {
            layers.push(layer::write(&files, Paths::Any).map_err(ImageError::WriteLayer)?);
        }
    }
    let process = process(spec, has_sources);
    Ok((assemble(process, architecture, layers)?, needed.unfound))
}

fn process(spec: &PythonSpec, has_sources: bool) -> Process<'_> {
    let mut entrypoint = vec![INTERPRETER.to_owned()];
    entrypoint.extend(spec.arguments.iter().cloned());
    // A pod's root cannot be written to, and what is said is to be read at once.
    let mut environment = vec!["PYTHONDONTWRITEBYTECODE=1".to_owned(), "PYTHONUNBUFFERED=1".to_owned()];
    if has_sources {
        environment.push(format!("PYTHONPATH={}/{SOURCES}", PythonSpec::FOLDER));
    }
    Process {
        entrypoint,
        environment,
        folder: Some(PythonSpec::FOLDER),
        title: &spec.title,
        version: &spec.version,
    }
}

/// What in the trees the interpreter may open as a library.
fn modules(trees: [&Tree; 3]) -> Vec<Module> {
    let files = trees.into_iter().flat_map(BTreeMap::values);
    let files = files.filter(|file| file.content.starts_with(b"\x7fELF"));
    let module = |file: &tree::Taken| Module {
        path: fs::canonicalize(&file.from).unwrap_or_else(|_| file.from.clone()),
        content: file.content.clone(),
    };
    files.map(module).collect()
}

fn files(tree: Tree) -> BTreeMap<PathBuf, File> {
    tree.into_iter()
        .map(|(path, taken)| {
            let content = taken.content;
            (path, File { mode: 0o644, content })
        })
        .collect()
}
