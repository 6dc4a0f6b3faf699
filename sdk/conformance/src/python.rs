//! Python with packages of its index, as with grpcio and the modules generated for the protocol: made once, and kept by what it was made
//! from.

use std::{
    env, fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Subject, SubjectError};

const REQUIREMENTS: &str = include_str!("../python/requirements.txt");
const PROTOCOL: &str = include_str!("../../proto/kite/plugin/v1/plugin.proto");

/// Why there is no Python for plugins.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    #[error("failed to find a folder for what is kept: set KITE_CACHE")]
    NoCache,
    #[error("failed to prepare {path}")]
    Prepare { path: PathBuf, source: io::Error },
    #[error("failed to run {program}")]
    Run { program: String, source: io::Error },
    #[error("{program} failed: {text}")]
    Failed { program: String, text: String },
    #[error("failed to run the plugin")]
    Subject(#[from] SubjectError),
}

/// An interpreter with packages, and the folder of the modules that are generated for the protocol.
#[derive(Clone, Debug)]
pub struct Python {
    interpreter: PathBuf,
    modules: PathBuf,
}

impl Python {
    /// One for plugins, found in the cache (`KITE_CACHE`, or `~/.cache/kite`), or made with `python3` and its package index.
    pub fn ready() -> Result<Self, PythonError> {
        Self::made(REQUIREMENTS, Some(PROTOCOL))
    }

    /// One with the packages of `requirements`, a file of pip's, and nothing generated.
    pub fn with(requirements: &str) -> Result<Self, PythonError> {
        Self::made(requirements, None)
    }

    fn made(requirements: &str, protocol: Option<&str>) -> Result<Self, PythonError> {
        let all = cache()?.join("python");
        let version = run(Command::new("python3").args(["-c", "import sys; print(sys.version)"]))?;
        let from = [Some(version.as_str()), Some(requirements), protocol];
        let from: Vec<&str> = from.into_iter().flatten().collect();
        let digest = kite_proto::sha256(from.join("\0").as_bytes());
        let done = all.join(digest.replace(':', "-"));
        if !done.exists() {
            let prepare = |source| PythonError::Prepare {
                path: all.clone(),
                source,
            };
            fs::create_dir_all(&all).map_err(prepare)?;
            // One makes it, and the others wait for that.
            let lock = fs::File::create(all.join("lock")).map_err(prepare)?;
            lock.lock().map_err(prepare)?;
            if !done.exists() {
                make(&all, &done, requirements, protocol)?;
            }
        }
        Ok(Self {
            interpreter: done.join("venv/bin/python"),
            modules: done.join("modules"),
        })
    }

    /// The interpreter's program.
    pub fn interpreter(&self) -> &Path {
        &self.interpreter
    }

    /// The folder of the modules that are generated for the protocol: a package called `kite`.
    pub fn modules(&self) -> &Path {
        &self.modules
    }

    /// Runs `program` to its end, and gives what it says.
    pub async fn run(&self, program: &Path, arguments: &[&str]) -> Result<String, PythonError> {
        let mut command = Command::new(&self.interpreter);
        command.arg(program).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
        let name = program.display().to_string();
        let ran = tokio::task::spawn_blocking(move || run(&mut command)).await;
        ran.map_err(|error| PythonError::Run {
            program: name,
            source: io::Error::other(error),
        })?
    }

    /// Runs the plugin in `program`, which takes `--address` and `--folder`.
    pub async fn start(&self, name: &str, program: &Path) -> Result<Subject, PythonError> {
        let command = |folder: &Path, address: IpAddr| {
            let mut command = tokio::process::Command::new(&self.interpreter);
            command
                .arg(program)
                .arg("--address")
                .arg(address.to_string())
                .arg("--folder")
                .arg(folder)
                .env("PYTHONPATH", &self.modules)
                // Nothing is written beside the sources.
                .env("PYTHONDONTWRITEBYTECODE", "1");
            command
        };
        Ok(Subject::start(name, command).await?)
    }
}

fn cache() -> Result<PathBuf, PythonError> {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cache/kite"));
    env::var_os("KITE_CACHE")
        .map(PathBuf::from)
        .or_else(home)
        .ok_or(PythonError::NoCache)
}

/// Makes it aside, and gives it its name when it is whole.
fn make(all: &Path, done: &Path, wanted: &str, protocol: Option<&str>) -> Result<(), PythonError> {
    let prepare = |source| PythonError::Prepare {
        path: all.to_owned(),
        source,
    };
    let half = tempfile::tempdir_in(all).map_err(prepare)?;
    let requirements = half.path().join("requirements.txt");
    fs::write(&requirements, wanted).map_err(prepare)?;
    let venv = half.path().join("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let python = venv.join("bin/python");
    let quiet = [
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "install",
        "--requirement",
    ];
    run(Command::new(&python).args(quiet).arg(&requirements))?;
    if let Some(protocol) = protocol {
        generate(&python, half.path(), protocol)?;
    }
    fs::rename(half.path(), done).map_err(prepare)
}

/// Makes the folder of modules for `protocol` in `folder`.
fn generate(python: &Path, folder: &Path, protocol: &str) -> Result<(), PythonError> {
    let prepare = |source| PythonError::Prepare {
        path: folder.to_owned(),
        source,
    };
    let (modules, sources) = (folder.join("modules"), folder.join("sources"));
    let file = sources.join("kite/plugin/v1/plugin.proto");
    for folder in [file.parent().unwrap_or(&sources), &modules] {
        fs::create_dir_all(folder).map_err(prepare)?;
    }
    fs::write(&file, protocol).map_err(prepare)?;
    let generate = ["-m", "grpc_tools.protoc", "kite/plugin/v1/plugin.proto", "--proto_path"];
    let to = |option: &str| format!("{option}={}", modules.display());
    let outputs = [to("--python_out"), to("--grpc_python_out")];
    run(Command::new(python).args(generate).arg(&sources).args(outputs)).map(drop)
}

fn run(command: &mut Command) -> Result<String, PythonError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Ok(output) => output,
        Err(source) => return Err(PythonError::Run { program, source }),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        let text = text(&output.stderr);
        Err(PythonError::Failed { program, text })
    }
}
