//! The line between an operator and the API server: a proxy that counts what is written, and does to it what a fault says.

mod asked;
mod stream;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::body::{Body, to_bytes};
use http::{Method, Request, Response, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::{Client, client::Body as ClientBody};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use super::{
    cell::LIMIT,
    fault::Fault,
    ledger::{Effect, Ledger},
    target::Target,
};

/// An operator that asks nothing for so long has come to rest.
const CALM: Duration = Duration::from_millis(500);

/// The connection ends here, without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the line is cut")]
struct Cut;

/// What has become of a line.
#[derive(Clone, Debug, Default)]
struct State {
    is_cut: bool,
    /// The version of the cluster that watches speak of, if it is not the present one.
    frozen_at: Option<String>,
    /// The fault that the line was armed with has come about.
    has_struck: bool,
    /// Watches that have left one out are to end.
    gap_is_over: bool,
    /// The resources that are watched.
    watched: BTreeSet<String>,
    /// Requests under way, watches aside.
    pending: usize,
    /// How often the plugin's pods were listed.
    looks: u64,
    /// Grows with all that passes.
    passed: u64,
}

/// What all connections of a line share.
pub(super) struct Shared {
    server: Client,
    /// The one plugin that is seen through the line.
    subject: String,
    ledger: Arc<Ledger>,
    fault: watch::Sender<Option<Fault>>,
    state: watch::Sender<State>,
}

pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Line {
    /// A line to `server` through which only the plugin `subject` is seen.
    pub(crate) async fn open(server: &Client, subject: &str, ledger: &Arc<Ledger>, frozen_at: Option<String>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = State {
            frozen_at,
            ..State::default()
        };
        let shared = Arc::new(Shared {
            server: server.clone(),
            subject: subject.to_owned(),
            ledger: Arc::clone(ledger),
            fault: watch::Sender::new(None),
            state: watch::Sender::new(state),
        });
        let all = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&all)));
            }
        });
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// From now on this is done to what passes.
    pub(crate) fn arm(&self, fault: &Fault) {
        self.shared.fault.send_replace(Some(fault.clone()));
    }

    /// Ends all connections; none is made any more.
    pub(crate) fn cut(&self) {
        self.shared.cut();
    }

    /// Waits until a fault has cut the line.
    pub(crate) async fn is_cut(&self) {
        self.comes_to(|state| state.is_cut).await;
    }

    /// Waits until the fault that it was armed with has come about.
    pub(crate) async fn has_struck(&self) {
        self.comes_to(|state| state.has_struck).await;
    }

    /// The watch that has left one out ends, as one does that fell too far behind.
    pub(crate) fn end_gap(&self) {
        self.shared.state.send_modify(|state| state.gap_is_over = true);
    }

    /// Watches go on to what is now.
    pub(crate) fn thaw(&self) {
        self.shared.state.send_modify(|state| state.frozen_at = None);
    }

    /// How often the plugin was looked at, to the end but for what is told of it: to list its pods is what comes last.
    pub(crate) fn looks(&self) -> u64 {
        self.shared.state.borrow().looks
    }

    /// Waits until the plugin was looked at more often than it was `before`.
    pub(crate) async fn has_looked(&self, before: u64) -> Result<(), String> {
        let looked = timeout(LIMIT, self.comes_to(|state| state.looks > before)).await;
        looked.map_err(|_| String::from("the plugin was not looked at"))
    }

    /// The resources that are watched.
    pub(crate) fn watched(&self) -> BTreeSet<String> {
        self.shared.state.borrow().watched.clone()
    }

    /// Waits until all of these are watched.
    pub(crate) async fn watches(&self, resources: &BTreeSet<String>) -> Result<(), String> {
        let all = self.comes_to(|state| state.watched.is_superset(resources));
        let in_time = timeout(LIMIT, all).await;
        in_time.map_err(|_| format!("watched are {:?}, and not {resources:?}", self.watched()))
    }

    /// Waits until the operator asks nothing any more, for the moment.
    pub(crate) async fn quiet(&self) {
        let mut state = self.shared.state.subscribe();
        let calm = async {
            loop {
                let has_none_pending = state.wait_for(|state| state.pending == 0).await.is_ok();
                if !has_none_pending || timeout(CALM, state.changed()).await.is_err() {
                    return;
                }
            }
        };
        // One that never rests is found by what it does not come to.
        let _ = timeout(LIMIT, calm).await;
    }

    async fn comes_to(&self, holds: impl FnMut(&State) -> bool) {
        // The sender lives as long as this.
        let _ = self.shared.state.subscribe().wait_for(holds).await;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut state = shared.state.subscribe();
    let service = service_fn(|request| pass(Arc::clone(&shared), request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // However it ends, the operator hears of it.
        _ = connection => {}
        // What it gives holds the state, which requests that end here change.
        () = async { _ = state.wait_for(|state| state.is_cut).await } => {}
    }
}

/// Passes one request on, and its answer back.
async fn pass(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    if shared.state.borrow().is_cut {
        return Err(Cut);
    }
    let (head, body) = request.into_parts();
    let body = to_bytes(Body::new(body), usize::MAX).await.map_err(|_| Cut)?;
    let target = Target::of(head.uri.path());
    let frozen_at = shared.state.borrow().frozen_at.clone();
    let query = head.uri.query().unwrap_or_default();
    let asked = asked::rewritten(target.as_ref(), query, &shared.subject, frozen_at.as_deref());
    let mut request = Request::builder()
        .method(&head.method)
        .uri(format!("{}?{asked}", head.uri.path()));
    for name in [header::ACCEPT, header::CONTENT_TYPE] {
        if let Some(value) = head.headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let request = request.body(ClientBody::from(body.to_vec())).map_err(|_| Cut)?;
    match target {
        Some(target) if asked::is_watch(query) => stream::watch(&shared, target, request).await,
        Some(target) if !head.method.is_safe() && target.counts() => write(&shared, &target, request).await,
        target => {
            let _pending = Pending::begin(&shared);
            // A list that a watch begins with is no look.
            if target.is_some_and(|target| target.resource == "pods") && !asked::is_paged(query) {
                shared.state.send_modify(|state| state.looks += 1);
            }
            shared.ask(request).await.map(|(answer, _)| answer)
        }
    }
}

/// Passes a write on, unless the operator is to end before it; and its answer, unless that is not to be heard.
async fn write(shared: &Arc<Shared>, target: &Target, request: Request<ClientBody>) -> Result<Response<Body>, Cut> {
    let _pending = Pending::begin(shared);
    let fault = shared.fault.borrow().clone();
    if let Some(Fault::Crash { after: 0 } | Fault::Stale { after: 0 }) = fault {
        shared.strikes();
        shared.cut();
        return Err(Cut);
    }
    let method = request.method().clone();
    let before = if method == Method::PATCH {
        shared.object(target).await
    } else {
        None
    };
    let (answer, said) = shared.ask(request).await?;
    let Some(effect) = Effect::of(&method, answer.status(), target, before.as_ref(), &said) else {
        shared.ledger.wrote_in_vain(target);
        return Ok(answer);
    };
    let number = shared.ledger.wrote(effect, target, &said);
    match fault {
        Some(Fault::Crash { after } | Fault::Stale { after }) if after == number => {
            shared.strikes();
            shared.cut();
            Err(Cut)
        }
        Some(Fault::Lost { write }) if write == number => {
            shared.strikes();
            Err(Cut)
        }
        _ => Ok(answer),
    }
}

impl Shared {
    fn cut(&self) {
        self.state.send_modify(|state| state.is_cut = true);
    }

    fn strikes(&self) {
        self.state.send_modify(|state| state.has_struck = true);
    }

    fn passes(&self) {
        self.state.send_modify(|state| state.passed += 1);
    }

    /// Asks the API server, and gives its answer twice: as it is, and as JSON.
    async fn ask(&self, request: Request<ClientBody>) -> Result<(Response<Body>, Value), Cut> {
        let (head, body) = self.server.send(request).await.map_err(|_| Cut)?.into_parts();
        let bytes = body.collect_bytes().await.map_err(|_| Cut)?;
        let said = serde_json::from_slice(&bytes).unwrap_or_default();
        let mut answer = Response::new(Body::from(bytes));
        *answer.status_mut() = head.status;
        if let Some(kind) = head.headers.get(header::CONTENT_TYPE) {
            answer.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
        }
        Ok((answer, said))
    }

    /// What is about to be written, if it is there.
    async fn object(&self, target: &Target) -> Option<Value> {
        let request = Request::get(target.object()?).body(ClientBody::empty()).ok()?;
        let (answer, said) = self.ask(request).await.ok()?;
        answer.status().is_success().then_some(said)
    }
}

/// A request that is under way, until this is dropped.
struct Pending(Arc<Shared>);

impl Pending {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.state.send_modify(|state| state.pending += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| {
            state.pending -= 1;
            state.passed += 1;
        });
    }
}
