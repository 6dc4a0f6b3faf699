//! Requests to a plugin while something happens to it, and what came of each: half of them GET, half POST with an id of its own, on
//! connections that stay, to each replica of the gateway, and none of them twice.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::LogParams};
use reqwest::{Client, Method};
use tokio::task::JoinSet;

use super::{Gateway, Http, PLUGINS, SOON, Scope, eventually};

/// Connections of HTTP/1.1 to each replica.
const HTTP1: u64 = 20;
/// Connections of HTTP/2 to each replica.
const HTTP2: u64 = 2;
/// Requests each second, to all replicas together.
const RATE: u64 = 200;
/// How many answers of a revision show that it serves.
const ENOUGH: u64 = 200;
/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is expected of an answer: by its revision, the text that the body of a GET has.
pub type Greetings = BTreeMap<i64, &'static str>;

/// Load that goes on until it is ended.
pub struct Load {
    state: Arc<State>,
    tasks: JoinSet<()>,
}

struct State {
    plugin: String,
    greetings: Greetings,
    ended: AtomicBool,
    next: AtomicU64,
    outcome: Mutex<Outcome>,
}

/// What came of the load.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many requests of each revision were answered as they should be.
    pub answered: BTreeMap<i64, u64>,
    /// Ids of the POSTs that were answered.
    pub posts: Vec<String>,
    /// What was wrong with the others.
    pub failed: Vec<String>,
}

impl Outcome {
    /// Says how much was answered, and holds that nothing has failed and each POST was `executed` once.
    ///
    /// # Panics
    /// If it is not so.
    #[expect(clippy::print_stdout, reason = "the harness keeps a test's standard output")]
    pub fn is_whole(&self, executed: &BTreeMap<String, usize>) {
        let answered: u64 = self.answered.values().sum();
        println!(
            "{answered} answers, by revision {:?}; {} failed",
            self.answered,
            self.failed.len()
        );
        let first: Vec<_> = self.failed.iter().take(10).collect();
        assert!(first.is_empty(), "{} failed, among them {first:#?}", self.failed.len());
        assert!(executed.len() > 100, "{} POSTs were logged", executed.len());
        let twice: Vec<_> = executed.iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty(), "executed more than once: {twice:?}");
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

/// How often each id stands in the logs of the plugin's pods.
pub async fn executed(scope: &Scope, plugin: &str) -> BTreeMap<String, usize> {
    let pods: Api<Pod> = Api::namespaced(scope.client.clone(), PLUGINS);
    let mut counts = BTreeMap::new();
    for pod in scope.pods_of(plugin).await {
        // A pod that never began has no log.
        let log = pods
            .logs(&pod.name_any(), &LogParams::default())
            .await
            .unwrap_or_default();
        count(&mut counts, plugin, &log);
    }
    counts
}

/// Counts the ids of POSTs in a log of the plugin's.
pub fn count(counts: &mut BTreeMap<String, usize>, plugin: &str, log: &str) {
    for line in log.lines().filter(|line| line.contains("echoes")) {
        let begin = line.find(&format!("{plugin}-")).unwrap_or(line.len());
        let id = line.get(begin..).unwrap_or_default();
        let id = id.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-');
        *counts.entry(id.collect()).or_default() += 1;
    }
}

impl Load {
    /// Begins to ask the plugin's `/hello` and `/echo` at each of the replicas at these addresses.
    ///
    /// # Panics
    /// If there is no replica.
    pub fn start(gateway: &Gateway, replicas: &[SocketAddr], plugin: &str, greetings: Greetings) -> Self {
        let state = Arc::new(State {
            plugin: plugin.to_owned(),
            greetings,
            ended: AtomicBool::new(false),
            next: AtomicU64::new(0),
            outcome: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        let connections = u64::try_from(replicas.len()).unwrap_or(u64::MAX) * (HTTP1 + HTTP2);
        assert!(connections > 0, "a replica of the gateway");
        let pause = Duration::from_millis(1000 * connections / RATE);
        for address in replicas {
            let versions = (0..HTTP1).map(|_| Http::One).chain((0..HTTP2).map(|_| Http::Two));
            for http in versions {
                let client = Gateway::client_of(*address, http, PATIENCE);
                tasks.spawn(ask(
                    Arc::clone(&state),
                    client,
                    gateway.admin().to_owned(),
                    *address,
                    pause,
                ));
            }
        }
        Self { state, tasks }
    }

    /// How many requests were answered by this revision so far.
    pub fn answered_by(&self, revision: i64) -> u64 {
        let outcome = self.state.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.answered.get(&revision).copied().unwrap_or(0)
    }

    /// Ends it, and tells what came of it.
    pub async fn end(self) -> Outcome {
        self.state.ended.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        let outcome = self.state.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.clone()
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
        let mut outcome = state.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(revision) => {
                *outcome.answered.entry(revision).or_default() += 1;
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
