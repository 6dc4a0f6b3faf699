//! Runs other programs and waits for things to happen, with time limits and with reasons when they fail.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::progress::Progress;

/// How often a condition is looked at while waiting.
const LOOK: Duration = Duration::from_millis(25);
/// How often a long step says that it is still at work.
const REMIND: Duration = Duration::from_secs(15);
/// How much of a log is shown when its step fails.
const TAIL: usize = 20;

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("failed to run {program}")]
    Start { program: String, source: io::Error },
    #[error("failed to complete {program}: {status}\n{output}")]
    Ended {
        program: String,
        status: ExitStatus,
        output: String,
    },
    #[error("failed to complete {program}: {status}; the last lines of {}:\n{tail}", log.display())]
    Logged {
        program: String,
        status: ExitStatus,
        log: PathBuf,
        tail: String,
    },
    #[error("failed to open the log {}", path.display())]
    Log { path: PathBuf, source: io::Error },
}

/// Runs a short command to its end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String, CommandError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| start_error(command, source))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let printed = [output.stdout, output.stderr].concat();
    Err(CommandError::Ended {
        program: name(command),
        status: output.status,
        output: last_lines(&String::from_utf8_lossy(&printed)),
    })
}

/// Runs a long command whose output goes to a log, with a line now and then that says it is still at work.
///
/// It is killed when this process dies: a killed build must not go on beside the next one.
pub(crate) fn run_logged(progress: &Progress, what: &str, command: &Command, log: &Path) -> Result<(), CommandError> {
    let began = Instant::now();
    let mut bound = bound_to_us(command);
    let mut child = bound.stdin(Stdio::null()).spawn_logged(log)?;
    let mut remind = REMIND;
    let status = loop {
        let ended = child.try_wait().map_err(|source| start_error(command, source))?;
        if let Some(status) = ended {
            break status;
        }
        if began.elapsed() >= remind {
            progress.say(&format!("{what}: still at work after {} s", remind.as_secs()));
            remind += REMIND;
        }
        thread::park_timeout(LOOK);
    };
    if status.success() {
        return Ok(());
    }
    Err(CommandError::Logged {
        program: name(command),
        status,
        log: log.to_path_buf(),
        tail: tail(log),
    })
}

/// The same command, killed by the kernel when the thread that starts it ends.
pub(crate) fn bound_to_us(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(key, value),
            None => bound.env_remove(key),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        bound.current_dir(dir);
    }
    bound
}

/// Starting a command with all its output in a log.
pub(crate) trait SpawnLogged {
    fn spawn_logged(&mut self, log: &Path) -> Result<Child, CommandError>;
}

impl SpawnLogged for Command {
    fn spawn_logged(&mut self, log: &Path) -> Result<Child, CommandError> {
        let open = || {
            let file = File::options().create(true).append(true).open(log)?;
            Ok((file.try_clone()?, file))
        };
        let (out, err) = open().map_err(|source| CommandError::Log {
            path: log.to_path_buf(),
            source,
        })?;
        self.stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|source| start_error(self, source))
    }
}

/// Looks until there is something, or the time is over.
pub(super) fn wait_until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if began.elapsed() >= limit {
            return None;
        }
        thread::park_timeout(LOOK);
    }
}

/// The last lines of a log, for a message.
pub(crate) fn tail(log: &Path) -> String {
    last_lines(&String::from_utf8_lossy(&fs::read(log).unwrap_or_default()))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(TAIL))
        .map(|line| format!("  | {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn name(command: &Command) -> String {
    let file = Path::new(command.get_program()).file_name().unwrap_or_default();
    let first = command.get_args().next().unwrap_or_default();
    format!("{} {}", file.to_string_lossy(), first.to_string_lossy())
        .trim()
        .to_owned()
}

fn start_error(command: &Command, source: io::Error) -> CommandError {
    CommandError::Start {
        program: name(command),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_command_shows_what_it_printed() {
        let error = run(Command::new("sh").args(["-c", "echo out; echo why >&2; exit 3"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to complete sh -c: exit status: 3\n  | out\n  | why"
        );
    }

    #[test]
    fn missing_command_is_named() {
        let error = run(&mut Command::new("/none/such")).unwrap_err();
        assert_eq!(error.to_string(), "failed to run such");
    }

    #[test]
    fn only_the_last_lines_are_shown() {
        let text = (0..50).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        assert!(last_lines(&text).starts_with("  | 30\n"));
        assert!(last_lines(&text).ends_with("  | 49"));
    }

    #[test]
    fn waiting_ends_with_its_limit() {
        assert_eq!(wait_until(Duration::from_millis(30), || None::<()>), None);
        assert_eq!(wait_until(Duration::ZERO, || Some(1)), Some(1));
    }
}
