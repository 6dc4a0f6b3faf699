//! A plugin on an address of its own, with the pod that says it is there: what kubelet and controllers would make.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Secret},
};
use kite_proto::{
    CLIENTS_CA_FILE, Definitions, DescribeRequest, DescribeResponse, PORT, PROTOCOL, Tool,
    plugin_server::{Plugin, PluginServer},
};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use prost::Message;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

use super::World;

/// Each plugin listens on the protocol's port, so each needs another address of the loopback network.
static NEXT: AtomicU8 = AtomicU8::new(1);

/// A plugin that runs until it is replaced.
pub(crate) struct Running {
    plugin: String,
    pub(crate) definitions_hash: String,
    server: JoinHandle<()>,
}

struct Answers {
    name: String,
    says: Says,
}

/// What a plugin answers when it is asked what it is.
enum Says {
    Version(String),
    /// Nothing, in other words each time.
    Nothing(AtomicU32),
}

fn definitions() -> Vec<u8> {
    let tool = Tool {
        name: String::from("hello"),
        description: String::from("Greets."),
        input_schema: br#"{"type": "object"}"#.as_slice().into(),
        ..Tool::default()
    };
    Definitions {
        tools: vec![tool],
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
        };
        Ok(Response::new(DescribeResponse {
            name: self.name.clone(),
            version,
            protocol: PROTOCOL,
            definitions: definitions().into(),
        }))
    }
}

/// Starts the plugin as the cluster would: with the Secret that the operator made, in a pod of the Deployment's template.
pub(crate) async fn start(world: &World, plugin: &str, version: &str) -> Running {
    start_pod(world, plugin, "pod", Says::Version(version.to_owned())).await
}

/// Starts one more pod of the plugin, which says that it is of this version.
pub(crate) async fn start_beside(world: &World, plugin: &str, version: &str) -> Running {
    start_pod(world, plugin, "other", Says::Version(version.to_owned())).await
}

/// Starts the plugin so that it never says what it is, in other words each time.
pub(crate) async fn start_silent(world: &World, plugin: &str) -> Running {
    start_pod(world, plugin, "pod", Says::Nothing(AtomicU32::new(0))).await
}

async fn start_pod(world: &World, plugin: &str, pod: &str, says: Says) -> Running {
    let address = Ipv4Addr::new(
        127,
        94,
        std::process::id().to_be_bytes()[3],
        NEXT.fetch_add(1, Ordering::Relaxed),
    );
    let secret: Secret = world.get(&format!("kite-plugin-{plugin}-tls")).await;
    let data = secret.data.expect("the Secret's data");
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(&data["tls.crt"].0, &data["tls.key"].0))
        .client_ca_root(Certificate::from_pem(&data[CLIENTS_CA_FILE].0));
    let answers = Answers {
        name: plugin.to_owned(),
        says,
    };
    let listener = TcpListener::bind((address, PORT)).await.expect("the plugin's port");
    let server = Server::builder()
        .tls_config(tls)
        .expect("the plugin's certificate")
        .add_service(PluginServer::new(answers))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(async move { server.await.expect("the plugin serves") });
    make_pod(world, plugin, pod, address).await;
    Running {
        plugin: plugin.to_owned(),
        definitions_hash: kite_proto::definitions_hash(&definitions()),
        server,
    }
}

impl Running {
    /// Another pod, of this version, in the place of this one.
    pub(crate) async fn replace(self, world: &World, version: &str) {
        self.server.abort();
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        world
            .plugins::<Pod>()
            .delete(&format!("{}-pod", self.plugin), &now)
            .await
            .expect("the pod is deleted");
        start(world, &self.plugin, version).await;
    }
}

async fn make_pod(world: &World, plugin: &str, pod: &str, address: Ipv4Addr) {
    let deployment: Deployment = world.get(&format!("kite-plugin-{plugin}-1")).await;
    let template = deployment.spec.expect("the Deployment's spec").template;
    let name = format!("{plugin}-{pod}");
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
    }});
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .expect("the pod's status");
    let status = json!({"status": {
        "observedGeneration": deployment.metadata.generation,
        "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
    }});
    let deployments = world.plugins::<Deployment>();
    let name = format!("kite-plugin-{plugin}-1");
    deployments
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
        .await
        .expect("the Deployment's status");
}
