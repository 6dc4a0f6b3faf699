//! What a Prometheus server reads of a plugin.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicI64},
    time::Instant,
};

use axum::{
    extract::{Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::Next,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// The media type of `OpenMetrics` text, version 1.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Bounds of durations, in seconds.
const SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The figures of the SDK, and the registry that the author's are in too.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: Figures<RequestLabels>,
    tools: Figures<ToolLabels>,
    registry: Arc<Mutex<Registry>>,
}

/// The status as a class, such as `2xx`, of which there are few.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    status: &'static str,
}

/// Tools are few: at most as many as the definitions may hold.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ToolLabels {
    tool: String,
    outcome: &'static str,
}

/// How many there were, how long they took, and how many there are just now.
#[derive(Clone)]
struct Figures<L> {
    total: Family<L, Counter>,
    seconds: Histogram,
    in_flight: Gauge<i64, AtomicI64>,
}

impl<L: Clone + EncodeLabelSet + Eq + fmt::Debug + std::hash::Hash + Send + Sync + 'static> Figures<L> {
    fn new(registry: &mut Registry, what: &str, words: &str) -> Self {
        let figures = Self {
            total: Family::default(),
            seconds: Histogram::new(SECONDS),
            in_flight: Gauge::default(),
        };
        registry.register(what, format!("{words} that ended"), figures.total.clone());
        registry.register(
            format!("{what}_seconds"),
            format!("How long {words} took, in seconds"),
            figures.seconds.clone(),
        );
        registry.register(
            format!("{what}_in_flight"),
            format!("{words} that are under way"),
            figures.in_flight.clone(),
        );
        figures
    }

    /// Counts one that begins. `labels` are those of one that nobody waited for, until it ends otherwise.
    fn begin(&self, labels: L) -> Running<L> {
        self.in_flight.inc();
        Running {
            figures: self.clone(),
            began: Instant::now(),
            labels,
        }
    }
}

/// One that is under way, counted when it is dropped, however it ends.
struct Running<L: Clone + Eq + std::hash::Hash> {
    figures: Figures<L>,
    began: Instant,
    labels: L,
}

impl<L: Clone + Eq + std::hash::Hash> Drop for Running<L> {
    fn drop(&mut self) {
        self.figures.in_flight.dec();
        self.figures.seconds.observe(self.began.elapsed().as_secs_f64());
        self.figures.total.get_or_create(&self.labels).inc();
    }
}

/// A tool's call that is under way.
pub(crate) struct RunningTool(Running<ToolLabels>);

impl RunningTool {
    /// The call ended so: `ok`, `error` or `failed`.
    pub(crate) fn ended(mut self, outcome: &'static str) {
        self.0.labels.outcome = outcome;
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("kite_plugin");
        Self {
            requests: Figures::new(own, "http_requests", "HTTP requests, until their answers begin,"),
            tools: Figures::new(own, "tool_calls", "Calls of tools"),
            registry: Arc::new(Mutex::new(registry)),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Lets the author add figures.
    pub(crate) fn register(&self, register: impl FnOnce(&mut Registry)) {
        // What is registered is whole at all times.
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts a tool's call that begins. Until it ends it is one whose caller went away, or whose time was up.
    pub(crate) fn tool(&self, tool: &str) -> RunningTool {
        RunningTool(self.tools.begin(ToolLabels {
            tool: tool.to_owned(),
            outcome: "cancelled",
        }))
    }

    /// The answer to a Prometheus server.
    pub(crate) fn answer(&self) -> Response {
        let mut told = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        match text::encode(&mut told, &registry) {
            Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], told).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// Counts a request to the author's routes.
pub(crate) async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    // A panic, or a caller who went away.
    let mut running = metrics.requests.begin(RequestLabels { status: "none" });
    let response = next.run(request).await;
    running.labels.status = match response.status().as_u16() {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500.. => "5xx",
    };
    response
}
