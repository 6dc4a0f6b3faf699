//! A WebSocket, frame by frame.

use futures::stream;
use kite_plugin_sdk::Message;
use kite_proto::{
    CallContext, ExchangeBegin, ExchangeRequest, HttpRequest, HttpRequestHead, HttpResponse, MAX_CHUNK, WebSocketFrame,
    exchange_request::Part as Asked,
    exchange_response::Part,
    web_socket::{Assembler, MAX_WEB_SOCKET_MESSAGE},
    web_socket_frame::Kind,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::{
    plugin::TestPlugin,
    world::{World, context, exchange, field, head, small, within},
};

/// The host's side of a WebSocket.
struct Host {
    requests: mpsc::UnboundedSender<HttpRequest>,
    answers: Streaming<HttpResponse>,
    assembler: Assembler,
}

fn wanted(path: &str) -> HttpRequestHead {
    HttpRequestHead {
        protocol: "websocket".into(),
        ..head("GET", path)
    }
}

fn framed(frame: WebSocketFrame) -> HttpRequest {
    HttpRequest {
        end: frame.kind() == Kind::Close,
        frame: Some(frame),
        ..HttpRequest::default()
    }
}

fn close(code: u16, reason: &str) -> Message {
    Message::Close(Some((code, reason.to_owned())))
}

impl Host {
    async fn ask(world: &World, head: HttpRequestHead) -> Result<(HttpResponse, Self), Status> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let first = HttpRequest {
            head: Some(head),
            ..HttpRequest::default()
        };
        requests.send(first).unwrap();
        let stream = UnboundedReceiverStream::new(receiver);
        let mut client = world.client().await;
        let mut answers = within("the answer", client.http(stream)).await?.into_inner();
        let first = within("the head", answers.message()).await?.unwrap();
        let host = Self {
            requests,
            answers,
            assembler: Assembler::default(),
        };
        Ok((first, host))
    }

    /// A WebSocket at `path` that is accepted.
    async fn open(world: &World, path: &str) -> Self {
        let (first, host) = Self::ask(world, wanted(path)).await.unwrap();
        assert_eq!(first.head.unwrap().status, 101);
        host
    }

    fn send(&self, message: Message) {
        for frame in message.frames() {
            self.requests.send(framed(frame)).unwrap();
        }
    }

    /// The next message; none at the stream's end.
    async fn recv(&mut self) -> Option<Message> {
        loop {
            let answer = within("a message", self.answers.message()).await.unwrap()?;
            let frame = answer.frame.expect("a frame");
            assert_eq!(answer.end, frame.kind() == Kind::Close);
            assert!(answer.head.is_none() && answer.data.is_empty() && answer.trailers.is_empty());
            if let Some(message) = self.assembler.take(frame).unwrap() {
                return Some(message);
            }
        }
    }
}

#[tokio::test]
async fn messages_come_back_as_they_went_and_a_close_is_answered() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut host = Host::open(&world, "/socket").await;
    for message in [
        Message::Text("ä".repeat(MAX_CHUNK)),
        Message::Binary(vec![7; MAX_WEB_SOCKET_MESSAGE].into()),
        Message::Text(String::new()),
        Message::Ping("a".into()),
        Message::Pong("b".into()),
    ] {
        host.send(message.clone());
        assert!(host.recv().await == Some(message));
    }
    host.send(close(4000, "bye"));
    assert_eq!(host.recv().await, Some(close(4000, "bye")));
    assert_eq!(host.recv().await, None);
}

#[tokio::test]
async fn a_subprotocol_is_chosen_and_told() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut head = wanted("/socket");
    head.headers = vec![field("sec-websocket-protocol", "x, echo")];
    let (first, _host) = Host::ask(&world, head).await.unwrap();
    let head = first.head.unwrap();
    assert_eq!(
        (head.status, head.headers),
        (101, vec![field("sec-websocket-protocol", "echo")])
    );
}

#[tokio::test]
async fn a_handler_says_goodbye_as_it_ends() {
    let world = World::serve(TestPlugin::new().0).await;
    for (said, expected) in [
        ("end", close(1000, "")),
        ("panic", close(1011, "")),
        ("close", close(4001, "own")),
    ] {
        let mut host = Host::open(&world, "/socket").await;
        host.send(Message::Text(said.to_owned()));
        assert_eq!(host.recv().await, Some(expected.clone()), "{said}");
        host.send(expected);
        assert_eq!(host.recv().await, None, "{said}");
    }
}

#[tokio::test]
async fn what_breaks_the_rules_is_answered_1002() {
    let world = World::serve(TestPlugin::new().0).await;
    let frame = |kind: Kind| WebSocketFrame {
        kind: kind.into(),
        ..WebSocketFrame::default()
    };
    let data = HttpRequest {
        data: "a".into(),
        ..HttpRequest::default()
    };
    for broken in [
        framed(frame(Kind::Continuation)),
        framed(frame(Kind::Unspecified)),
        data,
    ] {
        let mut host = Host::open(&world, "/socket").await;
        host.requests.send(broken).unwrap();
        assert_eq!(host.recv().await, Some(close(1002, "")));
    }
}

#[tokio::test]
async fn a_stop_is_a_close_with_1001() {
    let mut world = World::serve(TestPlugin::new().0).await;
    let mut host = Host::open(&world, "/socket").await;
    world.stop();
    assert_eq!(host.recv().await, Some(close(1001, "")));
    host.send(close(1001, ""));
    assert_eq!(host.recv().await, None);
    drop(host);
    world.ended().await.unwrap();
}

#[tokio::test]
async fn the_handler_is_dropped_when_its_caller_goes_away() {
    let (plugin, _, mut told) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let host = Host::open(&world, "/slow-socket").await;
    assert_eq!(within("the start of the handler", told.recv()).await, Some(true));
    drop(host);
    assert_eq!(within("the end of the handler", told.recv()).await, Some(false));
}

#[tokio::test]
async fn a_handler_that_reads_nothing_holds_its_caller_back() {
    let (plugin, _, mut told) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let (sender, mut sent) = mpsc::unbounded_channel();
    let first = HttpRequest {
        head: Some(wanted("/slow-socket")),
        ..HttpRequest::default()
    };
    let large = HttpRequest {
        frame: Message::Binary(vec![0; MAX_CHUNK].into()).frames().pop(),
        ..HttpRequest::default()
    };
    let messages = stream::iter(
        std::iter::once(first).chain(std::iter::repeat_n(large, 1024).inspect(move |_| {
            let _ = sender.send(());
        })),
    );
    let mut client = world.client().await;
    let _answers = client.http(messages).await.unwrap().into_inner();
    assert_eq!(within("the start of the handler", told.recv()).await, Some(true));
    let mut count = 0;
    while tokio::time::timeout(std::time::Duration::from_secs(1), sent.recv())
        .await
        .is_ok_and(|sent| sent.is_some())
    {
        count += 1;
    }
    assert!(
        count < 64,
        "{count} messages of 64 KiB for a handler that reads nothing"
    );
}

#[tokio::test]
async fn a_route_without_a_web_socket_answers_as_ever() {
    let world = World::serve(TestPlugin::new().0).await;
    let (first, mut host) = Host::ask(&world, wanted("/hello")).await.unwrap();
    assert_eq!(
        (first.head.unwrap().status, &first.data[..], first.end),
        (200, &b"anna request-1"[..], true)
    );
    assert!(within("the end", host.answers.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_request_for_none_is_told_426() {
    let world = World::serve(TestPlugin::new().0).await;
    let answer = exchange(&mut world.client().await, small(head("GET", "/socket"), b""))
        .await
        .unwrap();
    assert_eq!(answer.status, 426);
}

#[tokio::test]
async fn a_head_that_is_no_good_is_refused() {
    let world = World::serve(TestPlugin::new().0).await;
    for spoil in [
        |head: &mut HttpRequestHead| head.protocol = "other".into(),
        |head: &mut HttpRequestHead| head.method = "POST".into(),
    ] {
        let mut head = wanted("/socket");
        spoil(&mut head);
        let status = Host::ask(&world, head).await.err().unwrap();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    let status = exchange(&mut world.client().await, small(wanted("/socket"), b"data"))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_web_socket_that_is_late_ends() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut head = wanted("/socket");
    head.context = Some(CallContext {
        timeout: Some(prost_types::Duration {
            seconds: 0,
            nanos: 200_000_000,
        }),
        ..context()
    });
    let (_, mut host) = Host::ask(&world, head).await.unwrap();
    let status = within("the end", host.answers.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn an_exchange_becomes_no_web_socket() {
    let world = World::serve(TestPlugin::new().0).await;
    let begin = ExchangeRequest {
        id: 1,
        part: Some(Asked::Begin(ExchangeBegin {
            head: Some(wanted("/socket")),
            ..ExchangeBegin::default()
        })),
    };
    // The stream stays open.
    let (sender, receiver) = mpsc::unbounded_channel();
    sender.send(begin).unwrap();
    let mut client = world.client().await;
    let mut answers = client
        .exchange(UnboundedReceiverStream::new(receiver))
        .await
        .unwrap()
        .into_inner();
    let failed = loop {
        let answer = within("an answer", answers.message()).await.unwrap().unwrap();
        if answer.id == 1 {
            break answer.part;
        }
    };
    let Some(Part::Failed(failed)) = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(failed.code, u32::try_from(i32::from(Code::InvalidArgument)).unwrap());
}
