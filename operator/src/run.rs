//! The operator's life: identity first, then the controller, and an orderly end.

use std::sync::Arc;

use kite_api::error_chain;
use kube::Client;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Options, backoff, boundary, controller,
    health::{self, Health},
    identity::{Identity, gateway, secrets},
};

/// Why the operator could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("failed to listen for signals")]
    Signal(#[source] std::io::Error),
    #[error("failed to find out how to reach the API server")]
    Configure(#[source] Box<kube::Error>),
    #[error("failed to listen on {address}")]
    Listen {
        address: std::net::SocketAddr,
        source: std::io::Error,
    },
    #[error("failed to serve health")]
    Serve(#[source] std::io::Error),
}

/// Runs against the cluster that the environment names, until SIGTERM or SIGINT.
pub async fn until_signal(options: Options) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    install_crypto();
    let client = Client::try_default()
        .await
        .map_err(|error| RunError::Configure(Box::new(error)))?;
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopper.cancel();
    });
    run(client, options, stop).await
}

/// Makes ring the one cryptography of this process. A second call changes nothing.
pub fn install_crypto() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("the process has its cryptography already");
    }
}

/// Runs against the cluster of `client` until `stop` is cancelled.
pub async fn run(client: Client, options: Options, stop: CancellationToken) -> Result<(), RunError> {
    let address = options.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    let health = Health::default();
    let serve = axum::serve(listener, health::router(health.clone()))
        .with_graceful_shutdown(stop.clone().cancelled_owned())
        .into_future();
    let work = async {
        let Some(identity) = establish(&client, &options, &stop).await else {
            return;
        };
        let identity = Arc::new(identity);
        health.readiness.identity_exists();
        tokio::join!(
            gateway::keep(
                &identity,
                &client,
                &options.namespaces.system,
                &options.gateway_names,
                &stop
            ),
            controller::run(&client, &options, Arc::clone(&identity), &health, &stop),
        );
    };
    // Whatever becomes of the rest, it tells whether the boundary is drawn.
    let watch = Box::pin(boundary::watch(&client, &options.namespaces, &health, &stop));
    tracing::info!(%address, "the operator starts");
    let (served, (), ()) = tokio::join!(serve, work, watch);
    served.map_err(RunError::Serve)
}

/// Reads or makes the identity, as often as it takes. `None`: the operator was told to stop before.
async fn establish(client: &Client, options: &Options, stop: &CancellationToken) -> Option<Identity> {
    let mut failures = 0;
    loop {
        let attempt = async {
            let identity = secrets::load_or_make(client, &options.namespaces.system).await?;
            gateway::ensure(&identity, client, &options.namespaces.system, &options.gateway_names).await?;
            Ok::<_, secrets::IdentityError>(identity)
        };
        let error = tokio::select! {
            () = stop.cancelled() => return None,
            result = attempt => match result {
                Ok(identity) => return Some(identity),
                Err(error) => error,
            },
        };
        failures += 1;
        let wait = backoff::delay(failures);
        tracing::error!(error = error_chain(&error), retry_in = ?wait, "the CAs and the gateway's certificates are not there");
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
