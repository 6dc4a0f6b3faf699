//! Brings a cluster up, tells whether one is, and takes it down, whatever state the last command left.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::address::Slot;
use super::build::{self, BuildError, Tools};
use super::cgroup::{self, CgroupError};
use super::command::{tail, wait_until};
use super::config;
use super::debian::{self, Debian, DebianError};
use super::http;
use super::layout::Layout;
use super::link::{self, LinkError};
use super::node::{API_PORT, AUDIT_LOG, Plan, ready_file};
use super::pki::Pki;
use super::progress::Progress;
use super::state::{Lock, ProcessId, Record, StateError, remove_dir};
use crate::unshared::unshared;

/// For all of a node's start; each of its steps has a shorter one of its own.
const START: Duration = Duration::from_mins(10);
/// How long a node that is complete may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// For the namespaces' first process to appear.
const SPAWN: Duration = Duration::from_secs(20);
/// For a node to end after it was asked to; its own patience is shorter.
const END: Duration = Duration::from_secs(8);

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Debian(#[from] DebianError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("failed to prepare {}", path.display())]
    Prepare { path: PathBuf, source: io::Error },
    #[error("failed to start the node's first process")]
    Spawn(#[source] io::Error),
    #[error("failed to find the node's first process; the last lines of {}:\n{tail}", log.display())]
    Find { log: PathBuf, tail: String },
    #[error("failed to tell the node what to do")]
    Tell(#[source] io::Error),
    #[error("failed to start the node: it ended, as shown above; its logs are in {}", logs.display())]
    Ended { logs: PathBuf },
    #[error("failed to see the node complete within {} s; its logs are in {}", limit.as_secs(), logs.display())]
    TooLate { limit: Duration, logs: PathBuf },
    #[error("failed to end process {pid}")]
    End { pid: i32 },
    #[error("failed to run a cluster without root: namespaces, mounts and interfaces need it")]
    NotRoot,
}

/// A cluster that is up.
#[derive(Debug, Clone)]
pub struct Running {
    /// With it one is cluster admin.
    pub kubeconfig: PathBuf,
    /// `host:port` without TLS, the same from the host and from the node.
    pub registry: String,
    pub node_address: std::net::Ipv4Addr,
    /// The host's address as pods see it.
    pub host_address: std::net::Ipv4Addr,
    /// The first process of the node; all of the node ends with it.
    pub pid: i32,
    pub logs: PathBuf,
}

impl Running {
    /// The API server's log of the system's own requests: the file that is written and those that are full.
    pub fn audit_logs(&self) -> io::Result<Vec<PathBuf>> {
        let names = fs::read_dir(&self.logs)?.collect::<io::Result<Vec<_>>>()?;
        let audits = names
            .into_iter()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(AUDIT_LOG));
        Ok(audits.map(|entry| entry.path()).collect())
    }
}

/// Brings the cluster up, unless it is; whatever is left of a dead one is removed first.
pub fn ensure_up(layout: &Layout) -> Result<Running, ClusterError> {
    let progress = Progress::start();
    if !is_root() {
        return Err(ClusterError::NotRoot);
    }
    let tools = build::tools(layout, &progress)?;
    let debian = debian::debian(layout, debian::NODE, &progress)?;
    let _lock = Lock::take(&layout.lock(), &progress)?;
    if let Some(record) = Record::read(layout) {
        if record.slot.is_some() && record.process.is_alive() {
            match await_ready(layout, &record, &progress) {
                Ok(running) => return Ok(running),
                Err(error) => progress.say(&format!("starting anew: {error}")),
            }
        } else {
            progress.say("removing what a dead cluster left");
            if let Some(reason) = last_words(&log(&layout.dir())) {
                progress.say(&format!("it had ended with: {reason}"));
            }
        }
    }
    clear(layout, &debian)?;
    let record = start(layout, tools, debian)?;
    let running = await_ready(layout, &record, &progress)?;
    progress.say(&format!("cluster: up, process {}", running.pid));
    Ok(running)
}

/// Takes the cluster down and leaves nothing of it but the cache.
pub fn down(layout: &Layout) -> Result<(), ClusterError> {
    let progress = Progress::start();
    // Nothing was ever started from this cache, and nothing is to be made just for looking.
    if !layout.dir().exists() && !layout.lock().exists() {
        return Ok(());
    }
    let lock = Lock::take(&layout.lock(), &progress)?;
    if !layout.dir().exists() {
        return Ok(cgroup::remove(layout)?);
    }
    clear(layout, &debian::at_hand(layout, debian::NODE))?;
    drop(lock);
    progress.say("cluster: down");
    Ok(())
}

/// The cluster if it is up and its API server answers.
pub fn status(layout: &Layout) -> Option<Running> {
    let record = Record::read(layout)?;
    let running = running(layout, &record)?;
    (ready_file(&layout.dir()).exists() && answers(layout, &running)).then_some(running)
}

/// Whether a node of this cluster runs, answering or not.
pub fn exists(layout: &Layout) -> bool {
    Record::read(layout).is_some_and(|record| record.process.is_alive())
}

/// The programs for using a cluster, built if need be.
pub fn tools(layout: &Layout) -> Result<Tools, ClusterError> {
    Ok(build::tools(layout, &Progress::start())?)
}

/// The program that checks the protocol, built if need be.
pub fn buf(layout: &Layout) -> Result<PathBuf, ClusterError> {
    Ok(build::buf(layout, &Progress::start())?)
}

/// Finds the registry server, or builds it.
pub fn registry(layout: &Layout) -> Result<PathBuf, ClusterError> {
    Ok(build::registry(layout, &Progress::start())?)
}

/// Finds crane, or builds it.
pub fn crane(layout: &Layout) -> Result<PathBuf, ClusterError> {
    Ok(build::crane(layout, &Progress::start())?)
}

/// Finds h2spec, or builds it.
pub fn h2spec(layout: &Layout) -> Result<PathBuf, ClusterError> {
    Ok(build::h2spec(layout, &Progress::start())?)
}

/// Finds the program that judges objects as kstatus and Argo CD do, or builds it.
pub fn judge(layout: &Layout) -> Result<PathBuf, ClusterError> {
    Ok(build::judge(layout, &Progress::start())?)
}

/// Finds kwok, or builds it.
pub fn kwok(layout: &Layout) -> Result<PathBuf, ClusterError> {
    Ok(build::kwok(layout, &Progress::start())?)
}

/// `skopeo`, for arguments to be added; of the packages that a node needs too.
pub fn skopeo(layout: &Layout) -> Result<Command, ClusterError> {
    Ok(debian::debian(layout, debian::NODE, &Progress::start())?.command("skopeo"))
}

/// Ends what is left of the cluster, if anything, and removes what it had.
fn clear(layout: &Layout, debian: &Debian) -> Result<(), ClusterError> {
    if let Some(record) = Record::read(layout) {
        end(&record.process)?;
        // It follows by itself. That it takes longer than this is its parent's doing, and does no harm.
        wait_until(END, || record.outer.is_gone().then_some(()));
        if let Some(slot) = record.slot {
            link::release(layout, debian, slot)?;
        }
    }
    cgroup::remove(layout)?;
    Ok(remove_dir(&layout.dir())?)
}

fn end(process: &ProcessId) -> Result<(), ClusterError> {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        process.signal(signal);
        if wait_until(END, || (!process.is_alive()).then_some(())).is_some() {
            return Ok(());
        }
    }
    Err(ClusterError::End { pid: process.pid() })
}

/// Starts the node's first process, and tells it what to do only when a killed command could find it again.
fn start(layout: &Layout, tools: Tools, debian: Debian) -> Result<Record, ClusterError> {
    let dir = layout.dir();
    fs::create_dir_all(&dir).map_err(|source| ClusterError::Prepare {
        path: dir.clone(),
        source,
    })?;
    cgroup::make(layout)?;
    let (mut child, input) = spawn(layout)?;
    let log = log(&dir);
    let Some(pid) = wait_until(SPAWN, || first_process(&child)) else {
        return Err(ClusterError::Find { tail: tail(&log), log });
    };
    let mut record = Record {
        process: ProcessId::of(pid)?,
        outer: ProcessId::of(child.id().cast_signed())?,
        slot: None,
    };
    // A caller that outlives the node is who must take note of its end.
    thread::spawn(move || child.wait());
    record.write(layout)?;
    let slot = link::claim(layout, &debian, pid)?;
    record.slot = Some(slot);
    record.write(layout)?;
    tell(input, &plan(layout, slot, tools, debian))?;
    Ok(record)
}

fn spawn(layout: &Layout) -> Result<(Child, ChildStdin), ClusterError> {
    let dir = layout.dir();
    let log = File::create(log(&dir)).and_then(|file| Ok((file.try_clone()?, file)));
    let (out, err) = log.map_err(ClusterError::Spawn)?;
    let mut command = unshared();
    command
        .arg(layout.program())
        .args(["node", "--dir"])
        .arg(&dir)
        // Not of the caller's group: an interrupt at the terminal is for the caller.
        .process_group(0)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(err);
    let mut child = command.spawn().map_err(ClusterError::Spawn)?;
    let input = child
        .stdin
        .take()
        .ok_or_else(|| ClusterError::Spawn(io::ErrorKind::BrokenPipe.into()))?;
    Ok((child, input))
}

/// The only child of `unshare` is the first process of the new namespaces, once they are made.
fn first_process(unshare: &Child) -> Option<i32> {
    let id = unshare.id();
    fs::read_to_string(format!("/proc/{id}/task/{id}/children"))
        .ok()?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

fn tell(mut input: ChildStdin, plan: &Plan) -> Result<(), ClusterError> {
    let line = serde_json::to_string(plan).map_err(|error| ClusterError::Tell(error.into()))?;
    writeln!(input, "{line}").map_err(ClusterError::Tell)
}

fn plan(layout: &Layout, slot: Slot, tools: Tools, debian: Debian) -> Plan {
    Plan {
        slot,
        cgroup: layout.cgroup(),
        cache: layout.cache().to_path_buf(),
        dir: layout.dir(),
        debian,
        kube: tools.kube,
        coredns: tools.coredns,
        pause: tools.pause,
        registry: tools.registry,
    }
}

/// Waits for a node that starts, and relays what it says; one that is complete is only asked whether it answers.
fn await_ready(layout: &Layout, record: &Record, progress: &Progress) -> Result<Running, ClusterError> {
    let dir = layout.dir();
    let logs = dir.join("logs");
    let complete = ready_file(&dir);
    let mut relayed = if complete.exists() { usize::MAX } else { 0 };
    // A node that was complete answers soon or is sick; there is no point in waiting as long as for a new one.
    let limit = if complete.exists() { ANSWER } else { START };
    let seen = wait_until(limit, || {
        let running = running(layout, record);
        relay(&log(&dir), &mut relayed, progress);
        match running {
            None => Some(Err(ClusterError::Ended { logs: logs.clone() })),
            Some(running) => (complete.exists() && answers(layout, &running)).then_some(Ok(running)),
        }
    });
    seen.unwrap_or(Err(ClusterError::TooLate { limit, logs }))
}

/// Why a node ended, if it could say so.
fn last_words(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).ok()?;
    text.lines()
        .rfind(|line| line.starts_with("error: "))
        .map(str::to_owned)
}

/// Says the lines of the node's log that were not said yet.
fn relay(log: &Path, relayed: &mut usize, progress: &Progress) {
    let text = fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    for line in text.get(*relayed..whole).unwrap_or_default().lines() {
        progress.say(line);
    }
    *relayed = whole.max(*relayed);
}

fn running(layout: &Layout, record: &Record) -> Option<Running> {
    let slot = record.slot?;
    record.process.is_alive().then(|| Running {
        kubeconfig: layout.dir().join("kubeconfig"),
        registry: config::registry_name(slot),
        node_address: slot.node(),
        host_address: slot.host(),
        pid: record.process.pid(),
        logs: layout.dir().join("logs"),
    })
}

fn answers(layout: &Layout, running: &Running) -> bool {
    let pki = Pki::at(&layout.dir().join("pki"));
    http::get(&pki, SocketAddr::from((running.node_address, API_PORT)), "/readyz").is_some()
}

/// Whose this process is, as the kernel shows it.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|shown| shown.uid() == 0)
}

fn log(dir: &Path) -> PathBuf {
    dir.join("node.log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_new_lines_are_relayed() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut relayed = 0;
        for (text, expected) in [("one\ntw", 4), ("one\ntwo\n", 8), ("one\ntwo\n", 8)] {
            fs::write(&log, text).unwrap();
            relay(&log, &mut relayed, &Progress::start());
            assert_eq!(relayed, expected);
        }
    }
}
