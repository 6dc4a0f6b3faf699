//! What a run of the suite knows: where the plugin is, how to show oneself, and what has been seen so far.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kite_api::{PluginName, error_chain};
use kite_proto::{CallContext, User};
use prost::Message;
use tokio::sync::OnceCell;
use tonic::Code;

use crate::{
    Authorities, Authority, Certified, IdentityError, SubjectError,
    checks::{Called, Described, Exchanged, Intercepted, Said, Stopped, Walk},
    verdict::{Checked, Failed, broken, not_applicable},
    wire::{Answer, Ended, Log, Shown, Wire, WireError},
};

/// The plugin that is asked.
pub struct Target {
    /// The name that it serves under.
    pub name: PluginName,
    /// Where it serves the protocol.
    pub address: SocketAddr,
    /// Where it answers about its health.
    pub health: SocketAddr,
    /// Who asks.
    pub host: Host,
}

/// Who asks, and whom they believe.
pub struct Host {
    /// The client's certificate, of the clients' CA.
    pub certified: Certified,
    /// The CA of the plugins' servers, PEM.
    pub servers_ca: String,
    /// The clients' CA with its key, by which a certificate is made that the plugin must refuse. Without it one rule is not looked at.
    pub clients: Option<Authority>,
}

impl Host {
    /// Who asks as the host of these CAs.
    pub fn of(authorities: &Authorities) -> Result<Self, IdentityError> {
        let clients = &authorities.clients;
        Ok(Self {
            certified: clients.client_certified()?,
            servers_ca: authorities.servers.pem(),
            clients: Some(Authority::read(&clients.pem(), clients.key())?),
        })
    }
}

/// What cannot be found out by asking: paths below the plugin's root, and what its author's own types are like.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// A path that a GET answers, for the user who calls.
    pub get: Option<String>,
    /// A path where the body of a POST comes back as it comes in.
    pub echo: Option<String>,
    /// A path of server-sent events.
    pub events: Option<String>,
    /// A path that accepts a WebSocket.
    pub socket: Option<String>,
    /// A path that a GET answers with at least 64 KiB.
    pub large: Option<String>,
    /// Tools, each with arguments by which it may be called.
    pub tools: Vec<(String, String)>,
    /// Types, each with an object that may be created and removed.
    pub objects: Vec<(String, serde_json::Value)>,
    /// Settings that the plugin accepts.
    pub settings: Option<String>,
}

/// How long the suite waits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For an answer, and for what MUST come within 10 seconds.
    pub answer: Duration,
    /// Before it believes that nothing comes.
    pub silence: Duration,
    /// For renewed certificates to be used.
    pub renewal: Duration,
    /// For the plugin's process to end.
    pub end: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            silence: Duration::from_millis(300),
            renewal: Duration::from_mins(1),
            end: Duration::from_secs(30),
        }
    }
}

/// The plugin's process, which the suite may change and end.
#[tonic::async_trait]
pub trait Process: Send {
    /// Gives the plugin a certificate of new CAs, in its folder, and says who the host is from then on.
    fn renew(&mut self) -> Result<Host, SubjectError>;
    /// Tells the plugin to stop, as SIGTERM does.
    fn terminate(&mut self) -> Result<(), SubjectError>;
    /// Waits for its end. `Some`: how it ended otherwise than well.
    async fn ended(&mut self) -> Result<Option<String>, SubjectError>;
}

pub(crate) struct World {
    pub(crate) target: Target,
    pub(crate) known: Known,
    pub(crate) limits: Limits,
    pub(crate) process: Option<tokio::sync::Mutex<Box<dyn Process>>>,
    pub(crate) log: Arc<Log>,
    /// Once the plugin was given other certificates.
    pub(crate) renewed: Mutex<Option<Arc<Host>>>,
    shared: tokio::sync::Mutex<Option<Arc<Wire>>>,
    pub(crate) described: OnceCell<Checked<Described>>,
    pub(crate) exchanged: OnceCell<Vec<Exchanged>>,
    pub(crate) socket: OnceCell<Exchanged>,
    pub(crate) said: OnceCell<Said>,
    pub(crate) called: OnceCell<Vec<Called>>,
    pub(crate) walks: OnceCell<Vec<Walk>>,
    pub(crate) intercepted: OnceCell<Intercepted>,
    pub(crate) stopped: OnceCell<Checked<Stopped>>,
}

impl World {
    pub(crate) fn new(target: Target, known: Known, limits: Limits, process: Option<Box<dyn Process>>) -> Self {
        Self {
            target,
            known,
            limits,
            process: process.map(tokio::sync::Mutex::new),
            log: Arc::default(),
            renewed: Mutex::new(None),
            shared: tokio::sync::Mutex::default(),
            described: OnceCell::new(),
            exchanged: OnceCell::new(),
            socket: OnceCell::new(),
            said: OnceCell::new(),
            called: OnceCell::new(),
            walks: OnceCell::new(),
            intercepted: OnceCell::new(),
            stopped: OnceCell::new(),
        }
    }

    /// A connection of its own, with the host's certificate unless another one is shown.
    pub(crate) async fn connect(&self, shown: Shown<'_>) -> Result<Wire, WireError> {
        let Target {
            name, address, host, ..
        } = &self.target;
        let renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let host = renewed.as_deref().unwrap_or(host);
        // What TLS needs is large, and would be part of every check.
        Box::pin(Wire::connect(*address, name.as_str(), host, shown, &self.log)).await
    }

    /// A connection of its own: for calls by which it may break.
    pub(crate) async fn own(&self) -> Checked<Wire> {
        self.connect(Shown::Own).await.or_else(|error| no_connection(&error))
    }

    /// The connection that most calls share, made again if it has ended.
    pub(crate) async fn wire(&self) -> Checked<Arc<Wire>> {
        let mut shared = self.shared.lock().await;
        if let Some(wire) = shared.as_ref().filter(|wire| !wire.is_over()) {
            return Ok(Arc::clone(wire));
        }
        let wire = Arc::new(self.own().await?);
        *shared = Some(Arc::clone(&wire));
        Ok(wire)
    }

    /// Other certificates hold from now on, for a new connection.
    pub(crate) async fn renew(&self, host: Host) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(host));
        *self.shared.lock().await = None;
    }

    /// The context of a call that a user makes.
    pub(crate) fn context(&self) -> CallContext {
        CallContext {
            user: Some(User {
                name: String::from("anna"),
                uid: String::from("conformance"),
                groups: vec![String::from("system:authenticated")],
                ..User::default()
            }),
            request_id: String::from("conformance"),
            ..self.host_context()
        }
    }

    /// The context of a call that the host itself makes.
    pub(crate) fn host_context(&self) -> CallContext {
        CallContext::of_host(self.limits.answer)
    }

    /// Asks a method one question.
    pub(crate) async fn ask<M: Message + Default>(&self, method: &str, request: &impl Message) -> Checked<Answer<M>> {
        let wire = self.wire().await?;
        self.ask_on(&wire, method, request).await
    }

    /// The same on a connection that one has.
    pub(crate) async fn ask_on<M: Message + Default>(
        &self,
        wire: &Wire,
        method: &str,
        request: &impl Message,
    ) -> Checked<Answer<M>> {
        let mut call = match wire.call(method).await {
            Ok(call) => call,
            Err(error) => return no_call(method, &error),
        };
        // Whether it was taken the answer says.
        let _ = tokio::time::timeout(self.limits.answer, call.send(request, true)).await;
        Ok(call.collect(self.limits.answer).await)
    }
}

pub(crate) fn no_connection<T>(error: &WireError) -> Checked<T> {
    broken(error_chain(error), "a connection for the host's certificate")
}

pub(crate) fn no_call<T>(method: &str, error: &h2::Error) -> Checked<T> {
    broken(format!("{method} cannot be called: {error}"), "a stream for the call")
}

impl<M> Answer<M> {
    /// The one message of an answer that is OK.
    pub(crate) fn one(mut self, method: &str) -> Checked<M> {
        let count = self.messages.len();
        match (self.messages.pop(), &self.ended) {
            (Some((message, _)), Ended::Status(status)) if count == 1 && status.code == Code::Ok => Ok(message),
            (_, ended) => broken(format!("{method}: {count} messages and {ended}"), "one message and OK"),
        }
    }

    /// That the answer is a status alone, with this code.
    pub(crate) fn refused(&self, code: Code, what: &str) -> Checked {
        match &self.ended {
            Ended::Status(status) if status.code == code && self.messages.is_empty() => Ok(()),
            ended => broken(
                format!("{what}: {} messages and {ended}", self.messages.len()),
                format!("the status {}", code_name(code)),
            ),
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) if status.message.is_empty() => f.write_str(code_name(status.code)),
            Self::Status(status) => write!(f, "{} ({})", code_name(status.code), status.message),
            Self::Broken(text) => write!(f, "a broken stream ({text})"),
            Self::Silent => f.write_str("no end in time"),
        }
    }
}

/// What gRPC calls the code.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// What was found once, for a rule that builds on it: that it is broken is another rule's matter.
pub(crate) fn built_on<'a, T>(found: &'a Checked<T>, what: &str) -> Checked<&'a T> {
    match found {
        Ok(found) => Ok(found),
        Err(Failed::Broken { .. }) => not_applicable(what),
        Err(failed @ Failed::NotApplicable(_)) => Err(failed.clone()),
    }
}
