//! Connections that are no longer HTTP: they learn of the gateway's end, and the gateway of theirs.

use std::sync::Arc;

use tokio::sync::watch;

/// All upgraded connections of a listener.
#[derive(Clone, Debug, Default)]
pub struct Upgrades(Arc<watch::Sender<bool>>);

/// What a request has that may become another protocol, for as long as that is spoken.
#[derive(Clone, Debug)]
pub struct Lease(watch::Receiver<bool>);

impl Upgrades {
    pub fn lease(&self) -> Lease {
        Lease(self.0.subscribe())
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
        let _ = self.0.wait_for(|ends| *ends).await;
    }
}
