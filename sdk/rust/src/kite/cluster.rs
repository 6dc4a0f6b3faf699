//! The cluster that a call is about.

use std::{convert::Infallible, fmt};

use axum::{extract::FromRequestParts, http::request::Parts};

/// The cluster that a call is about. Without a name it is the home cluster, in which the plugin runs.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Cluster(pub(crate) String);

impl Cluster {
    /// The cluster's name; `None` is the home cluster.
    pub fn name(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|name| !name.is_empty())
    }

    /// Whether it is the cluster in which the plugin runs.
    pub fn is_home(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or("the home cluster"))
    }
}

impl<S: Sync> FromRequestParts<S> for Cluster {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}
