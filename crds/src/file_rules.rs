//! The rules for a plugin's web files, for the SDK at the plugin's start and for those who ask it.

#![warn(missing_docs)]

/// Most web files of a plugin.
pub const MAX_FILES: usize = 4096;
/// Most bytes of one file.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Most bytes of all files together.
pub const MAX_FILES_TOTAL: u64 = 64 * 1024 * 1024;
/// Most bytes of a file's path.
pub const MAX_PATH: usize = 256;
/// Most bytes of a media type.
pub const MAX_MEDIA_TYPE: usize = 128;

/// What is wrong with a web file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FileRuleError {
    /// Its path has no byte, or too many.
    #[error("its path is empty or has more than {MAX_PATH} bytes")]
    PathLength,
    /// Its path has a segment that is not safe everywhere.
    #[error(
        "its path has a segment that is empty, begins with \".\", or has other characters than ASCII letters, digits, \".\", \"_\" and \"-\": rename it"
    )]
    PathSegment,
    /// It has so many bytes.
    #[error("it has {0} bytes, the limit is {MAX_FILE}: split it, or serve it by a route")]
    Large(u64),
    /// What it is said to be is no media type.
    #[error("its media type is not a type and a subtype, as text/css is, or has more than {MAX_MEDIA_TYPE} bytes")]
    MediaType,
}

/// Checks what is said of a file. A path that passes is safe wherever a path is: it has no way up, and no segment that is hidden.
pub fn check(path: &str, size: u64, media_type: &str) -> Result<(), FileRuleError> {
    check_path(path)?;
    if size > MAX_FILE {
        return Err(FileRuleError::Large(size));
    }
    if is_media_type(media_type) {
        Ok(())
    } else {
        Err(FileRuleError::MediaType)
    }
}

fn check_path(path: &str) -> Result<(), FileRuleError> {
    if path.is_empty() || path.len() > MAX_PATH {
        return Err(FileRuleError::PathLength);
    }
    let character = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let segment = |segment: &str| !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(character);
    if path.split('/').all(segment) {
        Ok(())
    } else {
        Err(FileRuleError::PathSegment)
    }
}

/// Whether `text` is a type and a subtype, with parameters or without.
fn is_media_type(text: &str) -> bool {
    let token = |text: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        !text.is_empty() && text.bytes().all(inner)
    };
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let named = essence
        .trim_end()
        .split_once('/')
        .is_some_and(|(kind, sub)| token(kind) && token(sub));
    text.len() <= MAX_MEDIA_TYPE && named && parameters.bytes().all(|b| (b' '..=b'~').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_file_passes() {
        for path in ["remoteEntry.js", "assets/a-1.B_2.css", &"a".repeat(256)] {
            assert_eq!(check(path, MAX_FILE, "text/css; charset=utf-8"), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_path_is_refused_for_each_of_its_reasons() {
        for path in ["", &"a".repeat(257)] {
            assert_eq!(check(path, 0, "text/css"), Err(FileRuleError::PathLength));
        }
        for path in [
            "/a", "a/", "a//b", ".", "..", "a/../b", ".env", "a/.git", "a b", "a\\b", "a%2eb", "a\0", "é", "a?b",
        ] {
            assert_eq!(check(path, 0, "text/css"), Err(FileRuleError::PathSegment), "{path}");
        }
    }

    #[test]
    fn a_file_is_refused_for_its_size_and_its_media_type() {
        assert_eq!(
            check("a", MAX_FILE + 1, "text/css"),
            Err(FileRuleError::Large(MAX_FILE + 1))
        );
        let long = format!("text/{}", "a".repeat(128));
        for kind in [
            "",
            "text",
            "text/",
            "/css",
            "text/css\r\nx: y",
            "te xt/css",
            "text/css; a=\n",
            long.as_str(),
        ] {
            assert_eq!(check("a", 0, kind), Err(FileRuleError::MediaType), "{kind:?}");
        }
    }
}
