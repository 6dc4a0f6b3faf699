//! The operator's life: it waits until it leads, then identity first, then the controller, and an orderly end.

use std::time::Duration;

use kube::{Client, Config};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Options, boundary, controller,
    health::{self, Health},
    identity::keeper,
    leadership::{Candidate, Held, Term, standby, wire},
    traces::{Traces, TracesError},
};

/// How long what is under way may take when the operator is told to stop; then the Lease is given up all the same.
const GRACE: Duration = Duration::from_secs(5);
/// How much longer than a watch lasts a connection may be silent.
const SILENCE: Duration = Duration::from_secs(15);

/// Why the operator could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("failed to listen for signals")]
    Signal(#[source] std::io::Error),
    #[error("failed to find out how to reach the API server")]
    Configure(#[source] Box<kube::Error>),
    #[error("failed to make a client of the API server")]
    Client(#[source] Box<kube::Error>),
    #[error("failed to listen on {address}")]
    Listen {
        address: std::net::SocketAddr,
        source: std::io::Error,
    },
    #[error("failed to serve health")]
    Serve(#[source] std::io::Error),
    #[error("failed to prepare the sending of spans")]
    Traces(#[source] TracesError),
}

/// Runs against the cluster that the environment names, until SIGTERM or SIGINT.
pub async fn until_signal(options: Options) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    install_crypto();
    let config = Config::infer()
        .await
        .map_err(|error| RunError::Configure(Box::new(kube::Error::InferConfig(error))))?;
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopper.cancel();
    });
    run(config, options, stop).await
}

/// Makes ring the one cryptography of this process. A second call changes nothing.
pub fn install_crypto() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("the process has its cryptography already");
    }
}

/// Runs against the cluster of `config` until `stop` is cancelled.
pub async fn run(config: Config, options: Options, stop: CancellationToken) -> Result<(), RunError> {
    let config = patient(config, &options);
    let client = Client::try_from(config.clone()).map_err(|error| RunError::Client(Box::new(error)))?;
    let address = options.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    let health = Health::default();
    let traces = Traces::to(&options.collector).await.map_err(RunError::Traces)?;
    let serve = axum::serve(listener, health::router(health.clone()))
        .with_graceful_shutdown(stop.clone().cancelled_owned())
        .into_future();
    let system = options.namespaces.system.as_str();
    let (acting, acts) = watch::channel(None);
    let replica = Replica {
        candidate: Candidate::new(&client, system, &options.replica_name, health.readiness.clone()),
        client: &client,
        config: &config,
        options: &options,
        health: &health,
        traces: traces.as_ref(),
        acting,
        stop: &stop,
    };
    let work = async {
        let mut outcome = Ok(());
        while outcome.is_ok()
            && let Some(held) = replica.candidate.win(&stop).await
        {
            outcome = replica.lead(held).await;
        }
        // Without one that could lead, nothing else is of use.
        stop.cancel();
        outcome
    };
    let standby = standby::watch(&client, &options, &health.readiness, &stop);
    // Whatever becomes of the rest, it tells whether the boundary is drawn.
    let watch = Box::pin(boundary::watch(&client, &options, &health, acts, &stop));
    tracing::info!(%address, "the operator starts");
    let (served, worked, (), ()) = tokio::join!(serve, work, standby, watch);
    if let Some(traces) = traces {
        // What it waits for may be the collector.
        let _ = tokio::task::spawn_blocking(move || traces.end()).await;
    }
    worked.and(served.map_err(RunError::Serve))
}

/// The same way to the API server, on which connections do not outlive their other end: one that hears nothing for longer than a
/// watch lasts is given up.
fn patient(mut config: Config, options: &Options) -> Config {
    config.read_timeout = Some(Duration::from_secs(options.watch_seconds.into()) + SILENCE);
    config.reset_reader_on_write = true;
    config
}

/// What this replica needs to lead.
struct Replica<'a> {
    candidate: Candidate,
    client: &'a Client,
    config: &'a Config,
    options: &'a Options,
    health: &'a Health,
    traces: Option<&'a Traces>,
    /// The client by which may be written, while this replica leads.
    acting: watch::Sender<Option<Client>>,
    stop: &'a CancellationToken,
}

impl Replica<'_> {
    /// Leads for as long as the Lease is held. Whatever is under way when it is lost is dropped where it is: another replica goes
    /// on from what stands in the cluster.
    async fn lead(&self, mut held: Held) -> Result<(), RunError> {
        let writer = wire::client(self.config, &held.term).map_err(|error| RunError::Client(Box::new(error)))?;
        let client = held.term.client(self.client, &writer);
        let term = held.term.clone();
        self.health.metrics.leads();
        self.acting.send_replace(Some(client.clone()));
        let overtime = async {
            self.stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let loss = tokio::select! {
            loss = self.candidate.keep(&mut held) => Some(loss),
            () = Box::pin(self.act(&client, &term)) => None,
            () = overtime => None,
        };
        self.acting.send_replace(None);
        self.health.metrics.rests();
        self.health.readiness.has_lost();
        match loss {
            Some(loss) => tracing::warn!(?loss, "this replica does not lead any more"),
            None => self.candidate.give_up(held).await,
        }
        Ok(())
    }

    /// What the one replica does that leads, until it is told to stop.
    async fn act(&self, client: &Client, term: &Term) {
        let Self {
            options, health, stop, ..
        } = self;
        let Some(keeper) = keeper::establish(client, options, &health.metrics, stop).await else {
            return;
        };
        let identity = keeper.current();
        health.readiness.identity_exists();
        tokio::join!(
            keeper.keep(stop),
            controller::run((client, term), options, identity, health, self.traces, stop),
        );
    }
}
