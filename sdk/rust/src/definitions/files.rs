//! Web files that were accepted.

use std::collections::BTreeMap;

use kite_api::file_rules::{self, FileRuleError, MAX_FILES, MAX_FILES_TOTAL};

use crate::{WebFiles, web_files::WebFile};

/// Why a plugin's web files are no good.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file breaks the rules for files.
    #[error("failed to accept the web file {path:?}")]
    Rule {
        /// The path.
        path: String,
        /// The cause.
        source: FileRuleError,
    },
    /// Two files have one path.
    #[error("failed to accept the web file {0}: there are two of this path, so leave one out")]
    Twice(String),
    /// There are too many files.
    #[error("failed to accept the web files: there are {0}, the limit is {MAX_FILES}, so bundle them")]
    TooMany(usize),
    /// All together are too large.
    #[error(
        "failed to accept the web files: together they have {0} bytes, the limit is {MAX_FILES_TOTAL}, so leave out what pages do not load"
    )]
    TooLarge(u64),
    /// The manifest speaks of a file that is not there.
    #[error(
        "failed to find {0:?}, which spec.frontend.remoteEntry of the plugin.yaml names, among the web files: build the front end before the plugin, and return it by Plugin::web_files"
    )]
    NoRemoteEntry(String),
}

/// Files that were accepted, by path.
pub(crate) type Files = BTreeMap<String, WebFile>;

/// Checks the files, among which `remote_entry` must be if there is one.
pub(super) fn check(files: WebFiles, remote_entry: Option<&str>) -> Result<Files, FilesError> {
    let files = files.into_files();
    if files.len() > MAX_FILES {
        return Err(FilesError::TooMany(files.len()));
    }
    let mut accepted = Files::new();
    let mut total = 0;
    for file in files {
        let size = file.data.len() as u64;
        total += size;
        let path = file.path.clone();
        file_rules::check(&path, size, &file.media_type).map_err(|source| FilesError::Rule {
            path: path.clone(),
            source,
        })?;
        if accepted.insert(path.clone(), file).is_some() {
            return Err(FilesError::Twice(path));
        }
    }
    if total > MAX_FILES_TOTAL {
        return Err(FilesError::TooLarge(total));
    }
    match remote_entry {
        Some(entry) if !accepted.contains_key(entry) => Err(FilesError::NoRemoteEntry(entry.to_owned())),
        _ => Ok(accepted),
    }
}

/// The files in the order of their paths, which is that of the map.
pub(super) fn written(files: &Files) -> Vec<kite_proto::File> {
    let file = |file: &WebFile| kite_proto::File {
        path: file.path.clone(),
        sha256: file.sha256.to_vec().into(),
        size: file.data.len() as u64,
        media_type: file.media_type.clone(),
    };
    files.values().map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: impl IntoIterator<Item = String>, size: usize) -> WebFiles {
        let data = bytes::Bytes::from(vec![0; size]);
        paths.into_iter().fold(WebFiles::default(), |files, path| {
            files.and(path, "text/plain", data.clone())
        })
    }

    fn numbered(count: usize) -> impl Iterator<Item = String> {
        (0..count).map(|number| format!("a{number}"))
    }

    #[test]
    fn files_are_refused_for_each_of_their_reasons() {
        let refused = |files| check(files, None).unwrap_err();
        let one = |path: &str| files([path.to_owned()], 1);
        assert!(matches!(refused(one("../a")), FilesError::Rule { .. }));
        assert!(matches!(refused(one("a").and("a", "a/b", "")), FilesError::Twice(_)));
        assert!(matches!(refused(files(numbered(4097), 0)), FilesError::TooMany(4097)));
        let large = files(numbered(5), 13 * 1024 * 1024 + 512 * 1024);
        assert!(matches!(refused(large), FilesError::TooLarge(_)));
        assert!(matches!(
            check(one("a"), Some("b")).unwrap_err(),
            FilesError::NoRemoteEntry(_)
        ));
    }

    #[test]
    fn files_are_written_in_the_order_of_their_paths() {
        let accepted = check(files(["b".to_owned(), "a/c".to_owned()], 3), Some("b")).unwrap();
        let paths: Vec<String> = written(&accepted).into_iter().map(|file| file.path).collect();
        assert_eq!(paths, ["a/c", "b"]);
    }
}
