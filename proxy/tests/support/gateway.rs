//! A gateway in front of plugins in this process, for a caller who may do almost everything.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use kite_api::{Phase, PluginName, RequestLimits, ToolName};
use kite_gateway::{
    BoxError,
    account::Recorder,
    base_path::BasePath,
    directory::{DefinitionsHash, Directory, Entry, Guards, Revision, Table},
    pipeline::{
        Gateway, RequestBody,
        arrival::Entrance,
        authenticate::{AuthenticateError, Authenticator, BearerToken, Caller, Remembered},
        authorize::{Access, AuthorizeError, Authorizer},
        cluster::ClusterName,
        forward::Limits,
    },
    upstream::{Times, Upstream},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::Value;
use tempfile::TempDir;

use super::{rogue::TOOLS, sessions::sessions};

/// The two CAs, and a folder with the gateway's client certificate.
pub(crate) struct Certificates {
    servers: CertifiedIssuer<'static, KeyPair>,
    clients: CertifiedIssuer<'static, KeyPair>,
    pub(crate) client_dir: TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let (servers, clients) = (ca(), ca());
        let client_dir = tempfile::tempdir().unwrap();
        let (certificate, key) = issued(&clients, "gateway", ExtendedKeyUsagePurpose::ClientAuth);
        for (file, text) in [("tls.crt", certificate), ("tls.key", key), ("ca.crt", servers.pem())] {
            std::fs::write(client_dir.path().join(file), text).unwrap();
        }
        Self {
            servers,
            clients,
            client_dir,
        }
    }

    /// Gives the gateway another client certificate.
    pub(crate) fn renew(&self) {
        let (certificate, key) = issued(&self.clients, "gateway", ExtendedKeyUsagePurpose::ClientAuth);
        for (file, text) in [("tls.crt", certificate), ("tls.key", key)] {
            std::fs::write(self.client_dir.path().join(file), text).unwrap();
        }
    }

    /// Certificate and key of the plugin called `name`.
    pub(crate) fn of_plugin(&self, name: &str) -> (String, String) {
        issued(
            &self.servers,
            &kite_proto::server_name(name),
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// The end of TLS of the plugin called `name`, who takes every client.
    pub(crate) fn server(&self, name: &str) -> Arc<ServerConfig> {
        let (certificate, key) = self.of_plugin(name);
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let mut config = builder
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    pub(crate) fn clients_ca(&self) -> String {
        self.clients.pem()
    }
}

fn ca() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issued(ca: &CertifiedIssuer<'static, KeyPair>, name: &str, usage: ExtendedKeyUsagePurpose) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, ca).unwrap().pem(), key.serialize_pem())
}

/// The tokens of jane. Of the second nothing may be found anywhere.
const TOKENS: [&str; 2] = ["jane", "s3cret"];

/// Whether it is one of these, or one that says when it ends.
fn is_hers(token: &BearerToken) -> bool {
    TOKENS.contains(&token.secret()) || token.secret().starts_with("e30.")
}

/// Nobody but jane is known, and jane may do everything but see Secrets.
#[derive(Clone)]
pub(crate) struct Jane;

impl Authenticator for Jane {
    async fn authenticate(&self, token: &BearerToken) -> Result<Option<Arc<Caller>>, AuthenticateError> {
        if !is_hers(token) {
            return Ok(None);
        }
        Ok(Some(Arc::new(Caller::new(
            "jane".to_owned(),
            "u-1".to_owned(),
            vec!["dev".to_owned(), "ops".to_owned()],
            [("scopes".to_owned(), vec!["a".to_owned(), "b".to_owned()])].into(),
        ))))
    }

    async fn remembered(&self, token: &BearerToken) -> Remembered {
        if is_hers(token) {
            Remembered::Accepted
        } else {
            Remembered::Nothing
        }
    }
}

impl Authorizer for Jane {
    async fn allows(&self, _: &Caller, access: Access<'_>) -> Result<bool, AuthorizeError> {
        Ok(!matches!(access, Access::Cluster(right) if right.resource == "secrets"))
    }
}

/// A table that a test can replace.
#[derive(Clone)]
pub(crate) struct Swapped(pub(crate) Arc<ArcSwap<Table>>);

impl Directory for Swapped {
    fn table(&self) -> Option<Arc<Table>> {
        Some(self.0.load_full())
    }
}

/// One plugin at `endpoints`, recorded with `definitions`.
pub(crate) fn table(name: &str, endpoints: &[SocketAddr], definitions: &[u8]) -> Table {
    let entry = Entry {
        version: "1.0.0".to_owned(),
        description: String::new(),
        enabled: true,
        phase: Phase::Loaded,
        trouble: None,
        active: Some(Revision {
            number: 7,
            hash: DefinitionsHash::of(definitions),
            endpoints: endpoints.to_vec(),
            guards: Guards::default(),
            until: None,
        }),
        draining: Vec::new(),
        tools: TOOLS
            .iter()
            .map(|tool| ToolName::parse(tool).unwrap())
            .collect::<BTreeSet<_>>(),
        limits: RequestLimits::default(),
    };
    Table::from([(PluginName::parse(name).unwrap(), entry)])
}

pub(crate) type Ready = Arc<Gateway<Jane, Jane, Swapped>>;

/// A gateway that knows `table`, and may ask by `Exchange`.
pub(crate) fn gateway(
    certificates: &Certificates,
    mut table: Table,
    limits: Limits,
    exchange: Option<Times>,
    recorder: &Arc<Recorder>,
) -> (Ready, Swapped) {
    for entry in table.values_mut() {
        (entry.limits.timeout, entry.limits.body_bytes) = (limits.plugin, limits.body);
    }
    let directory = Swapped(Arc::new(ArcSwap::from_pointee(table)));
    let gateway = Gateway {
        authenticator: Jane,
        authorizer: Jane,
        directory: directory.clone(),
        entrance: Arc::new(Entrance {
            sessions: Some(sessions()),
            ..Entrance::default()
        }),
        upstream: Arc::new(Upstream::new(certificates.client_dir.path().to_owned()).with_exchange(exchange)),
        upstreams: Arc::default(),
        body_timeout: limits.caller,
        home_cluster: ClusterName::parse("home").unwrap(),
        ending: Arc::new(AtomicBool::new(false)),
        recorder: Arc::clone(recorder),
        base: BasePath::default(),
    };
    (Arc::new(gateway), directory)
}

/// A request of jane's.
pub(crate) fn request(method: Method, target: &str, body: impl Into<Bytes>) -> Request<RequestBody> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    stream_request(method, target, body)
}

/// A request of jane's with a body that comes in pieces.
pub(crate) fn stream_request(method: Method, target: &str, body: RequestBody) -> Request<RequestBody> {
    let uri = format!("https://dashboard.example/api/v1/plugins/{target}");
    Request::builder()
        .method(method)
        .uri(uri)
        .header("authorization", "Bearer jane")
        .body(body)
        .unwrap()
}

/// Status, fields and body of a whole answer.
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Whole {
    pub(crate) async fn of<B>(response: Response<B>) -> Result<Self, BoxError>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
    {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(Into::into)?;
        let trailers = body.trailers().cloned();
        Ok(Self {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
            trailers,
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
