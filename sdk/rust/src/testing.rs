//! Running a plugin in a test of its author's, behind the real protocol: mutual TLS on loopback, and messages.
//!
//! ```
//! use kite_plugin_sdk::{
//!     Caller, KubeClient, Plugin,
//!     axum::{Json, Router, routing::get},
//!     serde_json::{Value, json},
//!     testing,
//! };
//!
//! struct Greeter;
//!
//! impl Plugin for Greeter {
//!     fn manifest(&self) -> &str {
//!         "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: greeter}, spec: {version: 0.1.0, image: greeter}}"
//!     }
//!
//!     fn routes(&self) -> Router {
//!         let version = |kube: KubeClient| async move { kube.apiserver_version().await.unwrap().minor };
//!         Router::new()
//!             .route("/hello", get(|caller: Caller| async move { format!("Hello, {}!", caller.name) }))
//!             .route("/version", get(version))
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() {
//! // An API server that answers what the test wants.
//! let version = json!({
//!     "major": "1", "minor": "34", "gitVersion": "", "gitCommit": "", "gitTreeState": "", "buildDate": "",
//!     "goVersion": "", "compiler": "", "platform": "",
//! });
//! let kubernetes = Router::new().route("/version", get(|| async { Json(version) }));
//!
//! let client = testing::of(Greeter).kubernetes(kubernetes).start().await;
//! assert_eq!(client.as_user("anna").get("/hello").await.text(), "Hello, anna!");
//! assert_eq!(client.get("/version").await.text(), "34");
//! # }
//! ```
//!
//! What cannot be, such as a plugin that does not start, fails the test with a sentence.

mod answer;
mod certificates;
mod client;

use std::time::Duration;

pub use answer::{Answer, Refusal, ToolResult};
use axum::{Router, body::Body, http::Request};
pub use client::TestClient;
use kite_api::{PluginName, error_chain};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{Mutex, oneshot},
    task::JoinHandle,
    time::timeout,
};
pub use tonic::Code;
use tonic::transport::Endpoint;
use tower::{BoxError, util::MapRequest};

use crate::{Config, Plugin, ServeError, serve_with};

/// The namespace of the API server's client.
const NAMESPACE: &str = "kite-plugins";
/// A folder that is not there: in a test there are no other plugins.
const NOWHERE: &str = "/nonexistent";

/// How long a plugin that cannot be reached may take to say why.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs `plugin`, called `test`, with nothing beside it.
pub async fn start(plugin: impl Plugin) -> TestClient {
    of(plugin).start().await
}

/// A plugin that is to be run, and what it is to find there.
pub fn of<P: Plugin>(plugin: P) -> TestPlugin<P> {
    TestPlugin {
        plugin,
        name: "test".to_owned(),
        kubernetes: None,
        settings: None,
    }
}

/// A plugin that is to be run.
#[derive(Debug)]
#[must_use = "it is started by `start`"]
pub struct TestPlugin<P> {
    plugin: P,
    name: String,
    kubernetes: Option<Router>,
    settings: Option<Value>,
}

impl<P: Plugin> TestPlugin<P> {
    /// It serves under this name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Its API server is this router. Its client's own namespace is `kite-plugins`. Without it there is no API server.
    pub fn kubernetes(mut self, kubernetes: Router) -> Self {
        self.kubernetes = Some(kubernetes);
        self
    }

    /// It has these settings from the start. If it refuses them the test fails.
    pub fn settings(mut self, settings: Value) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Runs it.
    pub async fn start(self) -> TestClient {
        let name = PluginName::parse(&self.name).or_fail("accept the plugin's name");
        let both = certificates::both(name.as_str()).or_fail("make certificates");
        let listen = async || TcpListener::bind("127.0.0.1:0").await.or_fail("listen");
        let listener = listen().await;
        let address = listener.local_addr().or_fail("listen");
        let config = Config {
            name,
            listener,
            health_listener: listen().await,
            certificates: both.plugin,
            kube: self.kubernetes.map(client_of),
            gateway: NOWHERE.into(),
            grace: Config::GRACE,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let plugin = self.plugin;
        let mut serving = tokio::spawn(async move {
            let until = async {
                // Told, or nobody is there any more who could.
                let _ = stopped.await;
            };
            serve_with(plugin, config, until).await
        });
        let endpoint = Endpoint::from_shared(format!("https://{address}")).or_fail("connect to the plugin");
        let endpoint = endpoint.tls_config(both.host).or_fail("connect to the plugin");
        let channel = match endpoint.connect().await {
            Ok(channel) => channel,
            Err(error) => {
                // Mostly it is the plugin that did not start, which says why.
                if let Ok(ended) = timeout(PATIENCE, &mut serving).await {
                    ended.or_fail("start the plugin").or_fail("start the plugin");
                }
                fail(&format!("failed to connect to the plugin: {}", error_chain(&error)))
            }
        };
        let served = Served {
            ends: Mutex::new(Some((stop, serving))),
        };
        let client = TestClient::new(channel, served);
        if let Some(settings) = self.settings {
            client.apply_settings(settings).await.or_fail("apply the settings");
        }
        client
    }
}

/// A client whose API server is `router`.
fn client_of(router: Router) -> kube::Client {
    let service = MapRequest::new(router, |request: Request<kube::client::Body>| request.map(Body::new));
    kube::Client::new(service, NAMESPACE)
}

type Serving = JoinHandle<Result<(), ServeError>>;

/// A plugin that runs. It stops when this is dropped.
#[derive(Debug)]
struct Served {
    ends: Mutex<Option<(oneshot::Sender<()>, Serving)>>,
}

impl Served {
    async fn stop(&self) -> Result<(), ServeError> {
        match self.ends.lock().await.take() {
            Some((stop, serving)) => {
                drop(stop);
                serving.await.or_fail("stop the plugin")
            }
            None => Ok(()),
        }
    }
}

/// Results without which a test cannot go on.
trait OrFail<T> {
    /// What there is, or the failure of the test: it failed to do `what`.
    fn or_fail(self, what: &str) -> T;
}

impl<T, E: Into<BoxError>> OrFail<T> for Result<T, E> {
    #[track_caller]
    fn or_fail(self, what: &str) -> T {
        match self {
            Ok(value) => value,
            Err(error) => fail(&format!("failed to {what}: {}", error_chain(&*error.into()))),
        }
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "this is how a test fails")]
fn fail(text: &str) -> ! {
    panic!("{text}")
}
