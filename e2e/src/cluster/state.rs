//! What is remembered of a cluster, and whether it may still be believed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::address::Slot;
use super::command::wait_until;
use super::layout::Layout;
use super::progress::Progress;

/// How long processes that were killed may still write.
const REMOVAL: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("failed to lock {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("failed to write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("failed to remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("failed to read the state of process {pid}")]
    Identify { pid: i32 },
}

/// One process for good: its number may be given to another one after it ended, its start time and the boot not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pid: i32,
    start: u64,
    boot: String,
}

impl ProcessId {
    pub(super) fn of(pid: i32) -> Result<Self, StateError> {
        let (_, start) = stat(pid).ok_or(StateError::Identify { pid })?;
        Ok(Self {
            pid,
            start,
            boot: boot(),
        })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether exactly this process still runs. One that has ended but was not yet waited for does not.
    pub(super) fn is_alive(&self) -> bool {
        self.boot == boot()
            && stat(self.pid).is_some_and(|(state, start)| start == self.start && !matches!(state, 'Z' | 'X'))
    }

    /// Whether anything of it is left, be it only for its parent to be told.
    pub(super) fn is_gone(&self) -> bool {
        self.boot != boot() || stat(self.pid).is_none_or(|(_, start)| start != self.start)
    }

    pub(super) fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // It may end in between, which is what the signal is for.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

/// What `up` writes down about a node, before the node may do anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The first process of the node.
    pub(super) process: ProcessId,
    /// The process on the host that waits for it.
    pub(super) outer: ProcessId,
    pub(super) slot: Option<Slot>,
}

impl Record {
    /// What was remembered. A record that cannot be read is none: it was made by something else.
    pub(super) fn read(layout: &Layout) -> Option<Self> {
        serde_json::from_slice(&fs::read(path(layout)).ok()?).ok()
    }

    pub(super) fn write(&self, layout: &Layout) -> Result<(), StateError> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        write_whole(&path(layout), &text)
    }
}

/// Holds the right to change one cluster, until dropped or until this process ends in whatever way.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Lock {
    pub(crate) fn take(path: &Path, progress: &Progress) -> Result<Self, StateError> {
        let failed = |source| StateError::Lock {
            path: path.to_path_buf(),
            source,
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = File::options().create(true).append(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.say(&format!("waiting for another command to release {}", path.display()));
                file.lock().map_err(failed)?;
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        Ok(Self(file))
    }
}

/// Writes a file so that it is either there whole or not at all.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<(), StateError> {
    let failed = |source| StateError::Write {
        path: path.to_path_buf(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let half = path.with_extension("new");
    fs::write(&half, content).map_err(failed)?;
    fs::rename(&half, path).map_err(failed)
}

/// An empty folder of this process's own for making something in; those that killed ones left are removed. Its name
/// is not theirs: what a killed command had started may go on writing there for a while.
pub(super) fn fresh_half(all: &Path, name: &str) -> Result<PathBuf, StateError> {
    let prefix = format!("{name}.half-");
    let half = all.join(format!("{prefix}{}", std::process::id()));
    let left = fs::read_dir(all).into_iter().flatten().filter_map(Result::ok);
    for entry in left.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        remove_dir(&entry.path())?;
    }
    fs::create_dir_all(&half).map_err(|source| StateError::Write {
        path: half.clone(),
        source,
    })?;
    Ok(half)
}

/// Removes a folder with all that is in it; that it is not there is as good. Tried again for a while, as processes that
/// were just killed may still add to it.
pub(crate) fn remove_dir(path: &Path) -> Result<(), StateError> {
    let mut last = None;
    let removed = wait_until(REMOVAL, || match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            last = Some(source);
            None
        }
        _ => Some(()),
    });
    match (removed, last) {
        (None, Some(source)) => Err(StateError::Remove {
            path: path.to_path_buf(),
            source,
        }),
        _ => Ok(()),
    }
}

fn path(layout: &Layout) -> PathBuf {
    layout.dir().join("record.json")
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn stat(pid: i32) -> Option<(char, u64)> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// State and start time from `/proc/PID/stat`. The second field, a name in brackets, may hold blanks and brackets.
fn parse_stat(line: &str) -> Option<(char, u64)> {
    let (_, rest) = line.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // The start time is the 22nd field of the whole, the state the 3rd.
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, id};

    use super::*;

    fn this() -> ProcessId {
        ProcessId::of(id().cast_signed()).unwrap()
    }

    #[test]
    fn own_process_is_alive() {
        assert!(this().is_alive() && !this().is_gone());
    }

    #[test]
    fn process_of_another_start_or_boot_is_not_believed() {
        let spoil: [fn(&mut ProcessId); 3] = [|p| p.start += 1, |p| p.boot = "other".to_owned(), |p| p.pid = i32::MAX];
        for spoil in spoil {
            let mut process = this();
            spoil(&mut process);
            assert!(!process.is_alive(), "{process:?}");
        }
    }

    #[test]
    fn process_that_ended_but_was_not_waited_for_is_not_alive() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::of(child.id().cast_signed()).unwrap();
        assert!(process.is_alive());
        process.signal(Signal::SIGKILL);
        let gone = wait_until(Duration::from_secs(10), || (!process.is_alive()).then_some(()));
        assert!(!process.is_gone());
        child.wait().unwrap();
        assert!(process.is_gone());
        assert_eq!(gone, Some(()));
    }

    #[test]
    fn what_killed_commands_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let stale = dir.path().join("parts.half-1");
        fs::create_dir_all(stale.join("deep")).unwrap();
        fs::create_dir(dir.path().join("parts-done")).unwrap();
        let half = fresh_half(dir.path(), "parts").unwrap();
        assert!(half.is_dir() && !stale.exists() && dir.path().join("parts-done").exists());
    }

    #[test]
    fn stat_of_a_process_with_an_odd_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1 1";
        assert_eq!(parse_stat(stat), Some(('S', 777)));
        assert_eq!(parse_stat("42 (cut"), None);
    }
}
