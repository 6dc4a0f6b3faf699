//! What the operator is measured in: an API server with the controllers and the scheduler that a cluster has, kwok in the place of kubelets, and
//! one process that is every plugin.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
    pin::pin,
    process::Command,
    time::Duration,
};

use futures::StreamExt as _;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Node, ServiceAccount},
    rbac::v1::ClusterRoleBinding,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    config::{AuthInfo, Kubeconfig},
    runtime::{WatchStreamExt as _, watcher},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tempfile::TempDir;

use super::FleetError;
use crate::{
    cluster::{self, Layout},
    process::Process,
    target::TargetError,
    testing::{SYSTEM, world::World},
    unshared::NETWORK,
};

/// The account by which the operator asks.
const ACCOUNT: &str = "kite-operator";
/// What the controllers run of: of all that there are, those by which a plugin's pods come to be, and go.
const CONTROLLERS: &str =
    "--controllers=deployment-controller,replicaset-controller,endpointslice-controller,garbage-collector-controller";
/// So that nobody waits for the patience of a client.
const UNBOUND: [&str; 2] = ["--kube-api-qps=2000", "--kube-api-burst=4000"];
const NODE: &str = "fleet";
/// The program that is every plugin, as its log is called.
const EVERY_PLUGIN: &str = "plugins";
/// How long the node may take to be ready.
const START: Duration = Duration::from_mins(2);

/// Everything, running.
pub(super) struct Scene {
    // What runs ends before its files and its API server go.
    programs: Vec<Process>,
    world: World,
    kubeconfig: PathBuf,
    folder: TempDir,
}

impl Scene {
    pub(super) async fn start(layout: &Layout) -> Result<Self, FleetError> {
        let cache = layout.cache();
        let folder = tempfile::tempdir_in(cache).map_err(|source| FleetError::Write {
            path: cache.to_owned(),
            source,
        })?;
        let world = World::start().await;
        let programs = programs(layout, &world, folder.path())?;
        let kubeconfig = account(&world, folder.path()).await?;
        let scene = Self {
            programs,
            world,
            kubeconfig,
            folder,
        };
        scene.node().await?;
        Ok(scene)
    }

    /// A folder for logs.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the plugins have written, notes of what they were told among it.
    pub(super) fn said_by_plugins(&self) -> Result<String, FleetError> {
        let path = log(self.folder(), EVERY_PLUGIN);
        fs::read_to_string(&path).map_err(|source| FleetError::Read { path, source })
    }

    /// The operator's kubeconfig.
    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client that is the administrator.
    pub(super) fn admin(&self) -> Client {
        self.world.admin.clone()
    }

    /// All files of the API server's log.
    pub(super) fn audit_logs(&self) -> Result<Vec<PathBuf>, FleetError> {
        let newest = self.world.audit_log();
        let folder = newest.parent().unwrap_or(&newest);
        let stem = newest.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let paths = entries
            .map_err(FleetError::Audit)?
            .into_iter()
            .map(|entry| entry.path());
        let is_of_it = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&stem) && name.ends_with(".log")
        };
        Ok(paths.filter(is_of_it).collect())
    }

    /// What the API server calls the operator.
    pub(super) fn user() -> String {
        format!("system:serviceaccount:{SYSTEM}:{ACCOUNT}")
    }

    /// The one node, on which there is room for every pod.
    async fn node(&self) -> Result<(), FleetError> {
        let nodes: Api<Node> = Api::all(self.admin());
        let node = json!({"metadata": {
            "name": NODE, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"kubernetes.io/os": "linux"},
        }});
        self.world.apply(&nodes, node).await;
        // A node that is new has one, until a controller sees that it is ready. That one would also take it for dead as soon as a busy machine
        // keeps kwok from telling of it in time.
        let untainted = Patch::Merge(json!({"spec": {"taints": null}}));
        nodes.patch(NODE, &PatchParams::default(), &untainted).await?;
        let is_usable = |node: &Node| {
            let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.any(|it| it.type_ == "Ready" && it.status == "True")
        };
        let nodes = (nodes, watcher::Config::default());
        self.some("the node is ready", nodes, 1, is_usable, START).await
    }

    /// Waits until this holds of so many of the objects that are watched.
    pub(super) async fn some<K>(
        &self,
        what: &str,
        (api, of_it): (Api<K>, watcher::Config),
        count: usize,
        holds: impl Fn(&K) -> bool,
        limit: Duration,
    ) -> Result<(), FleetError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let mut good = BTreeSet::new();
        let watched = async {
            let changes = watcher(api, of_it).default_backoff().applied_objects();
            let mut changes = pin!(changes);
            while good.len() < count {
                // A broken watch is begun again by the watcher.
                let Some(Ok(object)) = changes.next().await else {
                    continue;
                };
                if holds(&object) {
                    good.insert(object.name_any());
                } else {
                    good.remove(&object.name_any());
                }
            }
        };
        let in_time = tokio::time::timeout(limit, watched).await.is_ok();
        in_time.then_some(()).ok_or_else(|| FleetError::TooLate {
            what: format!("{what}: {} of {count} were", good.len()),
            limit,
            log: self.last_words(),
        })
    }

    fn last_words(&self) -> String {
        let logs: Vec<String> = self.programs.iter().map(Process::last_words).collect();
        logs.join("\n--\n")
    }
}

/// Starts what a cluster has beside its API server.
fn programs(layout: &Layout, world: &World, folder: &Path) -> Result<Vec<Process>, FleetError> {
    let kube = cluster::tools(layout)?.kube;
    let kubeconfig = world.kubeconfig();
    let of_kube = |name: &str| {
        let mut command = Command::new(&kube);
        command.arg(name).arg("--kubeconfig").arg(kubeconfig).args(UNBOUND);
        command.args(["--leader-elect=false", "--secure-port=0"]);
        command
    };
    let mut controllers = of_kube("kube-controller-manager");
    controllers
        .arg(CONTROLLERS)
        .args(["--concurrent-deployment-syncs=20", "--concurrent-replicaset-syncs=20"]);
    let mut kwok = Command::new(cluster::kwok(layout)?);
    kwok.arg("--kubeconfig").arg(kubeconfig);
    kwok.args(["--manage-all-nodes=true", "--cidr", NETWORK]);
    // It looks for a configuration in the home folder.
    kwok.env("HOME", folder);
    let mut plugins = Command::new(layout.program());
    plugins.args(["fleet-part", "--kubeconfig"]).arg(kubeconfig);
    let all = [
        ("controllers", controllers),
        ("scheduler", of_kube("kube-scheduler")),
        ("kwok", kwok),
        (EVERY_PLUGIN, plugins),
    ];
    let started = all
        .iter()
        .map(|(name, command)| Process::start(command, &log(folder, name)));
    Ok(started.collect::<Result<_, _>>()?)
}

/// Where a program's log is.
fn log(folder: &Path, name: &str) -> PathBuf {
    folder.join(name).with_extension("log")
}

/// Makes the operator's account, which may do everything, and gives its kubeconfig.
async fn account(world: &World, folder: &Path) -> Result<PathBuf, FleetError> {
    let accounts: Api<ServiceAccount> = Api::namespaced(world.admin.clone(), SYSTEM);
    world.apply(&accounts, json!({"metadata": {"name": ACCOUNT}})).await;
    let binding = json!({
        "metadata": {"name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    });
    world
        .apply::<ClusterRoleBinding>(&Api::all(world.admin.clone()), binding)
        .await;
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(86_400),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let request = accounts
        .create_token_request(ACCOUNT, &PostParams::default(), &request)
        .await?;
    let token = request.status.map(|status| status.token).unwrap_or_default();
    let admins = world.kubeconfig();
    let mut kubeconfig = Kubeconfig::read_from(admins).map_err(|source| {
        FleetError::Client(TargetError::Kubeconfig {
            path: admins.to_owned(),
            source,
        })
    })?;
    for named in &mut kubeconfig.auth_infos {
        named.auth_info = Some(AuthInfo {
            token: Some(token.clone().into()),
            ..AuthInfo::default()
        });
    }
    let text = serde_json::to_string(&kubeconfig).map_err(FleetError::Json)?;
    let path = folder.join("kubeconfig");
    fs::write(&path, text).map_err(|source| FleetError::Write {
        path: path.clone(),
        source,
    })?;
    Ok(path)
}
