//! Requests to a plugin while something happens to it, and what came of each: half of them GET, half POST with an id of its own, on
//! connections that stay, to each replica of the gateway, and none of them twice.

mod executed;
mod outcome;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, Method};
use tokio::task::JoinSet;

use self::executed::Executed;
pub use self::outcome::Outcome;
use super::{Gateway, Http, SOON, Scope, eventually};

/// Connections of HTTP/1.1 to each replica.
const HTTP1: u64 = 20;
/// Connections of HTTP/2 to each replica.
const HTTP2: u64 = 2;
/// Requests each second, to all replicas together.
const RATE: u64 = 200;
/// How many answers of a revision show that it serves.
const ENOUGH: u64 = 200;
/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is expected of an answer: by its revision, the text that the body of a GET has.
pub type Greetings = BTreeMap<i64, &'static str>;

/// Load that goes on until it is ended.
pub struct Load {
    state: Arc<State>,
    executed: Executed,
    tasks: JoinSet<()>,
}

struct State {
    plugin: String,
    greetings: Greetings,
    ended: AtomicBool,
    next: AtomicU64,
    outcome: Mutex<Outcome>,
}

impl State {
    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        // An answer is noted as a whole.
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the revision has answered often enough to show that it serves.
pub async fn used(load: &Load, revision: i64) {
    let before = load.answered_by(revision);
    eventually(&format!("revision {revision} answers"), 2 * SOON, async || {
        let answered = load.answered_by(revision) - before;
        if answered >= ENOUGH {
            Ok(())
        } else {
            Err(format!("{answered} answers"))
        }
    })
    .await;
}

impl Load {
    /// Begins to ask the plugin's `/hello` and `/echo` at each replica of the gateway, and to follow what its pods say.
    ///
    /// # Panics
    /// If there is no replica.
    pub async fn start(scope: &Scope, plugin: &str, greetings: Greetings) -> Self {
        let replicas = scope.gateway_addresses().await;
        let outcome = Outcome {
            replicas: replicas.iter().map(|address| (*address, 0)).collect(),
            ..Outcome::default()
        };
        let state = Arc::new(State {
            plugin: plugin.to_owned(),
            greetings,
            ended: AtomicBool::new(false),
            next: AtomicU64::new(0),
            outcome: Mutex::new(outcome),
        });
        let mut tasks = JoinSet::new();
        let connections = u64::try_from(replicas.len()).unwrap_or(u64::MAX) * (HTTP1 + HTTP2);
        assert!(connections > 0, "a replica of the gateway");
        let pause = Duration::from_millis(1000 * connections / RATE);
        for address in replicas {
            let versions = (0..HTTP1).map(|_| Http::One).chain((0..HTTP2).map(|_| Http::Two));
            for http in versions {
                let client = Gateway::client_of(address, http, PATIENCE);
                let token = scope.gateway.admin().to_owned();
                tasks.spawn(ask(Arc::clone(&state), client, token, address, pause));
            }
        }
        Self {
            state,
            executed: Executed::follow(scope, plugin),
            tasks,
        }
    }

    /// How many requests were answered by this revision so far.
    pub fn answered_by(&self, revision: i64) -> u64 {
        self.state.outcome().answered.get(&revision).copied().unwrap_or(0)
    }

    /// Ends it, and tells what came of it.
    pub async fn end(self) -> Outcome {
        self.state.ended.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        let mut outcome = self.state.outcome().clone();
        outcome.executed = self.executed.counts(&outcome.posts).await;
        outcome
    }
}

/// One connection, on which one request follows another.
async fn ask(state: Arc<State>, client: Client, token: String, address: SocketAddr, pause: Duration) {
    let mut turns = tokio::time::interval(pause);
    while !state.ended.load(Ordering::Relaxed) {
        turns.tick().await;
        let number = state.next.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", state.plugin);
        let is_post = number % 2 == 1;
        let (method, path) = if is_post {
            (Method::POST, "echo")
        } else {
            (Method::GET, "hello")
        };
        let url = format!(
            "https://kite-gateway:{}/api/v1/plugins/{}/{path}",
            address.port(),
            state.plugin
        );
        let request = client
            .request(method, url)
            .bearer_auth(&token)
            .header("x-request-id", &id);
        let request = if is_post { request.body(id.clone()) } else { request };
        let result = judged(&state, request, is_post.then_some(id.as_str())).await;
        let mut outcome = state.outcome();
        match result {
            Ok(revision) => {
                *outcome.answered.entry(revision).or_default() += 1;
                *outcome.replicas.entry(address).or_default() += 1;
                outcome.posts.extend(is_post.then_some(id));
            }
            Err(what) => outcome.failed.push(format!("{id} at {address}: {what}")),
        }
    }
}

/// The revision that answered, if the answer is that revision's.
async fn judged(state: &State, request: reqwest::RequestBuilder, posted: Option<&str>) -> Result<i64, String> {
    let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = answer.status().as_u16();
    let revision = answer
        .headers()
        .get("x-kite-revision")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let body = answer.text().await.map_err(|error| format!("{error:?}"))?;
    let Some(revision) = revision.filter(|_| status == 200) else {
        return Err(format!("{status} {body}"));
    };
    let is_right = match (posted, state.greetings.get(&revision)) {
        (Some(id), Some(_)) => body == id,
        (None, Some(greeting)) => body.contains(greeting),
        (_, None) => false,
    };
    if is_right {
        Ok(revision)
    } else {
        Err(format!("revision {revision} answered {body}"))
    }
}
