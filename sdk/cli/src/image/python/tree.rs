//! Folders that go into an image of a plugin in Python, less what is not wanted of them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use walkdir::{DirEntry, WalkDir};

use super::PythonImageError;

/// Parts of the standard library that are for people at a screen, for building Python or environments, or for tests.
const UNWANTED_OF_LIBRARY: [&str; 11] = [
    "dist-packages",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "site-packages",
    "test",
    "tests",
    "tkinter",
    "turtle.py",
    "turtledemo",
    "venv",
];
/// Beginnings of names that are as little wanted: what extension modules are linked with, and those of the above.
const UNWANTED_BEGINNINGS: [&str; 5] = ["_ctypes_test", "_test", "_tkinter", "_xx", "config-"];
/// What pip notes about a package: where it came from, and digests of files that name this machine's folders.
const NOTES_OF_PIP: [&str; 4] = ["INSTALLER", "RECORD", "REQUESTED", "direct_url.json"];
/// Folders and files of a project that are not run: what it was built into, and what tests it.
const UNWANTED_OF_PROJECT: [&str; 6] = ["build", "dist", "env", "target", "tests", "venv"];

/// Files by their paths in the image.
pub(super) type Tree = BTreeMap<PathBuf, Taken>;

/// A file that goes into the image.
pub(super) struct Taken {
    pub(super) from: PathBuf,
    pub(super) content: Bytes,
}

/// Which files of a folder are taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Selection {
    Library,
    Packages,
    Project,
}

impl Selection {
    fn takes(self, entry: &DirEntry) -> bool {
        let name = entry.file_name().to_string_lossy();
        let is_file = entry.file_type().is_file();
        // What is compiled holds times, and goes where it is made anew.
        if name == "__pycache__" || (is_file && (name.ends_with(".pyc") || name.ends_with(".pyo"))) {
            return false;
        }
        match self {
            Self::Library => {
                let is_archive = is_file && name.ends_with(".a");
                let begins = |beginning: &&str| name.starts_with(beginning);
                !(is_archive || UNWANTED_OF_LIBRARY.contains(&&*name) || UNWANTED_BEGINNINGS.iter().any(begins))
            }
            Self::Packages => {
                let is_note = is_file && NOTES_OF_PIP.contains(&&*name) && is_description(entry.path().parent());
                let is_pip = entry.depth() == 1 && (name == "pip" || name.starts_with("pip-"));
                !is_note && !is_pip
            }
            Self::Project => {
                let is_left = entry.depth() == 1
                    && (UNWANTED_OF_PROJECT.contains(&&*name)
                        || name.ends_with(".tar.gz")
                        || name.ends_with(".egg-info"));
                entry.depth() == 0 || !(name.starts_with('.') || name == "node_modules" || is_left)
            }
        }
    }

    /// Installed files may be links, as Linux distributions have them; a project's could lead to anything of its author's.
    fn follows_links(self) -> bool {
        self != Self::Project
    }
}

/// Whether this is the folder in which pip describes a package.
fn is_description(folder: Option<&Path>) -> bool {
    folder
        .and_then(Path::extension)
        .is_some_and(|extension| extension == "dist-info")
}

/// The files in `folder` that are taken, which go to `place`.
pub(super) fn read(folder: &Path, place: &Path, selection: Selection) -> Result<Tree, PythonImageError> {
    let mut tree = Tree::new();
    let entries = WalkDir::new(folder).follow_links(selection.follows_links());
    for entry in entries.into_iter().filter_entry(|entry| selection.takes(entry)) {
        let entry = entry.map_err(|source| PythonImageError::List {
            path: folder.to_owned(),
            source,
        })?;
        if entry.file_type().is_dir() {
            continue;
        }
        if !entry.file_type().is_file() {
            return Err(PythonImageError::NoFile(entry.into_path()));
        }
        let from = entry.into_path();
        let to = place.join(from.strip_prefix(folder).unwrap_or(&from));
        let content = fs::read(&from).map_err(|source| PythonImageError::Read {
            path: from.clone(),
            source,
        })?;
        tree.insert(
            to,
            Taken {
                from,
                content: content.into(),
            },
        );
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn taken(files: &[&str], selection: Selection) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let tree = read(folder.path(), Path::new("/place"), selection).unwrap();
        tree.into_iter()
            .map(|(path, file)| {
                let place = path.strip_prefix("/place").unwrap();
                assert_eq!(file.content, place.to_str().unwrap());
                assert_eq!(file.from, folder.path().join(place));
                place.display().to_string()
            })
            .collect()
    }

    #[test]
    fn of_the_library_tests_tools_and_foreign_packages_are_left() {
        let files = [
            "os.py",
            "__pycache__/os.cpython-311.pyc",
            "json/tool.py",
            "lib-dynload/_ssl.so",
            "lib-dynload/_tkinter.so",
            "lib-dynload/_testcapi.so",
            "config-3.11-x86_64-linux-gnu/libpython3.11.a",
            "unittest/case.py",
            "sqlite3/test/dbapi.py",
            "test/test_os.py",
            "site-packages/pip/main.py",
            "dist-packages/apt.py",
            "turtle.py",
        ];
        assert_eq!(
            taken(&files, Selection::Library),
            ["json/tool.py", "lib-dynload/_ssl.so", "os.py", "unittest/case.py"]
        );
    }

    #[test]
    fn of_the_packages_pip_and_its_notes_are_left() {
        let files = [
            "grpc/__init__.py",
            "grpc/RECORD",
            "grpcio-1.dist-info/METADATA",
            "grpcio-1.dist-info/RECORD",
            "grpcio-1.dist-info/INSTALLER",
            "grpcio-1.dist-info/direct_url.json",
            "grpc/tests/data.py",
            "grpc/a.pyc",
            "pip/main.py",
            "pip-23.dist-info/METADATA",
            "pipeline/pip/a.py",
        ];
        assert_eq!(
            taken(&files, Selection::Packages),
            [
                "grpc/RECORD",
                "grpc/__init__.py",
                "grpc/tests/data.py",
                "grpcio-1.dist-info/METADATA",
                "pipeline/pip/a.py"
            ]
        );
    }

    #[test]
    fn of_the_project_what_is_hidden_built_or_tests_is_left() {
        let files = [
            "plugin.py",
            "plugin.yaml",
            "own/tests/data.py",
            "own/build/a.py",
            "web/node_modules/a.js",
            "web/dist/a.js",
            ".venv/bin/python",
            ".env",
            "own/.secret",
            "tests/test_plugin.py",
            "dist/a.whl",
            "own-0.1.0.tar.gz",
            "own.egg-info/PKG-INFO",
        ];
        assert_eq!(
            taken(&files, Selection::Project),
            [
                "own/build/a.py",
                "own/tests/data.py",
                "plugin.py",
                "plugin.yaml",
                "web/dist/a.js"
            ]
        );
    }

    #[test]
    fn a_link_is_followed_where_it_is_installed_and_refused_in_a_project() {
        let folder = tempfile::tempdir().unwrap();
        symlink("/etc/passwd", folder.path().join("a.py")).unwrap();
        let read = |selection| read(folder.path(), Path::new("/place"), selection);
        let passwd = fs::read("/etc/passwd").unwrap();
        assert_eq!(
            read(Selection::Library).unwrap()[Path::new("/place/a.py")].content,
            passwd
        );
        assert!(matches!(
            read(Selection::Project),
            Err(PythonImageError::NoFile(path)) if path.ends_with("a.py")
        ));
    }
}
