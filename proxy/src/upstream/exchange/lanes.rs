//! The stream of exchanges of one connection: opened beside what goes on, renewed in time, and done without for a while after it failed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use kite_api::error_chain;
use kite_proto::plugin_client::PluginClient;
use tokio::time::Instant;

use super::{Lane, Times};
use crate::upstream::Sender;

/// How long no stream is opened after one that failed.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// The streams of one connection, one after another.
pub(in crate::upstream) struct Lanes {
    client: PluginClient<Sender>,
    times: Times,
    current: ArcSwapOption<Lane>,
    /// Set by whoever opens one.
    opening: AtomicBool,
    /// When the last one could not be opened.
    failed: ArcSwapOption<Instant>,
}

impl Lanes {
    pub(in crate::upstream) fn new(client: PluginClient<Sender>, times: Times) -> Arc<Self> {
        Arc::new(Self {
            client,
            times,
            current: ArcSwapOption::empty(),
            opening: AtomicBool::new(false),
            failed: ArcSwapOption::empty(),
        })
    }

    /// The stream that takes exchanges, if there is one now. If not, one is opened for those who come later: nobody waits for it.
    pub(in crate::upstream) fn current(self: &Arc<Self>) -> Option<Arc<Lane>> {
        let current = self.current.load_full();
        if let Some(lane) = current.as_ref().filter(|lane| lane.is_open()) {
            return Some(Arc::clone(lane));
        }
        let failed = current.and_then(|lane| lane.failed_at());
        let failed = failed.max(self.failed.load().as_deref().copied());
        if failed.is_none_or(|at| at.elapsed() >= LEFT_ALONE) && !self.opening.swap(true, Ordering::AcqRel) {
            tokio::spawn(Arc::clone(self).open());
        }
        None
    }

    async fn open(self: Arc<Self>) {
        match Lane::open(self.client.clone(), self.times).await {
            Ok(lane) => self.current.store(Some(lane)),
            Err(error) => {
                tracing::debug!(error = error_chain(&error), "no stream of exchanges");
                self.failed.store(Some(Arc::new(Instant::now())));
            }
        }
        self.opening.store(false, Ordering::Release);
    }
}

impl Drop for Lanes {
    /// A connection that nobody uses any more is closed when what is under way on it has ended.
    fn drop(&mut self) {
        if let Some(lane) = self.current.swap(None) {
            lane.retire();
        }
    }
}
