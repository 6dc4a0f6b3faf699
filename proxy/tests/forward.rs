//! Exchanges and tool calls with a plugin over real mutual TLS, well-behaved and not.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/bounds.rs"]
mod bounds;
#[path = "support/details.rs"]
mod details;
#[path = "support/documented.rs"]
mod documented;
#[path = "support/endpoints.rs"]
mod endpoints;
#[path = "support/faults.rs"]
mod faults;
#[path = "support/floods.rs"]
mod floods;
#[path = "support/frames.rs"]
mod frames;
#[path = "support/gateway.rs"]
pub(crate) mod gateway;
#[path = "support/late_records.rs"]
mod late_records;
#[path = "support/limits.rs"]
mod limits;
#[path = "support/meddler.rs"]
mod meddler;
#[path = "support/outage.rs"]
mod outage;
#[path = "support/over.rs"]
mod over;
#[path = "support/records.rs"]
pub(crate) mod records;
#[path = "support/renewal.rs"]
mod renewal;
#[path = "support/retries.rs"]
mod retries;
#[path = "support/rogue.rs"]
pub(crate) mod rogue;
#[path = "support/rogue_exchange.rs"]
pub(crate) mod rogue_exchange;
#[path = "support/rogue_socket.rs"]
mod rogue_socket;
#[path = "support/schemathesis.rs"]
mod schemathesis;
#[path = "support/served.rs"]
mod served;
#[path = "support/sessions.rs"]
mod sessions;
#[path = "support/smuggling.rs"]
mod smuggling;
#[path = "support/socket.rs"]
mod socket;
#[path = "support/socket_frames.rs"]
mod socket_frames;
#[path = "support/tools.rs"]
mod tools;

use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use kite_gateway::{
    BoxError,
    base_path::BasePath,
    pipeline::{
        Gateway, RequestBody,
        forward::{BodyError, Limits},
    },
    upstream::Times,
};
use serde_json::json;
use tokio::time::timeout;

use self::{
    gateway::{Certificates, Ready, Swapped, Whole, gateway, request, stream_request, table},
    records::Records,
    rogue::{DEFINITIONS, Rogue},
};

/// Within which anything here happens.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

pub(crate) const PATIENT: Limits = Limits {
    plugin: Duration::from_secs(30),
    caller: Duration::from_secs(30),
    body: 1024 * 1024 * 1024,
};
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// For a time that has to pass.
const SHORT: Duration = Duration::from_millis(50);

/// Whether the plugin is asked by `Exchange` where that can be: all tests here are a second program too, in which it is.
fn by_exchange() -> bool {
    module_path!().starts_with("forward_exchange")
}

pub(crate) struct Scene {
    pub(crate) gateway: Ready,
    pub(crate) directory: Swapped,
    pub(crate) rogue: Rogue,
    pub(crate) address: SocketAddr,
    pub(crate) certificates: Certificates,
    pub(crate) records: Records,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::limited(PATIENT).await
    }

    /// A scene in which a plugin and its caller may take this long.
    async fn limited(limits: Limits) -> Self {
        let scene = Self::cold(limits, by_exchange()).await;
        while by_exchange() && scene.rogue.streams.borrow().begun == 0 {
            scene.get("rogue/status?204").await;
        }
        // What came to have a stream is nothing of the test's.
        scene.rogue.begun.store(0, Ordering::SeqCst);
        scene.rogue.asked.lock().unwrap().clear();
        scene.records.forget().await;
        scene
    }

    /// A scene in which nobody has connected.
    async fn cold(limits: Limits, exchange: bool) -> Self {
        Self::recorded(limits, exchange, Records::new()).await
    }

    /// The same, with what is recorded of it.
    async fn recorded(limits: Limits, exchange: bool, records: Records) -> Self {
        Self::timed(limits, exchange.then(Times::default), records).await
    }

    /// The same with streams of exchanges that become so old.
    pub(crate) async fn timed(limits: Limits, exchange: Option<Times>, records: Records) -> Self {
        let certificates = Certificates::new();
        let (rogue, address) = Rogue::start(&certificates).await;
        let table = table("rogue", &[address], &DEFINITIONS);
        records.recorder.metrics.changed(&table);
        let (gateway, directory) = gateway(&certificates, table, limits, exchange, &records.recorder);
        Self {
            gateway,
            directory,
            rogue,
            address,
            certificates,
            records,
        }
    }

    pub(crate) async fn whole(&self, request: Request<RequestBody>) -> Result<Whole, BoxError> {
        Whole::of(self.gateway.answer(request).await).await
    }

    pub(crate) async fn get(&self, target: &str) -> Whole {
        self.whole(request(Method::GET, target, "")).await.unwrap()
    }

    async fn tool(&self, name: &str, body: &'static str) -> Whole {
        self.whole(request(Method::POST, &format!("tools/plugin_rogue_{name}"), body))
            .await
            .unwrap()
    }
}

pub(crate) fn slug(answer: &Whole) -> String {
    let problem = answer.json();
    problem["type"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn token_passthrough_the_plugin_sees_the_caller_and_none_of_the_credentials() {
    let scene = Scene::new().await;
    let mut request = request(Method::POST, "rogue/%73een?a=%2e%2e&b&x-cluster-name=home", "hi");
    for (name, value) in [
        ("x-request-id", "r-1"),
        ("traceparent", TRACE),
        ("tracestate", "a=1"),
        ("x-twice", "1"),
        ("x-twice", "2"),
        ("cookie", "a=b; x-cluster-name=home"),
        ("x-cluster-name", "home"),
        ("x-kite-user", "root"),
        ("x_remote_user", "root"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("host", "dashboard.example"),
    ] {
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let answer = scene.whole(request).await.unwrap();
    let expected = json!({
        "method": "POST",
        "path": "/seen?a=%2e%2e&b&x-cluster-name=home",
        "headers": [["x-twice", "1"], ["x-twice", "2"], ["traceparent", TRACE], ["tracestate", "a=1"]],
        "trace": [TRACE, "a=1"],
        "user": {"name": "jane", "uid": "u-1", "groups": ["dev", "ops"]},
        "extra": [["scopes", ["a", "b"]]],
        "requestId": "r-1",
        "cluster": "home",
        "timeout": null,
        "whole": true,
        "protocol": "",
    });
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, expected));
    assert_eq!(answer.headers["x-request-id"], "r-1");
    assert_eq!(
        (&answer.headers["x-kite-plugin"], &answer.headers["x-kite-revision"]),
        (&"rogue".parse().unwrap(), &7.into())
    );
    assert_eq!(
        scene.get("rogue").await.status,
        StatusCode::NOT_FOUND,
        "the plugin's own 404, at its root"
    );
}

#[tokio::test]
async fn a_large_body_and_its_trailers_come_back_as_they_went() {
    let scene = Scene::new().await;
    let large: Bytes = (0..3_000_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("x-sum"), HeaderValue::from_static("7"))]);
    let frames = [
        Ok::<_, BoxError>(Frame::data(large.clone())),
        Ok(Frame::trailers(trailers.clone())),
    ];
    let body = StreamBody::new(futures::stream::iter(frames)).boxed_unsync();
    let answer = scene
        .whole(stream_request(Method::PUT, "rogue/echo", body))
        .await
        .unwrap();
    assert!(answer.body == large);
    assert_eq!(answer.trailers, Some(trailers));
    assert_eq!(answer.headers["trailer"], "x-sum");
}

#[tokio::test]
async fn both_directions_stream_at_once() {
    let scene = Scene::new().await;
    let (pieces, body) = futures::channel::mpsc::unbounded::<Result<Frame<Bytes>, BoxError>>();
    let body = StreamBody::new(body).boxed_unsync();
    let answer = scene
        .gateway
        .answer(stream_request(Method::POST, "rogue/echo", body))
        .await;
    let mut answer = answer.into_body().into_data_stream();
    for piece in ["one", "two"] {
        pieces.unbounded_send(Ok(Frame::data(Bytes::from(piece)))).unwrap();
        let back = timeout(LIMIT, answer.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(back, piece);
    }
    drop(pieces);
    assert!(timeout(LIMIT, answer.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_complete() {
    let scene = Scene::new().await;
    let breaks = async |path: &str| {
        let answer = scene.whole(request(Method::GET, &format!("rogue/{path}"), "")).await;
        *answer.err().unwrap().downcast::<BodyError>().unwrap()
    };
    let cut = breaks("cut").await;
    // By `Exchange` a reply that has no end cannot be said.
    assert!(matches!(cut, BodyError::NoEnd) || (by_exchange() && matches!(cut, BodyError::Broken(_))));
    assert!(matches!(breaks("broken").await, BodyError::Broken(_)));
    assert!(matches!(breaks("two-heads").await, BodyError::SecondHead));
    assert!(matches!(breaks("longer").await, BodyError::Length));
    assert!(matches!(breaks("shorter").await, BodyError::Length));
    if !by_exchange() {
        assert!(matches!(breaks("large-piece").await, BodyError::Chunk));
    }
    assert!(matches!(breaks("early-trailers").await, BodyError::EarlyTrailers));
    assert!(matches!(breaks("bad-trailers").await, BodyError::Trailers(_)));
}

#[tokio::test]
async fn an_answer_that_cannot_be_passed_on_is_a_bad_gateway() {
    let scene = Scene::new().await;
    for (target, expected) in [
        ("refuse", "plugin-failed"),
        ("huge", "plugin-failed"),
        ("empty", "plugin-answer-invalid"),
        ("headless", "plugin-answer-invalid"),
        ("bad-header", "plugin-answer-invalid"),
        ("two-lengths", "plugin-answer-invalid"),
        ("two-locations", "plugin-answer-invalid"),
        ("many-headers", "plugin-answer-invalid"),
        ("status?100", "plugin-answer-invalid"),
        ("status?101", "plugin-answer-invalid"),
        ("status?600", "plugin-answer-invalid"),
        ("status?70000", "plugin-answer-invalid"),
        ("location?https://evil.example/", "plugin-answer-invalid"),
        ("location?//evil.example/", "plugin-answer-invalid"),
        ("location?/../other/", "plugin-answer-invalid"),
    ] {
        let answer = scene.get(&format!("rogue/{target}")).await;
        assert_eq!(
            (answer.status, slug(&answer).as_str()),
            (StatusCode::BAD_GATEWAY, expected),
            "{target}"
        );
    }
    assert_eq!(
        scene.rogue.described.load(Ordering::SeqCst),
        1,
        "all on one connection, which survived"
    );
}

#[tokio::test]
async fn redirect_is_told_to_the_caller_and_never_followed() {
    let scene = Scene::new().await;
    let elsewhere = [
        "https://evil.example/",
        "//evil.example/",
        "/../other/x",
        "http://127.0.0.1:1/",
    ];
    for target in elsewhere {
        let answer = scene.get(&format!("rogue/location?{target}")).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{target}");
        assert!(!answer.headers.contains_key("location"));
    }
    let inside = scene.get("rogue/location?/seen").await;
    assert_eq!(inside.status, StatusCode::SEE_OTHER, "what is there was not asked for");
    assert_eq!(inside.headers["location"], "/api/v1/plugins/rogue/seen");
}

#[tokio::test]
async fn plugin_html_an_answer_is_confined_to_the_plugin() {
    let scene = Scene::new().await;
    let answer = scene.get("rogue/headers").await;
    let mut names: Vec<_> = answer.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "cache-control",
            "content-security-policy",
            "vary",
            "x-content-type-options",
            "x-kite-plugin",
            "x-kite-revision",
            "x-own",
            "x-request-id"
        ]
    );
    assert_eq!(answer.headers.get_all("x-own").iter().count(), 2);
    assert_eq!(answer.headers["content-security-policy"], "sandbox");
    assert_ne!(answer.headers["x-request-id"], "x");
    assert_eq!(
        scene.get("rogue/location?/a?b").await.headers["location"],
        "/api/v1/plugins/rogue/a?b"
    );
    assert_eq!(
        scene.get("rogue/location?next").await.headers["location"],
        "/api/v1/plugins/rogue/next"
    );
}

#[tokio::test]
async fn below_a_base_the_plugin_sees_its_own_paths_and_the_caller_whole_ones() {
    let scene = Scene::new().await;
    let mut based = Gateway::clone(&scene.gateway);
    based.base = BasePath::parse("/kite").unwrap();
    let get = async |target: &str| {
        let mut request = request(Method::GET, target, "");
        *request.uri_mut() = format!("/kite/api/v1/plugins/{target}").parse().unwrap();
        Whole::of(based.answer(request).await).await.unwrap()
    };
    assert_eq!(get("rogue/seen?a=b").await.json()["path"], "/seen?a=b");
    for (given, seen) in [("/a?b", "/a?b"), ("next", "/next")] {
        let answer = get(&format!("rogue/location?{given}")).await;
        assert_eq!(answer.headers["location"], format!("/kite/api/v1/plugins/rogue{seen}"));
    }
    let outside = get("rogue/location?/../../../../other").await;
    assert_eq!(slug(&outside), "plugin-answer-invalid");
}

#[tokio::test]
async fn head_and_answers_without_content_have_no_body() {
    let scene = Scene::new().await;
    let head = scene.whole(request(Method::HEAD, "rogue/seen", "")).await.unwrap();
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert!(
        scene
            .whole(request(Method::HEAD, "rogue/longer", ""))
            .await
            .unwrap()
            .body
            .is_empty()
    );
    let none = scene.get("rogue/status?204").await;
    assert_eq!(
        (none.status, none.headers.get("content-length")),
        (StatusCode::NO_CONTENT, None)
    );
    assert_eq!(scene.get("rogue/status?304").await.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn when_the_caller_is_gone_the_plugin_is_told() {
    let scene = Scene::new().await;
    let mut open = scene.rogue.open.subscribe();
    let answer = scene.gateway.answer(request(Method::GET, "rogue/endless", "")).await;
    let mut body = answer.into_body().into_data_stream();
    assert_eq!(body.next().await.unwrap().unwrap().len(), 1024);
    assert_eq!(*open.borrow(), 1);
    drop(body);
    timeout(LIMIT, open.wait_for(|open| *open == 0))
        .await
        .expect("the exchange is dropped")
        .unwrap();
}

#[tokio::test]
async fn a_plugin_that_does_not_answer_in_time_is_a_gateway_timeout() {
    let scene = Scene::limited(Limits {
        plugin: SHORT,
        ..PATIENT
    })
    .await;
    for answer in [scene.get("rogue/never").await, scene.tool("never", "{}").await] {
        assert_eq!(
            (answer.status, slug(&answer).as_str()),
            (StatusCode::GATEWAY_TIMEOUT, "plugin-timeout")
        );
    }
}

#[tokio::test]
async fn a_tool_answers_its_result() {
    let answer = Scene::new()
        .await
        .tool("greet", r#"{"arguments": {"name": "x"}}"#)
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.json(),
        json!({"result": r#"{"name": "x"}"#, "structuredContent": {"a": 1}})
    );
}

#[tokio::test]
async fn a_tool_that_fails_says_how() {
    let scene = Scene::new().await;
    for (tool, status, expected, detail) in [
        ("fail", 502, "tool-failed", "out of cheese"),
        ("silent", 502, "plugin-answer-invalid", ""),
        ("huge", 502, "plugin-failed", ""),
        ("bug", 502, "plugin-failed", ""),
        ("invalid", 422, "arguments-refused", "name: is not a string"),
        ("denied", 403, "tool-forbidden", "not you"),
        ("gone", 404, "no-such-tool", ""),
        ("busy", 503, "plugin-busy", ""),
        ("late", 504, "plugin-timeout", ""),
    ] {
        let answer = scene.tool(tool, "{}").await;
        assert_eq!(
            (answer.status.as_u16(), slug(&answer).as_str()),
            (status, expected),
            "{tool}"
        );
        assert!(detail.is_empty() || answer.json()["error"] == detail, "{tool}");
    }
}
