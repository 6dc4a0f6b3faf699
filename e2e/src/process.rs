//! The programs of a measurement: started, looked into by way of `/proc`, and ended with whoever started them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::cluster::{CommandError, SpawnLogged as _, bound_to_us, tail};

/// What the kernel counts the time of processes in, on every architecture: hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// What could not be done to a program.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("failed to start a program")]
    Start(#[source] CommandError),
    #[error("failed to read {file} of the process {id} in /proc")]
    Proc { id: u32, file: &'static str },
    #[error("failed to reset the peak memory of the process {id}")]
    ForgetPeak { id: u32, source: io::Error },
    #[error("failed to empty {}", path.display())]
    Empty { path: PathBuf, source: io::Error },
}

/// A program that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with all that it prints in `log`. What is written there is cut off by [`Process::empty_log`].
    pub(crate) fn start(command: &Command, log: &Path) -> Result<Self, ProcessError> {
        let child = bound_to_us(command).spawn_logged(log).map_err(ProcessError::Start)?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(mut self) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The last of what it printed.
    pub(crate) fn last_words(&self) -> String {
        tail(&self.log)
    }

    /// The time that it and its children have had on a CPU.
    pub(crate) fn cpu(&self) -> Result<Duration, ProcessError> {
        let mut all = Duration::ZERO;
        for id in self.family() {
            all += TICK * ticks(&read(id, "stat")?).ok_or(ProcessError::Proc { id, file: "stat" })?;
        }
        Ok(all)
    }

    /// The bytes that it and its children have in memory. What they share counts for each.
    pub(crate) fn resident(&self) -> Result<u64, ProcessError> {
        self.memory("VmRSS:")
    }

    /// The most that they had in memory since [`Process::forget_peak`].
    pub(crate) fn peak(&self) -> Result<u64, ProcessError> {
        self.memory("VmHWM:")
    }

    /// What they have in memory now is the most from now on.
    pub(crate) fn forget_peak(&self) -> Result<(), ProcessError> {
        for id in self.family() {
            fs::write(format!("/proc/{id}/clear_refs"), "5")
                .map_err(|source| ProcessError::ForgetPeak { id, source })?;
        }
        Ok(())
    }

    /// Empties its log, which grows by a line with every request.
    pub(crate) fn empty_log(&self) -> Result<(), ProcessError> {
        empty(&self.log)
    }

    fn memory(&self, field: &'static str) -> Result<u64, ProcessError> {
        let mut all = 0;
        for id in self.family() {
            all += bytes(&read(id, "status")?, field).ok_or(ProcessError::Proc { id, file: "status" })?;
        }
        Ok(all)
    }

    /// It and its children.
    fn family(&self) -> Vec<u32> {
        let id = self.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|child| child.parse().ok());
        [id].into_iter().chain(children).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Empties a file that is appended to, if it is there.
pub(crate) fn empty(path: &Path) -> Result<(), ProcessError> {
    match fs::File::options().write(true).open(path) {
        Ok(file) => file.set_len(0).map_err(|source| ProcessError::Empty {
            path: path.to_owned(),
            source,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(ProcessError::Empty {
            path: path.to_owned(),
            source,
        }),
    }
}

fn read(id: u32, file: &'static str) -> Result<String, ProcessError> {
    fs::read_to_string(format!("/proc/{id}/{file}")).map_err(|_| ProcessError::Proc { id, file })
}

/// User and system time of `/proc/<pid>/stat`, fields 14 and 15 (proc(5)). The second field is a name that may hold anything, in brackets.
fn ticks(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    next()?.checked_add(next()?)
}

/// A field of `/proc/<pid>/status`, which counts in units of 1024 bytes.
fn bytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let count: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    count.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added_whatever_the_program_is_called() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 1 0";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\ta\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(bytes(status, "VmRSS:"), Some(1024 * 1024));
        assert_eq!(bytes(status, "VmHWM:"), Some(2 * 1024 * 1024));
        assert_eq!(bytes(status, "VmSwap:"), None);
    }

    #[test]
    fn a_process_is_looked_into_with_its_children_and_ends_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo began; sleep 60; true"]);
        let process = Process::start(&command, &folder.path().join("log")).unwrap();
        let id = process.id();
        while process.last_words().is_empty() || process.family().len() < 2 {
            std::thread::yield_now();
        }
        assert!(process.resident().unwrap() > 0);
        process.forget_peak().unwrap();
        assert!(process.peak().unwrap() > 0);
        process.cpu().unwrap();
        process.empty_log().unwrap();
        assert_eq!(process.last_words(), "");
        drop(process);
        assert!(read(id, "stat").is_err());
    }
}
