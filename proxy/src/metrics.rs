//! What a Prometheus server reads of the gateway. Counting takes no lock, and no label is a text that a caller chose.

mod figures;
mod lookups;
mod page;
mod process;
mod times;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use kite_api::PluginName;
use prometheus_client::{encoding::text, registry::Registry};

pub use self::{
    figures::{Code, Figures, UnderWay},
    lookups::{Found, Lookups},
    times::Times,
};
use crate::{access_log::AccessLog, audit::Trail, directory::Table};

/// The media type of `OpenMetrics` text, version 1.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The figures, shared by those who know them and the route that tells.
#[derive(Default)]
pub struct Metrics {
    /// Of requests for no plugin that there is.
    own: Arc<Figures>,
    plugins: ArcSwap<HashMap<PluginName, Arc<Figures>>>,
    /// Who a credential is of.
    pub identities: Arc<Lookups>,
    /// What a caller may do.
    pub decisions: Arc<Lookups>,
    changes: AtomicU64,
    changed: AtomicI64,
    /// Seconds since the epoch; zero is not known.
    certificate_ends: AtomicI64,
}

impl Metrics {
    /// The figures of a plugin, if there is one, or else those of no plugin.
    pub fn of(&self, plugin: Option<&PluginName>) -> Arc<Figures> {
        let known = plugin.and_then(|plugin| self.plugins.load().get(plugin).map(Arc::clone));
        known.unwrap_or_else(|| Arc::clone(&self.own))
    }

    /// There are the plugins of `table` now: those that are new begin at nothing, and those that are gone are forgotten.
    pub fn changed(&self, table: &Table) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.changed.store(Timestamp::now().as_second(), Ordering::Relaxed);
        let known = self.plugins.load();
        if known.len() == table.len() && table.keys().all(|name| known.contains_key(name)) {
            return;
        }
        let figures = |name: &PluginName| known.get(name).map(Arc::clone).unwrap_or_default();
        self.plugins.store(Arc::new(
            table.keys().map(|name| (name.clone(), figures(name))).collect(),
        ));
    }

    /// When the table of plugins last changed.
    pub fn last_change(&self) -> Option<Timestamp> {
        known(&self.changed)
    }

    /// The certificate that is served with ends at this moment.
    pub fn certificate_ends(&self, end: Timestamp) {
        self.certificate_ends.store(end.as_second(), Ordering::Relaxed);
    }

    /// When the certificate that is served with ends.
    pub fn certificate_end(&self) -> Option<Timestamp> {
        known(&self.certificate_ends)
    }

    /// All of it as `OpenMetrics` text, with how many connections there are to each plugin.
    pub fn text(
        &self,
        connections: HashMap<PluginName, usize>,
        trail: &Trail,
        access_log: Option<&AccessLog>,
    ) -> String {
        let page = page::Page {
            own: Arc::clone(&self.own),
            plugins: self.plugins.load_full(),
            connections,
            lookups: [
                ("identity", Arc::clone(&self.identities)),
                ("right", Arc::clone(&self.decisions)),
            ],
            changes: self.changes.load(Ordering::Relaxed),
            changed: self.changed.load(Ordering::Relaxed),
            certificate_ends: self.certificate_ends.load(Ordering::Relaxed),
            audit: trail.standing(),
            lines_lost: access_log.map(AccessLog::lost),
            process: process::Process::now(),
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(page));
        let mut text = String::new();
        // Writing to a text does not fail.
        let _ = text::encode(&mut text, &registry);
        text
    }
}

fn known(second: &AtomicI64) -> Option<Timestamp> {
    let second = second.load(Ordering::Relaxed);
    (second != 0).then(|| Timestamp::from_second(second).ok()).flatten()
}

#[cfg(test)]
mod tests;
