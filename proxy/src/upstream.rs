//! The way to the plugins: one warm connection to each endpoint, used only while the plugin there is the recorded one.

mod connection;
mod endpoint;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use kite_api::PluginName;

use self::endpoint::Endpoint;
pub use self::{
    connection::{EndpointError, Sender},
    endpoint::{Connected, InFlight},
};
use crate::directory::{Active, Table};

/// Connections to all endpoints. Reading takes no lock, so that no plugin's traffic waits for another's.
pub struct Upstream {
    client_dir: PathBuf,
    endpoints: ArcSwap<HashMap<SocketAddr, Arc<Endpoint>>>,
    /// Where the next request begins to look among equally busy endpoints.
    turn: AtomicUsize,
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
            client_dir,
            endpoints: ArcSwap::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// A connection to the least busy endpoint that can be used. As nothing of the request began on an endpoint that
    /// cannot, the next is tried whatever the request is.
    pub async fn connect(&self, plugin: &PluginName, active: &Active) -> Result<Connected, Exhausted> {
        let mut last = None;
        let candidates = self.candidates(plugin, &active.endpoints);
        let tried = candidates.len();
        for endpoint in candidates {
            match endpoint.connect(&active.hash, &self.client_dir).await {
                Ok(connected) => return Ok(connected),
                Err(error) => {
                    tracing::debug!(%plugin, address = %endpoint.address(), error = crate::chain(&error), "endpoint skipped");
                    last = Some(error);
                }
            }
        }
        Err(Exhausted { tried, last })
    }

    /// Drops the connections to all endpoints that are not in `table`. What is under way on them goes on.
    pub fn keep_only(&self, table: &Table) {
        let known: HashSet<_> = table
            .iter()
            .flat_map(|(name, entry)| {
                entry
                    .active
                    .iter()
                    .flat_map(move |active| active.endpoints.iter().map(move |a| (name, *a)))
            })
            .collect();
        self.endpoints.rcu(|endpoints| {
            let mut endpoints = HashMap::clone(endpoints);
            endpoints.retain(|address, endpoint| known.contains(&(endpoint.plugin(), *address)));
            endpoints
        });
    }

    /// The endpoints at `addresses`, the least busy first, those equally busy in turn.
    fn candidates(&self, plugin: &PluginName, addresses: &[SocketAddr]) -> Vec<Arc<Endpoint>> {
        let mut endpoints: Vec<_> = addresses
            .iter()
            .map(|address| self.endpoint(plugin, *address))
            .collect();
        if endpoints.len() > 1 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % endpoints.len();
            endpoints.rotate_left(turn);
            endpoints.sort_by_cached_key(|endpoint| endpoint.in_flight());
        }
        endpoints
    }

    fn endpoint(&self, plugin: &PluginName, address: SocketAddr) -> Arc<Endpoint> {
        // The address of a pod that is gone may be another plugin's pod now.
        let is_it = |endpoint: &&Arc<Endpoint>| endpoint.plugin() == plugin;
        if let Some(endpoint) = self.endpoints.load().get(&address).filter(is_it) {
            return Arc::clone(endpoint);
        }
        let fresh = Arc::new(Endpoint::new(plugin.clone(), address));
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
