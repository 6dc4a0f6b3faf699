//! Events of clusters.

use std::{fmt, future::Future, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use tower::BoxError;

use crate::Kite;

type Tell = Arc<dyn Fn(Kite, ClusterEvent) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

/// What has happened to a cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClusterEvent {
    /// What has happened.
    pub change: ClusterChange,
    /// The cluster's name; the home cluster has one here too.
    pub cluster: String,
}

/// What may happen to a cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClusterChange {
    /// It is there: new, or the plugin has just become ready.
    Added,
    /// What is known of it has changed.
    Updated,
    /// It is gone.
    Removed,
}

/// A plugin's hook for events of clusters.
///
/// Events come one at a time, in their order. One that the hook fails on comes again, so that the same one may come twice. One that was removed
/// while nobody could tell is told as [`Removed`](ClusterChange::Removed) when the host tells again what there is.
#[derive(Clone)]
pub struct ClusterEvents(Tell);

impl ClusterEvents {
    /// Events are told to `hook`. Its error goes to the log.
    pub fn new<Run, Running>(hook: Run) -> Self
    where
        Run: Fn(Kite, ClusterEvent) -> Running + Send + Sync + 'static,
        Running: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let hook = Arc::new(hook);
        Self(Arc::new(move |kite, event| {
            let hook = Arc::clone(&hook);
            async move { hook(kite, event).await }.boxed()
        }))
    }

    pub(crate) fn tell(&self, kite: Kite, event: ClusterEvent) -> BoxFuture<'static, Result<(), BoxError>> {
        (self.0)(kite, event)
    }
}

impl fmt::Debug for ClusterEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterEvents")
    }
}
