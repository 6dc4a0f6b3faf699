//! `kite-e2e-faulty`: a plugin that does what plugins should not, or need not. Its name tells what: the word after the last hyphen.

use std::{
    env, fs,
    io::{Error, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
    sync::atomic::{AtomicBool, Ordering},
};

use futures::stream::Empty;
use kite_plugin_sdk::{
    Plugin, ServeError, Tool, ToolContext, ToolError,
    axum::{Router, extract::Path, routing::get},
};
use kite_proto::{HEALTH_PORT, NAME_VARIABLE};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

const MANIFEST: &str = "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: faulty}, spec: {version: 0.1.0, image: faulty}}";
/// Where a process leaves its last words for the kubelet.
const LAST_WORDS: &str = "/dev/termination-log";
/// How much is taken at once.
const PIECE: usize = 1 << 20;

/// Why it ended otherwise than it should.
#[derive(Debug, thiserror::Error)]
enum FaultyError {
    #[error("failed to know the fault {0:?}")]
    Fault(String),
    #[error("failed to leave last words")]
    LastWords(#[source] Error),
    #[error("failed to begin again under another name")]
    Rename(#[source] Error),
    #[error("failed to wait for the end")]
    Signal(#[source] Error),
    #[error("failed to serve")]
    Serve(#[source] ServeError),
    #[error("failed to listen on the health port")]
    Listen(#[source] Error),
    #[error("failed to serve the health port")]
    Health(#[source] tonic::transport::Error),
}

/// A plugin of which each replica offers something else.
struct Differing;

impl Plugin for Differing {
    fn manifest(&self) -> &str {
        MANIFEST
    }

    fn tools(&self) -> Vec<Tool> {
        let replica = env::var("HOSTNAME").unwrap_or_default();
        vec![Tool::new("where", format!("Says that it is {replica}."), nowhere).read_only()]
    }
}

/// A plugin that offers nothing.
struct Plain;

impl Plugin for Plain {
    fn manifest(&self) -> &str {
        MANIFEST
    }
}

/// A plugin that tells what it finds where it runs.
struct Looking;

impl Plugin for Looking {
    fn manifest(&self) -> &str {
        MANIFEST
    }

    fn routes(&self) -> Router {
        Router::new()
            .route("/hello", get(async || "looking"))
            .route("/variable/{name}", get(variable))
            .route("/write/{*path}", get(write))
            .route("/read/{*path}", get(read))
            .route("/ask/{address}", get(ask))
    }
}

/// The value of a variable of its environment.
async fn variable(Path(name): Path<String>) -> String {
    env::var(name).unwrap_or_default()
}

/// Whether it can write a file there.
async fn write(Path(path): Path<String>) -> String {
    fs::write(format!("/{path}"), "a").map_or_else(|error| error.kind().to_string(), |()| String::from("written"))
}

/// What stands in a file there.
async fn read(Path(path): Path<String>) -> String {
    fs::read_to_string(format!("/{path}")).unwrap_or_else(|error| error.kind().to_string())
}

/// What is answered there by the server of plugins' own name, if it trusts that.
async fn ask(Path(address): Path<SocketAddr>) -> String {
    let name = kite_proto::server_name("asked");
    let asked = async {
        let client = reqwest::Client::builder().resolve(&name, address).build()?;
        let url = format!("https://{name}:{}/", address.port());
        client.get(url).send().await?.text().await
    };
    asked.await.unwrap_or_else(|error| format!("{error:?}"))
}

/// Says once that it serves, by which the kubelet knows that it has begun, and never again.
#[derive(Default)]
struct Begun(AtomicBool);

#[tonic::async_trait]
impl Health for Begun {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let status = if self.0.swap(true, Ordering::Relaxed) {
            ServingStatus::NotServing
        } else {
            ServingStatus::Serving
        };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("this port answers Check only"))
    }
}

/// Nothing to say.
#[derive(Deserialize, JsonSchema)]
struct Nothing {}

async fn nowhere(_: ToolContext, _: Nothing) -> Result<String, ToolError> {
    Ok(String::from("nowhere"))
}

#[tokio::main]
async fn main() -> Result<ExitCode, FaultyError> {
    let name = env::var(NAME_VARIABLE).unwrap_or_default();
    match name.rsplit('-').next().unwrap_or_default() {
        "crash" => crash(),
        "memory" => Ok(take_all()),
        "silent" => wait().await,
        "unready" => begin_only().await,
        "renamed" => Err(begin_again_as("somebody-else")),
        // What it is called once it has begun again.
        "else" => served(kite_plugin_sdk::serve(Plain).await),
        "differs" => served(kite_plugin_sdk::serve(Differing).await),
        "looks" => served(kite_plugin_sdk::serve(Looking).await),
        other => Err(FaultyError::Fault(other.to_owned())),
    }
}

/// Ends with last words that nobody should have to read as they are.
fn crash() -> Result<ExitCode, FaultyError> {
    let words = "the price list is missing\u{1b}[2J\n\u{202e}";
    let mut file = fs::OpenOptions::new()
        .write(true)
        .open(LAST_WORDS)
        .map_err(FaultyError::LastWords)?;
    file.write_all(words.as_bytes()).map_err(FaultyError::LastWords)?;
    Ok(ExitCode::from(3))
}

/// Takes memory until it is stopped.
fn take_all() -> ExitCode {
    let mut held: Vec<Vec<u8>> = Vec::new();
    while held.len() < PIECE {
        // Memory counts once it is written to.
        held.push(vec![1; PIECE]);
        std::hint::black_box(&held);
    }
    ExitCode::SUCCESS
}

/// Answers nobody, and ends when it is told to.
async fn wait() -> Result<ExitCode, FaultyError> {
    let mut end = signal(SignalKind::terminate()).map_err(FaultyError::Signal)?;
    end.recv().await;
    Ok(ExitCode::SUCCESS)
}

/// Runs, and is never ready.
async fn begin_only() -> Result<ExitCode, FaultyError> {
    let mut end = signal(SignalKind::terminate()).map_err(FaultyError::Signal)?;
    let addresses = [
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, HEALTH_PORT)),
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, HEALTH_PORT)),
    ];
    let listener = TcpListener::bind(&addresses[..]).await.map_err(FaultyError::Listen)?;
    let ended = async { _ = end.recv().await };
    Server::builder()
        .add_service(HealthServer::new(Begun::default()))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), ended)
        .await
        .map_err(FaultyError::Health)?;
    Ok(ExitCode::SUCCESS)
}

fn begin_again_as(name: &str) -> FaultyError {
    let program = env::current_exe().unwrap_or_default();
    FaultyError::Rename(Command::new(program).env(NAME_VARIABLE, name).exec())
}

fn served(ended: Result<(), ServeError>) -> Result<ExitCode, FaultyError> {
    ended.map(|()| ExitCode::SUCCESS).map_err(FaultyError::Serve)
}
