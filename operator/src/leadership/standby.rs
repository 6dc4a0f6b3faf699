//! Whether a replica that waits to lead could: it tries beforehand what it would need first.

use std::time::Duration;

use kite_api::{KitePlugin, error_chain};
use kube::{Api, Client, api::ListParams};
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    Options,
    health::Readiness,
    identity::secrets::{IdentityError, Store},
};

/// How often what went wrong is tried again, and what went well.
const AGAIN: Duration = Duration::from_secs(2);
const WELL: Duration = Duration::from_secs(30);
/// Most that trying may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a replica would lack if it had to lead now.
#[derive(Debug, thiserror::Error)]
pub enum StandbyError {
    #[error("failed to list the plugins")]
    List(#[source] Box<kube::Error>),
    #[error("failed to read the CAs")]
    Identity(#[source] IdentityError),
    #[error("failed to find the CAs, which the replica that leads makes")]
    NoIdentity,
    #[error("failed to get answers within {} s", PATIENCE.as_secs())]
    Silence,
}

/// Tries until `stop`, while this replica waits to lead.
pub async fn watch(client: &Client, options: &Options, readiness: &Readiness, stop: &CancellationToken) {
    let store = Store::new(client, &options.namespaces.system, options.lives);
    let mut turns = tokio::time::interval(AGAIN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tried: Option<Instant> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = turns.tick() => {}
        }
        let stands = readiness.is_able() && tried.is_some_and(|tried| tried.elapsed() < WELL);
        if !readiness.waits() || stands {
            continue;
        }
        tried = Some(Instant::now());
        let outcome = timeout(PATIENCE, attempt(client, &store)).await;
        let outcome = outcome.unwrap_or(Err(StandbyError::Silence));
        readiness.able(outcome.map_err(|error| error_chain(&error)));
    }
}

async fn attempt(client: &Client, store: &Store) -> Result<(), StandbyError> {
    let plugins: Api<KitePlugin> = Api::all(client.clone());
    let one = ListParams::default().limit(1);
    let listed = plugins.list_metadata(&one).await;
    listed.map_err(|error| StandbyError::List(error.into()))?;
    match store.exist().await {
        Ok(true) => Ok(()),
        Ok(false) => Err(StandbyError::NoIdentity),
        Err(error) => Err(StandbyError::Identity(error)),
    }
}
