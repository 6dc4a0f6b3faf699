//! The way to the plugins: one warm connection to each endpoint, used only while the plugin there is the recorded one.

mod began;
mod connection;
mod endpoint;
mod exchange;
#[cfg(feature = "in-memory")]
#[doc(hidden)]
pub mod in_memory;
mod offered;
mod paced;
mod places;
mod read_first;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use futures::{
    StreamExt as _,
    stream::{self, FuturesUnordered},
};
use kite_api::{PluginName, error_chain};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

pub use self::{
    began::{broke, never_began},
    connection::{EndpointError, SendError, Sender},
    endpoint::{Connected, InFlight},
    exchange::{Breach, Lane, LaneError, Reply, Stopped, Times},
    offered::{Offered, OfferedError, OfferedTool},
    places::Place,
};
use self::{endpoint::Endpoint, places::Places};
use crate::{
    directory::{Revision, Table},
    metrics::Metrics,
};

/// How long one endpoint may take to connect before the next is tried beside it: a healthy one takes milliseconds, and a
/// request must not wait for a pod that is gone.
const HEAD_START: Duration = Duration::from_millis(250);

/// How long after a connection could not be renewed it is tried again.
const RENEW_PAUSE: Duration = Duration::from_secs(10);
/// How many connections are renewed at once: each costs a plugin a handshake and a description.
const RENEWED_AT_ONCE: usize = 4;

/// Connections to all endpoints. Reading takes no lock, so that no plugin's traffic waits for another's.
pub struct Upstream {
    client_dir: Arc<PathBuf>,
    endpoints: ArcSwap<HashMap<SocketAddr, Arc<Endpoint>>>,
    /// Where the next request begins to look among equally busy endpoints.
    turn: AtomicUsize,
    places: Arc<Places>,
    metrics: Arc<Metrics>,
    /// Absent if no plugin is asked by `Exchange`.
    exchange: Option<Times>,
}

/// No endpoint of a plugin can be used.
#[derive(Debug)]
pub struct Exhausted {
    pub tried: usize,
    pub last: Option<EndpointError>,
}

impl Upstream {
    /// Connections made with the client certificate in `client_dir`, which is read for each new connection.
    pub fn new(client_dir: PathBuf) -> Self {
        Self {
            client_dir: Arc::new(client_dir),
            endpoints: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            places: Arc::default(),
            metrics: Arc::default(),
            exchange: Some(Times::default()),
        }
    }

    /// Another one, for another thread: with connections of its own, and the same bounds and figures.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            client_dir: Arc::clone(&self.client_dir),
            endpoints: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            places: Arc::clone(&self.places),
            metrics: Arc::clone(&self.metrics),
            exchange: self.exchange,
        }
    }

    /// The same with, or without, the shared stream for small exchanges.
    #[must_use]
    pub fn with_exchange(mut self, exchange: Option<Times>) -> Self {
        self.exchange = exchange;
        self
    }

    /// A place among the requests to `plugin` that are under way, of which there may be `most`. `None`: all are taken.
    pub fn place(&self, plugin: &PluginName, most: usize) -> Option<Place> {
        self.places.take(plugin, most)
    }

    /// The same, with its failures counted in `metrics`.
    #[must_use]
    pub fn counted_in(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// How many connections are open, by plugin.
    pub fn connections(&self) -> HashMap<PluginName, usize> {
        let mut open = HashMap::new();
        for endpoint in self.endpoints.load().values().filter(|endpoint| endpoint.is_open()) {
            *open.entry(endpoint.plugin().clone()).or_default() += 1;
        }
        open
    }

    /// A connection to the least busy endpoint that can be used. As nothing of the request began on an endpoint that
    /// cannot, the next is tried whatever the request is.
    pub async fn connect(&self, plugin: &PluginName, revision: &Revision) -> Result<Connected, Exhausted> {
        self.connect_elsewhere(plugin, revision, None).await
    }

    /// The same, at another endpoint than `tried` if any other can be used.
    pub async fn connect_elsewhere(
        &self,
        plugin: &PluginName,
        revision: &Revision,
        tried: Option<SocketAddr>,
    ) -> Result<Connected, Exhausted> {
        let candidates = self.candidates(plugin, revision, tried);
        // As it is mostly, and without the room for anything else.
        if let Some(connected) = candidates.first().and_then(|endpoint| endpoint.usable(&revision.hash)) {
            return Ok(connected);
        }
        Box::pin(self.connect_to_any(candidates, revision)).await
    }

    async fn connect_to_any(
        &self,
        candidates: Vec<Arc<Endpoint>>,
        revision: &Revision,
    ) -> Result<Connected, Exhausted> {
        let mut last = None;
        let mut attempts = FuturesUnordered::new();
        let mut candidates = candidates.into_iter();
        let tried = candidates.len();
        loop {
            if let Some(endpoint) = candidates.next() {
                if let Some(connected) = endpoint.usable(&revision.hash) {
                    return Ok(connected);
                }
                attempts.push(self.attempt(endpoint, revision));
            }
            let outcome = if candidates.len() == 0 {
                attempts.next().await
            } else {
                match timeout(HEAD_START, attempts.next()).await {
                    Ok(outcome) => outcome,
                    Err(_) => continue,
                }
            };
            match outcome {
                Some(Ok(Ok(connected))) => return Ok(connected),
                Some(Ok(Err(error))) => last = Some(error),
                None if candidates.len() == 0 => return Err(Exhausted { tried, last }),
                // A task is cancelled only when the process ends.
                Some(Err(_)) | None => {}
            }
        }
    }

    /// Connects in a task of its own, so that the endpoint learns of the outcome even if nobody waits for it any more.
    fn attempt(&self, endpoint: Arc<Endpoint>, revision: &Revision) -> JoinHandle<Result<Connected, EndpointError>> {
        let (wanted, client_dir) = (revision.hash.clone(), Arc::clone(&self.client_dir));
        let metrics = Arc::clone(&self.metrics);
        tokio::spawn(async move {
            let connected = endpoint.connect(&wanted, &client_dir).await;
            if let Err(error) = &connected {
                metrics.of(Some(endpoint.plugin())).endpoint_failed();
                let (plugin, address) = (endpoint.plugin(), endpoint.address());
                tracing::debug!(%plugin, %address, error = error_chain(error), "endpoint skipped");
            }
            connected
        })
    }

    /// Makes new connections in place of those that are open, after each change of the client certificate that `changes` tells of.
    /// What is under way on the old ones goes on. Who cannot be reached so is asked again, and keeps the old one until then.
    pub async fn renew(&self, mut changes: watch::Receiver<u64>) {
        while changes.changed().await.is_ok() {
            let seen = Instant::now();
            while !self.renewed(seen).await {
                sleep(RENEW_PAUSE).await;
            }
        }
    }

    /// Whether there is no open connection any more that was made before `changed`.
    async fn renewed(&self, changed: Instant) -> bool {
        let endpoints: Vec<_> = self.endpoints.load().values().map(Arc::clone).collect();
        let renewals = endpoints.iter().map(async |endpoint| {
            let renewed = endpoint.renew(changed, &self.client_dir).await;
            if let Err(error) = &renewed {
                let (plugin, address) = (endpoint.plugin(), endpoint.address());
                tracing::debug!(%plugin, %address, error = error_chain(error), "connection not renewed");
            }
            renewed.is_ok()
        });
        let mut renewals = stream::iter(renewals.collect::<Vec<_>>()).buffer_unordered(RENEWED_AT_ONCE);
        let mut all = true;
        while let Some(renewed) = renewals.next().await {
            all &= renewed;
        }
        all
    }

    /// Drops the connections to all endpoints that are not in `table`. What is under way on them goes on.
    pub fn keep_only(&self, table: &Table) {
        let known: HashSet<_> = table
            .iter()
            .flat_map(|(name, entry)| {
                let revisions = entry.active.iter().chain(&entry.draining);
                revisions.flat_map(move |revision| revision.endpoints.iter().map(move |a| (name, *a)))
            })
            .collect();
        self.endpoints.rcu(|endpoints| {
            let mut endpoints = HashMap::clone(endpoints);
            endpoints.retain(|address, endpoint| known.contains(&(endpoint.plugin(), *address)));
            endpoints
        });
        self.places.keep_only(|plugin| table.contains_key(plugin));
    }

    /// The endpoints of `revision`: the one that was tried last, before it those in trouble, then the least busy first, those equally
    /// busy in turn.
    fn candidates(&self, plugin: &PluginName, revision: &Revision, tried: Option<SocketAddr>) -> Vec<Arc<Endpoint>> {
        let mut endpoints: Vec<_> = revision
            .endpoints
            .iter()
            .map(|address| self.endpoint(plugin, *address))
            .collect();
        if endpoints.len() > 1 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % endpoints.len();
            endpoints.rotate_left(turn);
            endpoints.sort_by_cached_key(|endpoint| {
                let was_tried = tried == Some(endpoint.address());
                (was_tried, endpoint.is_troubled(&revision.hash), endpoint.in_flight())
            });
        }
        endpoints
    }

    fn endpoint(&self, plugin: &PluginName, address: SocketAddr) -> Arc<Endpoint> {
        // The address of a pod that is gone may be another plugin's pod now.
        let is_it = |endpoint: &&Arc<Endpoint>| endpoint.plugin() == plugin;
        if let Some(endpoint) = self.endpoints.load().get(&address).filter(is_it) {
            return Arc::clone(endpoint);
        }
        let fresh = Arc::new(Endpoint::new(plugin.clone(), address, self.exchange));
        let before = self.endpoints.rcu(|endpoints| {
            let mut endpoints = HashMap::clone(endpoints);
            if !endpoints.get(&address).as_ref().is_some_and(is_it) {
                endpoints.insert(address, Arc::clone(&fresh));
            }
            endpoints
        });
        // Whoever was first has put theirs in.
        before.get(&address).filter(is_it).map_or(fresh, Arc::clone)
    }
}
