//! All that takes part in a measurement: an API server, plugins, gateways, nginx, and the server behind it.

mod files;
mod objects;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use futures::future::try_join_all;
use kite_proto::PORT;
use reqwest::{Certificate, Client};
use tempfile::TempDir;
use tokio::net::TcpStream;

use self::files::{Certificates, nginx_config};
use super::{
    LoadError,
    memory::url,
    part::{OFFENDER, Offence, TOKEN},
    side::{Kind, Side},
    task::{PLUGIN, Task},
};
use crate::{
    cluster::{Debian, Layout},
    process::{Process, empty},
    testing::world::World,
};

/// How long anything here may take to answer for the first time.
const START: Duration = Duration::from_mins(1);
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Ports of nginx on loopback, and of the server behind it.
const NGINX: [u16; 4] = [8080, 8081, 8082, 8083];
const ORIGIN: [u16; 2] = [8090, 8091];
/// The port of the first gateway, of one that is fresh, and of one that is far.
const GATEWAY: u16 = 8443;
const FRESH: u16 = 8442;
const FAR: u16 = 8441;

/// The names of the plugins that event streams lead to: of one plugin a gateway asks for only so many streams at once.
pub(super) fn stream_plugins(count: u8) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("stream-{number}"))
}

/// What a measurement is made with.
#[derive(Clone, Debug)]
pub(super) struct Plan<'a> {
    pub(super) layout: &'a Layout,
    pub(super) programs: &'a Debian,
    /// The gateway's program.
    pub(super) gateway: &'a Path,
    /// Flags of each gateway that is measured, in one string.
    pub(super) flags: &'a [String],
    /// Runtimes of a gateway, and workers of nginx.
    pub(super) threads: u16,
    /// Plugins that event streams lead to.
    pub(super) streamers: u8,
}

/// Everything, running.
pub(super) struct Scene<'a> {
    plan: Plan<'a>,
    // What runs ends before its files and its API server go.
    gateways: Vec<(Side, Process)>,
    nginx: Vec<Side>,
    proxy: Process,
    _parts: Vec<Process>,
    pub(super) token: String,
    world: World,
    folder: TempDir,
    serving: Certificate,
}

impl<'a> Scene<'a> {
    pub(super) async fn start(plan: Plan<'a>) -> Result<Self, LoadError> {
        let cache = plan.layout.cache();
        let folder = tempfile::tempdir_in(cache).map_err(|source| LoadError::prepare(cache, source))?;
        let path = folder.path();
        let certificates = Certificates::make(path)?;
        let names: Vec<String> = stream_plugins(plan.streamers).collect();
        let plugins = plugins(&names);
        for (name, _) in &plugins {
            certificates.plugin(name)?;
        }
        let parts = parts(&plan, path, &plugins)?;
        let world = World::start().await;
        let described = try_join_all(plugins.iter().map(|(name, address)| {
            let address = SocketAddr::new(*address, PORT);
            certificates.definitions_hash(name, address, START)
        }));
        for ((name, address), hash) in plugins.iter().zip(described.await?) {
            objects::plugin(&world, name, *address, &hash).await;
        }
        let token = objects::user(&world).await;
        let mut gateways = Vec::new();
        for (number, flags) in (0..).zip(plan.flags) {
            let command = Command::new(plan.gateway);
            gateways.push(gateway(command, &plan, path, &world, (flags, GATEWAY + number))?);
        }
        let proxy = nginx(&plan, path)?;
        let serving = Certificate::from_pem(certificates.serving()?.as_bytes()).map_err(LoadError::Client)?;
        let scene = Self {
            plan,
            gateways,
            nginx: nginx_sides(),
            proxy,
            _parts: parts,
            token,
            world,
            folder,
            serving,
        };
        scene.all_ready().await?;
        Ok(scene)
    }

    /// What is measured, each with its process.
    pub(super) fn sides(&self) -> impl Iterator<Item = (&Side, &Process)> {
        let gateways = self.gateways.iter().map(|(side, process)| (side, process));
        gateways.chain(self.nginx.iter().map(|side| (side, &self.proxy)))
    }

    pub(super) fn gateways(&self) -> impl Iterator<Item = (&Side, &Process)> {
        self.gateways.iter().map(|(side, process)| (side, process))
    }

    /// A folder for files of a measurement.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Empties what grows with every request.
    pub(super) fn empty_logs(&self) -> Result<(), LoadError> {
        empty(&nginx_folder(self.folder()).join("access.log"))?;
        let mut gateways = self.gateways.iter();
        Ok(gateways.try_for_each(|(_, process)| process.empty_log())?)
    }

    /// A client of the gateways that believes their certificate and has connections of its own, of one version of HTTP.
    pub(super) fn client(&self, http2: bool) -> Result<Client, LoadError> {
        client_believing(self.serving.clone(), http2).map_err(LoadError::Client)
    }

    /// So many callers of the offender by way of this gateway, until the process ends.
    pub(super) fn callers(&self, side: &Side, offence: Offence, count: usize) -> Result<Process, LoadError> {
        let folder = self.folder();
        let mut command = elsewhere(self.plan.layout.program());
        command
            .args(["load-part", "callers", "--folder"])
            .arg(folder)
            .args(["--offence", offence.name(), "--count", &count.to_string()])
            .arg(url(side, OFFENDER, offence.name()))
            .env(TOKEN, &self.token);
        let log = folder.join("callers.log");
        // What those before have got is not what these get.
        empty(&log)?;
        Ok(Process::start(&command, &log)?)
    }

    /// Another gateway like this one, which has answered a request of each kind and nothing else: of one that has answered many the memory
    /// is what they left.
    pub(super) async fn fresh(&self, side: &Side) -> Result<(Side, Process), LoadError> {
        self.another(Command::new(self.plan.gateway), side, FRESH).await
    }

    /// Another gateway like this one, on a machine of its own as far as that can be had here.
    pub(super) async fn far(&self, side: &Side) -> Result<(Side, Process), LoadError> {
        self.another(elsewhere(self.plan.gateway), side, FAR).await
    }

    async fn another(&self, command: Command, side: &Side, port: u16) -> Result<(Side, Process), LoadError> {
        let flags = match &side.kind {
            Kind::Gateway(flags) => flags,
            Kind::Plain | Kind::Front | Kind::Both => "",
        };
        let (side, process) = gateway(command, &self.plan, self.folder(), &self.world, (flags, port))?;
        self.ready(&side, &process).await?;
        Ok((side, process))
    }

    /// Waits until every side gives every answer as it should be: so that what is compared is the same.
    async fn all_ready(&self) -> Result<(), LoadError> {
        for (side, process) in self.sides() {
            self.ready(side, process).await?;
        }
        Ok(())
    }

    async fn ready(&self, side: &Side, process: &Process) -> Result<(), LoadError> {
        let client = self.client(false)?;
        for task in Task::ALL {
            let ready = async {
                while self.answer(&client, side, task).await.ok() != Some(task.answer()) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            if tokio::time::timeout(START, ready).await.is_err() {
                let answer = self.answer(&client, side, task).await;
                return Err(LoadError::NotReady {
                    side: side.kind.to_string(),
                    task: task.name(),
                    answer: format!(
                        "{:?}",
                        answer.map(|answer| String::from_utf8_lossy(&answer).into_owned())
                    ),
                    log: process.last_words(),
                });
            }
        }
        Ok(())
    }

    async fn answer(&self, client: &Client, side: &Side, task: Task) -> reqwest::Result<Vec<u8>> {
        let method = if task.body().is_empty() {
            reqwest::Method::GET
        } else {
            reqwest::Method::POST
        };
        let request = client
            .request(method, side.url(task))
            .bearer_auth(&self.token)
            .header("content-type", task.content_type())
            .body(task.body());
        Ok(request.send().await?.bytes().await?.to_vec())
    }
}

/// A client that believes this certificate alone, and speaks one version of HTTP.
pub(super) fn client_believing(serving: Certificate, http2: bool) -> reqwest::Result<Client> {
    let builder = Client::builder().tls_certs_only([serving]).tcp_nodelay(true);
    let builder = if http2 { builder } else { builder.http1_only() };
    builder.build()
}

/// Every plugin and where it is.
fn plugins(streamers: &[String]) -> Vec<(String, IpAddr)> {
    let addresses = (1..).map(|number| IpAddr::V4(Ipv4Addr::new(10, 77, 0, number)));
    let names = [PLUGIN, OFFENDER].map(str::to_owned);
    names
        .into_iter()
        .chain(streamers.iter().cloned())
        .zip(addresses)
        .collect()
}

/// The programs behind gateway and nginx.
fn parts(plan: &Plan<'_>, folder: &Path, plugins: &[(String, IpAddr)]) -> Result<Vec<Process>, LoadError> {
    let part = |mut command: Command, kind: &str| {
        command.args(["load-part", kind, "--folder"]).arg(folder);
        command
    };
    let here = || Command::new(plan.layout.program());
    let start = |command: &Command, name: &str| Process::start(command, &folder.join(name).with_extension("log"));
    let (offender, honest): (Vec<_>, Vec<_>) = plugins.iter().partition(|(name, _)| name == OFFENDER);
    // The one that is measured has a process of its own.
    let (measured, streamers): (Vec<_>, Vec<_>) = honest.into_iter().partition(|(name, _)| name == PLUGIN);
    let mut started = Vec::new();
    for (file, some) in [("plugin", measured), ("streamers", streamers)] {
        if !some.is_empty() {
            let names = some.iter().map(|(name, address)| format!("{name}={address}"));
            started.push(start(part(here(), "plugin").args(names), file)?);
        }
    }
    for (_, address) in offender {
        started.push(start(
            part(elsewhere(plan.layout.program()), "offender").arg(address.to_string()),
            OFFENDER,
        )?);
    }
    let addresses = ORIGIN.map(|port| SocketAddr::new(LOCALHOST, port).to_string());
    started.push(start(part(here(), "origin").args(addresses), "origin")?);
    Ok(started)
}

/// A command of the program that gets what the others leave of the CPU. An offender's pod and its callers have CPUs of their own, on which they
/// keep nobody waiting: what is felt of them is what the gateway has to do for them.
fn elsewhere(program: &Path) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(program);
    command
}

/// The gateway that the `command` starts, with these flags and on this port.
fn gateway(
    mut command: Command,
    plan: &Plan<'_>,
    folder: &Path,
    world: &World,
    (flags, port): (&str, u16),
) -> Result<(Side, Process), LoadError> {
    let address = SocketAddr::new(LOCALHOST, port);
    command
        .args(flags.split_whitespace())
        .args(["--listen", &address.to_string(), "--serving-dir"])
        .arg(folder.join("serving"))
        .arg("--client-dir")
        .arg(folder.join("client"))
        .env("KUBECONFIG", world.kubeconfig())
        .env("KITE_THREADS", plan.threads.to_string());
    let process = Process::start(&command, &folder.join(format!("gateway-{port}.log")))?;
    let side = Side {
        kind: Kind::Gateway(flags.to_owned()),
        address,
        http2: address,
    };
    Ok((side, process))
}

fn nginx_folder(folder: &Path) -> PathBuf {
    folder.join("nginx")
}

fn nginx(plan: &Plan<'_>, folder: &Path) -> Result<Process, LoadError> {
    let own = nginx_folder(folder);
    let config = nginx_config(
        &own,
        plan.threads,
        NGINX,
        ORIGIN.map(|port| SocketAddr::new(LOCALHOST, port)),
    )?;
    let mut command = plan.programs.command("nginx");
    command.arg("-p").arg(&own).arg("-c").arg(&config);
    // Until it has read where its log is, it wants to write to where Debian has it.
    command.arg("-e").arg(own.join("error.log"));
    Ok(Process::start(&command, &folder.join("nginx.log"))?)
}

fn nginx_sides() -> Vec<Side> {
    let [plain, plain_http2, front, both] = NGINX.map(|port| SocketAddr::new(LOCALHOST, port));
    [
        (Kind::Plain, plain, plain_http2),
        (Kind::Front, front, front),
        (Kind::Both, both, both),
    ]
    .map(|(kind, address, http2)| Side { kind, address, http2 })
    .into()
}

/// Whether somebody listens there.
pub(super) async fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_ok()
}
