//! What the cluster asks: `/healthz`, whether the process turns, `/readyz`, whether it does its work, and `/metrics`.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use axum::{Router, extract::State, http::StatusCode, routing::get};

use crate::{boundary::Boundary, metrics::Metrics};

/// What is told of the operator; shared by those who find it out and the routes.
#[derive(Clone, Debug, Default)]
pub struct Health {
    pub readiness: Readiness,
    pub boundary: Boundary,
    pub metrics: Metrics,
}

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

/// The routes. A boundary that is not whole is told with 200: plugins that run are not to suffer for it.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route(
            "/readyz",
            get(
                async |State(Health {
                           readiness, boundary, ..
                       }): State<Health>| {
                    let (status, text) = readiness.answer();
                    (status, format!("{text}{}", boundary.text()))
                },
            ),
        )
        .route("/metrics", get(async |State(health): State<Health>| health.metrics))
        .with_state(health)
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
