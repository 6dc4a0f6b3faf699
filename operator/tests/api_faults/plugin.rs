//! A plugin as the operator meets it: it says what it is, takes what it is told, and proves who it is by what the operator gave it.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU16, Ordering},
};

use k8s_openapi::api::core::v1::Secret;
use kite_proto::{
    ApplySettingsRequest, ApplySettingsResponse, CLIENTS_CA_FILE, Definitions, DescribeRequest, DescribeResponse,
    OnClusterEventRequest, OnClusterEventResponse, PORT, PROTOCOL, ShutdownRequest, ShutdownResponse, Tool,
    plugin_server::{Plugin, PluginServer},
};
use prost::Message;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

/// Each plugin listens on the protocol's port, so each needs another address of the loopback network.
static NEXT: AtomicU16 = AtomicU16::new(1);

struct Answers {
    name: String,
    version: String,
}

/// A plugin that runs until this is dropped.
pub(crate) struct Running {
    pub(crate) address: Ipv4Addr,
    server: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tonic::async_trait]
impl Plugin for Answers {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        let tool = Tool {
            name: String::from("hello"),
            description: String::from("Greets."),
            input_schema: br#"{"type": "object"}"#.as_slice().into(),
            ..Tool::default()
        };
        let definitions = Definitions {
            tools: vec![tool],
            ..Definitions::default()
        };
        Ok(Response::new(DescribeResponse {
            name: self.name.clone(),
            version: self.version.clone(),
            protocol: PROTOCOL,
            definitions: definitions.encode_to_vec().into(),
        }))
    }

    async fn apply_settings(
        &self,
        _: Request<ApplySettingsRequest>,
    ) -> Result<Response<ApplySettingsResponse>, Status> {
        Ok(Response::new(ApplySettingsResponse::default()))
    }

    async fn on_cluster_event(
        &self,
        _: Request<OnClusterEventRequest>,
    ) -> Result<Response<OnClusterEventResponse>, Status> {
        Ok(Response::new(OnClusterEventResponse::default()))
    }

    async fn shutdown(&self, _: Request<ShutdownRequest>) -> Result<Response<ShutdownResponse>, Status> {
        Ok(Response::new(ShutdownResponse::default()))
    }
}

/// Starts one with the certificate in `secret`. `None`: there is no such certificate.
pub(crate) async fn start(name: &str, version: &str, secret: &Secret) -> Option<Running> {
    let data = secret.data.as_ref()?;
    let file = |name: &str| data.get(name).map(|bytes| bytes.0.as_slice());
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(file("tls.crt")?, file("tls.key")?))
        .client_ca_root(Certificate::from_pem(file(CLIENTS_CA_FILE)?));
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let [.., own] = std::process::id().to_be_bytes();
    // Other processes may do the same, at the same time.
    let address = Ipv4Addr::new(127, 128 + own % 100, high, low);
    let listener = TcpListener::bind((address, PORT)).await.expect("the plugin's port");
    let answers = Answers {
        name: name.to_owned(),
        version: version.to_owned(),
    };
    let server = Server::builder()
        .tls_config(tls)
        .expect("the plugin's certificate")
        .add_service(PluginServer::new(answers))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(async move { server.await.expect("the plugin serves") });
    Some(Running { address, server })
}
