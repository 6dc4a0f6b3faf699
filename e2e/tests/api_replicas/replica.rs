//! A process of the operator, beside an API server of the test's own.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use k8s_openapi::api::coordination::v1::Lease;
use kite_e2e::{
    deploy::binary,
    testing::{PLUGINS, SYSTEM, eventually, world::World},
};
use kube::{Api, config::Kubeconfig};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Three times what a replica may take to act in the place of one that was killed.
pub(crate) const TAKEOVER: Duration = Duration::from_mins(1);

/// It is killed when this is dropped.
pub(crate) struct Replica {
    pub(crate) name: &'static str,
    health: SocketAddr,
    log: PathBuf,
    process: Child,
}

impl Replica {
    /// Starts a replica that reaches the API server at `server`, where it is the user `operator-<name>`.
    pub(crate) fn start(world: &World, folder: &Path, name: &'static str, server: SocketAddr) -> Self {
        let mut kubeconfig = Kubeconfig::read_from(world.kubeconfig()).unwrap();
        for cluster in &mut kubeconfig.clusters {
            cluster.cluster.as_mut().unwrap().server = Some(format!("https://{server}"));
        }
        for user in &mut kubeconfig.auth_infos {
            let user = user.auth_info.as_mut().unwrap();
            user.impersonate = Some(format!("operator-{name}"));
            user.impersonate_groups = Some(vec![String::from("system:masters")]);
        }
        let path = folder.join(format!("{name}.kubeconfig"));
        fs::write(&path, serde_json::to_string(&kubeconfig).unwrap()).unwrap();
        let health = own_address();
        let log = folder.join(format!("{name}.log"));
        // The kernel ends it with the test, however that ends.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(binary("kite-operator").unwrap())
            .arg(format!("--system-namespace={SYSTEM}"))
            .arg(format!("--plugins-namespace={PLUGINS}"))
            .arg(format!("--listen={health}"))
            .arg(format!("--replica-name={name}"))
            .arg("--watch-seconds=5")
            .env("KUBECONFIG", path)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        Self {
            name,
            health,
            log,
            process,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).unwrap();
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// What it answers under `path`.
    async fn ask(&self, path: &str) -> Result<(bool, String), String> {
        let answer = reqwest::get(format!("http://{}{path}", self.health)).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let is_well = answer.status().is_success();
        Ok((is_well, answer.text().await.map_err(|error| error.to_string())?))
    }

    /// Waits until it says that it is ready, as one that leads or one that waits to.
    pub(crate) async fn is_ready(&self, leads: bool) {
        let role = if leads { "holds it" } else { "waits for it" };
        eventually(
            &format!("{} is ready and {role}", self.name),
            TAKEOVER,
            async || match self.ask("/readyz").await? {
                (true, text) if text.contains(role) => Ok(()),
                (_, text) => Err(format!("{text}{}", self.log())),
            },
        )
        .await;
    }

    /// The number that it tells by this name.
    pub(crate) async fn figure(&self, name: &str) -> f64 {
        let (_, page) = self.ask("/metrics").await.unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {page}"))
            .trim()
            .parse()
            .unwrap()
    }

    /// Waits until it has ended, and returns whether it did so by itself and well.
    pub(crate) async fn ends_well(&mut self) -> bool {
        let what = format!("{} ends", self.name);
        let status = eventually(&what, TAKEOVER, async || {
            self.process.try_wait().unwrap().ok_or_else(|| String::from("it runs"))
        });
        status.await.success()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until `replica` holds the Lease.
pub(crate) async fn leads(world: &World, replica: &Replica, limit: Duration) {
    let leases: Api<Lease> = Api::namespaced(world.admin.clone(), SYSTEM);
    eventually(&format!("{} holds the Lease", replica.name), limit, async || {
        let lease = leases.get("kite-operator").await.map_err(|error| error.to_string())?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        if holder.starts_with(&format!("{}_", replica.name)) {
            Ok(())
        } else {
            Err(holder)
        }
    })
    .await;
}

/// An address of the loopback network that no other process of these tests has, so that nobody takes its port meanwhile.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    assert_ne!(number, 0, "too many replicas");
    SocketAddr::from(([127, 64 + high % 16, low, number], 8080))
}
