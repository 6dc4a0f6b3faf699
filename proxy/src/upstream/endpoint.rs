//! One endpoint of a plugin: its connection, what the plugin there said it is, and how busy it is.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use kite_api::PluginName;
use kite_proto::plugin_client::PluginClient;
use tokio::{sync::Mutex, time::Instant};

use super::{
    connection::{self, EndpointError, Sender},
    exchange::{Lane, Lanes, Times},
    offered::Offered,
    places::Place,
};
use crate::directory::DefinitionsHash;

/// How long an endpoint that could not be used is left alone, so that requests do not queue up for a dead pod.
const LEFT_ALONE: Duration = Duration::from_secs(1);
/// How long after that it is tried only when no other is left.
const DISTRUSTED: Duration = Duration::from_secs(10);

/// One endpoint of a plugin.
pub(super) struct Endpoint {
    plugin: PluginName,
    address: SocketAddr,
    /// Absent if no plugin is asked by `Exchange`.
    exchange: Option<Times>,
    in_flight: Arc<AtomicUsize>,
    /// The connection, with the hash of the definitions that the plugin gave on it.
    current: ArcSwapOption<Checked>,
    /// Held by whoever connects.
    connecting: Mutex<()>,
    /// The last attempt to connect, if it failed.
    failure: ArcSwapOption<Failure>,
}

struct Checked {
    sender: Sender,
    /// When the client certificate was read for it, at the earliest.
    since: Instant,
    hash: DefinitionsHash,
    /// Read if the hash was the recorded one. One that is recorded only later has the plugin asked again.
    offered: Option<Arc<Offered>>,
    /// For small exchanges, if the plugin has it.
    lanes: Option<Arc<Lanes>>,
}

struct Failure {
    at: Instant,
    wanted: DefinitionsHash,
}

impl Failure {
    /// Whether it speaks against an endpoint of which this is `wanted`, less than `time` after it.
    fn counts(&self, time: Duration, wanted: &DefinitionsHash, now: Instant) -> bool {
        self.wanted == *wanted && now.duration_since(self.at) < time
    }
}

/// A connection that may be used for one request.
pub struct Connected {
    pub client: PluginClient<Sender>,
    /// The stream for small exchanges, if there is one.
    pub lane: Option<Arc<Lane>>,
    /// Where it leads.
    pub address: SocketAddr,
    /// What the plugin there offers.
    pub offered: Arc<Offered>,
    pub in_flight: InFlight,
}

impl Connected {
    /// The same, with the request's place among those to the plugin, which is kept as long as the request is under way.
    #[must_use]
    pub fn holding(mut self, place: Place) -> Self {
        self.in_flight.place = Some(place);
        self
    }
}

/// Counts a request as under way until it is dropped.
pub struct InFlight {
    count: Arc<AtomicUsize>,
    place: Option<Place>,
}

impl InFlight {
    /// One more of those that `count` counts.
    pub(super) fn of(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self { count, place: None }
    }

    /// The request is over for the plugin: what is left to be read of it takes no place of another. The place is given up when it is
    /// dropped.
    pub fn leave(&mut self) -> Option<Place> {
        self.place.take()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Endpoint {
    pub(super) fn new(plugin: PluginName, address: SocketAddr, exchange: Option<Times>) -> Self {
        Self {
            plugin,
            address,
            exchange,
            in_flight: Arc::default(),
            current: ArcSwapOption::empty(),
            connecting: Mutex::new(()),
            failure: ArcSwapOption::empty(),
        }
    }

    pub(super) fn plugin(&self) -> &PluginName {
        &self.plugin
    }

    /// Whether there is a connection.
    pub(super) fn is_open(&self) -> bool {
        self.current
            .load()
            .as_ref()
            .is_some_and(|checked| !checked.sender.is_closed())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether a request that comes now would wait for others to connect, or has reason to expect a failure.
    pub(super) fn is_troubled(&self, wanted: &DefinitionsHash) -> bool {
        self.open(wanted).is_none() && (self.failed_within(DISTRUSTED, wanted) || self.connecting.try_lock().is_err())
    }

    fn failed_within(&self, time: Duration, wanted: &DefinitionsHash) -> bool {
        let failure = self.failure.load();
        failure
            .as_ref()
            .is_some_and(|failure| failure.counts(time, wanted, Instant::now()))
    }

    /// The endpoint's connection, if the definitions of the plugin there have the hash `wanted`.
    pub(super) async fn connect(
        &self,
        wanted: &DefinitionsHash,
        client_dir: &Path,
    ) -> Result<Connected, EndpointError> {
        if let Some(connected) = self.usable(wanted) {
            return Ok(connected);
        }
        let _connecting = self.connecting.lock().await;
        // Whoever held the lock may have connected, or failed to.
        if let Some(connected) = self.usable(wanted) {
            return Ok(connected);
        }
        if self.failed_within(LEFT_ALONE, wanted) {
            return Err(EndpointError::LeftAlone);
        }
        match self.check(wanted, client_dir).await {
            Ok(checked) => {
                self.failure.store(None);
                Ok(self.connected(&checked))
            }
            Err(error) => {
                self.failure.store(Some(Arc::new(Failure {
                    at: Instant::now(),
                    wanted: wanted.clone(),
                })));
                Err(error)
            }
        }
    }

    /// The connection that is there already, if the definitions of the plugin there have the hash `wanted`.
    pub(super) fn usable(&self, wanted: &DefinitionsHash) -> Option<Connected> {
        self.open(wanted).map(|checked| self.connected(&checked))
    }

    fn open(&self, wanted: &DefinitionsHash) -> Option<Arc<Checked>> {
        let current = self.current.load_full()?;
        Some(current)
            .filter(|checked| checked.hash == *wanted && checked.offered.is_some() && !checked.sender.is_closed())
    }

    fn connected(&self, checked: &Checked) -> Connected {
        Connected {
            client: checked.sender.clone().client(),
            lane: checked.lanes.as_ref().and_then(Lanes::current),
            address: self.address,
            offered: checked.offered.clone().unwrap_or_default(),
            in_flight: InFlight::of(Arc::clone(&self.in_flight)),
        }
    }

    /// Makes a new connection in place of one that is open and older than `changed`. Until it is there the old one is used.
    pub(super) async fn renew(&self, changed: Instant, client_dir: &Path) -> Result<(), EndpointError> {
        let _connecting = self.connecting.lock().await;
        let current = self.current.load_full();
        let old = current.filter(|checked| checked.since < changed && !checked.sender.is_closed());
        let Some(old) = old else { return Ok(()) };
        let since = Instant::now();
        let sender = connection::open(&self.plugin, self.address, client_dir).await?;
        self.ask(sender, since, &old.hash).await.map(drop)
    }

    /// Connects, unless a connection is open, and asks the plugin what it is.
    async fn check(&self, wanted: &DefinitionsHash, client_dir: &Path) -> Result<Arc<Checked>, EndpointError> {
        let open = self
            .current
            .load()
            .as_ref()
            .map(|checked| (checked.sender.clone(), checked.since))
            .filter(|(sender, _)| !sender.is_closed());
        let (sender, since) = if let Some(open) = open {
            open
        } else {
            let since = Instant::now();
            (connection::open(&self.plugin, self.address, client_dir).await?, since)
        };
        self.ask(sender, since, wanted).await
    }

    /// Asks the plugin what it is, which settles what the connection is used for.
    async fn ask(
        &self,
        sender: Sender,
        since: Instant,
        wanted: &DefinitionsHash,
    ) -> Result<Arc<Checked>, EndpointError> {
        let definitions = sender.describe().await?;
        let hash = DefinitionsHash::of(&definitions);
        let is_wanted = hash == *wanted;
        // Nothing is read of what the operator has not looked at.
        let offered = is_wanted.then(|| Offered::read(&definitions)).transpose();
        let offered = offered.map_err(EndpointError::Offered)?;
        let has_exchange = offered.as_ref().is_some_and(|offered| offered.exchange);
        let times = self.exchange.filter(|_| has_exchange);
        let checked = Arc::new(Checked {
            lanes: times.map(|times| Lanes::new(sender.clone().client(), times)),
            sender,
            since,
            hash,
            offered: offered.map(Arc::new),
        });
        self.current.store(Some(Arc::clone(&checked)));
        if is_wanted {
            Ok(checked)
        } else {
            Err(EndpointError::Definitions)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn hash(text: &str) -> DefinitionsHash {
        DefinitionsHash::recorded(text)
    }

    /// An endpoint that could not be used so long ago.
    fn failed(ago: Duration) -> Endpoint {
        let plugin = PluginName::parse("hello").unwrap();
        let endpoint = Endpoint::new(plugin, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), None);
        let at = Instant::now().checked_sub(ago).unwrap();
        let wanted = hash("wanted");
        endpoint.failure.store(Some(Arc::new(Failure { at, wanted })));
        endpoint
    }

    #[test]
    fn a_failure_counts_for_its_time_and_for_what_was_wanted() {
        let at = Instant::now();
        let failure = Failure {
            at,
            wanted: hash("wanted"),
        };
        for time in [LEFT_ALONE, DISTRUSTED] {
            let counts = |after: Duration| failure.counts(time, &hash("wanted"), at + after);
            assert!(counts(Duration::ZERO) && counts(time / 2), "{time:?}");
            assert!(!counts(time) && !counts(time * 2), "{time:?}");
            assert!(!failure.counts(time, &hash("other"), at), "another was recorded since");
        }
    }

    #[test]
    fn an_endpoint_that_failed_is_in_trouble_for_its_time_and_then_as_good_as_any() {
        let wanted = hash("wanted");
        for ago in [Duration::ZERO, DISTRUSTED / 2] {
            assert!(failed(ago).is_troubled(&wanted), "{ago:?}");
            assert!(!failed(ago).is_troubled(&hash("other")), "{ago:?}");
        }
        let endpoint = failed(DISTRUSTED);
        assert!(!endpoint.is_troubled(&wanted));
        let connecting = endpoint.connecting.try_lock();
        assert!(connecting.is_ok() && endpoint.is_troubled(&wanted), "somebody connects");
    }
}
