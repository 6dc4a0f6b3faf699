//! From flags to a serving gateway, and to its end.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tracing::Level;
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::filter_fn, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    flags::{Flags, Switch},
    kubernetes::{SubjectAccessReviews, TokenReviews, Watched, watch},
    pipeline::Gateway,
    recent::{RandomError, RecentDecisions, RecentIdentities},
    serve,
    tls::{self, TlsError},
    upstream::Upstream,
};

/// Between the signal to end and the end of accepting: by then the cluster sends new connections elsewhere.
const NOTICE: Duration = Duration::from_secs(5);
/// What is under way then may take this long. Together the two stay below the pod's grace period.
const GRACE: Duration = Duration::from_secs(25);

/// How long a caller may keep a plugin waiting for more of a body, and take to send the arguments of a tool.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("failed to load the serving certificate")]
    Serving(#[source] TlsError),
    #[error("failed to load the client certificate")]
    Client(#[source] TlsError),
    #[error("failed to find the Kubernetes API")]
    Kubernetes(#[source] kube::Error),
    #[error("failed to make a key")]
    Random(#[source] RandomError),
    #[error("failed to listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("failed to wait for signals")]
    Signals(#[source] io::Error),
}

/// Sets the log up: JSON on stderr, filtered by `RUST_LOG`. Other crates say no more than warnings whatever it asks
/// for, because their details hold what callers sent, tokens included.
pub fn log() {
    let wanted = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let safe = filter_fn(|event| event.target().starts_with("kite_gateway") || *event.level() <= Level::WARN);
    let lines = tracing_subscriber::fmt::layer().json().with_writer(io::stderr);
    tracing_subscriber::registry()
        .with(wanted)
        .with(lines.with_filter(safe))
        .init();
}

/// Serves until the process is told to end.
pub async fn run(flags: Flags) -> Result<(), StartError> {
    // Whoever was first chose; the libraries that ask for the default get ring either way.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let config = tls::server(&flags.serving_dir).await.map_err(StartError::Serving)?;
    // Read again for each connection; here only so that a missing file is told at once.
    tls::client(&flags.client_dir).await.map_err(StartError::Client)?;
    let client = kube::Client::try_default().await.map_err(StartError::Kubernetes)?;

    let lifetimes = flags.lifetimes();
    let upstream = Arc::new(Upstream::new(flags.client_dir).with_exchange(flags.exchange == Switch::On));
    let directory = Watched::default();
    let (watched, kept) = (directory.clone(), Arc::clone(&upstream));
    let (watching, namespace) = (client.clone(), flags.plugins_namespace);
    tokio::spawn(async move { watch(watching, &namespace, watched, |table| kept.keep_only(table)).await });

    let ending = Arc::new(AtomicBool::new(false));
    let identities = RecentIdentities::new(TokenReviews::new(client.clone()), lifetimes);
    let gateway = Arc::new(Gateway {
        authenticator: identities.map_err(StartError::Random)?,
        authorizer: RecentDecisions::new(SubjectAccessReviews::new(client), lifetimes),
        directory,
        upstream,
        body_timeout: BODY_TIMEOUT,
        home_cluster: flags.home_cluster,
        ending: Arc::clone(&ending),
    });
    let listener = TcpListener::bind(flags.listen)
        .await
        .map_err(|error| StartError::Listen(flags.listen, error))?;
    tracing::info!(address = %flags.listen, version = env!("CARGO_PKG_VERSION"), "serving");
    let ended = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        ending.store(true, Ordering::Relaxed);
        tracing::info!("told to end");
        tokio::time::sleep(NOTICE).await;
    };
    let answer = move |request| {
        let gateway = Arc::clone(&gateway);
        async move { gateway.answer(request).await }
    };
    serve::serve(listener, config, answer, ended, GRACE).await;
    tracing::info!("ended");
    Ok(())
}
