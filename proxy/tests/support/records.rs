//! What the gateway records of its requests: audit, access log and spans.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, atomic::AtomicBool, atomic::Ordering},
};

use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use kite_gateway::{
    access_log::AccessLog,
    account::Recorder,
    audit::{AuditSink, Lines, Record, SinkError, Trail},
    traces::{Collector, Traces},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::{Span, status::StatusCode as SpanStatus},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use super::{LIMIT, PATIENT, Scene, TRACE, by_exchange, gateway::request, slug};

/// Text that the gateway wrote.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// All that a gateway records.
pub(crate) struct Records {
    pub(crate) recorder: Arc<Recorder>,
    audit: Written,
    log: Written,
}

impl Records {
    pub(crate) fn new() -> Self {
        let audit = Written::default();
        Self::with(Lines::to(audit.clone()), audit, None)
    }

    fn with(sink: impl AuditSink, audit: Written, traces: Option<Traces>) -> Self {
        let log = Written::default();
        let recorder = Arc::new(Recorder {
            cluster: "home".into(),
            trail: Trail::start(sink).unwrap(),
            access_log: Some(AccessLog::to(log.clone()).unwrap()),
            metrics: Arc::default(),
            traces,
        });
        Self { recorder, audit, log }
    }

    /// Drops what was recorded until now.
    pub(crate) async fn forget(&self) {
        self.recorder.trail.settle().await;
        self.recorder.access_log.as_ref().unwrap().flush();
        for written in [&self.audit, &self.log] {
            written.0.lock().unwrap().clear();
        }
    }

    /// The records of the audit until now.
    pub(crate) async fn audit(&self) -> Vec<Value> {
        self.recorder.trail.settle().await;
        self.audit.lines()
    }

    /// The fields of the access log until now.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.recorder.access_log.as_ref().unwrap().flush();
        self.log
            .lines()
            .into_iter()
            .map(|mut line| line["fields"].take())
            .collect()
    }
}

/// What stands at these keys of an object, as one text.
pub(crate) fn picked(object: &Value, keys: &[&str]) -> String {
    let text = |key| match &object[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    keys.iter().map(text).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn each_operation_is_one_record() {
    let scene = Scene::new().await;
    let mut get = request(Method::GET, "rogue/seen?a=1", "");
    get.headers_mut()
        .insert("x-request-id", HeaderValue::from_static("r-1"));
    scene.whole(get).await.unwrap();
    scene.whole(request(Method::DELETE, "rogue/echo", "hi")).await.unwrap();
    scene.tool("greet", "{}").await;
    scene.tool("fail", "{}").await;
    scene.tool("none", "{}").await;
    scene.whole(request(Method::GET, "unknown/x", "")).await.unwrap();
    scene.whole(request(Method::GET, "tools", "")).await.unwrap();
    let mut audit = scene.records.audit().await;
    // Those of reads are kept a moment later.
    audit.sort_by_key(|record| record["time"].as_str().unwrap().to_owned());
    let keys = [
        "kind",
        "user",
        "uid",
        "cluster",
        "plugin",
        "revision",
        "operation",
        "outcome",
        "status",
        "error",
    ];
    let told: Vec<_> = audit.iter().map(|record| picked(record, &keys)).collect();
    assert_eq!(
        told,
        [
            "plugin jane u-1 home rogue 7 get /seen succeeded 200 null",
            "plugin jane u-1 home rogue 7 delete /echo succeeded 200 null",
            "plugin_tool jane u-1 home rogue 7 greet succeeded 200 null",
            "plugin_tool jane u-1 home rogue 7 fail failed 502 tool-failed",
            "plugin_tool jane u-1 home rogue 7 none refused 404 no-such-tool",
            "plugin jane u-1 home unknown null get /x refused 404 no-such-plugin",
        ]
    );
    assert_eq!(audit[0]["requestId"], "r-1");
    assert!(audit[0]["durationMs"].as_f64().is_some_and(|took| took > 0.0));
}

#[tokio::test]
async fn the_access_log_tells_each_request_with_its_end() {
    let scene = Scene::new().await;
    scene
        .whole(request(Method::POST, "rogue/echo?a=1", "hello"))
        .await
        .unwrap();
    assert!(scene.whole(request(Method::GET, "rogue/cut", "")).await.is_err());
    let endless = scene.gateway.answer(request(Method::GET, "rogue/endless", "")).await;
    let mut body = endless.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    scene.whole(request(Method::GET, "manifests", "")).await.unwrap();
    let keys = [
        "method",
        "route",
        "path",
        "status",
        "end",
        "received_bytes",
        "sent_bytes",
        "user",
        "plugin",
        "revision",
    ];
    let told: Vec<_> = scene.records.log().iter().map(|line| picked(line, &keys)).collect();
    assert_eq!(
        told,
        [
            "POST plugin /api/v1/plugins/rogue/echo 200 complete 5 5 jane rogue 7",
            "GET plugin /api/v1/plugins/rogue/cut 200 broken 0 4 jane rogue 7",
            "GET plugin /api/v1/plugins/rogue/endless 200 cancelled 0 1024 jane rogue 7",
            "GET manifests /api/v1/plugins/manifests 200 complete 0 2 jane null null",
        ]
    );
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_a_record() {
    let scene = Scene::new().await;
    let never = scene
        .gateway
        .answer(request(Method::POST, "tools/plugin_rogue_never", "{}"));
    // Long enough for the tool to have begun, or not: the record is the same.
    assert!(timeout(super::SHORT, never).await.is_err());
    let audit = scene.records.audit().await;
    assert_eq!(audit.len(), 1, "{audit:?}");
    let keys = ["operation", "outcome", "status"];
    assert_eq!(picked(&audit[0], &keys), "never cancelled null");
    assert_eq!(scene.records.log()[0]["end"], "cancelled");
}

/// A sink that keeps a batch when it is let, and fails if it is told to.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) fails: Arc<AtomicBool>,
    pub(crate) lines: Written,
}

impl AuditSink for Gate {
    async fn keep(&mut self, records: &[Record]) -> Result<(), SinkError> {
        self.turns.acquire().await.unwrap().forget();
        if self.fails.load(Ordering::Relaxed) {
            return Err(SinkError::Write(io::ErrorKind::StorageFull.into()));
        }
        Lines::to(self.lines.clone()).keep(records).await
    }
}

pub(crate) async fn gated() -> (Scene, Gate) {
    let gate = Gate {
        turns: Arc::new(Semaphore::new(0)),
        fails: Arc::default(),
        lines: Written::default(),
    };
    let records = Records::with(gate.clone(), gate.lines.clone(), None);
    (Scene::recorded(PATIENT, by_exchange(), records).await, gate)
}

#[tokio::test]
async fn a_change_is_not_answered_before_its_record_is_kept() {
    let (scene, gate) = gated().await;
    let gateway = Arc::clone(&scene.gateway);
    let mut change = tokio::spawn(async move { gateway.answer(request(Method::POST, "rogue/echo", "a")).await });
    assert!(timeout(super::SHORT, &mut change).await.is_err(), "answered too early");
    assert_eq!(
        scene.get("rogue/seen").await.status,
        StatusCode::OK,
        "a read waits for nobody"
    );
    gate.turns.add_permits(100);
    let answer = timeout(LIMIT, change).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(gate.lines.lines()[0]["operation"], "create /echo");
}

#[tokio::test]
async fn no_change_begins_while_records_are_not_kept() {
    let (scene, gate) = gated().await;
    let gateway = Arc::clone(&scene.gateway);
    let first = tokio::spawn(async move { gateway.answer(request(Method::POST, "rogue/echo", "a")).await });
    let stalled = async {
        while scene.records.recorder.trail.may_begin().is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, stalled).await.unwrap();
    let described = scene.rogue.described.load(Ordering::Relaxed);
    for (method, target) in [(Method::PUT, "rogue/echo"), (Method::POST, "tools/plugin_rogue_greet")] {
        let answer = timeout(LIMIT, scene.whole(request(method, target, "{}")))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((answer.status.as_u16(), &*slug(&answer)), (503, "audit-unavailable"));
    }
    assert_eq!(scene.rogue.described.load(Ordering::Relaxed), described);
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
    // Whoever waited for too long is told that it was done.
    let first = timeout(LIMIT, first).await.unwrap().unwrap();
    assert_eq!(first.status(), StatusCode::INTERNAL_SERVER_ERROR);
    gate.turns.add_permits(100);
    let better = async {
        while scene.records.recorder.trail.may_begin().is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, better).await.unwrap();
    let again = scene.whole(request(Method::PUT, "rogue/echo", "a")).await.unwrap();
    assert_eq!(again.status, StatusCode::OK);
}

#[tokio::test]
async fn a_change_whose_record_was_lost_says_so() {
    let (scene, gate) = gated().await;
    gate.turns.add_permits(100);
    gate.fails.store(true, Ordering::Relaxed);
    let answer = scene.whole(request(Method::POST, "rogue/echo", "a")).await.unwrap();
    assert_eq!((answer.status.as_u16(), &*slug(&answer)), (500, "audit-failed"));
    let next = scene.whole(request(Method::POST, "rogue/echo", "a")).await.unwrap();
    assert_eq!((next.status.as_u16(), &*slug(&next)), (503, "audit-unavailable"));
    gate.fails.store(false, Ordering::Relaxed);
    let better = async {
        while scene.records.recorder.trail.may_begin().is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, better).await.unwrap();
    assert_eq!(
        scene
            .whole(request(Method::POST, "rogue/echo", "a"))
            .await
            .unwrap()
            .status,
        200
    );
}

/// Takes the spans of a gateway.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request
            .into_inner()
            .resource_spans
            .into_iter()
            .flat_map(|it| it.scope_spans);
        self.0.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Receiver {
    /// A gateway that sends its spans here, of all traces that begin there too.
    async fn scene() -> (Self, Scene) {
        let receiver = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::builder().add_service(TraceServiceServer::new(receiver.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let collector = Collector {
            endpoint,
            ca: None,
            ratio: 1.0,
        };
        let traces = Traces::to(&collector).await.unwrap();
        let audit = Written::default();
        let records = Records::with(Lines::to(audit.clone()), audit, Some(traces));
        (receiver, Scene::recorded(PATIENT, by_exchange(), records).await)
    }

    /// All spans of a gateway that makes no more.
    async fn spans(&self, scene: &Scene) -> Vec<Span> {
        let recorder = Arc::clone(&scene.records.recorder);
        let ended = tokio::task::spawn_blocking(move || recorder.traces.as_ref().unwrap().end());
        timeout(LIMIT, ended).await.unwrap().unwrap();
        self.0.lock().unwrap().clone()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[tokio::test]
async fn the_gateways_span_is_between_the_callers_and_the_plugins() {
    let (receiver, scene) = Receiver::scene().await;
    let mut given = request(Method::GET, "rogue/seen", "");
    given
        .headers_mut()
        .insert("traceparent", HeaderValue::from_static(TRACE));
    given
        .headers_mut()
        .insert("tracestate", HeaderValue::from_static("a=1"));
    let unrecorded = TRACE.replace("-01", "-00");
    let mut refused = request(Method::GET, "rogue/seen", "");
    refused.headers_mut().insert("traceparent", unrecorded.parse().unwrap());
    let given = scene.whole(given).await.unwrap().json();
    let refused = scene.whole(refused).await.unwrap().json();
    let begun = scene.get("rogue/seen").await.json();
    scene.tool("fail", "{}").await;
    let spans = receiver.spans(&scene).await;
    assert_eq!(
        spans.len(),
        3,
        "what the caller does not record is not recorded: {spans:?}"
    );
    let told = |seen: &Value| seen["trace"][0].as_str().unwrap().to_owned();
    let context = |span: &Span| format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id));
    let [child, root, tool] = spans.as_slice() else {
        panic!()
    };
    assert_eq!(hex(&child.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&child.parent_span_id), "b7ad6b7169203331");
    assert_eq!((told(&given), &given["trace"][1]), (context(child), &json!("a=1")));
    assert_eq!((told(&begun), root.parent_span_id.len()), (context(root), 0));
    assert!(told(&refused).ends_with("-00") && told(&refused).starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
    assert_ne!(told(&refused), unrecorded);
    assert_eq!((&*child.name, &*tool.name), ("GET plugin", "POST tool"));
    assert_eq!(tool.status.as_ref().unwrap().code, SpanStatus::Error as i32);
    assert!(child.end_time_unix_nano > child.start_time_unix_nano);
}

/// The row token-in-url of the attacks, and what else callers send that nobody may read later.
#[tokio::test]
async fn token_in_url_and_elsewhere_is_in_no_record() {
    let (receiver, scene) = Receiver::scene().await;
    for target in [
        "rogue/echo?access_token=s3cret",
        "rogue/broken?token=s3cret",
        "rogue/%2e%2e/x?token=s3cret",
        "unknown/x?token=s3cret",
        "tools/plugin_rogue_fail?token=s3cret",
        "tools?plugin=hello&token=s3cret",
    ] {
        for method in [Method::GET, Method::POST] {
            let mut request = request(method, target, r#"{"arguments": {"password": "s3cret"}}"#);
            for (name, value) in [
                ("authorization", "Bearer s3cret"),
                ("cookie", "auth_token=s3cret"),
                ("x-api-key", "s3cret"),
                ("tracestate", "a=s3cret"),
                ("user-agent", "s3cret"),
                ("referer", "https://dashboard.example/?token=s3cret"),
            ] {
                request.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            // Some of the answers break off, as they should.
            let _ = scene.whole(request).await;
        }
    }
    let spans = receiver.spans(&scene).await;
    let (audit, log) = (scene.records.audit().await, scene.records.log());
    assert!(
        audit.len() >= 6 && log.len() == 12 && spans.len() == 12,
        "{}",
        spans.len()
    );
    assert!(!scene.records.audit.text().contains("s3cret"), "{audit:#?}");
    assert!(!scene.records.log.text().contains("s3cret"), "{log:#?}");
    // The trace state is the caller's own and goes on as it is: it is made to be passed on.
    for span in spans {
        let span = format!(
            "{:?} {:?} {:?} {:?}",
            span.name, span.attributes, span.events, span.status
        );
        assert!(!span.contains("s3cret"), "{span}");
    }
    let metrics = scene
        .records
        .recorder
        .metrics
        .text([].into(), &scene.records.recorder.trail, None);
    assert!(!metrics.contains("s3cret"), "{metrics}");
}
