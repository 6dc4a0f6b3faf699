//! Every plugin in one process: whoever connects says by the name in TLS which one is meant, and is answered as that one, with its certificate.
//! It listens on all addresses, so that each pod's is one of them.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use clap::Args;
use futures::{StreamExt as _, stream};
use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kite_proto::{
    ApplySettingsRequest, ApplySettingsResponse, CERTIFICATE_FILE, CLIENTS_CA_FILE, Definitions, DescribeRequest,
    DescribeResponse, KEY_FILE, PORT, PROTOCOL, Supports, Tool,
    plugin_server::{Plugin, PluginServer},
    server_name,
};
use kube::{
    Api, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use prost::Message as _;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    server::{Acceptor, VerifierBuilderError, WebPkiClientVerifier},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::LazyConfigAcceptor;
use tonic::{Request, Response, Status, transport::Server};

use super::{
    VERSION,
    told::{self, Told},
};
use crate::{
    target::{TargetError, client_of},
    testing::PLUGINS,
};

/// All plugins of a measurement.
#[derive(Args, Clone, Debug)]
pub struct Part {
    /// With it the plugins' certificates can be read
    #[arg(long)]
    kubeconfig: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum PartError {
    #[error("failed to make a client of the API server")]
    Client(#[source] TargetError),
    #[error("failed to listen")]
    Listen(#[source] io::Error),
    #[error("failed to accept a connection")]
    Accept(#[source] io::Error),
}

/// Why a Secret is none by which a plugin can be served.
#[derive(Debug, thiserror::Error)]
enum SecretError {
    #[error("failed to find {0} in it")]
    Missing(&'static str),
    #[error("failed to read PEM")]
    Pem(#[source] pem::Error),
    #[error("failed to use the certificate")]
    Tls(#[source] rustls::Error),
    #[error("failed to use the clients' CA")]
    Verifier(#[source] VerifierBuilderError),
}

/// How each plugin is served, by its name in TLS.
type Served = HashMap<String, (String, Arc<ServerConfig>)>;

#[derive(Clone, Default)]
struct Plugins(Arc<Mutex<Served>>);

impl Plugins {
    fn lock(&self) -> MutexGuard<'_, Served> {
        // An entry is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a Secret, if it is a plugin's.
    fn learn(&self, secret: &Secret) {
        let name = secret.name_any();
        let plugin = name
            .strip_prefix("kite-plugin-")
            .and_then(|name| name.strip_suffix("-tls"));
        if let (Some(plugin), Ok(config)) = (plugin, config(secret)) {
            let entry = (plugin.to_owned(), Arc::new(config));
            self.lock().insert(server_name(plugin), entry);
        }
    }
}

impl Part {
    /// Serves until the process ends.
    pub async fn run(self) -> Result<(), PartError> {
        let plugins = Plugins::default();
        let client = client_of(&self.kubeconfig).await.map_err(PartError::Client)?;
        let learning = plugins.clone();
        tokio::spawn(async move {
            let secrets: Api<Secret> = Api::namespaced(client, PLUGINS);
            let secrets = watcher(secrets, watcher::Config::default())
                .default_backoff()
                .applied_objects();
            let mut secrets = pin!(secrets);
            while let Some(secret) = secrets.next().await {
                // A broken watch is begun again by the watcher.
                if let Ok(secret) = secret {
                    learning.learn(&secret);
                }
            }
        });
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
        let listener = TcpListener::bind(address).await.map_err(PartError::Listen)?;
        loop {
            let (stream, _) = listener.accept().await.map_err(PartError::Accept)?;
            tokio::spawn(serve(stream, plugins.clone()));
        }
    }
}

/// Serves one connection. Whoever fails to connect tries again.
async fn serve(stream: TcpStream, plugins: Plugins) {
    let Ok(dialled) = stream.local_addr() else { return };
    let Ok(begun) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else {
        return;
    };
    let name = begun.client_hello().server_name().map(str::to_owned);
    let served = name.and_then(|name| plugins.lock().get(&name).cloned());
    let Some((name, config)) = served else { return };
    let Ok(stream) = begun.into_stream(config).await else {
        return;
    };
    let incoming = stream::once(async move { Ok::<_, io::Error>(stream) });
    let pod = dialled.ip();
    let served = Server::builder().add_service(PluginServer::new(Answers { name, pod }));
    let _ = served.serve_with_incoming(incoming).await;
}

/// How the plugin is served to which this Secret belongs.
fn config(secret: &Secret) -> Result<ServerConfig, SecretError> {
    let file = |name: &'static str| {
        let data = secret.data.as_ref().and_then(|data| data.get(name));
        data.map(|bytes| bytes.0.as_slice()).ok_or(SecretError::Missing(name))
    };
    let certificates = |name| {
        let all = CertificateDer::pem_slice_iter(file(name)?);
        all.collect::<Result<Vec<_>, _>>().map_err(SecretError::Pem)
    };
    let mut clients = RootCertStore::empty();
    for certificate in certificates(CLIENTS_CA_FILE)? {
        clients.add(certificate).map_err(SecretError::Tls)?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(clients)).build();
    let key = PrivateKeyDer::from_pem_slice(file(KEY_FILE)?).map_err(SecretError::Pem)?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier.map_err(SecretError::Verifier)?)
        .with_single_cert(certificates(CERTIFICATE_FILE)?, key)
        .map_err(SecretError::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// What one pod of a plugin answers.
struct Answers {
    name: String,
    /// Its address.
    pod: IpAddr,
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
            supports: (self.name == told::PLUGIN).then(|| Supports {
                settings: true,
                ..Supports::default()
            }),
            ..Definitions::default()
        };
        Ok(Response::new(DescribeResponse {
            name: self.name.clone(),
            version: VERSION.to_owned(),
            protocol: PROTOCOL,
            definitions: definitions.encode_to_vec().into(),
        }))
    }

    async fn apply_settings(
        &self,
        request: Request<ApplySettingsRequest>,
    ) -> Result<Response<ApplySettingsResponse>, Status> {
        let at = Timestamp::now();
        let settings = serde_json::from_slice(&request.into_inner().settings);
        let told = Told {
            at,
            pod: self.pod,
            settings: settings.map_err(|error| Status::invalid_argument(error.to_string()))?,
        };
        told.note().map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(ApplySettingsResponse {
            accepted: true,
            reason: String::new(),
        }))
    }
}
