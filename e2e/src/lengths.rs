//! The bound on the length of hand-written source files: one subject a file.

use std::{fs, io, path::Path, process::Command, process::ExitCode};

/// Most lines of a file, its tests not counted.
const MOST: usize = 500;
const ENDINGS: [&str; 7] = [".rs", ".go", ".ts", ".tsx", ".py", ".proto", ".tpl"];

#[derive(Debug, thiserror::Error)]
pub enum LengthsError {
    #[error("failed to list the files with git")]
    List(#[source] io::Error),
    #[error("git could not list the files: {0}")]
    Git(String),
    #[error("failed to read {path}")]
    Read { path: String, source: io::Error },
}

/// Reads every source file that git tracks or would track, and names those that are too long.
#[expect(clippy::print_stderr, reason = "this is a command's output")]
pub fn check() -> Result<ExitCode, LengthsError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .map_err(LengthsError::List)?;
    if !output.status.success() {
        return Err(LengthsError::Git(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    let mut code = ExitCode::SUCCESS;
    for path in String::from_utf8_lossy(&output.stdout)
        .split('\0')
        .filter(|path| is_source(path))
    {
        let text = match fs::read_to_string(root.join(path)) {
            Ok(text) => text,
            // Deleted, and not yet committed so.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(LengthsError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let lines = counted(path, &text);
        if lines > MOST {
            eprintln!(
                "{path} has {lines} lines without its tests, more than {MOST}: it has two subjects, so make it two files"
            );
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn is_source(path: &str) -> bool {
    ENDINGS.iter().any(|ending| path.ends_with(ending)) && !path.contains("/generated/")
}

/// Lines before the module of tests, which stands last in a file. The protocol is one file for whoever implements it, and its comments are
/// its text: they do not count.
fn counted(path: &str, text: &str) -> usize {
    let is_protocol = Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "proto");
    let is_text = |line: &str| is_protocol && line.trim_start().starts_with("//");
    let code = text.lines().take_while(|line| *line != "#[cfg(test)]");
    code.filter(|line| !is_text(line)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_the_text_of_the_protocol_do_not_count() {
        assert_eq!(counted("a.rs", "// a\nb\n#[cfg(test)]\nmod tests {}\n"), 2);
        assert_eq!(counted("a.proto", "// a\nmessage B {\n  // c\n}\n"), 2);
    }

    #[test]
    fn generated_files_and_data_are_left_out() {
        assert!(is_source("proxy/src/pipeline.rs"));
        assert!(!is_source("sdk/proto/src/generated/kite.plugin.v1.rs"));
        assert!(!is_source("Cargo.lock"));
    }
}
