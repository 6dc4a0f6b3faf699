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
    access_log::AccessLog,
    account::Recorder,
    audit::{Lines, Trail},
    directory::Table,
    flags::{EntranceFlags, Flags},
    kubernetes::{SharedSessions, SubjectAccessReviews, TokenReviews, Watched, watch},
    metrics::Metrics,
    peer::authorities::{Authorities, AuthoritiesError},
    pipeline::{Gateway, arrival::Entrance},
    recent::{RandomError, RecentDecisions, RecentIdentities},
    serve,
    session::Sessions,
    slowdown::Slowdown,
    tls::{self, TlsError},
    traces::{Traces, TracesError},
    upstream::Upstream,
};

/// Between the signal to end and the end of accepting: by then the cluster sends new connections elsewhere.
const NOTICE: Duration = Duration::from_secs(5);
/// What is under way then may take this long. Together the two stay below the pod's grace period.
const GRACE: Duration = Duration::from_secs(25);

/// Where browsers send the cookie of a session.
const COOKIE_PATH: &str = "/";
/// How long a caller may keep a plugin waiting for more of a body, and take to send the arguments of a tool.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("failed to load the serving certificate")]
    Serving(#[source] TlsError),
    #[error("failed to load the client certificate")]
    Client(#[source] TlsError),
    #[error("failed to load the CAs of client certificates")]
    Authorities(#[source] AuthoritiesError),
    #[error("failed to find the Kubernetes API")]
    Kubernetes(#[source] kube::Error),
    #[error("failed to make a key")]
    Random(#[source] RandomError),
    #[error("failed to listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("failed to start what records are written by")]
    Records(#[source] io::Error),
    #[error("failed to send spans")]
    Traces(#[source] TracesError),
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
    let authorities = authorities(&flags.entrance).map_err(StartError::Authorities)?;
    tokio::spawn(authorities.clone().keep());
    let config = tls::server(&flags.serving_dir, authorities.verifier()).await;
    let config = config.map_err(StartError::Serving)?;
    // Read again for each connection; here only so that a missing file is told at once.
    tls::client(&flags.client_dir).await.map_err(StartError::Client)?;
    let certificate_end = tls::end(&flags.serving_dir).await.map_err(StartError::Serving)?;
    let client = kube::Client::try_default().await.map_err(StartError::Kubernetes)?;

    let lifetimes = flags.lifetimes();
    let recorder = Arc::new(recorder(&flags).await?);
    let metrics = Arc::clone(&recorder.metrics);
    metrics.certificate_ends(certificate_end);
    let upstream = Arc::new(Upstream::new(flags.client_dir).counted_in(Arc::clone(&metrics)));
    let directory = followed(client.clone(), flags.plugins_namespace, &upstream, &metrics);

    let ending = Arc::new(AtomicBool::new(false));
    let entrance = Entrance {
        sessions: Some(sessions(client.clone(), &flags.entrance, lifetimes.outage)),
        authorities,
        slowdown: Slowdown::default(),
        origins: flags.entrance.public_origins,
    };
    let reviews = TokenReviews::new(client.clone(), flags.entrance.token_audiences);
    let identities = RecentIdentities::new(reviews, lifetimes, Arc::clone(&metrics.identities));
    let gateway = Arc::new(Gateway {
        authenticator: identities.map_err(StartError::Random)?,
        authorizer: RecentDecisions::new(
            SubjectAccessReviews::new(client),
            lifetimes,
            Arc::clone(&metrics.decisions),
        ),
        directory,
        entrance,
        upstream,
        body_timeout: BODY_TIMEOUT,
        home_cluster: flags.home_cluster,
        ending: Arc::clone(&ending),
        recorder: Arc::clone(&recorder),
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
    end(recorder).await;
    tracing::info!("ended");
    Ok(())
}

fn authorities(flags: &EntranceFlags) -> Result<Authorities, AuthoritiesError> {
    Authorities::load(
        flags.client_ca_file.as_deref(),
        flags.proxy_ca_file.as_deref(),
        &flags.proxy_names,
    )
}

/// Sessions as all gateways know them, kept current from now on.
fn sessions(client: kube::Client, flags: &EntranceFlags, outage: Duration) -> Sessions {
    let lasting = flags.lasting(outage);
    let shared = SharedSessions::new(client, &flags.system_namespace, lasting.longest);
    tokio::spawn(shared.clone().keep());
    Sessions::new(shared.latest(), shared, lasting, COOKIE_PATH.to_owned())
}

/// The table of plugins, which is kept current from now on.
fn followed(client: kube::Client, namespace: String, upstream: &Arc<Upstream>, metrics: &Arc<Metrics>) -> Watched {
    let directory = Watched::default();
    let (watched, upstream, metrics) = (directory.clone(), Arc::clone(upstream), Arc::clone(metrics));
    let changed = move |table: &Table| {
        upstream.keep_only(table);
        metrics.changed(table);
    };
    tokio::spawn(async move { watch(client, &namespace, watched, changed).await });
    directory
}

/// All that records go to.
async fn recorder(flags: &Flags) -> Result<Recorder, StartError> {
    let traces = match flags.collector() {
        Some(collector) => Some(Traces::to(&collector).await.map_err(StartError::Traces)?),
        None => None,
    };
    let access_log = flags.access_log.then(AccessLog::stderr).transpose();
    Ok(Recorder {
        cluster: flags.home_cluster.as_str().into(),
        trail: Trail::start(Lines::stdout()).map_err(StartError::Records)?,
        access_log: access_log.map_err(StartError::Records)?,
        metrics: Arc::default(),
        traces,
    })
}

/// Has everything written that is still to be written.
async fn end(recorder: Arc<Recorder>) {
    let others = Arc::clone(&recorder);
    let others = tokio::task::spawn_blocking(move || {
        if let Some(log) = &others.access_log {
            log.flush();
        }
        if let Some(traces) = &others.traces {
            traces.end();
        }
    });
    // Nothing of it panics, and whatever could not be written is lost now.
    let _ = tokio::join!(recorder.trail.settle(), others);
}
