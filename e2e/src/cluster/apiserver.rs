//! A real API server alone, for tests of what admission, schemas and RBAC do: no node, no namespaces, no root.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::address::Slot;
use super::build::{self, BuildError};
use super::command::{CommandError, SpawnLogged, bound_to_us, tail, wait_until};
use super::components::{self, ApiAddress, EtcdPorts, Server};
use super::config;
use super::http;
use super::layout::Layout;
use super::pki::{ADMIN, Pki, PkiError};
use super::progress::Progress;
use super::state::{StateError, remove_dir};

const LIMIT: Duration = Duration::from_mins(2);
/// A free port is found by opening and closing it, so another process may get it first.
const ATTEMPTS: usize = 3;
/// Name of the log of who has written what.
const AUDIT_LOG: &str = "audit.log";

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
    #[error("failed to write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("failed to have the servers restarted by the thread that keeps them")]
    Ended,
    #[error("failed to compact etcd")]
    Compact(#[source] reqwest::Error),
    #[error("failed to learn from etcd at which revision it is: it said {0}")]
    Revision(serde_json::Value),
}

/// etcd and kube-apiserver on loopback; both end when this is dropped, and when this process ends in whatever way.
#[derive(Debug)]
pub struct ApiServer {
    kubeconfig: PathBuf,
    address: SocketAddr,
    etcd: EtcdPorts,
    pki: Pki,
    dir: PathBuf,
    /// Dropping it ends the servers.
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

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its log of who has written what.
    pub fn audit_log(&self) -> PathBuf {
        self.dir.join(AUDIT_LOG)
    }

    /// Kills the API server, starts another in its place, and waits until that is ready. What was in its memory alone is gone.
    pub fn restart(&self) -> Result<(), ApiServerError> {
        self.keeper.restart()?;
        self.is_ready()
    }

    /// Takes etcd's history away, so that nobody can go on from what they knew before.
    pub async fn compact(&self) -> Result<(), ApiServerError> {
        let client = reqwest::Client::new();
        let ask = async |path: &str, body: serde_json::Value| {
            let url = format!("http://127.0.0.1:{}/v3/kv/{path}", self.etcd.client);
            let answer = client.post(url).json(&body).send().await?.error_for_status()?;
            answer.json::<serde_json::Value>().await
        };
        // Any key; the answer says how far etcd has come.
        let now = ask("range", serde_json::json!({"key": "AA=="})).await;
        let now = now.map_err(ApiServerError::Compact)?;
        let Some(revision) = now.pointer("/header/revision") else {
            return Err(ApiServerError::Revision(now));
        };
        let compacted = ask(
            "compaction",
            serde_json::json!({"revision": revision, "physical": true}),
        )
        .await;
        compacted.map(drop).map_err(ApiServerError::Compact)
    }

    fn is_ready(&self) -> Result<(), ApiServerError> {
        let ready = wait_until(LIMIT, || match http::get(&self.pki, self.address, "/readyz") {
            Some(_) => Some(true),
            None => self.keeper.ended().then_some(false),
        });
        if ready == Some(true) {
            return Ok(());
        }
        let log = self.dir.join("kube-apiserver.log");
        Err(ApiServerError::NotReady { tail: tail(&log), log })
    }
}

/// Starts an API server whose files lie in `dir`, a folder that nobody else uses; what an earlier one left there goes.
pub fn start(layout: &Layout, dir: &Path) -> Result<ApiServer, ApiServerError> {
    start_with(layout, dir, &[])
}

/// The same, with further flags of the API server.
pub fn start_with(layout: &Layout, dir: &Path, flags: &[&str]) -> Result<ApiServer, ApiServerError> {
    let tools = build::tools(layout, &Progress::start())?;
    remove_dir(dir)?;
    let mut attempt = 0;
    loop {
        attempt += 1;
        match start_once(&tools.kube, &dir.join(attempt.to_string()), flags) {
            Err(ApiServerError::NotReady { .. }) if attempt < ATTEMPTS => {}
            outcome => return outcome,
        }
    }
}

fn start_once(kube: &Path, dir: &Path, flags: &[&str]) -> Result<ApiServer, ApiServerError> {
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
    let policy = dir.join("audit-policy.json");
    fs::write(&policy, config::audit_policy_of_writes().to_string()).map_err(|source| ApiServerError::Write {
        path: policy.clone(),
        source,
    })?;
    let mut api_server = components::api_server(kube, &pki, etcd, api);
    api_server.args.extend(flags.iter().map(|flag| (*flag).to_owned()));
    let servers = Servers {
        etcd: components::etcd(kube, &dir.join("etcd"), etcd),
        api_server: components::with_audit(api_server, &policy, &dir.join(AUDIT_LOG)),
    };
    let keeper = Keeper::start(servers, dir.to_path_buf())?;
    let server = ApiServer {
        kubeconfig,
        address,
        etcd,
        pki,
        dir: dir.to_path_buf(),
        keeper,
    };
    server.is_ready().map(|()| server)
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
    /// Each is an order to restart the API server. Without a sender, both servers end.
    orders: Option<Sender<Restart>>,
    thread: Option<JoinHandle<()>>,
}

/// An order to restart the API server, and where it is told that it was carried out.
type Restart = Sender<Result<(), CommandError>>;

/// What is kept.
#[derive(Debug)]
struct Servers {
    etcd: Server,
    api_server: Server,
}

impl Keeper {
    fn start(servers: Servers, dir: PathBuf) -> Result<Self, ApiServerError> {
        let (order, orders) = channel();
        let (tell, told) = channel();
        let keep = move || {
            let mut children = Vec::new();
            let started = [&servers.etcd, &servers.api_server].into_iter().try_for_each(|server| {
                children.push(spawn(server, &dir)?);
                Ok(())
            });
            let _ = tell.send(started);
            watch(&mut children, &orders, || spawn(&servers.api_server, &dir));
        };
        let thread = thread::Builder::new()
            .name("api-server".to_owned())
            .spawn(keep)
            .map_err(ApiServerError::Thread)?;
        let keeper = Self {
            orders: Some(order),
            thread: Some(thread),
        };
        match told.recv() {
            Ok(Err(error)) => Err(ApiServerError::Start(error)),
            _ => Ok(keeper),
        }
    }

    fn restart(&self) -> Result<(), ApiServerError> {
        let (tell, told) = channel();
        let ordered = self.orders.as_ref().is_some_and(|orders| orders.send(tell).is_ok());
        match told.recv() {
            Ok(restarted) if ordered => restarted.map_err(ApiServerError::Start),
            _ => Err(ApiServerError::Ended),
        }
    }

    /// Whether a server ended by itself.
    fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.orders.take());
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

/// Until nobody can order anything any more or one of them ends; then none is left. The API server is the last of them.
fn watch(children: &mut Vec<Child>, orders: &Receiver<Restart>, start: impl Fn() -> Result<Child, CommandError>) {
    let every = Duration::from_millis(50);
    let all_run = |children: &mut Vec<Child>| children.iter_mut().all(|child| matches!(child.try_wait(), Ok(None)));
    while all_run(children) {
        match orders.recv_timeout(every) {
            Ok(restarted) => {
                if let Some(former) = children.pop() {
                    end(former);
                }
                let _ = restarted.send(start().map(|child| children.push(child)));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    children.drain(..).for_each(end);
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
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
