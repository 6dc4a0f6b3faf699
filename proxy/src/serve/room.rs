//! Room for connections: who finds none waits before the gateway has taken them in.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::limits::{Limits, TOLD};

/// Room for connections, shared by all threads.
#[derive(Clone, Debug)]
pub struct Room {
    pub(super) limits: Limits,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    /// When the log was told last that there is none.
    told: Arc<Mutex<Option<Instant>>>,
}

/// What a connection takes up for as long as it is there.
pub(super) struct Place {
    pub(super) connection: Arc<OwnedSemaphorePermit>,
    /// Until TLS is agreed on.
    pub(super) handshake: OwnedSemaphorePermit,
}

impl Room {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            connections: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            told: Arc::default(),
        }
    }

    /// A place for the next connection, as soon as there is one.
    pub(super) async fn place(&self) -> Option<Place> {
        if self.connections.available_permits() == 0 || self.handshakes.available_permits() == 0 {
            self.tell();
        }
        // They are never closed.
        let connection = Arc::clone(&self.connections).acquire_owned().await.ok()?;
        let handshake = Arc::clone(&self.handshakes).acquire_owned().await.ok()?;
        Some(Place {
            connection: Arc::new(connection),
            handshake,
        })
    }

    fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TOLD) {
            *told = Some(Instant::now());
            let (connections, handshakes) = (
                self.connections.available_permits(),
                self.handshakes.available_permits(),
            );
            tracing::warn!(connections, handshakes, "there is no room: new connections wait");
        }
    }
}
