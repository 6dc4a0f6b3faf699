//! From flags to a serving gateway, and to its end.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{ClientConfig, ServerConfig};
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::{Barrier, watch},
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
    flags::{EntranceFlags, Flags, Switch},
    kubernetes::{SharedSessions, SubjectAccessReviews, TokenReviews, Watched, watch as watch_all},
    metrics::Metrics,
    peer::authorities::{Authorities, AuthoritiesError},
    pipeline::{Gateway, arrival::Entrance, authenticate::Authenticator, authorize::Authorizer},
    recent::{RandomError, RecentDecisions, RecentIdentities},
    serve::{self, Limits, Room},
    session::Sessions,
    slowdown::Slowdown,
    tls::{
        self, TlsError,
        reload::{LOOK, Reloaded},
    },
    traces::{Traces, TracesError},
    upstream::{Times, Upstream},
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
    #[error("failed to load the CAs of client certificates")]
    Authorities(#[source] AuthoritiesError),
    #[error("failed to find the Kubernetes API")]
    Kubernetes(#[source] kube::Error),
    #[error("failed to make a key")]
    Random(#[source] RandomError),
    #[error("failed to make a runtime")]
    Runtime(#[source] io::Error),
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

/// Serves until the process is told to end, on as many threads as `flags` say.
pub fn run(flags: &Flags) -> Result<(), StartError> {
    // Whoever was first chose; the libraries that ask for the default get ring either way.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let threads = flags.threads();
    let listeners = serve::listeners(flags.listen, threads).map_err(|error| StartError::Listen(flags.listen, error))?;
    let mut runtimes = (0..threads).map(|_| runtime());
    let first = runtimes.next().unwrap_or_else(runtime)?;
    let others: Vec<_> = runtimes.collect::<Result<_, _>>()?;
    let recording = recording()?;
    let recorder = Arc::new(recording.block_on(recorder(flags))?);
    let prepared = first.block_on(prepare(flags, threads, Arc::clone(&recorder)))?;
    let mut workers = prepared.workers(listeners).into_iter();
    let own = workers.next();
    tracing::info!(address = %flags.listen, threads, version = env!("CARGO_PKG_VERSION"), "serving");
    let others = others.into_iter().zip(workers.map(Worker::serve)).collect();
    serve_all((first, own.map(|own| prepared.serve(own))), others);
    recording.block_on(end(recorder));
    tracing::info!("ended");
    Ok(())
}

fn runtime() -> Result<Runtime, StartError> {
    let mut builder = runtime::Builder::new_current_thread();
    builder.enable_all().build().map_err(StartError::Runtime)
}

/// What spans are sent by: it outlives the runtimes in which they are made.
fn recording() -> Result<Runtime, StartError> {
    let mut builder = runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(1).thread_name("records").enable_all();
    builder.build().map_err(StartError::Runtime)
}

/// Serves to the end, with the runtimes too: what was cut off is dropped, and so recorded, before this returns.
fn serve_all<F, O>((first, own): (Runtime, Option<F>), others: Vec<(Runtime, O)>)
where
    F: Future<Output = ()>,
    O: Future<Output = ()> + Send,
{
    thread::scope(|scope| {
        for (runtime, other) in others {
            scope.spawn(move || {
                runtime.block_on(other);
                drop(runtime);
            });
        }
        if let Some(own) = own {
            first.block_on(own);
        }
        drop(first);
    });
}

/// What all threads share, and what only the first has.
struct Prepared<N, Z> {
    client: kube::Client,
    namespace: String,
    gateway: Gateway<N, Z, Watched>,
    /// Those of each thread, as their connections live where they were made.
    upstreams: Arc<[Arc<Upstream>]>,
    serving_dir: PathBuf,
    serving: Arc<Reloaded<ServerConfig>>,
    calling: Reloaded<ClientConfig>,
    terminate: Signal,
    interrupt: Signal,
    /// Set when nothing is accepted any more.
    ended: watch::Sender<bool>,
}

type Identities = Arc<RecentIdentities<TokenReviews>>;
type Decisions = Arc<RecentDecisions<SubjectAccessReviews>>;

async fn prepare(
    flags: &Flags,
    threads: usize,
    recorder: Arc<Recorder>,
) -> Result<Prepared<Identities, Decisions>, StartError> {
    let terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let authorities = authorities(&flags.entrance).map_err(StartError::Authorities)?;
    let serving = tls::serving(&flags.serving_dir, authorities.verifier()).await;
    let serving = serving.map_err(StartError::Serving)?;
    let calling = tls::calling(&flags.client_dir).await.map_err(StartError::Client)?;
    let client = kube::Client::try_default().await.map_err(StartError::Kubernetes)?;
    let lifetimes = flags.lifetimes();
    let metrics = Arc::clone(&recorder.metrics);
    let reviews = TokenReviews::new(client.clone(), flags.entrance.token_audiences.clone());
    let identities = RecentIdentities::new(reviews, lifetimes, Arc::clone(&metrics.identities));
    let upstream = Upstream::new(flags.client_dir.clone()).counted_in(Arc::clone(&metrics));
    let upstream = upstream.with_exchange((flags.exchange == Switch::On).then(Times::default));
    let upstreams: Arc<[_]> = (0..threads).map(|_| Arc::new(upstream.beside())).collect();
    let gateway = Gateway {
        authenticator: Arc::new(identities.map_err(StartError::Random)?),
        authorizer: Arc::new(RecentDecisions::new(
            SubjectAccessReviews::new(client.clone()),
            lifetimes,
            Arc::clone(&metrics.decisions),
        )),
        directory: Watched::default(),
        entrance: Arc::new(Entrance {
            sessions: Some(sessions(client.clone(), flags, lifetimes.outage)),
            authorities,
            slowdown: Slowdown::default(),
            origins: flags.entrance.public_origins.clone(),
        }),
        upstream: Arc::new(upstream),
        upstreams: Arc::clone(&upstreams),
        body_timeout: BODY_TIMEOUT,
        home_cluster: flags.home_cluster.clone(),
        ending: Arc::new(AtomicBool::new(false)),
        recorder,
        base: flags.base_path.clone(),
    };
    Ok(Prepared {
        client,
        namespace: flags.plugins_namespace.clone(),
        gateway,
        upstreams,
        serving_dir: flags.serving_dir.clone(),
        serving: Arc::new(serving),
        calling,
        terminate,
        interrupt,
        ended: watch::Sender::new(false),
    })
}

impl<N: Authenticator + Clone, Z: Authorizer + Clone> Prepared<N, Z> {
    /// What each thread serves with.
    fn workers(&self, listeners: Vec<std::net::TcpListener>) -> Vec<Worker<N, Z>> {
        let room = Room::new(Limits::default());
        let all = Arc::new(Barrier::new(listeners.len()));
        let each = listeners.into_iter().zip(self.upstreams.iter());
        each.map(|(listener, upstream)| Worker {
            listener,
            gateway: Arc::new(Gateway {
                upstream: Arc::clone(upstream),
                ..self.gateway.clone()
            }),
            certificates: Arc::clone(&self.serving),
            changes: self.calling.renewals(),
            room: room.clone(),
            ended: self.ended.subscribe(),
            all: Arc::clone(&all),
        })
        .collect()
    }

    /// Serves as the others do, and sees to what changes for all: plugins, certificates, and whether the process is to end.
    async fn serve(self, own: Worker<N, Z>) {
        let (kept, recorder) = (self.upstreams, self.gateway.recorder);
        let metrics = Arc::clone(&recorder.metrics);
        let changed = move |table: &Table| {
            kept.iter().for_each(|upstream| upstream.keep_only(table));
            metrics.changed(table);
        };
        let (directory, namespace) = (self.gateway.directory, self.namespace);
        tokio::spawn(async move { watch_all(self.client, &namespace, directory, changed).await });
        tokio::spawn(self.gateway.entrance.authorities.clone().keep());
        let certificates = self.serving.renewals();
        tokio::spawn(told(certificates, self.serving_dir, Arc::clone(&recorder.metrics)));
        tokio::spawn(async move { self.serving.renew(LOOK).await });
        tokio::spawn(async move { self.calling.renew(LOOK).await });
        let (mut terminate, mut interrupt) = (self.terminate, self.interrupt);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            self.gateway.ending.store(true, Ordering::Relaxed);
            tracing::info!("told to end");
            tokio::time::sleep(NOTICE).await;
            self.ended.send_replace(true);
        });
        own.serve().await;
    }
}

/// Has the figures tell until when the serving certificate holds, now and after each change.
async fn told(mut changes: watch::Receiver<u64>, dir: PathBuf, metrics: Arc<Metrics>) {
    loop {
        match tls::end(&dir).await {
            Ok(end) => metrics.certificate_ends(end),
            Err(error) => tracing::warn!(
                error = kite_api::error_chain(&error),
                "no end of the certificate is known"
            ),
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// What one thread serves with.
struct Worker<N, Z> {
    listener: std::net::TcpListener,
    gateway: Arc<Gateway<N, Z, Watched>>,
    certificates: Arc<Reloaded<ServerConfig>>,
    changes: watch::Receiver<u64>,
    room: Room,
    ended: watch::Receiver<bool>,
    /// Where the threads wait for one another: connections to the API server belong to the thread that made them, and serve all.
    all: Arc<Barrier>,
}

impl<N: Authenticator, Z: Authorizer> Worker<N, Z> {
    async fn serve(mut self) {
        let upstream = Arc::clone(&self.gateway.upstream);
        let renewing = tokio::spawn(async move { upstream.renew(self.changes).await });
        let answer = move |request| {
            let gateway = Arc::clone(&self.gateway);
            // It is large, and is handed from one to the next until it is run: as a pointer.
            Box::pin(async move { gateway.answer(request).await })
        };
        let ended = async {
            // Fails if the first thread is gone, which is the end too.
            let _ = self.ended.wait_for(|ended| *ended).await;
        };
        match TcpListener::from_std(self.listener) {
            Ok(listener) => serve::serve(listener, self.certificates, self.room, answer, ended, GRACE).await,
            Err(error) => tracing::error!(%error, "a thread serves nothing"),
        }
        renewing.abort();
        self.all.wait().await;
    }
}

fn authorities(flags: &EntranceFlags) -> Result<Authorities, AuthoritiesError> {
    Authorities::load(
        flags.client_ca_file.as_deref(),
        flags.proxy_ca_file.as_deref(),
        &flags.proxy_names,
    )
}

/// Sessions as all gateways know them, kept current from now on.
fn sessions(client: kube::Client, flags: &Flags, outage: Duration) -> Sessions {
    let lasting = flags.entrance.lasting(outage);
    let shared = SharedSessions::new(client, &flags.entrance.system_namespace, lasting.longest);
    tokio::spawn(shared.clone().keep());
    // Browsers send the cookie below the base path alone.
    let path = format!("{}/", flags.base_path.as_str());
    Sessions::new(shared.latest(), shared, lasting, path)
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

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Mutex};

    use super::*;
    use crate::audit::{AuditSink, Record, SinkError};

    /// What is kept, by its operation.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl AuditSink for Kept {
        async fn keep(&mut self, records: &[Record]) -> Result<(), SinkError> {
            let operations = records.iter().map(|record| record.operation.clone());
            self.0.lock().unwrap().extend(operations);
            Ok(())
        }
    }

    /// A request under way, which is recorded when it is cut off.
    struct UnderWay(Arc<Recorder>, &'static str);

    impl Drop for UnderWay {
        fn drop(&mut self) {
            self.0.trail.note(Record::of_a_test(self.1));
        }
    }

    #[test]
    fn what_is_cut_off_at_the_end_is_recorded() {
        let kept = Kept::default();
        let recording = recording().unwrap();
        let recorder = Arc::new(Recorder {
            cluster: "home".into(),
            trail: Trail::start(kept.clone()).unwrap(),
            access_log: None,
            metrics: Arc::default(),
            traces: None,
        });
        let serve = |operation| {
            let under_way = UnderWay(Arc::clone(&recorder), operation);
            async move {
                tokio::spawn(async move {
                    let _under_way = under_way;
                    pending::<()>().await;
                });
            }
        };
        let others = vec![
            (runtime().unwrap(), serve("second")),
            (runtime().unwrap(), serve("third")),
        ];
        serve_all((runtime().unwrap(), Some(serve("first"))), others);
        recording.block_on(end(recorder));
        let mut kept = kept.0.lock().unwrap().clone();
        kept.sort_unstable();
        assert_eq!(kept, ["first", "second", "third"]);
    }
}
