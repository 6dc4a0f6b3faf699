//! What a caller may do, remembered for seconds.

use std::sync::Arc;

use kite_api::{PluginName, Verb, rights::Right};

use super::{Lifetimes, Recent};
use crate::{
    metrics::Lookups,
    pipeline::{
        authenticate::{Caller, Identity},
        authorize::{Access, AuthorizeError, Authorizer, Part},
    },
};

/// Most decisions that are remembered: what 100,000 callers ask of a plugin and of what it requires. Full of the longest names, they and as many
/// identities as there may be stay within the memory that the chart gives the gateway.
const MOST: u64 = 250_000;

/// An authorizer whose decisions hold for moments, for the caller whose they are.
pub struct RecentDecisions<Z> {
    authorizer: Z,
    decisions: Recent<(Identity, Asked), bool>,
}

/// A right, as a key.
#[derive(Clone, Eq, Hash, PartialEq)]
enum Asked {
    Plugin(Part, Verb, PluginName),
    Cluster(Right),
    NonResource(&'static str),
}

impl<Z> RecentDecisions<Z> {
    pub fn new(authorizer: Z, lifetimes: Lifetimes, lookups: Arc<Lookups>) -> Self {
        Self {
            authorizer,
            decisions: Recent::new(MOST, lifetimes, |allowed| *allowed, lookups),
        }
    }
}

impl<Z: Authorizer> Authorizer for RecentDecisions<Z> {
    async fn allows(&self, caller: &Caller, access: Access<'_>) -> Result<bool, AuthorizeError> {
        let asked = match access {
            Access::Plugin { part, verb, plugin } => Asked::Plugin(part, verb, plugin.clone()),
            Access::Cluster(right) => Asked::Cluster(right.clone()),
            Access::NonResource { path } => Asked::NonResource(path),
        };
        let key = (caller.identity(), asked);
        let ask = || self.authorizer.allows(caller, access);
        self.decisions.answer(key, ask).await
    }
}
