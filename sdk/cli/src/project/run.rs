//! Programs that a build runs: what they say is told while they say it.

use std::{
    io,
    process::{ExitStatus, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::Command,
};

use crate::printer::Printer;

/// Why a program did not do what it was run for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("failed to start {program}")]
    Start { program: String, source: io::Error },
    #[error("failed to read what {program} writes")]
    Read { program: String, source: io::Error },
    #[error("failed to run {program} well: it ended with {status}")]
    Failed { program: String, status: ExitStatus },
}

impl RunError {
    /// Whether there is no such program.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Start { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Runs a program to its end, tells each line of its stderr, and gives what it wrote to stdout.
pub(super) async fn run(command: impl Into<Command>, printer: &mut Printer<'_>) -> Result<Vec<u8>, RunError> {
    let mut command = command.into();
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(source) => return Err(RunError::Start { program, source }),
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let data = async {
        let mut data = Vec::new();
        if let Some(mut stdout) = stdout {
            stdout.read_to_end(&mut data).await?;
        }
        Ok::<_, io::Error>(data)
    };
    let talk = async {
        if let Some(stderr) = stderr {
            let mut lines = BufReader::new(stderr).split(b'\n');
            while let Some(line) = lines.next_segment().await? {
                printer.talk(&format!("  {}\n", String::from_utf8_lossy(&line).trim_end()));
            }
        }
        Ok(())
    };
    let end = async { tokio::try_join!(data, talk) }.await;
    let ended = match end {
        Ok((data, ())) => child.wait().await.map(|status| (data, status)),
        Err(error) => Err(error),
    };
    match ended {
        Ok((data, status)) if status.success() => Ok(data),
        Ok((_, status)) => Err(RunError::Failed { program, status }),
        Err(source) => Err(RunError::Read { program, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run_sh(script: &str) -> (Result<Vec<u8>, RunError>, String) {
        let (mut data, mut talk) = (Vec::new(), Vec::new());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let result = run(command, &mut Printer::new(&mut data, &mut talk)).await;
        (result, String::from_utf8(talk).unwrap())
    }

    #[tokio::test]
    async fn talk_is_told_by_the_line_and_data_is_given() {
        let (result, talk) = run_sh("echo data; echo one >&2; printf two >&2").await;
        assert_eq!(result.unwrap(), b"data\n");
        assert_eq!(talk, "  one\n  two\n");
    }

    #[tokio::test]
    async fn a_program_that_fails_or_is_absent_is_told_apart() {
        let (result, talk) = run_sh("echo why >&2; exit 3").await;
        let error = result.unwrap_err();
        assert!(
            matches!(&error, RunError::Failed { status, .. } if status.code() == Some(3)),
            "{error}"
        );
        assert!(!error.is_absent());
        assert_eq!(talk, "  why\n");

        let (mut data, mut talk) = (Vec::new(), Vec::new());
        let absent = run(Command::new("/nowhere"), &mut Printer::new(&mut data, &mut talk)).await;
        assert!(absent.unwrap_err().is_absent());
    }
}
