//! The first process of a node: starts servers, waits for conditions, reaps, and notices whoever ends.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::command::{CommandError, SpawnLogged, tail};
use super::components::Server;

/// How long the servers have to end by themselves, all together.
const PATIENCE: Duration = Duration::from_millis(1500);
const LOOK: Duration = Duration::from_millis(25);

#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    #[error("failed to listen for signals")]
    Signals(#[source] Errno),
    #[error("failed to start the thread that listens for signals")]
    Thread(#[source] io::Error),
    #[error("failed to start {name}")]
    Start { name: &'static str, source: CommandError },
    #[error("failed to keep {name} running: it ended with {status}; the last lines of {}:\n{tail}", log.display())]
    Ended {
        name: &'static str,
        status: String,
        log: PathBuf,
        tail: String,
    },
    #[error("failed to see that {what} within {} s; the last lines of {}:\n{tail}", limit.as_secs(), log.display())]
    TooLate {
        what: &'static str,
        limit: Duration,
        log: PathBuf,
        tail: String,
    },
    #[error("ended because it was told to")]
    Told,
}

#[derive(Debug)]
struct Running {
    name: &'static str,
    pid: Pid,
}

#[derive(Debug)]
pub(super) struct Supervisor {
    servers: Vec<Running>,
    signals: Receiver<Signal>,
    logs: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Supervisor {
    /// Takes over all signals of this process, which must have no other thread yet.
    pub(super) fn new(logs: &Path, environment: Vec<(&'static str, String)>) -> Result<Self, SupervisorError> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        // Blocked, they wait for the thread below; the first process of a namespace gets no others at all.
        set.thread_block().map_err(SupervisorError::Signals)?;
        let (sender, signals) = channel();
        let listen = move || {
            while let Ok(signal) = set.wait() {
                if sender.send(signal).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(listen)
            .map_err(SupervisorError::Thread)?;
        Ok(Self {
            servers: Vec::new(),
            signals,
            logs: logs.to_path_buf(),
            environment,
        })
    }

    pub(super) fn start(&mut self, server: &Server) -> Result<(), SupervisorError> {
        let failed = |source| SupervisorError::Start {
            name: server.name,
            source,
        };
        let mut command = self.command(&server.program);
        let child = command
            .args(&server.args)
            .spawn_logged(&self.log(server.name))
            .map_err(failed)?;
        let pid = Pid::from_raw(child.id().cast_signed());
        self.servers.push(Running { name: server.name, pid });
        Ok(())
    }

    /// A command in the environment of the servers.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null());
        command
    }

    /// Waits for a condition, while all servers are kept under watch. `by` is whose log tells why it does not come.
    pub(super) fn wait(
        &mut self,
        what: &'static str,
        by: &'static str,
        limit: Duration,
        mut seen: impl FnMut() -> bool,
    ) -> Result<(), SupervisorError> {
        let began = Instant::now();
        while !seen() {
            if began.elapsed() > limit {
                let log = self.log(by);
                return Err(SupervisorError::TooLate {
                    what,
                    limit,
                    tail: tail(&log),
                    log,
                });
            }
            self.watch(Some(LOOK))?;
        }
        Ok(())
    }

    /// Runs until a server ends or this process is told to end; returns why.
    pub(super) fn run(&mut self) -> SupervisorError {
        loop {
            if let Err(reason) = self.watch(None) {
                return reason;
            }
        }
    }

    /// Ends the servers, the last started first. What outlives this dies with the namespace.
    pub(super) fn stop(&mut self) {
        for server in self.servers.iter().rev() {
            let _ = kill(server.pid, Signal::SIGTERM);
        }
        let began = Instant::now();
        while !self.servers.is_empty() && began.elapsed() < PATIENCE {
            while let Some((pid, _)) = reap() {
                self.servers.retain(|server| server.pid != pid);
            }
            // A second request to end does not hasten this; it is short enough.
            let _ = self.signals.recv_timeout(LOOK);
        }
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Handles what happened meanwhile; waits for the next signal at most that long.
    fn watch(&mut self, wait: Option<Duration>) -> Result<(), SupervisorError> {
        while let Some((pid, status)) = reap() {
            if let Some(server) = self.servers.iter().find(|server| server.pid == pid) {
                let (name, log) = (server.name, self.log(server.name));
                self.servers.retain(|server| server.pid != pid);
                return Err(SupervisorError::Ended {
                    name,
                    status,
                    tail: tail(&log),
                    log,
                });
            }
        }
        let signal = match wait {
            Some(wait) => self.signals.recv_timeout(wait),
            None => self.signals.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match signal {
            Ok(Signal::SIGTERM | Signal::SIGINT) | Err(RecvTimeoutError::Disconnected) => Err(SupervisorError::Told),
            Ok(_) | Err(RecvTimeoutError::Timeout) => Ok(()),
        }
    }
}

/// One child that ended, a server or some container's orphan.
fn reap() -> Option<(Pid, String)> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => return Some((pid, format!("exit status {code}"))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => return Some((pid, format!("signal {signal}"))),
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}
