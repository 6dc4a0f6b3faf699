//! The web files of a project, as its front end's build has left them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde_json::Value;
use walkdir::WalkDir;

/// Where they lie in a project.
pub(crate) const FOLDER: &str = "web/dist";

/// Why the web files could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebError {
    #[error("failed to list the web files in {path}")]
    List { path: PathBuf, source: walkdir::Error },
    #[error("failed to read the web file {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to take the web file {0}: it is a link or a device")]
    NoFile(PathBuf),
    #[error("failed to take the web file {0}: its name is no text")]
    Name(PathBuf),
    #[error("failed to find {0}, which `spec.frontend.remoteEntry` names")]
    NoRemoteEntry(PathBuf),
}

/// The files of `project`, by their paths in the folder of web files. There are none where there is no such folder; a
/// document with a front end wants at least the file that it names.
pub(crate) fn read(project: &Path, spec: &Value) -> Result<BTreeMap<String, Bytes>, WebError> {
    let folder = project.join(FOLDER);
    let mut files = BTreeMap::new();
    if folder.is_dir() {
        for entry in WalkDir::new(&folder).sort_by_file_name() {
            let entry = entry.map_err(|source| WebError::List {
                path: folder.clone(),
                source,
            })?;
            if entry.file_type().is_dir() {
                continue;
            }
            let path = entry.into_path();
            let (name, content) = file(&folder, &path)?;
            files.insert(name, content);
        }
    }
    let entry = spec.pointer("/frontend/remoteEntry").and_then(Value::as_str);
    match entry.filter(|entry| !files.contains_key(entry.trim_start_matches('/'))) {
        Some(entry) => Err(WebError::NoRemoteEntry(folder.join(entry.trim_start_matches('/')))),
        None => Ok(files),
    }
}

fn file(folder: &Path, path: &Path) -> Result<(String, Bytes), WebError> {
    let name = path.strip_prefix(folder).unwrap_or(path).to_str();
    let name = name.ok_or_else(|| WebError::Name(path.to_owned()))?.to_owned();
    let is_file = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    if !is_file {
        return Err(WebError::NoFile(path.to_owned()));
    }
    let content = fs::read(path).map_err(|source| WebError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok((name, content.into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;

    #[test]
    fn all_files_are_taken_and_the_one_that_is_named_must_be_there() {
        let project = tempfile::tempdir().unwrap();
        let spec = json!({"frontend": {"remoteEntry": "remoteEntry.js"}});
        assert!(matches!(
            read(project.path(), &spec),
            Err(WebError::NoRemoteEntry(path)) if path.ends_with("web/dist/remoteEntry.js")
        ));
        assert_eq!(read(project.path(), &json!({})).unwrap(), BTreeMap::new());

        let folder = project.path().join(FOLDER);
        fs::create_dir_all(folder.join("assets/empty")).unwrap();
        fs::write(folder.join("assets/a.css"), "a").unwrap();
        fs::write(folder.join("remoteEntry.js"), "r").unwrap();
        let expected = [("assets/a.css", "a"), ("remoteEntry.js", "r")];
        let expected = expected.map(|(path, text)| (path.to_owned(), Bytes::from(text)));
        assert_eq!(read(project.path(), &spec).unwrap(), BTreeMap::from(expected));

        symlink("remoteEntry.js", folder.join("link.js")).unwrap();
        assert!(matches!(
            read(project.path(), &spec),
            Err(WebError::NoFile(path)) if path.ends_with("link.js")
        ));
    }
}
