//! What a caller may do with a plugin, and the trait that knows it.

use kite_api::{PluginName, Verb};

use super::authenticate::Caller;
use crate::BoxError;

/// Says what a caller may do.
pub trait Authorizer: Send + Sync + 'static {
    /// Whether `caller` has the right that `access` names.
    fn allows(&self, caller: &Caller, access: Access<'_>) -> impl Future<Output = Result<bool, AuthorizeError>> + Send;
}

/// A right on one plugin, whether there is such a plugin or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Access<'a> {
    pub part: Part,
    pub verb: Verb,
    pub plugin: &'a PluginName,
}

/// What of a plugin a right is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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

/// Why nobody could say what the caller may do.
#[derive(Debug, thiserror::Error)]
#[error("failed to review the caller's access")]
pub struct AuthorizeError(#[source] pub BoxError);
