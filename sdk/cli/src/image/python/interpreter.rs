//! An interpreter of Python, and where its parts are, by its own account.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use super::PythonImageError;

const QUESTION: &str = "\
import json, os, sys, sysconfig
print(json.dumps({
    'implementation': sys.implementation.name,
    'version': list(sys.version_info[:3]),
    'executable': os.path.realpath(sys.executable),
    'libraries': getattr(sys, 'platlibdir', 'lib'),
    'library': os.path.dirname(os.path.realpath(os.__file__)),
    'prefix': os.path.realpath(sys.prefix),
    'packages': [os.path.realpath(sysconfig.get_path(name)) for name in ('purelib', 'platlib')],
}))";

/// What the interpreter of an environment says.
#[derive(Debug, Deserialize)]
pub(super) struct Interpreter {
    implementation: String,
    version: [u32; 3],
    pub(super) executable: PathBuf,
    /// `lib`, or `lib64` on some systems.
    libraries: PathBuf,
    /// The folder of the standard library.
    pub(super) library: PathBuf,
    prefix: PathBuf,
    packages: [PathBuf; 2],
}

impl Interpreter {
    pub(super) fn of(environment: &Path) -> Result<Self, PythonImageError> {
        let path = environment.join("bin/python3");
        // Isolated from the variables and the folder of whoever packages.
        let asked = Command::new(&path).args(["-I", "-B", "-c", QUESTION]).output();
        let output = match asked {
            Ok(output) => output,
            Err(source) => return Err(PythonImageError::Start { path, source }),
        };
        if !output.status.success() {
            return Err(PythonImageError::Ask {
                path,
                status: output.status,
                text: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
        let interpreter: Self = match serde_json::from_slice(&output.stdout) {
            Ok(interpreter) => interpreter,
            Err(source) => return Err(PythonImageError::Understand { path, source }),
        };
        let [major, minor, _] = interpreter.version;
        if interpreter.implementation == "cpython" && (major, minor) >= (3, 8) {
            return Ok(interpreter);
        }
        let found = format!("{} {major}.{minor}", interpreter.implementation);
        Err(PythonImageError::Implementation { path, found })
    }

    /// The folder of the standard library, for an interpreter whose home is `home`.
    pub(super) fn library_in(&self, home: &str) -> PathBuf {
        let name = self.library.file_name().unwrap_or_default();
        Path::new(home).join(&self.libraries).join(name)
    }

    /// The folders of packages, and those that they become in an environment at `place`.
    pub(super) fn packages_in(&self, place: &str) -> Result<Vec<(PathBuf, PathBuf)>, PythonImageError> {
        let [pure, compiled] = &self.packages;
        let both = [pure, compiled].into_iter().take(if pure == compiled { 1 } else { 2 });
        both.map(|packages| match packages.strip_prefix(&self.prefix) {
            Ok(inside) => Ok((packages.clone(), Path::new(place).join(inside))),
            Err(_) => Err(PythonImageError::Outside {
                path: self.executable.clone(),
                packages: packages.clone(),
            }),
        })
        .collect()
    }

    /// The file by which an interpreter knows that it lies in an environment, and where its library is.
    pub(super) fn configuration(&self, home: &str) -> String {
        let [major, minor, patch] = self.version;
        format!("home = {home}/bin\ninclude-system-site-packages = false\nversion = {major}.{minor}.{patch}\n")
    }
}
