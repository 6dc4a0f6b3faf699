//! Which plugins there are and where they run: the trait, and the immutable table that it hands out.

mod fold;
mod guards;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future, ready},
    net::SocketAddr,
    sync::Arc,
};

use kite_api::{Phase, PluginName, RequestLimits, ToolName};

use crate::moment::Moment;

pub use self::{
    fold::{Broken, Records, Source, fold, fold_one},
    guards::{GuardedRoute, Guards, Matched},
};

/// Knows which plugins there are.
pub trait Directory: Send + Sync + 'static {
    /// What is known now, or `None` as long as nothing was listed.
    fn table(&self) -> Option<Arc<Table>>;

    /// The plugin as it is at this moment, asked at the source. `None`: it could not be read, or there is nothing better to ask than the
    /// table.
    fn read(&self, plugin: &PluginName) -> impl Future<Output = Option<Arc<Entry>>> + Send {
        let _ = plugin;
        ready(None)
    }
}

/// All plugins, sorted by name.
pub type Table = BTreeMap<PluginName, Entry>;

/// One plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// What the running plugin says its version is, or what its object says as long as none runs.
    pub version: String,
    /// What it is for, in its object's words.
    pub description: String,
    /// Whether it should run.
    pub enabled: bool,
    pub phase: Phase,
    /// Why it is not ready.
    pub trouble: Option<String>,
    /// The revision that takes traffic, if all that is needed of it is recorded.
    pub active: Option<Revision>,
    /// Those that go on for the pages that were loaded from them.
    pub draining: Vec<Revision>,
    /// The tools that the active revision offers.
    pub tools: BTreeSet<ToolName>,
    /// What requests to it may take.
    pub limits: RequestLimits,
}

impl Entry {
    /// The revision to send traffic to, if any should be sent.
    pub fn serving(&self) -> Option<&Revision> {
        self.active.as_ref().filter(|_| self.enabled)
    }

    /// Whether `revision` is the one that takes the traffic.
    pub fn is_active(&self, revision: &Revision) -> bool {
        self.active
            .as_ref()
            .is_some_and(|active| active.number == revision.number)
    }
}

/// A revision of a plugin to which requests go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revision {
    pub number: i64,
    /// Hash of the definitions that each of its pods must give.
    pub hash: DefinitionsHash,
    /// Its ready pods, sorted.
    pub endpoints: Vec<SocketAddr>,
    /// What it requires of its callers.
    pub guards: Guards,
    /// Until when it is asked, where another has taken over.
    pub until: Option<Moment>,
}

/// A hash as [`kite_proto::definitions_hash`] writes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DefinitionsHash(Arc<str>);

impl DefinitionsHash {
    /// The hash that the operator recorded.
    pub fn recorded(text: &str) -> Self {
        Self(text.into())
    }

    /// The hash of the definitions that a plugin gave.
    pub fn of(definitions: &[u8]) -> Self {
        Self(kite_proto::definitions_hash(definitions).into())
    }
}
