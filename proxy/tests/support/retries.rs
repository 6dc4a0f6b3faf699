//! What is tried once more, and what is not: each fault of a connection for each sort of request.

use std::{
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use bytes::Bytes;
use futures::stream;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use kite_gateway::BoxError;

use super::{
    PATIENT, Scene,
    gateway::{Whole, request, stream_request, table},
    meddler::{self, Fault, Meddled},
    rogue::{DEFINITIONS, Rogue},
    slug,
};

/// Two pods of the rogue, of which one is behind whoever meddles with its first request.
struct Pair {
    scene: Scene,
    behind: Rogue,
    meddled: Meddled,
}

impl Pair {
    async fn new(fault: Fault) -> Self {
        let scene = Scene::cold(PATIENT, false).await;
        let (behind, plain) = Rogue::start_plain().await;
        let (meddled, address) = meddler::start(&scene.certificates, plain, fault).await;
        let both = table("rogue", &[scene.address, address], &DEFINITIONS);
        scene.directory.0.store(both.into());
        Self { scene, behind, meddled }
    }

    /// What `ask` is answered, until one of its requests was meddled with; and that one's answer.
    async fn until_meddled(&self, ask: impl AsyncFn() -> Whole) -> (usize, Whole) {
        let mut number = 0;
        loop {
            number += 1;
            let answer = ask().await;
            if self.meddled.is_done() {
                return (number, answer);
            }
            assert_eq!(answer.status, StatusCode::OK);
            assert!(number < 100, "no request came by the pod that is meddled with");
        }
    }

    /// How often the plugin has begun with a request.
    fn begun(&self) -> usize {
        [&self.scene.rogue, &self.behind]
            .map(|rogue| rogue.begun.load(Ordering::SeqCst))
            .iter()
            .sum()
    }

    async fn post(&self) -> Whole {
        self.scene
            .whole(request(Method::POST, "rogue/echo", "once"))
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn what_never_began_is_tried_elsewhere_whatever_its_method() {
    for fault in [Fault::Refuse, Fault::GoAway] {
        let pair = Pair::new(fault).await;
        let (asked, answer) = pair.until_meddled(async || pair.post().await).await;
        assert_eq!(
            (answer.status, answer.body),
            (StatusCode::OK, Bytes::from("once")),
            "{fault:?}"
        );
        assert_eq!(pair.begun(), asked, "{fault:?}: each is begun with once");

        let pair = Pair::new(fault).await;
        let (_, answer) = pair.until_meddled(async || pair.scene.tool("greet", "{}").await).await;
        assert_eq!(answer.status, StatusCode::OK, "{fault:?}: a tool's call too");
    }
}

#[tokio::test]
async fn a_body_of_which_some_was_sent_is_sent_from_its_beginning() {
    let pair = Pair::new(Fault::Refuse).await;
    let post = async || {
        let frames = ["on", "ce"].map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::from(piece))));
        let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
        let request = stream_request(Method::POST, "rogue/echo", body);
        pair.scene.whole(request).await.unwrap()
    };
    let (_, answer) = pair.until_meddled(post).await;
    assert_eq!((answer.status, answer.body), (StatusCode::OK, Bytes::from("once")));
}

#[tokio::test]
async fn what_may_have_begun_is_tried_elsewhere_if_it_changes_nothing() {
    for fault in [Fault::Reset, Fault::Cut] {
        for method in [Method::GET, Method::HEAD] {
            let pair = Pair::new(fault).await;
            let ask = async || {
                pair.scene
                    .whole(request(method.clone(), "rogue/seen", ""))
                    .await
                    .unwrap()
            };
            let (asked, answer) = pair.until_meddled(ask).await;
            assert_eq!(answer.status, StatusCode::OK, "{fault:?} {method}");
            assert_eq!(pair.begun(), asked + 1, "{fault:?} {method}");
        }
    }
}

#[tokio::test]
async fn what_may_have_begun_and_changes_something_is_a_bad_gateway_and_done_once() {
    for fault in [Fault::Reset, Fault::Cut] {
        let pair = Pair::new(fault).await;
        let (asked, answer) = pair.until_meddled(async || pair.post().await).await;
        assert_eq!(
            (answer.status, slug(&answer).as_str()),
            (StatusCode::BAD_GATEWAY, "plugin-failed"),
            "{fault:?}"
        );
        assert_eq!(pair.begun(), asked, "{fault:?}");

        let pair = Pair::new(fault).await;
        let (_, answer) = pair.until_meddled(async || pair.scene.tool("greet", "{}").await).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{fault:?}: a tool's call");
    }
}

#[tokio::test]
async fn what_a_plugin_answers_itself_is_tried_nowhere_else() {
    let scene = Scene::new().await;
    let (second, address) = Rogue::start(&scene.certificates).await;
    let both = table("rogue", &[scene.address, address], &DEFINITIONS);
    scene.directory.0.store(both.into());
    for _ in 0..2 {
        assert_eq!(scene.get("rogue/refuse").await.status, StatusCode::BAD_GATEWAY);
    }
    let begun = scene.rogue.begun.load(Ordering::SeqCst) + second.begun.load(Ordering::SeqCst);
    assert_eq!(begun, 2);
}

#[tokio::test]
async fn a_pod_that_is_the_only_one_is_tried_once_more() {
    let scene = Scene::cold(PATIENT, false).await;
    let (behind, plain) = Rogue::start_plain().await;
    let (meddled, address) = meddler::start(&scene.certificates, plain, Fault::Cut).await;
    scene.directory.0.store(table("rogue", &[address], &DEFINITIONS).into());
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
    assert!(meddled.is_done());
    assert_eq!(behind.described.load(Ordering::SeqCst), 2, "by a new connection");
}

/// Waits until whatever is to be done now is done, without a turn of what tells of connections.
async fn whatever_is_ready() {
    let mut left = 10;
    std::future::poll_fn(|cx| {
        left -= 1;
        if left == 0 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[tokio::test]
async fn what_a_pod_said_before_it_went_is_heard_by_those_who_write_after_it() {
    let scene = Arc::new(Scene::cold(PATIENT, false).await);
    let (meddled, address) = meddler::start_elsewhere(&scene.certificates, Fault::Leave);
    scene.directory.0.store(table("rogue", &[address], &DEFINITIONS).into());
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
    meddled.leave();
    // The first is written to one who is gone, which is what breaks the writing of the next.
    let posts = (0..3).map(|number| {
        let scene = Arc::clone(&scene);
        tokio::spawn(async move {
            for _ in 0..number {
                whatever_is_ready().await;
            }
            scene.whole(request(Method::POST, "rogue/echo", "once")).await.unwrap()
        })
    });
    for answer in futures::future::join_all(posts).await {
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.body), (StatusCode::OK, Bytes::from("once")));
    }
}
