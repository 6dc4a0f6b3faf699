//! Programs with a network, mounts and processes of their own, which end with them.

use std::{
    env, io,
    path::Path,
    process::{Command, ExitCode},
};

use crate::cluster::{CommandError, Debian, run};

/// The addresses of a measurement, which are its network's own. Not loopback: the API server takes that for no pod's.
pub(crate) const NETWORK: &str = "10.77.0.0/16";
/// One that is nobody's else.
const HOST: &str = "10.77.255.254/32";
/// Set for the process that is in a network of its own already.
const INSIDE: &str = "KITE_UNSHARED";
/// Has a program open as many files as it may at all: one with 10,000 callers needs more than a shell gives.
const FILES: &str = r#"ulimit -n "$(ulimit -Hn)" && exec "$@""#;

#[derive(Debug, thiserror::Error)]
pub enum UnsharedError {
    #[error("failed to make a network of its own")]
    Unshare(#[source] io::Error),
    #[error("failed to set up the network")]
    Network(#[source] CommandError),
}

/// What runs the program that is appended to it so.
pub(crate) fn unshared() -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--mount-proc",
        "--",
    ]);
    command
}

/// Whether this process is in a network of its own already.
pub(crate) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs this program again with the same arguments, with a network and processes of its own that end with it.
pub(crate) fn again_inside(program: &Path) -> Result<ExitCode, UnsharedError> {
    let mut command = unshared();
    command
        .args(["sh", "-c", FILES, "sh"])
        .arg(program)
        .args(env::args_os().skip(1))
        .env(INSIDE, "1");
    let status = command.status().map_err(UnsharedError::Unshare)?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Sets the network up in which this process is.
pub(crate) fn network(programs: &Debian) -> Result<(), UnsharedError> {
    for setting in [
        &["link", "set", "lo", "up"][..],
        &["route", "add", "local", NETWORK, "dev", "lo"],
        // The API server wants an address to be reached at by others, and looks for it where the default route leads.
        &["addr", "add", HOST, "dev", "lo"],
        &["route", "add", "default", "dev", "lo"],
    ] {
        run(programs.command("ip").args(setting)).map_err(UnsharedError::Network)?;
    }
    Ok(())
}
