//! Which plugins there are and where they run: the trait, and the immutable table that it hands out.

mod fold;
mod guards;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use kite_api::{Phase, PluginName, RequestLimits, ToolName};

pub use self::{
    fold::{Broken, fold},
    guards::{GuardedRoute, Guards, Matched},
};

/// Knows which plugins there are.
pub trait Directory: Send + Sync + 'static {
    /// What is known now, or `None` as long as nothing was listed.
    fn table(&self) -> Option<Arc<Table>>;
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
    /// The revision that takes traffic, if its definitions are recorded.
    pub active: Option<Active>,
    /// The tools that the active revision offers.
    pub tools: BTreeSet<ToolName>,
    /// What it requires of its callers.
    pub guards: Guards,
    /// What requests to it may take.
    pub limits: RequestLimits,
}

impl Entry {
    /// The revision to send traffic to, if any should be sent.
    pub fn serving(&self) -> Option<&Active> {
        self.active.as_ref().filter(|_| self.enabled)
    }
}

/// The revision that takes traffic.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Active {
    /// Its number.
    pub revision: i64,
    /// Hash of the definitions that each of its pods must give.
    pub hash: DefinitionsHash,
    /// Its ready pods, sorted.
    pub endpoints: Vec<SocketAddr>,
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
