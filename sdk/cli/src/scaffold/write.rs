//! A project's files, written whole or not at all, and over nothing.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::Files;

/// What a folder may have in it beforehand: the repository that somebody has begun.
const BESIDE: &str = ".git";

/// Why a project could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("failed to look into {folder}")]
    Look { folder: PathBuf, source: io::Error },
    #[error("failed to use {folder}: `{entry}` is in it, and nothing is overwritten")]
    NotEmpty { folder: PathBuf, entry: String },
    #[error("failed to make a folder in {parent}")]
    Stage { parent: PathBuf, source: io::Error },
    #[error("failed to write {path}")]
    File { path: String, source: io::Error },
    #[error("failed to put the project into {folder}")]
    Place { folder: PathBuf, source: io::Error },
}

/// Writes the files into `folder`, which is made, or there and empty but for a `.git`. They are written aside and moved there when
/// all are written, so that a failure leaves nothing.
pub(crate) fn write(files: &Files, folder: &Path) -> Result<(), WriteError> {
    let place = |source| WriteError::Place {
        folder: folder.to_owned(),
        source,
    };
    if is_there(folder)? {
        // Inside, because another folder may be of another file system.
        let stage = stage(files, folder)?;
        return move_all(stage.path(), folder).map_err(place);
    }
    let parent = folder.parent().filter(|parent| *parent != Path::new(""));
    let stage = stage(files, parent.unwrap_or(Path::new(".")))?;
    fs::rename(stage.path(), folder).map_err(place)?;
    // It has another name now, and stays.
    let _ = stage.keep();
    Ok(())
}

/// Whether there is such a folder. One that has something in it is an error.
fn is_there(folder: &Path) -> Result<bool, WriteError> {
    let look = |source| WriteError::Look {
        folder: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(look(error)),
    };
    for entry in entries {
        let name = entry.map_err(look)?.file_name();
        if name != BESIDE {
            return Err(WriteError::NotEmpty {
                folder: folder.to_owned(),
                entry: name.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(true)
}

fn stage(files: &Files, parent: &Path) -> Result<TempDir, WriteError> {
    let mut builder = tempfile::Builder::new();
    builder
        .prefix(".kite-plugin-init-")
        // As any folder is made; the user's mask takes from it.
        .permissions(Permissions::from_mode(0o777));
    // That it is not there is told of the parent, not of a name that nobody knows.
    let made = parent.metadata().and_then(|_| builder.tempdir_in(parent));
    let stage = made.map_err(|source| WriteError::Stage {
        parent: parent.to_owned(),
        source,
    })?;
    for (path, data) in files {
        let target = stage.path().join(path);
        let made = target.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&target, data))
            .map_err(|source| WriteError::File {
                path: path.clone(),
                source,
            })?;
    }
    Ok(stage)
}

/// Moves all that is in `from`; if one cannot be moved, none is.
fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    let mut moved = Vec::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if let Err(error) = fs::rename(entry.path(), &target) {
            for (origin, target) in moved {
                // Back to where they go with the rest. What hinders this hinders all else, and is told already.
                let _ = fs::rename(target, origin);
            }
            return Err(error);
        }
        moved.push((entry.path(), target));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Files {
        paths
            .iter()
            .map(|path| ((*path).to_owned(), b"new".as_slice().into()))
            .collect()
    }

    fn entries(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_written_with_their_folders() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("project");
        write(&files(&["a", "b/c/d"]), &folder).unwrap();
        assert_eq!(fs::read(folder.join("b/c/d")).unwrap(), b"new");
        assert_eq!(entries(&folder), ["a", "b"]);
        assert_eq!(entries(parent.path()), ["project"]);
    }

    #[test]
    fn a_failure_in_the_middle_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("project");
        // A file cannot be a folder too.
        let error = write(&files(&["a", "b", "b/c"]), &folder).unwrap_err();
        assert!(
            matches!(&error, WriteError::File { path, .. } if path == "b/c"),
            "{error:?}"
        );
        assert_eq!(entries(parent.path()), [""; 0]);
        fs::create_dir(&folder).unwrap();
        write(&files(&["a", "b", "b/c"]), &folder).unwrap_err();
        assert_eq!(entries(&folder), [""; 0]);
    }

    #[test]
    fn what_cannot_be_moved_moves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join(BESIDE);
        fs::create_dir(&repository).unwrap();
        fs::write(repository.join("config"), "mine").unwrap();
        // A file cannot take a folder's place.
        let error = write(&files(&["a", BESIDE, "b"]), folder.path()).unwrap_err();
        assert!(matches!(error, WriteError::Place { .. }), "{error:?}");
        assert_eq!(entries(folder.path()), [BESIDE]);
        assert_eq!(fs::read(repository.join("config")).unwrap(), b"mine");
    }

    #[test]
    fn a_folder_is_refused_for_each_of_its_reasons() {
        let parent = tempfile::tempdir().unwrap();
        let error = write(&files(&["a"]), &parent.path().join("no/project")).unwrap_err();
        assert!(matches!(error, WriteError::Stage { .. }), "{error:?}");
        let file = parent.path().join("file");
        fs::write(&file, "mine").unwrap();
        let error = write(&files(&["a"]), &file).unwrap_err();
        assert!(matches!(error, WriteError::Look { .. }), "{error:?}");
        let error = write(&files(&["a"]), parent.path()).unwrap_err();
        assert!(
            matches!(&error, WriteError::NotEmpty { entry, .. } if entry == "file"),
            "{error:?}"
        );
        assert_eq!(fs::read(&file).unwrap(), b"mine");
    }
}
