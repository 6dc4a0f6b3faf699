//! A gateway in front of a plugin in this process, over real mutual TLS, with as much around it as is asked for.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark without its plugin has no figures"
)]

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use kite_api::{KitePluginSpec, Phase, PluginName, RequestLimits, RevisionSpec};
use kite_conformance::{Authorities, Certified};
use kite_gateway::{
    access_log::AccessLog,
    account::{Recorded, Recorder},
    audit::{Lines, Trail},
    base_path::BasePath,
    directory::{DefinitionsHash, Directory, Entry, Guards, Revision, Table},
    pipeline::{
        Gateway,
        authenticate::{AuthenticateError, Authenticator, BearerToken, Caller},
        authorize::{Access, AuthorizeError, Authorizer},
        cluster::ClusterName,
    },
    recent::{Lifetimes, RecentDecisions, RecentIdentities},
    upstream::Upstream,
};
use kite_plugin_sdk::{
    Certificates, Config, Plugin,
    axum::{Router, routing::get},
    serve_with,
};
use kite_proto::{DescribeRequest, plugin_client::PluginClient};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

/// The plugin that answers.
const ANSWERS: &str = "small";
/// A plugin that is like it, but has no pod: a request to it goes through every step of the gateway and to nobody.
const NOWHERE: &str = "nowhere";
/// As many as an object may have.
const ROUTES: usize = 64;
const LONG: Duration = Duration::from_mins(10);

struct Small;

impl Plugin for Small {
    fn manifest(&self) -> &'static str {
        "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: small}, spec: {version: 0.1.0, image: small}}"
    }

    fn routes(&self) -> Router {
        Router::new().route("/{route}/{namespace}", get(async || "a".repeat(100)))
    }
}

/// Whose name the token is.
pub(crate) struct Names;

impl Authenticator for Names {
    async fn authenticate(&self, token: &BearerToken) -> Result<Option<Arc<Caller>>, AuthenticateError> {
        let groups = vec!["system:authenticated".to_owned()];
        let caller = Caller::new(token.secret().to_owned(), String::new(), groups, [].into());
        Ok(Some(Arc::new(caller)))
    }
}

/// Everybody may do everything.
pub(crate) struct Anything;

impl Authorizer for Anything {
    async fn allows(&self, _: &Caller, _: Access<'_>) -> Result<bool, AuthorizeError> {
        Ok(true)
    }
}

pub(crate) struct Fixed(Arc<Table>);

impl Directory for Fixed {
    fn table(&self) -> Option<Arc<Table>> {
        Some(Arc::clone(&self.0))
    }
}

/// How much there is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) plugins: usize,
    /// Of all plugins together.
    pub(crate) routes: usize,
}

/// The plugin, for as long as the process runs.
pub(crate) struct Scene {
    address: SocketAddr,
    hash: DefinitionsHash,
    client_dir: TempDir,
}

pub(crate) type Ready = Gateway<RecentIdentities<Names>, RecentDecisions<Anything>, Fixed>;

impl Scene {
    pub(crate) async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authorities = Authorities::new().unwrap();
        let Certified { certificate, key } = authorities.servers.server(ANSWERS).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config {
            name: PluginName::parse(ANSWERS).unwrap(),
            listener,
            health_listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            certificates: Certificates::Fixed {
                certificate: certificate.into(),
                key: key.into(),
                clients_ca: authorities.clients.pem().into(),
            },
            kube: None,
            // It calls nobody.
            gateway: "/nowhere".into(),
            grace: Config::GRACE,
        };
        tokio::spawn(serve_with(Small, config, std::future::pending()));
        let client_dir = tempfile::tempdir().unwrap();
        let client = authorities.clients.client_certified().unwrap();
        let servers = authorities.servers.pem();
        for (file, text) in [
            ("tls.crt", &client.certificate),
            ("tls.key", &client.key),
            ("ca.crt", &servers),
        ] {
            std::fs::write(client_dir.path().join(file), text).unwrap();
        }
        Self {
            address,
            hash: described(&authorities, address).await,
            client_dir,
        }
    }

    /// A gateway that knows so much.
    pub(crate) fn gateway(&self, size: Size) -> Ready {
        let lifetimes = Lifetimes {
            yes: LONG,
            no: LONG,
            outage: LONG,
        };
        Gateway {
            authenticator: RecentIdentities::new(Names, lifetimes, Arc::default()).unwrap(),
            authorizer: RecentDecisions::new(Anything, lifetimes, Arc::default()),
            directory: Fixed(Arc::new(self.table(size))),
            entrance: Arc::default(),
            upstream: Arc::new(Upstream::new(self.client_dir.path().to_owned())),
            upstreams: Arc::default(),
            body_timeout: LONG,
            home_cluster: ClusterName::parse("home").unwrap(),
            ending: Arc::new(AtomicBool::new(false)),
            recorder: Arc::new(Recorder {
                cluster: "home".into(),
                trail: Trail::start(Lines::to(io::sink())).unwrap(),
                access_log: Some(AccessLog::to(io::sink()).unwrap()),
                metrics: Arc::default(),
                traces: None,
            }),
            base: BasePath::default(),
        }
    }

    /// The two that are asked, and enough others. The two have as many routes as there may be of one plugin.
    fn table(&self, size: Size) -> Table {
        let own = size.routes.min(ROUTES);
        let others = size.plugins.saturating_sub(2).max((size.routes - own) / ROUTES);
        let each = (size.routes - own) / others.max(1);
        let mut table = Table::new();
        for number in 0..others {
            let name = PluginName::parse(&format!("other-{number}")).unwrap();
            table.insert(name, self.entry(each.min(ROUTES), vec![]));
        }
        table.insert(PluginName::parse(ANSWERS).unwrap(), self.entry(own, vec![self.address]));
        table.insert(PluginName::parse(NOWHERE).unwrap(), self.entry(own, vec![]));
        table
    }

    fn entry(&self, routes: usize, endpoints: Vec<SocketAddr>) -> Entry {
        Entry {
            version: "1.0.0".to_owned(),
            description: String::new(),
            enabled: true,
            phase: Phase::Loaded,
            trouble: None,
            active: Some(Revision {
                number: 1,
                hash: self.hash.clone(),
                endpoints,
                guards: guards(routes),
                until: None,
            }),
            draining: Vec::new(),
            tools: [].into(),
            limits: RequestLimits::default(),
        }
    }
}

/// Routes that each require something of a namespace which the path names.
fn guards(routes: usize) -> Guards {
    let route = |number: usize| json!({"path": path(number, "{namespace}"), "requires": [{"resource": "pods", "namespace": {"path": "namespace"}}]});
    let routes: Vec<Value> = (0..routes).map(route).collect();
    let permissions = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "namespaces": ["shop"]}]);
    let spec = json!({"version": "1.0.0", "image": "a", "routes": routes, "permissions": permissions});
    let spec: KitePluginSpec = serde_json::from_value(spec).unwrap();
    Guards::of(&RevisionSpec::of(&spec), &spec.permissions, "kite-plugins")
}

fn path(number: usize, namespace: &str) -> String {
    format!("/route-{number}/{namespace}")
}

async fn described(authorities: &Authorities, address: SocketAddr) -> DefinitionsHash {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authorities.servers.pem()))
        .domain_name(kite_proto::server_name(ANSWERS))
        .identity(authorities.clients.client().unwrap());
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect().await.expect("the plugin");
    let described = PluginClient::new(channel).describe(DescribeRequest::default()).await;
    DefinitionsHash::of(&described.unwrap().into_inner().definitions)
}

/// Which plugin is asked.
#[derive(Clone, Copy)]
pub(crate) enum Whom {
    Answers,
    Nowhere,
}

/// One request of the caller of this number, to one of so many routes.
pub(crate) async fn ask(gateway: &Ready, whom: Whom, caller: usize, route: usize) {
    let (plugin, expected) = match whom {
        Whom::Answers => (ANSWERS, StatusCode::OK),
        Whom::Nowhere => (NOWHERE, StatusCode::SERVICE_UNAVAILABLE),
    };
    let uri = format!(
        "https://dashboard.example/api/v1/plugins/{plugin}{}",
        path(route % ROUTES, "shop")
    );
    let request = Request::get(uri)
        .header("authorization", format!("Bearer user-{caller}"))
        .body(Empty::new().map_err(|never| match never {}).boxed_unsync());
    let answer: Response<Recorded> = gateway.answer(request.unwrap()).await;
    assert_eq!(answer.status(), expected);
    answer.into_body().collect().await.unwrap();
}
