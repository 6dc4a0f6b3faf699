//! Many small exchanges on one stream.

use std::time::Duration;

use kite_proto::{
    ExchangeBegin, ExchangeCancel, ExchangeCredit, ExchangeHello, ExchangeRequest, ExchangeResponse, HttpRequestHead,
    MAX_CREDIT, MAX_EXCHANGE_BODY, exchange_request::Part as Asked, exchange_response::Part,
    plugin_client::PluginClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::{
    plugin::TestPlugin,
    world::{World, head, within},
};

/// The gateway's end of a stream of exchanges.
struct Gateway {
    hello: ExchangeHello,
    ask: mpsc::UnboundedSender<ExchangeRequest>,
    answers: Streaming<ExchangeResponse>,
}

impl Gateway {
    async fn on(client: &mut PluginClient<Channel>) -> Self {
        let (ask, asked) = mpsc::unbounded_channel();
        let answers = client.exchange(UnboundedReceiverStream::new(asked)).await.unwrap();
        let mut gateway = Self {
            hello: ExchangeHello::default(),
            ask,
            answers: answers.into_inner(),
        };
        let (0, Part::Hello(hello)) = gateway.hear().await else {
            panic!("the plugin speaks first")
        };
        gateway.hello = hello;
        gateway
    }

    fn say(&self, id: u64, part: Asked) {
        let _ = self.ask.send(ExchangeRequest { id, part: Some(part) });
    }

    fn begin(&self, id: u64, head: HttpRequestHead) {
        let data = Vec::new().into();
        self.say(id, Asked::Begin(ExchangeBegin { head: Some(head), data }));
    }

    fn get(&self, id: u64, path: &str) {
        self.begin(id, head("GET", path));
    }

    fn give(&self, id: u64, bytes: u32) {
        self.say(id, Asked::Credit(ExchangeCredit { bytes }));
    }

    async fn next(&mut self) -> Result<Option<ExchangeResponse>, Status> {
        within("a message", self.answers.message()).await
    }

    async fn hear(&mut self) -> (u64, Part) {
        let message = self.next().await.unwrap().expect("a message");
        (message.id, message.part.expect("a part"))
    }

    /// How an exchange broke, after whatever came of its reply before.
    async fn failure(&mut self) -> (u64, Code) {
        loop {
            match self.hear().await {
                (id, Part::Failed(failed)) => return (id, i32::try_from(failed.code).unwrap().into()),
                (_, Part::Reply(reply)) if !reply.end => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Status and body of a reply of one message.
    async fn small(&mut self) -> (u64, u32, Vec<u8>) {
        let (id, part) = self.hear().await;
        let Part::Reply(reply) = part else { panic!("{part:?}") };
        assert!(reply.end, "{reply:?}");
        (id, reply.head.unwrap().status, reply.data.to_vec())
    }
}

/// The plugin, and the gateway's connection to it.
async fn connected() -> (World, PluginClient<Channel>) {
    let world = World::serve(TestPlugin::new().0).await;
    let client = world.client().await;
    (world, client)
}

#[tokio::test]
async fn the_plugin_says_first_what_it_takes() {
    let (_world, mut client) = connected().await;
    let hello = Gateway::on(&mut client).await.hello;
    assert!((1..=65_536).contains(&hello.max_in_flight), "{hello:?}");
    assert!((1024..=16 * 1024).contains(&hello.max_message), "{hello:?}");
}

#[tokio::test]
async fn each_of_many_is_answered_once() {
    let (_world, mut client) = connected().await;
    let mut gateway = Gateway::on(&mut client).await;
    let most = u64::from(gateway.hello.max_in_flight);
    for round in 0..4 {
        let ids = round * most + 1..=(round + 1) * most;
        ids.clone().for_each(|id| gateway.get(id, "/hello"));
        let mut answered = Vec::new();
        for _ in ids.clone() {
            let (id, status, body) = gateway.small().await;
            assert_eq!((status, body.as_slice()), (200, b"anna request-1".as_slice()));
            answered.push(id);
        }
        answered.sort_unstable();
        assert!(answered.into_iter().eq(ids));
    }
}

#[tokio::test]
async fn a_large_reply_waits_for_credit_and_holds_up_nobody() {
    let (_world, mut client) = connected().await;
    let mut gateway = Gateway::on(&mut client).await;
    gateway.get(1, "/bytes/100000");
    let (1, Part::Reply(first)) = gateway.hear().await else {
        panic!("the reply")
    };
    assert!(first.head.is_some() && !first.end);
    assert_eq!(first.data.len(), gateway.hello.max_message as usize);
    gateway.get(2, "/hello");
    assert_eq!(
        gateway.small().await.0,
        2,
        "nothing of the first one comes without credit"
    );
    gateway.give(1, 10);
    let (1, Part::Reply(piece)) = gateway.hear().await else {
        panic!("the reply")
    };
    assert_eq!((piece.data.len(), piece.end), (10, false));
    gateway.give(1, 100_000);
    let mut length = first.data.len() + piece.data.len();
    loop {
        let (1, Part::Reply(reply)) = gateway.hear().await else {
            panic!("the reply")
        };
        assert!(reply.head.is_none() && reply.data.len() <= gateway.hello.max_message as usize);
        length += reply.data.len();
        if reply.end {
            break;
        }
    }
    assert_eq!(length, 100_000);
}

#[tokio::test]
async fn one_that_is_given_up_is_dropped_and_says_so_once() {
    let (plugin, _beside, mut slow) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let mut gateway = Gateway::on(&mut world.client().await).await;
    gateway.get(1, "/slow");
    assert_eq!(within("its beginning", slow.recv()).await, Some(true));
    for _ in 0..2 {
        gateway.say(1, Asked::Cancel(ExchangeCancel {}));
    }
    assert!(matches!(gateway.hear().await, (1, Part::Cancelled(_))));
    assert_eq!(within("its end", slow.recv()).await, Some(false));
    // One that is over is not given up any more.
    gateway.get(2, "/hello");
    assert_eq!(gateway.small().await.0, 2);
    gateway.say(2, Asked::Cancel(ExchangeCancel {}));
    gateway.give(2, 5);
    gateway.get(3, "/hello");
    assert_eq!(gateway.small().await.0, 3);
}

#[tokio::test]
async fn a_reply_that_waits_for_credit_can_be_given_up() {
    let (_world, mut client) = connected().await;
    let mut gateway = Gateway::on(&mut client).await;
    gateway.get(1, "/bytes/100000");
    assert!(matches!(gateway.hear().await, (1, Part::Reply(_))));
    gateway.say(1, Asked::Cancel(ExchangeCancel {}));
    assert!(matches!(gateway.hear().await, (1, Part::Cancelled(_))));
}

#[tokio::test]
async fn too_many_on_all_streams_are_answered_busy() {
    let (plugin, _beside, mut slow) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let mut client = world.client().await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        let gateway = Gateway::on(&mut client).await;
        (1..=u64::from(gateway.hello.max_in_flight)).for_each(|id| gateway.get(id, "/slow"));
        for _ in 0..gateway.hello.max_in_flight {
            assert_eq!(within("a beginning", slow.recv()).await, Some(true));
        }
        streams.push(gateway);
    }
    let mut last = Gateway::on(&mut client).await;
    last.get(1, "/hello");
    assert!(matches!(last.hear().await, (1, Part::Busy(_))));
    streams[0].say(1, Asked::Cancel(ExchangeCancel {}));
    assert!(matches!(streams[0].hear().await, (1, Part::Cancelled(_))));
    last.get(2, "/hello");
    assert_eq!(last.small().await.0, 2);
}

#[tokio::test]
async fn what_fails_is_told_by_its_status() {
    let (plugin, _beside, _slow) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let mut gateway = Gateway::on(&mut world.client().await).await;
    gateway.get(1, "/panic");
    let (1, 500, _) = gateway.small().await else {
        panic!("500")
    };
    gateway.begin(2, head("no method", "/hello"));
    assert_eq!(gateway.failure().await, (2, Code::InvalidArgument));
    let mut late = head("GET", "/slow");
    let limit = Duration::from_millis(20).try_into().unwrap();
    late.context.as_mut().unwrap().timeout = Some(limit);
    gateway.begin(3, late);
    assert_eq!(gateway.failure().await, (3, Code::DeadlineExceeded));
    gateway.get(4, "/broken");
    // What came of it before may be there or not.
    gateway.give(4, 100);
    assert_eq!(gateway.failure().await, (4, Code::Internal));
}

#[tokio::test]
async fn who_breaks_the_rules_loses_the_stream_and_no_other() {
    let (_world, mut client) = connected().await;
    let mut other = Gateway::on(&mut client).await;
    let begin = |id: u64, bytes: usize| {
        let begin = ExchangeBegin {
            head: Some(head("GET", "/slow")),
            data: vec![0; bytes].into(),
        };
        ExchangeRequest {
            id,
            part: Some(Asked::Begin(begin)),
        }
    };
    let credit = |id: u64, bytes: usize| ExchangeRequest {
        id,
        part: Some(Asked::Credit(ExchangeCredit {
            bytes: u32::try_from(bytes).unwrap(),
        })),
    };
    let breaches: [(&str, Vec<ExchangeRequest>); 8] = [
        ("zero", vec![begin(0, 0)]),
        ("an id twice", vec![begin(7, 0), begin(7, 0)]),
        ("a lower id", vec![begin(7, 0), begin(6, 0)]),
        ("an id that was never begun", vec![begin(1, 0), credit(2, 1)]),
        ("a large body", vec![begin(1, MAX_EXCHANGE_BODY + 1)]),
        ("much credit", vec![begin(1, 0), credit(1, MAX_CREDIT), credit(1, 1)]),
        ("no part", vec![ExchangeRequest { id: 1, part: None }]),
        ("too many at once", (1..=257).map(|id| begin(id, 0)).collect()),
    ];
    for (what, messages) in breaches {
        let mut gateway = Gateway::on(&mut client).await;
        for message in messages {
            let _ = gateway.ask.send(message);
        }
        let ended = gateway.next().await;
        assert_eq!(ended.map_err(|status| status.code()), Err(Code::Internal), "{what}");
    }
    other.get(1, "/hello");
    assert_eq!(other.small().await.0, 1);
}

#[tokio::test]
async fn a_gateway_that_does_not_listen_begins_no_more() {
    let (_world, mut client) = connected().await;
    let gateway = Gateway::on(&mut client).await;
    // Far more than the windows of HTTP/2 and the queue take, of which nothing is read.
    let most = u64::from(gateway.hello.max_in_flight);
    for id in 1..=20 * most {
        gateway.get(id, "/bytes/16000");
    }
    let mut gateway = gateway;
    let mut answered = 0;
    let ended = loop {
        match gateway.next().await {
            Ok(Some(_)) => answered += 1,
            Ok(None) => panic!("it ended well after {answered}"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Internal, "{ended}");
    assert!(answered < 20 * most, "{answered}");
}

#[tokio::test]
async fn a_large_head_goes_ahead_of_its_data() {
    let (_world, mut client) = connected().await;
    let mut gateway = Gateway::on(&mut client).await;
    gateway.get(1, "/wide/60000");
    let (1, Part::Reply(first)) = gateway.hear().await else {
        panic!("the reply")
    };
    assert!(first.head.is_some() && first.data.is_empty() && !first.end);
    gateway.give(1, 16 * 1024);
    let (1, Part::Reply(last)) = gateway.hear().await else {
        panic!("the reply")
    };
    assert_eq!((last.data.len(), last.end), (16_000, true));
}

#[tokio::test]
async fn a_reply_without_credit_ends_with_its_time() {
    let (_world, mut client) = connected().await;
    let mut gateway = Gateway::on(&mut client).await;
    let mut late = head("GET", "/bytes/100000");
    late.context.as_mut().unwrap().timeout = Some(Duration::from_millis(200).try_into().unwrap());
    gateway.begin(1, late);
    assert_eq!(gateway.failure().await, (1, Code::DeadlineExceeded));
}

#[tokio::test]
async fn when_the_gateway_is_gone_so_is_what_was_under_way() {
    let (plugin, _beside, mut slow) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let gateway = Gateway::on(&mut world.client().await).await;
    gateway.get(1, "/slow");
    assert_eq!(within("its beginning", slow.recv()).await, Some(true));
    drop(gateway);
    assert_eq!(within("its end", slow.recv()).await, Some(false));
}

#[tokio::test]
async fn a_gateway_that_says_no_more_gets_what_it_began() {
    let (_world, mut client) = connected().await;
    let mut gateway = Gateway::on(&mut client).await;
    gateway.get(1, "/bytes/100000");
    gateway.get(2, "/hello");
    let (ask, _) = mpsc::unbounded_channel();
    drop(std::mem::replace(&mut gateway.ask, ask));
    let mut lengths = [0, 0];
    while let Some(message) = gateway.next().await.unwrap() {
        let Some(Part::Reply(reply)) = message.part else {
            panic!("{message:?}")
        };
        lengths[usize::try_from(message.id).unwrap() - 1] += reply.data.len();
    }
    assert_eq!(lengths, [100_000, "anna request-1".len()]);
}

#[tokio::test]
async fn a_plugin_that_stops_finishes_what_was_begun_and_begins_no_more() {
    let (plugin, beside, mut slow) = TestPlugin::new();
    let mut world = World::serve(plugin).await;
    let mut gateway = Gateway::on(&mut world.client().await).await;
    gateway.get(5, "/slow");
    assert_eq!(within("its beginning", slow.recv()).await, Some(true));
    world.stop();
    let (0, Part::Drain(drain)) = gateway.hear().await else {
        panic!("it says that it stops")
    };
    assert_eq!(drain.last_id, 5);
    gateway.get(6, "/hello");
    gateway.say(6, Asked::Cancel(ExchangeCancel {}));
    beside.go_on.notify_one();
    assert_eq!(gateway.small().await, (5, 200, b"slow".to_vec()));
    assert_eq!(gateway.next().await.unwrap(), None, "the stream ends well");
    drop(gateway);
    world.ended().await.unwrap();
}
