//! A plugin over mutual TLS that remembers what it was asked last.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use kite_proto::{
    DescribeRequest, DescribeResponse, HttpRequest, HttpResponse, HttpResponseHead,
    plugin_server::{Plugin, PluginServer},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

/// Its answer, which is nobody else's.
pub(super) const STATUS: u16 = 299;

/// What the plugin was asked.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path_and_query: String,
}

#[derive(Clone, Default)]
struct Remembers(Arc<Mutex<Option<Seen>>>);

/// The plugin, and what the gateway needs to reach it.
pub(super) struct World {
    plugin: Remembers,
    address: SocketAddr,
    client_dir: TempDir,
}

impl World {
    pub(super) async fn start() -> Self {
        // Fails only if there is a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (servers, clients) = (authority(), authority());
        let client_dir = tempfile::tempdir().expect("a folder");
        let (certificate, key) = issued(&clients, "gateway", ExtendedKeyUsagePurpose::ClientAuth);
        for (file, text) in [("tls.crt", certificate), ("tls.key", key), ("ca.crt", servers.pem())] {
            fs::write(client_dir.path().join(file), text).expect("a file");
        }
        let name = kite_proto::server_name("hello");
        let (certificate, key) = issued(&servers, &name, ExtendedKeyUsagePurpose::ServerAuth);
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(clients.pem()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let plugin = Remembers::default();
        let mut server = Server::builder().tls_config(tls).expect("a configuration");
        let server = server.add_service(PluginServer::new(plugin.clone()));
        let connections = stream::unfold(listener, |listener| async move {
            let connection = listener.accept().await.map(|(connection, _)| connection);
            Some((connection, listener))
        });
        tokio::spawn(server.serve_with_incoming(connections));
        Self {
            plugin,
            address,
            client_dir,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The folder of the gateway's client certificate.
    pub(super) fn client_dir(&self) -> PathBuf {
        self.client_dir.path().to_owned()
    }

    pub(super) fn forget(&self) {
        self.seen();
    }

    /// What the plugin was asked since it was asked this.
    pub(super) fn seen(&self) -> Option<Seen> {
        self.plugin.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn issued(by: &CertifiedIssuer<'static, KeyPair>, name: &str, usage: ExtendedKeyUsagePurpose) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().expect("a key");
    (
        params.signed_by(&key, by).expect("a certificate").pem(),
        key.serialize_pem(),
    )
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Plugin for Remembers {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        Ok(Response::new(DescribeResponse {
            protocol: kite_proto::PROTOCOL,
            definitions: Bytes::new(),
            ..DescribeResponse::default()
        }))
    }

    async fn http(&self, request: Request<Streaming<HttpRequest>>) -> Result<Response<Answers<HttpResponse>>, Status> {
        let first = request.into_inner().message().await?;
        let Some(head) = first.and_then(|first| first.head) else {
            return Err(Status::invalid_argument("no head"));
        };
        let seen = Seen {
            method: head.method,
            path_and_query: head.path_and_query,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        let whole = HttpResponse {
            head: Some(HttpResponseHead {
                status: STATUS.into(),
                headers: Vec::new(),
            }),
            end: true,
            ..HttpResponse::default()
        };
        Ok(Response::new(stream::iter([Ok(whole)]).boxed()))
    }
}
