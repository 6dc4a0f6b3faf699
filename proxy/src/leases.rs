//! Connections learn of the gateway's end, and the gateway of theirs: those of HTTP, and those that are HTTP no longer.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, watch};

/// All connections of a kind of a listener.
#[derive(Clone, Debug, Default)]
pub struct Leases(Arc<watch::Sender<bool>>);

/// What a connection has for as long as it is there: one of HTTP, and a request that may become another protocol.
#[derive(Clone, Debug)]
pub struct Lease {
    told: watch::Receiver<bool>,
    /// The connection's place among all that there may be.
    _place: Arc<OwnedSemaphorePermit>,
}

impl Leases {
    pub fn lease(&self, place: Arc<OwnedSemaphorePermit>) -> Lease {
        Lease {
            told: self.0.subscribe(),
            _place: place,
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.receiver_count()
    }

    /// Tells all of them, and those that are still to come, to end.
    pub fn end(&self) {
        self.0.send_replace(true);
    }

    /// When there are none.
    pub async fn ended(&self) {
        self.0.closed().await;
    }
}

impl Lease {
    /// When the gateway ends.
    pub async fn told(&mut self) {
        // Fails only if the listener is gone, which is the end too.
        let _ = self.told.wait_for(|ends| *ends).await;
    }
}
