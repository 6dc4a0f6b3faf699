//! A plugin on an address of its own, with the pod that says it is there: what kubelet and controllers would make.

use std::{
    future::pending,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Secret},
};
use kite_proto::{
    ApplySettingsRequest, ApplySettingsResponse, CLIENTS_CA_FILE, Definitions, DescribeRequest, DescribeResponse,
    OnClusterEventRequest, OnClusterEventResponse, PORT, PROTOCOL, ShutdownRequest, ShutdownResponse, Supports, Tool,
    plugin_server::{Plugin, PluginServer},
};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use prost::Message;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

use super::{LIMIT, World};

/// Each plugin listens on the protocol's port, so each needs another address of the loopback network.
static NEXT: AtomicU8 = AtomicU8::new(1);

/// Of the image that its pods run.
pub(crate) const DIGEST: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000aa";

/// What a plugin notes that is asked what it is and never says.
pub(crate) const ASKED: &str = "asked";

/// The tool that they offer.
const TOOL: &str = "hello";

/// A plugin that runs until it is replaced.
pub(crate) struct Running {
    plugin: String,
    pod: Pod,
    pub(crate) definitions_hash: String,
    tool: Arc<Mutex<&'static str>>,
    is_stuck: Arc<AtomicBool>,
    server: JoinHandle<()>,
}

struct Answers {
    name: String,
    says: Says,
    tool: Arc<Mutex<&'static str>>,
    heard: Option<Heard>,
    /// Whether it never answers when it is told that it is about to be stopped.
    clings: bool,
    /// Whether it never answers when it is told anything else.
    is_stuck: Arc<AtomicBool>,
}

/// What a pod was told, in its order.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn note(&self, line: String) {
        self.0.lock().expect("nobody panicked").push(line);
    }

    /// The settings that it was told, or all else.
    pub(crate) fn lines(&self, settings: bool) -> Vec<String> {
        let lines = self.0.lock().expect("nobody panicked");
        let of_kind = lines.iter().filter(|line| line.starts_with('{') == settings);
        of_kind.cloned().collect()
    }

    /// How often it was told this.
    pub(crate) fn times(&self, line: &str) -> usize {
        let lines = self.0.lock().expect("nobody panicked");
        lines.iter().filter(|it| *it == line).count()
    }

    /// Waits until it was told this so often at least.
    pub(crate) async fn reaches(&self, line: &str, times: usize) {
        let began = Instant::now();
        let mut turns = tokio::time::interval(Duration::from_millis(20));
        while self.times(line) < times {
            turns.tick().await;
            assert!(began.elapsed() < LIMIT, "{line}: {:#?}", self.0);
        }
    }

    /// Waits until it was told this so often, and nothing of its kind since, and gives how long that took.
    pub(crate) async fn ends_with(&self, line: &str, times: usize) -> Duration {
        let began = Instant::now();
        let mut turns = tokio::time::interval(Duration::from_millis(20));
        let is_so = || {
            let lines = self.lines(line.starts_with('{'));
            self.times(line) == times && lines.last().is_some_and(|last| last == line)
        };
        while !is_so() {
            turns.tick().await;
            assert!(began.elapsed() < LIMIT, "{line}: {:#?}", self.0);
        }
        began.elapsed()
    }
}

/// What a plugin answers when it is asked what it is.
enum Says {
    Version(String),
    /// Nothing, in other words each time.
    Nothing(AtomicU32),
    /// Nothing at all, ever. It only notes that it was asked.
    Mute(Heard),
}

fn definitions(tool: &str, hears: bool) -> Vec<u8> {
    let tool = Tool {
        name: tool.to_owned(),
        description: String::from("Greets."),
        input_schema: br#"{"type": "object"}"#.as_slice().into(),
        ..Tool::default()
    };
    Definitions {
        tools: vec![tool],
        supports: hears.then(|| Supports {
            settings: true,
            cluster_events: true,
            shutdown: true,
            ..Supports::default()
        }),
        ..Definitions::default()
    }
    .encode_to_vec()
}

#[tonic::async_trait]
impl Plugin for Answers {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        let version = match &self.says {
            Says::Version(version) => version.clone(),
            Says::Nothing(times) => {
                let time = times.fetch_add(1, Ordering::Relaxed) + 1;
                return Err(Status::unavailable(format!("refusal {time}")));
            }
            Says::Mute(heard) => {
                heard.note(String::from(ASKED));
                pending().await
            }
        };
        Ok(Response::new(DescribeResponse {
            name: self.name.clone(),
            version,
            protocol: PROTOCOL,
            definitions: definitions(*self.tool.lock().expect("nobody panicked"), self.heard.is_some()).into(),
        }))
    }

    async fn apply_settings(
        &self,
        request: Request<ApplySettingsRequest>,
    ) -> Result<Response<ApplySettingsResponse>, Status> {
        let settings = String::from_utf8(request.into_inner().settings.to_vec()).expect("UTF-8");
        let accepted = !settings.contains("refuse");
        self.take(settings).await?;
        let reason = String::from(if accepted { "" } else { "it is too much" });
        Ok(Response::new(ApplySettingsResponse { accepted, reason }))
    }

    async fn on_cluster_event(
        &self,
        request: Request<OnClusterEventRequest>,
    ) -> Result<Response<OnClusterEventResponse>, Status> {
        let event = request.into_inner();
        self.take(format!("{:?} {}", event.kind(), event.cluster)).await?;
        Ok(Response::new(OnClusterEventResponse {}))
    }

    async fn shutdown(&self, _: Request<ShutdownRequest>) -> Result<Response<ShutdownResponse>, Status> {
        self.hear()?.note(String::from("stop"));
        if self.clings {
            pending::<()>().await;
        }
        Ok(Response::new(ShutdownResponse {}))
    }
}

impl Answers {
    fn hear(&self) -> Result<&Heard, Status> {
        self.heard
            .as_ref()
            .ok_or_else(|| Status::unimplemented("it is told nothing"))
    }

    /// Notes what it was told, and returns unless it was stuck by then.
    async fn take(&self, line: String) -> Result<(), Status> {
        let is_stuck = self.is_stuck.load(Ordering::SeqCst);
        self.hear()?.note(line);
        if is_stuck {
            pending::<()>().await;
        }
        Ok(())
    }
}

/// Starts the plugin as the cluster would: with the Secret that the operator made, in a pod of the Deployment's template.
pub(crate) async fn start(world: &World, plugin: &str, version: &str) -> Running {
    start_revision(world, plugin, 1, version).await
}

/// Starts a revision of the plugin.
pub(crate) async fn start_revision(world: &World, plugin: &str, number: i64, version: &str) -> Running {
    let start = Start {
        number,
        ..Start::of(plugin, version)
    };
    start.run(world, plugin).await
}

/// Starts one more pod of the plugin, which says that it is of this version, and offers this tool.
pub(crate) async fn start_beside(world: &World, plugin: &str, version: &str, tool: &'static str) -> Running {
    let start = Start {
        pod: "other",
        tool,
        ..Start::of(plugin, version)
    };
    start.run(world, plugin).await
}

/// Starts the plugin with the certificate of another.
pub(crate) async fn start_with_keys_of(world: &World, plugin: &str, other: &str) -> Running {
    Start::of(other, "0.1.0").run(world, plugin).await
}

/// Starts a pod of the plugin, called so, which can be told everything.
pub(crate) async fn start_hearing(world: &World, plugin: &str, pod: &str) -> (Running, Heard) {
    let start = Start {
        pod,
        ..Start::of(plugin, "0.1.0")
    };
    start.hearing(world, plugin).await
}

/// Starts a revision of the plugin, which can be told everything.
pub(crate) async fn start_revision_hearing(world: &World, plugin: &str, number: i64, version: &str) -> Heard {
    let start = Start {
        number,
        ..Start::of(plugin, version)
    };
    start.hearing(world, plugin).await.1
}

/// Starts the plugin so that it never answers when it is told that it is about to be stopped.
pub(crate) async fn start_clinging(world: &World, plugin: &str) -> Heard {
    let start = Start {
        clings: true,
        ..Start::of(plugin, "0.1.0")
    };
    start.hearing(world, plugin).await.1
}

/// Starts the plugin so that it never says what it is, in other words each time.
pub(crate) async fn start_silent(world: &World, plugin: &str) -> Running {
    let start = Start {
        says: Says::Nothing(AtomicU32::new(0)),
        ..Start::of(plugin, "")
    };
    start.run(world, plugin).await
}

/// Starts the plugin so that it is asked what it is and never answers.
pub(crate) async fn start_mute(world: &World, plugin: &str) -> Heard {
    let heard = Heard::default();
    let start = Start {
        says: Says::Mute(heard.clone()),
        ..Start::of(plugin, "")
    };
    start.run(world, plugin).await;
    heard
}

/// How a pod is started.
struct Start<'a> {
    /// The plugin with whose certificate it serves.
    owner: &'a str,
    number: i64,
    /// The end of its name.
    pod: &'a str,
    says: Says,
    tool: &'static str,
    clings: bool,
    heard: Option<Heard>,
}

impl<'a> Start<'a> {
    /// As that of a plugin's first revision that is told nothing.
    fn of(owner: &'a str, version: &str) -> Self {
        Self {
            owner,
            number: 1,
            pod: "pod",
            says: Says::Version(version.to_owned()),
            tool: TOOL,
            clings: false,
            heard: None,
        }
    }

    /// Starts it as a pod of `plugin` that can be told everything, and gives what it is told.
    async fn hearing(self, world: &World, plugin: &str) -> (Running, Heard) {
        let heard = Heard::default();
        let start = Self {
            heard: Some(heard.clone()),
            ..self
        };
        (start.run(world, plugin).await, heard)
    }

    /// Starts it as a pod of `plugin`.
    async fn run(self, world: &World, plugin: &str) -> Running {
        let address = Ipv4Addr::new(
            127,
            94,
            std::process::id().to_be_bytes()[3],
            NEXT.fetch_add(1, Ordering::Relaxed),
        );
        let secret: Secret = world.get(&format!("kite-plugin-{}-tls", self.owner)).await;
        let data = secret.data.expect("the Secret's data");
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(&data["tls.crt"].0, &data["tls.key"].0))
            .client_ca_root(Certificate::from_pem(&data[CLIENTS_CA_FILE].0));
        let definitions = definitions(self.tool, self.heard.is_some());
        let tool = Arc::new(Mutex::new(self.tool));
        let is_stuck = Arc::new(AtomicBool::new(false));
        let answers = Answers {
            name: plugin.to_owned(),
            says: self.says,
            tool: Arc::clone(&tool),
            heard: self.heard,
            clings: self.clings,
            is_stuck: Arc::clone(&is_stuck),
        };
        let listener = TcpListener::bind((address, PORT)).await.expect("the plugin's port");
        let server = Server::builder()
            .tls_config(tls)
            .expect("the plugin's certificate")
            .add_service(PluginServer::new(answers))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { server.await.expect("the plugin serves") });
        let pod = make_pod(world, plugin, self.number, self.pod, address).await;
        Running {
            plugin: plugin.to_owned(),
            pod,
            definitions_hash: kite_proto::definitions_hash(&definitions),
            tool,
            is_stuck,
            server,
        }
    }
}

impl Running {
    /// Offers this tool, and no other, from now on: nobody hears of it before its process is started again.
    pub(crate) fn offers(&self, tool: &'static str) {
        *self.tool.lock().expect("nobody panicked") = tool;
    }

    /// From now on it notes settings and what happens to clusters, and never answers.
    pub(crate) fn sticks(&self) {
        self.is_stuck.store(true, Ordering::SeqCst);
    }

    /// The name of its pod.
    pub(crate) fn pod(&self) -> String {
        self.pod.name_any()
    }

    /// Says that its process was started again, so many times by now.
    pub(crate) async fn restarted(&self, world: &World, times: i32) {
        let container = json!({
            "name": "plugin", "image": "hello", "imageID": format!("registry.invalid/hello@{DIGEST}"),
            "ready": true, "restartCount": times,
        });
        let status = json!({"status": {"containerStatuses": [container]}});
        let pods = world.plugins::<Pod>();
        pods.patch_status(&self.pod.name_any(), &PatchParams::default(), &Patch::Merge(status))
            .await
            .expect("the pod's status");
    }

    /// Another pod, of this version, in the place of this one.
    pub(crate) async fn replace(self, world: &World, version: &str) {
        self.server.abort();
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        world
            .plugins::<Pod>()
            .delete(&self.pod.name_any(), &now)
            .await
            .expect("the pod is deleted");
        start(world, &self.plugin, version).await;
    }
}

async fn make_pod(world: &World, plugin: &str, number: i64, pod: &str, address: Ipv4Addr) -> Pod {
    let deployment: Deployment = world.get(&format!("kite-plugin-{plugin}-{number}")).await;
    let template = deployment.spec.expect("the Deployment's spec").template;
    let name = format!("{plugin}-{number}-{pod}");
    let mut pod = Pod {
        metadata: template.metadata.unwrap_or_default(),
        spec: template.spec,
        status: None,
    };
    pod.metadata.name = Some(name.clone());
    let pods = world.plugins::<Pod>();
    pods.create(&PostParams::default(), &pod).await.expect("the pod");
    let status = json!({"status": {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{
            "name": "plugin", "image": "hello", "imageID": format!("registry.invalid/hello@{DIGEST}"),
            "ready": true, "restartCount": 0,
        }],
    }});
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .expect("the pod's status");
    let status = json!({"status": {
        "observedGeneration": deployment.metadata.generation,
        "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
    }});
    let deployments = world.plugins::<Deployment>();
    let name = format!("kite-plugin-{plugin}-{number}");
    deployments
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .expect("the Deployment's status");
    pod
}
