//! Serving a plugin: from its start to the end of its last request.

mod assemble;
mod config;
mod health;
#[cfg(feature = "in-memory")]
mod in_memory;
mod panics;
mod signals;
mod termination;
mod tls;

use std::{fmt, future::Future, io, time::Duration};

pub use config::Config;
#[cfg(feature = "in-memory")]
pub use in_memory::in_memory;
use kite_api::{error_chain, name::NameError};
use kite_proto::{MAX_CHUNK, MAX_METADATA, NAME_VARIABLE, plugin_server::PluginServer};
pub use panics::Panicked;
use tls::Tls;
pub use tls::{Certificates, TlsError};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout, timeout_at},
};
use tracing::{info, warn};

use crate::{
    Kite, Plugin,
    definitions::DefinitionError,
    kite::{Gateway, Source},
    manifest::ManifestError,
    service::MAX_MESSAGE,
    telemetry,
};

/// How long before the plugin is killed what it holds is released, whatever is under way.
const RELEASE: Duration = Duration::from_secs(5);
/// How long before the plugin is killed it ends by itself.
const MARGIN: Duration = Duration::from_secs(1);
/// Each gateway uses one connection, for all that it has for the plugin.
const MAX_STREAMS: u32 = 1024;
/// Streams that were reset before they were begun, and those that were reset for what came too late for them. Both
/// happen in good faith: callers go away. The limits are there for peers that do nothing else.
const MAX_RESETS: usize = 4096;
/// What may wait unread for each request: with [`MAX_STREAMS`] the bound of a connection's memory.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The most that HTTP/2 allows. All requests share it, and what waits unread for one of them counts against it: were it
/// smaller than their windows together, a few handlers that do not read would stop every other.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Why a plugin could not be served. Its `Debug` is a sentence too, so that `main` may return it.
#[derive(thiserror::Error)]
pub enum ServeError {
    /// The environment does not say what the plugin is called.
    #[error(
        "failed to learn the plugin's name: the environment variable {NAME_VARIABLE} is not set; the operator sets it, by hand set it to the name of the KitePlugin"
    )]
    NameAbsent,
    /// The environment says that the plugin is called what no plugin can be.
    #[error("failed to accept the plugin's name {name:?} in the environment variable {NAME_VARIABLE}")]
    Name {
        /// The name.
        name: String,
        /// The cause.
        source: NameError,
    },
    /// The environment tells the plugin to listen on what is no IP address.
    #[error(
        "failed to read {address:?} in the environment variable {} as an IP address: in a pod it is not set",
        kite_proto::ADDRESS_VARIABLE
    )]
    Address {
        /// What stands there.
        address: String,
        /// The cause.
        source: std::net::AddrParseError,
    },
    /// The environment says for how long the plugin may go on after it was told to stop, and that is no number.
    #[error(
        "failed to read {seconds:?} in the environment variable {} as a number of seconds",
        kite_proto::GRACE_VARIABLE
    )]
    Grace {
        /// What stands there.
        seconds: String,
        /// The cause.
        source: std::num::ParseIntError,
    },
    /// The embedded `plugin.yaml` is no good.
    #[error("failed to read the plugin.yaml that the plugin was built with")]
    Manifest(#[from] ManifestError),
    /// What the plugin offers is no good.
    #[error("failed to check what the plugin offers")]
    Definitions(#[from] DefinitionError),
    /// A method of the plugin panicked, as axum does if a route is no good.
    #[error("failed to put the plugin together: it panicked: {0}")]
    Panicked(Panicked),
    /// A port is taken, for example.
    #[error("failed to listen on port {port}")]
    Listen {
        /// The port.
        port: u16,
        /// The cause.
        source: io::Error,
    },
    /// Certificate, key and CA do not fit together.
    #[error("failed to use the certificate, its key and the clients' CA")]
    Tls(#[from] TlsError),
    /// The process cannot be told to stop.
    #[error("failed to listen for signals")]
    Signals(#[source] io::Error),
    /// The plugin's port broke.
    #[error("failed to serve the plugin")]
    Serve(#[source] tonic::transport::Error),
    /// The health port broke.
    #[error("failed to serve the health port")]
    ServeHealth(#[source] tonic::transport::Error),
}

impl fmt::Debug for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&error_chain(self))
    }
}

/// Serves `plugin` as the operator runs it, until SIGTERM or SIGINT.
///
/// The plugin's name is in the environment variable `KITE_PLUGIN_NAME`; certificate, key and the clients' CA are in
/// `/run/kite`. The protocol is served on port 9443, to clients with a certificate of that CA only; health on port 9440.
/// Logs go to stderr, as JSON, by `tracing`. Told to stop, it takes no new requests and ends when those under way have
/// ended, and what the plugin holds is released. Five seconds before the kubelet's patience ends, of which `KITE_GRACE_SECONDS`
/// tells, it waits no longer. New certificates in `/run/kite` are used
/// within seconds. Why it failed is left in `/dev/termination-log` too.
pub async fn serve(plugin: impl Plugin) -> Result<(), ServeError> {
    telemetry::install();
    let served = async {
        let stop = signals::stop().map_err(ServeError::Signals)?;
        serve_with(plugin, Config::of_environment().await?, stop).await
    };
    served.await.inspect_err(termination::tell)
}

/// Serves `plugin` as `config` says, until `stop` completes: for tests, and for programs that are more than a plugin.
///
/// It installs rustls's ring provider as the process's default, unless there is one.
pub async fn serve_with(
    plugin: impl Plugin,
    config: Config,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    // Fails only if there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Config {
        name,
        listener,
        health_listener,
        certificates,
        kube,
        gateway,
        grace,
    } = config;
    let kite = Kite::new(kube.map_or_else(Source::default, Source::given), Gateway::of(&gateway));
    // True while the plugin takes requests.
    let (serving, stopping) = watch::channel(true);
    let metrics = kite.metrics().clone();
    let assembled = panics::caught(|| assemble::assemble(&plugin, name, kite, serving.clone()));
    let service = assembled.map_err(ServeError::Panicked)??;
    let shutdown = service.hooks.shutdown.clone();
    let tls = Tls::new(certificates).await?;
    info!(plugin = %service.name, version = %service.version, tools = service.offered.tools.len(), "serving");
    let router = limits().add_service(PluginServer::new(service).max_decoding_message_size(MAX_MESSAGE));

    let (end, ended) = oneshot::channel::<()>();
    let until_told = async move {
        // Fails only if the sender is gone, which is the end too.
        let _ = ended.await;
    };
    let incoming = tls.incoming(listener, stopping.clone());
    let mut protocol = Box::pin(router.serve_with_incoming_shutdown(incoming, until_told));
    let mut health = Box::pin(health::serve(health_listener, stopping, metrics));
    tokio::select! {
        ended = &mut protocol => return ended.map_err(ServeError::Serve),
        ended = &mut health => return ended.map_err(ServeError::ServeHealth),
        () = tls.renew() => {}
        () = stop => {}
    }

    info!("stopping");
    serving.send_replace(false);
    let told = Instant::now();
    let patience = grace.saturating_sub(RELEASE);
    // Fails only if the server has ended, which is noticed below.
    let _ = end.send(());
    tokio::select! {
        ended = timeout(patience, protocol) => {
            if let Ok(ended) = ended {
                ended.map_err(ServeError::Serve)?;
            } else {
                warn!("requests that did not end in {} s were dropped", patience.as_secs());
            }
        }
        ended = health => return ended.map_err(ServeError::ServeHealth),
    }
    if let Some(shutdown) = shutdown
        && timeout_at(told + grace.saturating_sub(MARGIN), shutdown.run())
            .await
            .is_err()
    {
        warn!("the plugin did not release what it holds in time");
    }
    info!("stopped");
    Ok(())
}

fn limits() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_METADATA)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_RESETS))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(u32::try_from(MAX_CHUNK).ok())
        .http2_keepalive_interval(Some(KEEPALIVE))
}
