//! What the kubelet asks: `/healthz`, whether the process turns, and `/readyz`, whether it does its work.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use axum::{Router, extract::State, http::StatusCode, routing::get};

/// How far the operator's start has come; shared by those who get it there and the route that tells.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

const IDENTITY: u8 = 1;
const SYNCED: u8 = 2;

impl Readiness {
    /// The CAs and the gateway's certificates exist.
    pub fn identity_exists(&self) {
        self.0.fetch_or(IDENTITY, Ordering::Relaxed);
    }

    /// All plugins were read and are watched.
    pub fn watch_is_synced(&self) {
        self.0.fetch_or(SYNCED, Ordering::Relaxed);
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        let reached = self.0.load(Ordering::Relaxed);
        if reached & IDENTITY == 0 {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the CAs could not be read or made yet: see the operator's log\n",
            )
        } else if reached & SYNCED == 0 {
            (StatusCode::SERVICE_UNAVAILABLE, "the plugins have not been read yet\n")
        } else {
            (StatusCode::OK, "ok\n")
        }
    }
}

/// The routes.
pub fn router(readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route(
            "/readyz",
            get(async |State(readiness): State<Readiness>| readiness.answer()),
        )
        .with_state(readiness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_said_when_the_identity_exists_and_the_watch_is_synced() {
        let readiness = Readiness::default();
        assert_eq!(readiness.answer().0, StatusCode::SERVICE_UNAVAILABLE);
        readiness.watch_is_synced();
        assert_eq!(readiness.answer().0, StatusCode::SERVICE_UNAVAILABLE);
        readiness.identity_exists();
        assert_eq!(readiness.answer().0, StatusCode::OK);
    }
}
