//! What neither a caller nor a pod that misbehaves may do to others.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt as _, future::join_all, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use kite_api::{PluginName, ToolName};
use kite_gateway::{
    BoxError,
    directory::Revision,
    pipeline::{
        RequestBody,
        authenticate::Caller,
        cluster::ClusterName,
        forward::{Ended, Exchange, Forwarded, Handshake, Limits, Opening},
        origin::Origin,
        tool::{Call, ToolError},
        trace::Trace,
    },
    request_id::RequestId,
    upstream::{Connected, EndpointError, Upstream},
};
use serde_json::json;
use tokio::time::timeout;

use super::{
    LIMIT, PATIENT, SHORT, Scene, by_exchange,
    gateway::{Whole, request, stream_request, table},
    rogue::{DEFINITIONS, Rogue},
    slug,
};

/// How many answers are left unread: more than fit into the connection's window, if that were a bottleneck.
const UNREAD: usize = 32;

fn rogue() -> PluginName {
    PluginName::parse("rogue").unwrap()
}

fn active(addresses: &[std::net::SocketAddr]) -> Revision {
    table("rogue", addresses, &DEFINITIONS)[&rogue()]
        .active
        .clone()
        .unwrap()
}

/// Somebody who accepts connections and says nothing on them.
fn silent() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn body(frames: impl futures::Stream<Item = Result<Frame<Bytes>, BoxError>> + Send + 'static) -> RequestBody {
    StreamBody::new(frames).boxed_unsync()
}

fn piece(size: usize) -> Frame<Bytes> {
    Frame::data(Bytes::from(vec![0; size]))
}

#[tokio::test]
async fn starvation_callers_who_do_not_read_stop_neither_others_nor_fill_the_memory() {
    let scene = Scene::new().await;
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        let answer = scene.gateway.answer(request(Method::GET, "rogue/endless", "")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        unread.push(answer.into_body());
    }
    let mut pieces = scene.rogue.pieces.subscribe();
    let window = if by_exchange() { 64 } else { 240 };
    timeout(LIMIT, pieces.wait_for(|pieces| *pieces >= UNREAD * window))
        .await
        .expect("each stream's window is filled")
        .unwrap();
    for _ in 0..50 {
        let answer = timeout(LIMIT, scene.get("rogue/seen"))
            .await
            .expect("others are answered");
        assert_eq!(answer.status, StatusCode::OK);
    }
    let taken = *pieces.borrow();
    assert!(
        taken < UNREAD * 1024,
        "{taken} KiB for {UNREAD} callers who read nothing"
    );
}

#[tokio::test]
async fn a_pod_that_says_nothing_delays_no_request() {
    let scene = Scene::new().await;
    let dead = silent();
    let addresses = [dead.local_addr().unwrap(), scene.address];
    scene.directory.0.store(table("rogue", &addresses, &DEFINITIONS).into());
    let ask = async || {
        let start = Instant::now();
        assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
        // Connecting to the dead pod takes three seconds, and who waits for it as long.
        assert!(start.elapsed() < Duration::from_millis(2900), "{:?}", start.elapsed());
    };
    join_all((0..20).map(|_| ask())).await;
    for _ in 0..20 {
        ask().await;
    }
}

/// The rogue's connection twice, which was closed since it was taken: the rogue ends.
async fn closed(scene: &Scene) -> [Connected; 2] {
    let (plugin, active) = (rogue(), active(&[scene.address]));
    let connect = async || scene.gateway.upstream.connect(&plugin, &active).await;
    let taken = [connect().await.ok().unwrap(), connect().await.ok().unwrap()];
    scene.rogue.stop.send_replace(true);
    let gone = async {
        while connect().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, gone).await.unwrap();
    taken
}

#[tokio::test]
async fn a_web_socket_of_which_nothing_left_is_opened_by_another_connection() {
    let scene = Scene::new().await;
    let (plugin, [old, _]) = (rogue(), closed(&scene).await);
    let (second, address) = Rogue::start(&scene.certificates).await;
    let mut request = request(Method::GET, "rogue/socket", "");
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    // A connection that is never upgraded.
    let upgrade = hyper::upgrade::on(&mut request);
    request.extensions_mut().insert(upgrade);

    let (id, caller, trace) = (RequestId::of(&HeaderMap::new()), nobody(), Trace::of(&HeaderMap::new()));
    let origin = Origin {
        caller: &caller,
        id: &id,
        trace: &trace,
        cluster: &home(),
    };
    let forwarded = Forwarded {
        plugin: &plugin,
        below: "/socket",
        origin,
        limits: PATIENT,
    };
    let opening = Opening::new(forwarded, Handshake::of(request).unwrap());
    let Err(Ended::Again(opening, _)) = opening.on(old).await else {
        panic!("nothing can be sent on a closed connection");
    };
    let upstream = &scene.gateway.upstream;
    let connected = upstream.connect(&plugin, &active(&[address])).await.ok().unwrap();
    let answer = opening.on(connected).await.ok().unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut open = second.open.subscribe();
    let dropped = timeout(LIMIT, open.wait_for(|open| *open == 0));
    dropped
        .await
        .expect("with the connection the plugin is let go")
        .unwrap();
}

#[tokio::test]
async fn a_request_that_never_left_goes_by_another_connection() {
    let scene = Scene::new().await;
    let upstream = &scene.gateway.upstream;
    let (plugin, [old, old_too]) = (rogue(), closed(&scene).await);
    let (_second, address) = Rogue::start(&scene.certificates).await;
    let second = active(&[address]);

    let (id, caller, trace) = (RequestId::of(&HeaderMap::new()), nobody(), Trace::of(&HeaderMap::new()));
    let origin = Origin {
        caller: &caller,
        id: &id,
        trace: &trace,
        cluster: &home(),
    };
    let forwarded = Forwarded {
        plugin: &plugin,
        below: "/echo",
        origin,
        limits: PATIENT,
    };
    let exchange = Exchange::new(forwarded, request(Method::POST, "rogue/echo", "once")).unwrap();
    let Err(Ended::Again(exchange, _)) = exchange.on(old).await else {
        panic!("nothing can be sent on a closed connection");
    };
    let connected = upstream.connect(&plugin, &second).await.ok().unwrap();
    let answer = exchange.on(connected).await.ok().unwrap();
    assert_eq!(Whole::of(answer).await.unwrap().body, "once");

    let tool = ToolName::parse("greet").unwrap();
    let call = Call {
        tool: &tool,
        arguments: Bytes::from("{}"),
        origin,
        deadline: tokio::time::Instant::now() + LIMIT,
    };
    let unsent = call.on(old_too).await;
    assert!(matches!(unsent, Err(ToolError::NotBegun(_))));
    let connected = upstream.connect(&plugin, &second).await.ok().unwrap();
    let running = call.on(connected).await.unwrap();
    assert_eq!(running.result().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_pod_that_is_told_to_end_fails_no_request() {
    let scene = Scene::new().await;
    let (_second, address) = Rogue::start(&scene.certificates).await;
    scene
        .directory
        .0
        .store(table("rogue", &[scene.address, address], &DEFINITIONS).into());
    let (scene, count) = (&scene, 400);
    let posts = (0..count).map(async |number: usize| {
        if number == count / 4 {
            scene.rogue.stop.send_replace(true);
        }
        let body = number.to_string();
        let answer = scene
            .whole(request(Method::POST, "rogue/echo", body.clone()))
            .await
            .unwrap();
        assert_eq!((answer.status, answer.body), (StatusCode::OK, Bytes::from(body)));
    });
    let answered = stream::iter(posts).buffer_unordered(20).count();
    assert_eq!(timeout(LIMIT, answered).await.expect("all are answered"), count);
    assert_eq!(
        scene
            .gateway
            .upstream
            .connect(&rogue(), &active(&[scene.address]))
            .await
            .err()
            .map(|e| e.tried),
        Some(1)
    );
}

#[tokio::test]
async fn a_caller_who_keeps_the_plugin_waiting_is_told() {
    let scene = Scene::limited(Limits {
        caller: SHORT,
        ..PATIENT
    })
    .await;
    for target in ["rogue/upload", "tools/plugin_rogue_greet"] {
        let silent = body(stream::iter([Ok(piece(1))]).chain(stream::pending()));
        let answer = scene.whole(stream_request(Method::POST, target, silent)).await.unwrap();
        assert_eq!(
            (answer.status, slug(&answer).as_str()),
            (StatusCode::REQUEST_TIMEOUT, "body-timeout"),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_plugin_that_has_the_whole_body_is_the_one_that_is_late() {
    let scene = Scene::limited(Limits {
        plugin: Duration::from_secs(2),
        ..PATIENT
    })
    .await;
    let (send, pieces) = futures::channel::mpsc::unbounded();
    let asked = scene
        .gateway
        .answer(stream_request(Method::POST, "rogue/never", body(pieces)));
    let upload = async {
        // By now the plugin waits for the caller.
        assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
        send.unbounded_send(Ok(piece(1))).unwrap();
        drop(send);
    };
    let (answer, ()) = futures::join!(asked, upload);
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn an_upload_is_read_only_as_fast_as_the_plugin_takes_it() {
    let scene = Scene::limited(Limits {
        plugin: Duration::from_secs(2),
        ..PATIENT
    })
    .await;
    let read = std::sync::Arc::new(AtomicUsize::new(0));
    let reading = std::sync::Arc::clone(&read);
    let endless = stream::repeat_with(move || {
        reading.fetch_add(1, Ordering::SeqCst);
        Ok(piece(64 * 1024))
    });
    let answer = scene
        .whole(stream_request(Method::POST, "rogue/never", body(endless)))
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "the plugin takes nothing");
    let read = read.load(Ordering::SeqCst);
    assert!((1..64).contains(&read), "{read} pieces of 64 KiB");
}

#[tokio::test]
async fn an_upload_that_breaks_off_reaches_the_plugin_without_its_end() {
    let scene = Scene::new().await;
    for (last, end) in [(Ok(piece(2)), true), (Err("the caller is gone".into()), false)] {
        let bytes = if end { 5 } else { 3 };
        let upload = body(stream::iter([Ok(piece(3)), last]));
        let answer = scene
            .whole(stream_request(Method::POST, "rogue/upload", upload))
            .await
            .unwrap();
        assert_eq!(answer.json(), json!({"bytes": bytes, "end": end}));
    }
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_is_no_endpoint() {
    let upstream = Upstream::new("/nonexistent".into());
    let exhausted = upstream.connect(&rogue(), &active(&[([127, 0, 0, 1], 1).into()])).await;
    let last = exhausted.err().unwrap().last;
    assert!(matches!(last, Some(EndpointError::Certificate(_))), "{last:?}");
}

#[tokio::test]
async fn an_endpoint_that_agrees_on_nothing_is_given_up() {
    let scene = Scene::new().await;
    let dead = silent();
    let active = active(&[dead.local_addr().unwrap()]);
    let exhausted = scene.gateway.upstream.connect(&rogue(), &active).await.err().unwrap();
    assert!(matches!(exhausted.last, Some(EndpointError::Timeout)), "{exhausted:?}");
}

fn home() -> ClusterName {
    ClusterName::parse("home").unwrap()
}

fn nobody() -> Caller {
    Caller::new(String::new(), String::new(), Vec::new(), [].into())
}
