//! What a caller may do, and the trait that knows it.

use std::sync::Arc;

use kite_api::{PluginName, Verb, rights::Right};
use tokio::time::error::Elapsed;

use super::authenticate::Caller;

/// Says what a caller may do.
pub trait Authorizer: Send + Sync + 'static {
    /// Whether `caller` has the right that `access` names.
    fn allows(&self, caller: &Caller, access: Access<'_>) -> impl Future<Output = Result<bool, AuthorizeError>> + Send;
}

/// One for several gateways, as each thread has.
impl<Z: Authorizer> Authorizer for Arc<Z> {
    async fn allows(&self, caller: &Caller, access: Access<'_>) -> Result<bool, AuthorizeError> {
        Z::allows(self, caller, access).await
    }
}

/// A right that a caller may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access<'a> {
    /// One on a plugin, whether there is such a plugin or not.
    Plugin {
        part: Part,
        verb: Verb,
        plugin: &'a PluginName,
    },
    /// One of the cluster's own, such as a plugin asks of its callers.
    Cluster(&'a Right),
    /// One to read what is no object, by its path.
    NonResource { path: &'static str },
}

/// What of a plugin a right is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Part {
    /// The object itself, `kiteplugins`.
    Object,
    /// Its routes, `kiteplugins/proxy`.
    Proxy,
    /// Its tools, `kiteplugins/tools`.
    Tools,
}

impl Part {
    /// The subresource of `kiteplugins` that stands for it.
    pub fn subresource(self) -> Option<&'static str> {
        match self {
            Self::Object => None,
            Self::Proxy => Some("proxy"),
            Self::Tools => Some("tools"),
        }
    }
}

/// Why nobody could say what the caller may do. Shared by all who waited for the same answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("failed to review the caller's access")]
pub struct AuthorizeError(#[source] pub Arc<dyn std::error::Error + Send + Sync>);

impl From<Elapsed> for AuthorizeError {
    fn from(late: Elapsed) -> Self {
        Self(Arc::new(late))
    }
}
