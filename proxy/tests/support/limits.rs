//! What the limits of a plugin's object bound: requests under way, bodies, time.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, future::join_all, stream};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use kite_api::PluginName;
use kite_gateway::{
    BoxError,
    pipeline::{RequestBody, forward::Limits},
};
use tokio::time::timeout;

use super::{
    LIMIT, PATIENT, SHORT, Scene,
    gateway::{request, stream_request, table},
    rogue::{DEFINITIONS, Rogue},
    slug,
};

impl Scene {
    /// The rogue takes no more than `most` requests at once from now on.
    fn allow(&self, most: usize) {
        let mut table = table("rogue", &[self.address], &DEFINITIONS);
        for entry in table.values_mut() {
            entry.limits.in_flight = most;
        }
        self.directory.0.store(table.into());
    }
}

#[tokio::test]
async fn starvation_no_more_requests_are_under_way_than_the_object_says() {
    let scene = Scene::new().await;
    scene.allow(2);
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(scene.gateway.answer(request(Method::GET, "rogue/endless", "")).await);
    }
    for answer in [scene.get("rogue/seen").await, scene.tool("greet", "{}").await] {
        assert_eq!(
            (answer.status, slug(&answer).as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "plugin-busy")
        );
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(answer.headers["x-kite-plugin"], "rogue");
    }
    // A place is kept as long as the body of the answer is.
    drop(open.pop());
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
    scene.allow(1);
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::SERVICE_UNAVAILABLE);
    scene.allow(3);
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_place_is_given_back_however_a_request_ends() {
    let scene = Scene::limited(Limits {
        plugin: Duration::from_secs(2),
        ..PATIENT
    })
    .await;
    let mut only = table("rogue", &[scene.address], &DEFINITIONS);
    for entry in only.values_mut() {
        (entry.limits.in_flight, entry.limits.timeout) = (1, Duration::from_secs(2));
    }
    scene.directory.0.store(only.into());
    for (path, status) in [
        ("rogue/seen", 200),
        ("rogue/refuse", 502),
        ("rogue/headless", 502),
        ("rogue/never", 504),
        ("rogue/status?204", 204),
        ("rogue/seen", 200),
    ] {
        assert_eq!(scene.get(path).await.status, status, "{path}");
    }
    for (tool, status) in [("greet", 200), ("strict", 422), ("bug", 502), ("greet", 200)] {
        assert_eq!(scene.tool(tool, "{}").await.status, status, "{tool}");
    }
    // One that is given up before its answer.
    let mut gone = Box::pin(scene.gateway.answer(request(Method::GET, "rogue/never", "")));
    assert!(timeout(SHORT, &mut gone).await.is_err());
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::SERVICE_UNAVAILABLE);
    drop(gone);
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
}

/// A call of a tool by a caller who takes events.
pub(crate) fn call_by_events(tool: &str) -> Request<RequestBody> {
    let mut call = request(Method::POST, &format!("tools/plugin_rogue_{tool}"), "{}");
    call.headers_mut()
        .insert("accept", HeaderValue::from_static("text/event-stream"));
    call
}

#[tokio::test]
async fn a_tools_place_is_kept_until_its_caller_has_the_answer() {
    let scene = Scene::new().await;
    scene.allow(1);
    for call in [
        request(Method::POST, "tools/plugin_rogue_greet", "{}"),
        call_by_events("halfway"),
    ] {
        let mut answer = scene.gateway.answer(call).await.into_body();
        assert_eq!(scene.tool("greet", "{}").await.status, StatusCode::SERVICE_UNAVAILABLE);
        while let Some(piece) = answer.frame().await {
            piece.unwrap();
            assert_eq!(scene.tool("greet", "{}").await.status, StatusCode::SERVICE_UNAVAILABLE);
        }
        drop(answer);
        assert_eq!(scene.tool("greet", "{}").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn starvation_a_plugin_that_hangs_with_all_its_requests_is_nobody_elses_affair() {
    let scene = Scene::new().await;
    let (_other, address) = Rogue::start_as(&scene.certificates, "other").await;
    let mut both = table("rogue", &[scene.address], &DEFINITIONS);
    both.extend(table("other", &[address], &DEFINITIONS));
    let most = both[&PluginName::parse("rogue").unwrap()].limits.in_flight;
    scene.directory.0.store(both.into());
    let hanging = join_all((0..most).map(|_| scene.gateway.answer(request(Method::GET, "rogue/never", ""))));
    let mut hanging = Box::pin(hanging);
    let begun = async {
        while scene.rogue.begun.load(Ordering::SeqCst) < most {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut hanging => panic!("they hang"),
        begun = timeout(LIMIT, begun) => begun.expect("all of them begin"),
    }
    let others = async {
        assert_eq!(scene.get("rogue/seen").await.status, StatusCode::SERVICE_UNAVAILABLE);
        for _ in 0..50 {
            assert_eq!(scene.get("other/seen").await.status, StatusCode::OK);
        }
    };
    tokio::select! {
        _ = &mut hanging => panic!("they hang"),
        others = timeout(LIMIT, others) => others.expect("others are answered at once"),
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_by_its_own_account_reaches_nobody() {
    let scene = Scene::cold(Limits { body: 10, ..PATIENT }, false).await;
    let large = scene
        .whole(request(Method::POST, "rogue/upload", "01234567890"))
        .await
        .unwrap();
    assert_eq!(
        (large.status, slug(&large).as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large")
    );
    assert_eq!(
        scene.rogue.described.load(Ordering::SeqCst),
        0,
        "nobody is even connected to"
    );
    let just = scene
        .whole(request(Method::POST, "rogue/upload", "0123456789"))
        .await
        .unwrap();
    assert_eq!(just.json()["bytes"], 10);
}

#[tokio::test]
async fn a_body_that_grows_too_large_breaks_off() {
    let scene = Scene::limited(Limits { body: 10, ..PATIENT }).await;
    let piece = || Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"0123456")));
    let upload = |target| {
        let body = stream::iter([piece(), piece()]).chain(stream::pending());
        stream_request(Method::POST, target, StreamBody::new(body).boxed_unsync())
    };
    let refused = scene.whole(upload("rogue/upload")).await.unwrap();
    assert_eq!(
        (refused.status, slug(&refused).as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large")
    );
    // An answer that has begun ends with what the plugin got, and never looks complete.
    let begun = scene.gateway.answer(upload("rogue/echo")).await;
    if begun.status() == StatusCode::OK {
        assert!(begun.into_body().collect().await.is_err());
    } else {
        assert_eq!(begun.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
