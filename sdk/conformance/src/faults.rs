//! A small plugin that keeps every rule, and that breaks exactly one of them when it is told to: what the suite is tried on.

mod definitions;
mod exchange;
mod fault;
mod http;
mod meddle;
mod notes;
mod serve;
mod service;
mod socket;
mod tls;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kite_api::{PluginName, name::NameError};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::fault::Fault;
use crate::{Authorities, Host, IdentityError, Known, Limits, Process, SubjectError, Suite, Target};

/// The name that the plugin is given.
const NAME: &str = "reference";
/// Calls that one connection takes at once, where that is the fault, and where cancelled ones are kept.
const FEW: usize = 10;
const LEAKED: usize = 100;
/// Where neither is.
const MANY: usize = 4096;

/// Why the plugin could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    #[error("failed to make certificates")]
    Identity(#[from] IdentityError),
    #[error("failed to use certificates")]
    Tls(#[source] tls::ConfigError),
    #[error("failed to listen")]
    Listen(#[source] std::io::Error),
    #[error("failed to accept the plugin's name")]
    Name(#[source] NameError),
}

/// What all parts of the plugin know.
struct Core {
    fault: Option<Fault>,
    /// True until the plugin is told to stop.
    serving: watch::Sender<bool>,
    /// How many exchanges of HTTP are under way.
    open: watch::Sender<usize>,
    described: AtomicUsize,
    applied: AtomicUsize,
    events: Mutex<Vec<(i32, String)>>,
    notes: notes::Notes,
}

impl Core {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Whether this is one more than an even number of times.
    fn is_second(counter: &AtomicUsize) -> bool {
        counter.fetch_add(1, Ordering::Relaxed) % 2 == 1
    }

    /// Whether the event was told before.
    fn knows(&self, kind: i32, cluster: &str) -> bool {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let event = (kind, cluster.to_owned());
        let known = events.contains(&event);
        events.push(event);
        known
    }

    async fn stopped(&self) {
        // Fails only if the sender is gone, and it is here.
        let _ = self.serving.subscribe().wait_for(|serving| !serving).await;
    }
}

/// What a call can do to the connection that it came on.
#[derive(Clone, Debug)]
struct Link {
    cut: CancellationToken,
    /// The next call cuts the connection.
    poisoned: Arc<std::sync::atomic::AtomicBool>,
    slots: Arc<Semaphore>,
}

impl Link {
    fn new(fault: Option<Fault>) -> Self {
        let slots = match fault {
            Some(Fault::TakesFewCalls) => FEW,
            Some(Fault::KeepsCancelledCalls) => LEAKED,
            _ => MANY,
        };
        Self {
            cut: CancellationToken::new(),
            poisoned: Arc::default(),
            slots: Arc::new(Semaphore::new(slots)),
        }
    }
}

/// The plugin, until it is dropped.
pub struct Reference {
    authorities: Authorities,
    address: SocketAddr,
    health: SocketAddr,
    core: Arc<Core>,
    config: Arc<tls::Config>,
    served: JoinHandle<()>,
    _end: DropGuard,
}

impl Reference {
    /// Starts the plugin on ports of its own, with a fault or without.
    pub async fn start(fault: Option<Fault>) -> Result<Self, ReferenceError> {
        let authorities = Authorities::new()?;
        let config = tls::config(&authorities, NAME, fault)?;
        let core = Arc::new(Core {
            fault,
            serving: watch::Sender::new(true),
            open: watch::Sender::new(0),
            described: AtomicUsize::new(0),
            applied: AtomicUsize::new(0),
            events: Mutex::default(),
            notes: notes::Notes::default(),
        });
        let config = Arc::new(tls::Config::new(config));
        let end = CancellationToken::new();
        let serving = serve::start(&core, &config, &end)
            .await
            .map_err(ReferenceError::Listen)?;
        Ok(Self {
            authorities,
            address: serving.address,
            health: serving.health,
            core,
            config,
            served: serving.served,
            _end: end.drop_guard(),
        })
    }

    /// The suite for this plugin, which knows all of it, and ends it.
    pub fn suite(self, limits: Limits) -> Result<Suite, ReferenceError> {
        Ok(Suite {
            target: Target {
                name: PluginName::parse(NAME).map_err(ReferenceError::Name)?,
                address: self.address,
                health: self.health,
                host: Host::of(&self.authorities)?,
            },
            known: known(),
            limits,
            process: Some(Box::new(self)),
        })
    }

    /// Where it serves the protocol.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers about its health.
    pub fn health(&self) -> SocketAddr {
        self.health
    }

    /// Who believes whom.
    pub fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// Limits that are short enough for tests, and long enough for a busy machine.
    pub fn limits() -> Limits {
        Limits {
            answer: Duration::from_secs(15),
            silence: Duration::from_secs(1),
            renewal: Duration::from_secs(15),
            end: Duration::from_secs(15),
        }
    }
}

/// What there is to know of the plugin.
fn known() -> Known {
    let path = |path: &str| Some(path.to_owned());
    Known {
        get: path("/hello"),
        echo: path("/echo"),
        events: path("/events"),
        socket: path("/socket"),
        large: path("/large"),
        tools: vec![(String::from("greet"), String::from(r#"{"name": "Ada"}"#))],
        objects: vec![(String::from("notes"), serde_json::json!({"text": "milk"}))],
        settings: Some(String::from(r#"{"greeting": "Hello"}"#)),
    }
}

#[tonic::async_trait]
impl Process for Reference {
    fn renew(&mut self) -> Result<Host, SubjectError> {
        let authorities = Authorities::new()?;
        let host = Host::of(&authorities)?;
        if !self.core.has(Fault::KeepsOldCertificates) {
            let config = tls::config(&authorities, NAME, None);
            self.config.store(config.map_err(|error| match error {
                ReferenceError::Identity(error) => SubjectError::Identity(error),
                other => SubjectError::Folder(std::io::Error::other(other)),
            })?);
        }
        self.authorities = authorities;
        Ok(host)
    }

    fn terminate(&mut self) -> Result<(), SubjectError> {
        self.core.serving.send_replace(false);
        Ok(())
    }

    async fn ended(&mut self) -> Result<Option<String>, SubjectError> {
        if self.core.has(Fault::Lingers) {
            return std::future::pending().await;
        }
        let ended = (&mut self.served).await;
        Ok(ended.err().map(|error| error.to_string()))
    }
}
