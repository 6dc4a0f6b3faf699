//! Why the process ended, where `kubectl describe` and the operator read it.

use std::{fs::OpenOptions, io::Write as _};

use super::ServeError;

/// Where the kubelet looks. It is there in a container, and nowhere else.
const FILE: &str = "/dev/termination-log";
/// Most bytes that the kubelet reads.
const MOST: usize = 4096;

/// Leaves one sentence, if there is somebody to leave it for.
pub(super) fn tell(error: &ServeError) {
    tell_in(FILE, error);
}

fn tell_in(file: &str, error: &ServeError) {
    let mut text = format!("{error:?}");
    text.truncate(text.floor_char_boundary(MOST));
    // Never made: outside a container the file would be anybody's.
    let written = OpenOptions::new()
        .write(true)
        .open(file)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    if let Err(error) = written {
        tracing::debug!(%error, "there is no termination log");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sentence_is_left_in_a_file_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = path.to_str().unwrap();
        tell_in(file, &ServeError::NameAbsent);
        assert!(!path.exists(), "it is not made");
        std::fs::write(&path, "").unwrap();
        tell_in(file, &ServeError::NameAbsent);
        let left = std::fs::read_to_string(&path).unwrap();
        assert!(left.starts_with("failed to learn the plugin's name"), "{left}");
    }
}
