//! A real API server alone, for tests of what admission, schemas and RBAC do: no node, no namespaces, no root.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::address::Slot;
use super::build::{self, BuildError};
use super::command::{CommandError, SpawnLogged, bound_to_us, tail, wait_until};
use super::components::{self, ApiAddress, EtcdPorts, Server};
use super::http;
use super::layout::Layout;
use super::pki::{ADMIN, Pki, PkiError};
use super::progress::Progress;
use super::state::{StateError, remove_dir};

const LIMIT: Duration = Duration::from_mins(2);
/// A free port is found by opening and closing it, so another process may get it first.
const ATTEMPTS: usize = 3;

#[derive(Debug, thiserror::Error)]
pub enum ApiServerError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error("failed to find free ports")]
    Ports(#[source] io::Error),
    #[error("failed to start the thread that keeps the servers")]
    Thread(#[source] io::Error),
    #[error("failed to start a server")]
    Start(#[source] CommandError),
    #[error("failed to see the API server ready; the last lines of {}:\n{tail}", log.display())]
    NotReady { log: PathBuf, tail: String },
}

/// etcd and kube-apiserver on loopback; both end when this is dropped, and when this process ends in whatever way.
#[derive(Debug)]
pub struct ApiServer {
    kubeconfig: PathBuf,
    address: SocketAddr,
    #[expect(dead_code, reason = "dropping it ends the servers")]
    keeper: Keeper,
}

impl ApiServer {
    /// With it one is cluster admin.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

/// Starts an API server whose files lie in `dir`, a folder that nobody else uses; what an earlier one left there goes.
pub fn start(layout: &Layout, dir: &Path) -> Result<ApiServer, ApiServerError> {
    let tools = build::tools(layout, &Progress::start())?;
    remove_dir(dir)?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        match start_once(&tools.kube, &dir.join(attempt.to_string())) {
            Err(ApiServerError::NotReady { .. }) if attempt < ATTEMPTS => {}
            outcome => return outcome,
        }
    }
}

fn start_once(kube: &Path, dir: &Path) -> Result<ApiServer, ApiServerError> {
    let [client, peer, port] = free_ports().map_err(ApiServerError::Ports)?;
    let pki = Pki::make(&dir.join("pki"), &[Ipv4Addr::LOCALHOST], None)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let kubeconfig = dir.join("kubeconfig");
    pki.kubeconfig(ADMIN, &format!("https://{address}"), &kubeconfig)?;
    let etcd = EtcdPorts { client, peer };
    // The Services of this server lead nowhere; any range will do.
    let services = Slot::FIRST.services();
    let api = ApiAddress {
        bind: Ipv4Addr::LOCALHOST,
        advertise: None,
        port,
        services,
    };
    let servers = [
        components::etcd(kube, &dir.join("etcd"), etcd),
        components::api_server(kube, &pki, etcd, api),
    ];
    let keeper = Keeper::start(servers.into(), dir.to_path_buf())?;
    let ready = wait_until(LIMIT, || match http::get(&pki, address, "/readyz") {
        Some(_) => Some(true),
        None => keeper.ended().then_some(false),
    });
    if ready == Some(true) {
        return Ok(ApiServer {
            kubeconfig,
            address,
            keeper,
        });
    }
    let log = dir.join("kube-apiserver.log");
    Err(ApiServerError::NotReady { tail: tail(&log), log })
}

/// Ports that are free now, all different.
fn free_ports() -> io::Result<[u16; 3]> {
    let open = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let sockets = [open()?, open()?, open()?];
    let mut ports = [0; 3];
    for (port, socket) in ports.iter_mut().zip(&sockets) {
        *port = socket.local_addr()?.port();
    }
    Ok(ports)
}

/// The thread that started the servers. The kernel kills them when it ends, so it must be one that stays: a test's
/// own ends with the test, and others may go on using the server.
#[derive(Debug)]
struct Keeper {
    release: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    fn start(servers: Vec<Server>, dir: PathBuf) -> Result<Self, ApiServerError> {
        let (release, released) = channel();
        let (tell, told) = channel();
        let keep = move || {
            let mut children = Vec::new();
            let started = servers.iter().try_for_each(|server| {
                children.push(spawn(server, &dir)?);
                Ok(())
            });
            let _ = tell.send(started);
            watch(&mut children, &released);
        };
        let thread = thread::Builder::new()
            .name("api-server".to_owned())
            .spawn(keep)
            .map_err(ApiServerError::Thread)?;
        let keeper = Self {
            release: Some(release),
            thread: Some(thread),
        };
        match told.recv() {
            Ok(Err(error)) => Err(ApiServerError::Start(error)),
            _ => Ok(keeper),
        }
    }

    /// Whether a server ended by itself.
    fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn spawn(server: &Server, dir: &Path) -> Result<Child, CommandError> {
    let mut command = Command::new(&server.program);
    command.args(&server.args);
    bound_to_us(&command).spawn_logged(&dir.join(format!("{}.log", server.name)))
}

/// Until it is released or one of them ends; then none is left.
fn watch(children: &mut [Child], released: &Receiver<()>) {
    let every = Duration::from_millis(50);
    let all_run = |children: &mut [Child]| children.iter_mut().all(|child| matches!(child.try_wait(), Ok(None)));
    while all_run(children) && released.recv_timeout(every) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {}
    for child in children {
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ() {
        let [one, two, three] = free_ports().unwrap();
        assert!(one != two && two != three && one != three);
    }
}
