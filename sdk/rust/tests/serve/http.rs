//! HTTP exchanges.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream};
use kite_proto::{CallContext, HttpRequest, HttpRequestHead, MAX_CHUNK, MAX_FIELDS};
use tonic::Code;

use crate::{
    plugin::TestPlugin,
    world::{World, context, exchange, exchange_stream, field, head, small, within},
};

#[tokio::test]
async fn a_small_request_and_a_small_reply_are_one_message_each() {
    let world = World::serve(TestPlugin::new().0).await;
    let answer = exchange(&mut world.client().await, small(head("GET", "/hello"), b""))
        .await
        .unwrap();
    assert_eq!((answer.status, answer.messages), (200, 1));
    assert_eq!(answer.body, b"anna request-1");
    assert_eq!(answer.headers["content-length"], ["14"]);
}

#[tokio::test]
async fn a_body_of_a_mebibyte_comes_back_as_it_went() {
    let world = World::serve(TestPlugin::new().0).await;
    let body: Vec<u8> = (0..1024 * 1024_u32)
        .map(|byte| u8::try_from(byte % 251).unwrap())
        .collect();
    let mut messages = vec![HttpRequest {
        head: Some(head("POST", "/echo")),
        ..HttpRequest::default()
    }];
    messages.extend(body.chunks(MAX_CHUNK).map(|chunk| HttpRequest {
        data: chunk.to_vec().into(),
        ..HttpRequest::default()
    }));
    messages.push(HttpRequest {
        trailers: vec![field("x-sum", "1")],
        end: true,
        ..HttpRequest::default()
    });
    let answer = exchange(&mut world.client().await, messages).await.unwrap();
    assert!(answer.body == body);
    assert_eq!(answer.trailers, [field("x-sum", "1")]);
}

#[tokio::test]
async fn headers_that_repeat_stay_repeated_both_ways() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut head = head("GET", "/repeat");
    head.headers = vec![field("x-many", "1"), field("x-other", "0"), field("x-many", "2")];
    let answer = exchange(&mut world.client().await, small(head, b"")).await.unwrap();
    assert_eq!(answer.headers["x-seen"], ["1", "2"]);
}

#[tokio::test]
async fn a_handler_that_panics_spoils_its_own_request_only() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut client = world.client().await;
    assert_eq!(
        exchange(&mut client, small(head("GET", "/panic"), b""))
            .await
            .unwrap()
            .status,
        500
    );
    assert_eq!(
        exchange(&mut client, small(head("GET", "/hello"), b""))
            .await
            .unwrap()
            .status,
        200
    );
}

#[tokio::test]
async fn a_reply_whose_body_fails_has_no_end() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut client = world.client().await;
    let status = exchange(&mut client, small(head("GET", "/broken"), b""))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Internal);
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let world = World::serve(TestPlugin::new().0).await;
    let answer = exchange(&mut world.client().await, small(head("HEAD", "/hello"), b""))
        .await
        .unwrap();
    assert_eq!((answer.status, answer.body.len(), answer.messages), (200, 0, 1));
    assert_eq!(answer.headers["content-length"], ["14"]);
}

#[tokio::test]
async fn a_path_without_a_route_is_not_found() {
    let world = World::serve(TestPlugin::new().0).await;
    assert_eq!(
        exchange(&mut world.client().await, small(head("GET", "/none"), b""))
            .await
            .unwrap()
            .status,
        404
    );
}

#[tokio::test]
async fn a_handler_that_reads_nothing_does_not_hold_up_its_caller() {
    let world = World::serve(TestPlugin::new().0).await;
    let chunk = || HttpRequest {
        data: vec![0; MAX_CHUNK].into(),
        ..HttpRequest::default()
    };
    let first = HttpRequest {
        head: Some(head("POST", "/ignore")),
        ..HttpRequest::default()
    };
    let last = HttpRequest {
        end: true,
        ..HttpRequest::default()
    };
    let messages = std::iter::once(first)
        .chain((0..100).map(move |_| chunk()))
        .chain([last]);
    let answer = exchange(&mut world.client().await, messages.collect::<Vec<_>>())
        .await
        .unwrap();
    assert_eq!(answer.body, b"done");
}

#[tokio::test]
async fn a_request_that_is_not_complete_is_an_error_to_its_handler() {
    let world = World::serve(TestPlugin::new().0).await;
    let part = HttpRequest {
        head: Some(head("POST", "/length")),
        data: "part".into(),
        ..HttpRequest::default()
    };
    let mut client = world.client().await;
    let answer = exchange(&mut client, vec![part.clone()]).await.unwrap();
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (400, b"the body broke off".as_slice())
    );
    let rest = HttpRequest {
        data: "rest".into(),
        end: true,
        ..HttpRequest::default()
    };
    assert_eq!(exchange(&mut client, vec![part, rest]).await.unwrap().body, b"8");
}

#[tokio::test]
async fn the_end_of_a_request_is_taken_from_its_message_and_not_waited_for() {
    let world = World::serve(TestPlugin::new().0).await;
    let first = HttpRequest {
        head: Some(head("POST", "/length")),
        data: "part".into(),
        ..HttpRequest::default()
    };
    let last = HttpRequest {
        data: "rest".into(),
        end: true,
        ..HttpRequest::default()
    };
    let open = stream::iter([first, last]).chain(stream::pending());
    let answer = exchange_stream(&mut world.client().await, open).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"8".as_slice()));
}

#[tokio::test]
async fn uploads_that_nobody_reads_do_not_hold_up_the_others() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut client = world.client().await;
    let taken = Arc::new(AtomicUsize::new(0));
    for _ in 0..8 {
        let (mut client, taken) = (client.clone(), Arc::clone(&taken));
        let first = HttpRequest {
            head: Some(head("POST", "/hold")),
            ..HttpRequest::default()
        };
        let pieces = stream::repeat_with(move || {
            taken.fetch_add(1, Ordering::Relaxed);
            HttpRequest {
                data: vec![0; MAX_CHUNK].into(),
                ..HttpRequest::default()
            }
        });
        tokio::spawn(async move { client.http(stream::iter([first]).chain(pieces)).await.map(drop) });
    }
    // Until so many others were answered without one more piece taken, all the room for the uploads is not used up.
    let (mut before, mut answered) = (0, 0);
    while answered < 100 {
        assert_eq!(
            exchange(&mut client, small(head("GET", "/hello"), b""))
                .await
                .unwrap()
                .status,
            200
        );
        let now = taken.load(Ordering::Relaxed);
        answered = if now > 0 && now == before { answered + 1 } else { 0 };
        before = now;
    }
    // Each holds what its window has room for, what waits for its handler, and a piece on its way at either end.
    assert!((8 * 8..=8 * 16).contains(&before), "{before} pieces were taken");
}

#[tokio::test]
async fn a_head_that_no_message_can_carry_is_the_answer_500() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut client = world.client().await;
    for (method, body) in [
        (
            "GET",
            b"the plugin answered with more or larger header fields than can be sent\n".as_slice(),
        ),
        ("HEAD", b""),
    ] {
        let answer = exchange(&mut client, small(head(method, "/large-head"), b""))
            .await
            .unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (500, body), "{method}");
    }
}

#[tokio::test]
async fn a_first_message_that_is_malformed_is_refused() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut client = world.client().await;
    let without_context = HttpRequestHead {
        context: None,
        ..head("GET", "/hello")
    };
    for messages in [
        vec![],
        vec![HttpRequest {
            end: true,
            ..HttpRequest::default()
        }],
        small(without_context, b""),
        small(head("GET", "hello"), b""),
        small(head("", "/hello"), b""),
        small(
            HttpRequestHead {
                headers: vec![field("a b", "")],
                ..head("GET", "/hello")
            },
            b"",
        ),
        small(
            HttpRequestHead {
                headers: vec![field("a", ""); MAX_FIELDS + 1],
                ..head("GET", "/hello")
            },
            b"",
        ),
    ] {
        assert_eq!(
            exchange(&mut client, messages).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
}

#[tokio::test]
async fn a_handler_has_no_more_time_than_its_caller() {
    let (plugin, _, mut told) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let timeout = Duration::from_millis(50).try_into().ok();
    let head = HttpRequestHead {
        context: Some(CallContext { timeout, ..context() }),
        ..head("GET", "/slow")
    };
    let status = exchange(&mut world.client().await, small(head, b"")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!((told.recv().await, told.recv().await), (Some(true), Some(false)));
}

#[tokio::test]
async fn a_handler_is_dropped_when_its_caller_goes_away() {
    let (plugin, _, mut told) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let mut client = world.client().await;
    let waiting = tokio::spawn(async move { exchange(&mut client, small(head("GET", "/slow"), b"")).await });
    assert_eq!(within("the start of the handler", told.recv()).await, Some(true));
    waiting.abort();
    assert_eq!(within("the end of the handler", told.recv()).await, Some(false));
}
