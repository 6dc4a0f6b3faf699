//! The task that tells one plugin: it does what the ledger says is due, whenever there is something new, or something has ended or is to be
//! tried again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use kite_api::{PluginName, error_chain};
use tokio::sync::watch;
use tracing::Instrument;

use super::{
    call::Caller,
    clusters::Clusters,
    ledger::{Act, Answer, Call, Ledger},
    news::{News, Told},
};
use crate::{controller::causes::words, defect::caught, metrics::Metrics};

/// Most characters that are told of why a call failed. The plugin's reason has room in that; what else it has sent, as in a certificate, is cut.
const MAX_TOLD: usize = 2048;

/// What a task goes by, and where it tells what came of it.
pub(super) struct Task {
    pub(super) plugin: PluginName,
    pub(super) caller: Caller,
    pub(super) news: watch::Receiver<News>,
    pub(super) clusters: watch::Receiver<Arc<Clusters>>,
    pub(super) told: watch::Sender<Told>,
    pub(super) metrics: Metrics,
}

impl Task {
    /// Tells the plugin what there is to tell, until nobody has news any more. `changed` is called when something else has come of it.
    pub(super) async fn run(mut self, changed: impl Fn()) {
        let mut ledger = Ledger::default();
        ledger.learn(self.news.borrow_and_update().clone());
        ledger.learn_clusters(Arc::clone(&self.clusters.borrow_and_update()));
        let mut under_way = FuturesUnordered::new();
        loop {
            for call in ledger.due(Instant::now()) {
                let span =
                    tracing::info_span!("tell", plugin = %self.plugin, generation = self.news.borrow().generation);
                let made = made(&self.plugin, &self.caller, &self.metrics, call);
                // Boxed, because an empty set has room for one.
                under_way.push(Box::pin(made.instrument(span)));
            }
            self.publish(ledger.told(), &changed);
            // Without one that failed, something else comes first.
            let wait = ledger.wait(Instant::now()).unwrap_or(Duration::MAX);
            tokio::select! {
                Some((call, outcome)) = under_way.next() => ledger.ended(&call, outcome, Instant::now()),
                news = self.news.changed() => {
                    if news.is_err() {
                        return;
                    }
                    ledger.learn(self.news.borrow_and_update().clone());
                }
                clusters = self.clusters.changed() => {
                    if clusters.is_err() {
                        return;
                    }
                    ledger.learn_clusters(Arc::clone(&self.clusters.borrow_and_update()));
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn publish(&self, told: Told, changed: &impl Fn()) {
        let mut is_other = false;
        self.told.send_if_modified(|before| {
            let is_same = *before == told;
            is_other = before.settings != told.settings;
            *before = told;
            !is_same
        });
        if is_other {
            changed();
        }
    }
}

/// Makes the call, and tells what came of it.
async fn made(plugin: &PluginName, caller: &Caller, metrics: &Metrics, call: Call) -> (Call, Result<Answer, String>) {
    let kind = match &call.act {
        Act::Settings(_) => "settings",
        Act::Event(_) => "cluster_event",
        Act::Stop => "shutdown",
    };
    let began = Instant::now();
    // What panics there is a failed call, which is made again later, and not the end of all that the plugin is told.
    let outcome = caught(caller.make(plugin, &call)).await;
    let answer = match &outcome {
        Ok(Answer::Taken) => "taken",
        Ok(Answer::Refused(_)) => "refused",
        Err(_) => "failed",
    };
    metrics.told(kind, began.elapsed(), answer);
    let pod = call.process.pod.as_str();
    match &outcome {
        Ok(Answer::Taken) => tracing::debug!(pod, kind, "a plugin was told"),
        Ok(Answer::Refused(reason)) => tracing::warn!(pod, reason, "a plugin refuses its settings"),
        Err(error) => tracing::warn!(pod, kind, error = error_chain(error), "a plugin could not be told"),
    }
    let outcome = outcome.map_err(|error| words::cut(&error_chain(&error), MAX_TOLD));
    (call, outcome)
}
