//! Small exchanges on the stream that they share.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, future::join_all};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use kite_gateway::{tls, upstream::Times};
use kite_proto::MAX_EXCHANGE_BODY;
use tokio::time::timeout;

use super::forward::{
    LIMIT, PATIENT, Scene,
    gateway::{Whole, request, table},
    records::Records,
    rogue::{DEFINITIONS, Rogue},
    rogue_exchange::Heard,
    slug,
};

impl Scene {
    /// How many exchanges have begun on streams that they share.
    fn shared(&self) -> usize {
        self.rogue.streams.borrow().begun
    }

    async fn heard(&self, what: &str, is_so: impl FnMut(&Heard) -> bool) {
        let mut streams = self.rogue.streams.subscribe();
        let heard = timeout(LIMIT, streams.wait_for(is_so)).await;
        assert!(heard.is_ok(), "{what} is not heard");
    }

    async fn post(&self, target: &str, body: impl Into<Bytes>) -> Whole {
        self.whole(request(Method::POST, target, body)).await.unwrap()
    }
}

#[tokio::test]
async fn what_is_small_goes_by_the_stream_that_is_shared() {
    let scene = Scene::new().await;
    for (what, is_shared, request) in [
        ("small", true, request(Method::GET, "rogue/seen", "")),
        (
            "small",
            true,
            request(Method::POST, "rogue/echo", vec![0; MAX_EXCHANGE_BODY]),
        ),
        (
            "large",
            false,
            request(Method::POST, "rogue/echo", vec![0; MAX_EXCHANGE_BODY + 1]),
        ),
        ("events", false, {
            let mut request = request(Method::GET, "rogue/seen", "");
            let accept = HeaderValue::from_static("text/event-stream");
            request.headers_mut().insert("accept", accept);
            request
        }),
        ("a large head", false, {
            let mut request = request(Method::POST, "rogue/echo", "x");
            let large = HeaderValue::from_bytes(&vec![b'a'; 64 * 1024]).unwrap();
            request.headers_mut().insert("x-large", large);
            request
        }),
    ] {
        let before = scene.shared();
        assert_eq!(scene.whole(request).await.unwrap().status, StatusCode::OK, "{what}");
        assert_eq!(scene.shared() - before, usize::from(is_shared), "{what}");
    }
    assert_eq!(scene.rogue.streams.borrow().opened, 1);
}

#[tokio::test]
async fn many_at_once_get_each_their_own() {
    let scene = Scene::new().await;
    let posts = (0..500).map(async |number: usize| {
        let answer = scene.post("rogue/echo", number.to_string()).await;
        assert_eq!(
            (answer.status, answer.body),
            (StatusCode::OK, Bytes::from(number.to_string()))
        );
    });
    timeout(LIMIT, futures::stream::iter(posts).buffer_unordered(150).count())
        .await
        .unwrap();
    assert_eq!(scene.rogue.streams.borrow().opened, 1);
}

#[tokio::test]
async fn a_caller_who_reads_nothing_holds_up_nobody() {
    let scene = Scene::new().await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        let answer = scene.gateway.answer(request(Method::GET, "rogue/endless", "")).await;
        unread.push(answer.into_body());
    }
    let window = 20 * 64 * 1024;
    scene.heard("all credit", |heard| heard.credit >= window).await;
    for _ in 0..50 {
        let answer = timeout(LIMIT, scene.get("rogue/seen"))
            .await
            .expect("others are answered");
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert_eq!(
        scene.rogue.streams.borrow().credit,
        window,
        "nobody has taken any of it"
    );
    // One who reads on gets what follows.
    let mut body = unread.remove(0).into_data_stream();
    let mut read = 0;
    while read < 1024 * 1024 {
        read += timeout(LIMIT, body.next()).await.unwrap().unwrap().unwrap().len();
    }
    drop((body, unread));
    scene
        .heard("that nobody wants them", |heard| heard.cancelled == 20)
        .await;
    assert_eq!(*scene.rogue.open.borrow(), 0);
}

#[tokio::test]
async fn who_gives_up_before_the_reply_is_told_to_the_plugin() {
    let scene = Scene::new().await;
    let asked = timeout(Duration::from_millis(50), scene.get("rogue/never")).await;
    assert!(asked.is_err());
    scene.heard("that nobody wants it", |heard| heard.cancelled == 1).await;
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
    assert_eq!(scene.rogue.streams.borrow().opened, 1);
}

#[tokio::test]
async fn one_that_a_plugin_has_no_room_for_is_tried_elsewhere_and_then_refused() {
    let scene = Scene::new().await;
    let busy = scene.post("rogue/exchange/busy", "x").await;
    assert_eq!(
        (busy.status, slug(&busy).as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "plugin-busy")
    );
    assert_eq!(busy.headers["retry-after"], "1");
    // A pod without a stream yet answers by `Http`.
    let (_second, address) = Rogue::start(&scene.certificates).await;
    let both = table("rogue", &[scene.address, address], &DEFINITIONS);
    scene.directory.0.store(both.into());
    let elsewhere = scene.post("rogue/exchange/busy", "x").await;
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND, "the plugin's own answer");
}

#[tokio::test]
async fn what_a_pod_that_ends_never_began_is_tried_elsewhere_whatever_its_method() {
    let scene = Scene::new().await;
    let answer = scene.post("rogue/exchange/drain", "x").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "the plugin's own answer");
    scene
        .heard("another stream, and the end of the first", |heard| {
            (heard.opened, heard.open) == (2, 1)
        })
        .await;
    assert_eq!(scene.post("rogue/echo", "x").await.body, "x");
}

#[tokio::test]
async fn who_breaks_the_rules_loses_the_stream_and_what_is_under_way_on_it() {
    for target in ["unknown", "hello", "large", "reset"] {
        let scene = Scene::new().await;
        let posts = ["rogue/never".to_owned(), format!("rogue/exchange/{target}")];
        let under_way = posts
            .iter()
            .map(|target| scene.gateway.answer(request(Method::POST, target, "")));
        let under_way = join_all(under_way);
        for answer in timeout(LIMIT, under_way).await.expect("they end at once") {
            assert_eq!(answer.status(), StatusCode::BAD_GATEWAY, "{target}");
        }
        let shared = scene.shared();
        for _ in 0..3 {
            assert_eq!(scene.post("rogue/echo", "x").await.body, "x", "{target}");
        }
        assert_eq!(
            scene.shared(),
            shared,
            "{target}: others go by streams of their own for a while"
        );
        scene.heard("the end of the stream", |heard| heard.open == 0).await;
    }
}

#[tokio::test]
async fn what_changes_nothing_is_tried_again_when_the_stream_breaks() {
    let scene = Scene::new().await;
    let answer = scene.get("rogue/exchange/reset").await;
    assert_eq!(
        answer.status,
        StatusCode::NOT_FOUND,
        "the plugin's own answer, by a stream of its own"
    );
}

#[tokio::test]
async fn a_reply_that_floods_or_goes_on_after_its_end_costs_the_stream() {
    let scene = Scene::new().await;
    let flood = scene
        .gateway
        .answer(request(Method::GET, "rogue/exchange/flood", ""))
        .await;
    assert_eq!(flood.status(), StatusCode::OK);
    assert!(flood.into_body().collect().await.is_err());
    scene.heard("the end of the stream", |heard| heard.open == 0).await;

    let scene = Scene::new().await;
    assert_eq!(scene.get("rogue/exchange/after").await.status, StatusCode::OK);
    scene.heard("the end of the stream", |heard| heard.open == 0).await;
}

#[tokio::test]
async fn with_an_endpoint_that_is_gone_its_stream_ends() {
    let scene = Scene::new().await;
    scene.gateway.upstream.keep_only(&table("rogue", &[], &DEFINITIONS));
    scene.heard("the end of the stream", |heard| heard.open == 0).await;
}

const TIMES: Times = Times {
    hello: Duration::from_millis(100),
    renewed: Duration::from_millis(300),
    oldest: Duration::from_hours(1),
};

/// A scene whose streams have these times, of which the first is open.
async fn timed(times: Times) -> Scene {
    let scene = Scene::timed(PATIENT, Some(times), Records::new()).await;
    let begun = async {
        while scene.shared() == 0 {
            scene.get("rogue/status?204").await;
        }
    };
    timeout(LIMIT, begun).await.expect("a stream");
    scene
}

#[tokio::test]
async fn who_says_no_hello_in_time_is_asked_without_the_stream() {
    let scene = Scene::timed(PATIENT, Some(TIMES), Records::new()).await;
    scene.rogue.mute.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(scene.post("rogue/echo", "x").await.body, "x", "nobody waits for it");
    }
    scene
        .heard("the end of the stream", |heard| (heard.opened, heard.open) == (1, 0))
        .await;
    assert_eq!(scene.post("rogue/echo", "x").await.body, "x");
    assert_eq!(scene.shared(), 0);
}

#[tokio::test]
async fn a_stream_is_renewed_and_what_is_under_way_on_the_old_one_goes_on() {
    let scene = timed(TIMES).await;
    let endless = scene.gateway.answer(request(Method::GET, "rogue/endless", "")).await;
    let mut endless = endless.into_body().into_data_stream();
    let renewed = async {
        while scene.rogue.streams.borrow().opened < 2 {
            assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
        }
    };
    timeout(LIMIT, renewed).await.expect("another stream");
    let mut read = 0;
    while read < 1024 * 1024 {
        read += timeout(LIMIT, endless.next()).await.unwrap().unwrap().unwrap().len();
    }
    drop(endless);
    // Without requests no third is opened.
    scene.heard("the end of the first", |heard| heard.open <= 1).await;
}

#[tokio::test]
async fn a_reply_that_nobody_reads_breaks_off_when_its_stream_is_too_old() {
    let times = Times {
        oldest: Duration::from_millis(600),
        ..TIMES
    };
    let scene = timed(times).await;
    let unread = scene.gateway.answer(request(Method::GET, "rogue/endless", "")).await;
    let mut open = scene.rogue.open.subscribe();
    let over = timeout(LIMIT, open.wait_for(|open| *open == 0)).await;
    over.expect("the plugin is let go").unwrap();
    assert!(unread.into_body().collect().await.is_err());
}

#[tokio::test]
async fn who_gives_up_on_a_stream_that_is_too_old_lets_the_plugin_go() {
    let times = Times {
        oldest: Duration::from_millis(400),
        ..TIMES
    };
    let scene = timed(times).await;
    let never = scene.gateway.answer(request(Method::POST, "rogue/never", "x"));
    // Until long after the plugin can be told for the last time.
    assert!(timeout(Duration::from_secs(1), never).await.is_err());
    scene.heard("the end of the stream", |heard| heard.open == 0).await;
}

#[tokio::test]
async fn with_another_certificate_there_is_another_stream() {
    let scene = Scene::new().await;
    let calling = tls::calling(scene.certificates.client_dir.path()).await.unwrap();
    let (upstream, changes) = (scene.gateway.upstream.clone(), calling.renewals());
    let renewing = tokio::spawn(async move { upstream.renew(changes).await });
    let looking = tokio::spawn(async move { calling.renew(Duration::from_millis(10)).await });
    scene.certificates.renew();
    let renewed = async {
        while scene.rogue.streams.borrow().opened < 2 {
            assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
        }
    };
    timeout(LIMIT, renewed).await.expect("another stream");
    scene.heard("the end of the first", |heard| heard.open == 1).await;
    assert_eq!(scene.rogue.described.load(Ordering::SeqCst), 2, "on another connection");
    let before = scene.shared();
    let goes_on = async {
        while scene.shared() == before {
            assert_eq!(scene.post("rogue/echo", "x").await.body, "x");
        }
    };
    timeout(LIMIT, goes_on).await.expect("exchanges on it");
    renewing.abort();
    looking.abort();
}
