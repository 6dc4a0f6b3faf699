//! What the gateway hears on a stream of exchanges.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, future::join_all};
use kite_gateway::upstream::{Lane, in_memory};
use kite_proto::{ExchangeResponse, HttpRequestHead, HttpResponse, exchange_response::Part};

use super::{Says, definitions};
use crate::messages;

/// How many exchanges are under way at once.
const AT_ONCE: u64 = 4;

/// A whole stream, which begins with Hello: whatever is said, each exchange ends, and what comes of a reply is what was said of it, and of
/// no other. The status of gRPC stands before the messages.
pub(crate) fn listen(data: &[u8]) {
    let Some((code, rest)) = data.split_first() else { return };
    let messages = messages::split(rest);
    let said = messages::decoded::<ExchangeResponse>(&messages);
    messages::run(async {
        let io = Says::of(*code, messages).serve();
        let Ok(connected) = in_memory::connect_shared(io, &definitions()).await else {
            return;
        };
        let lane = connected.lane.expect("a stream of exchanges");
        // They begin in this order, before anything but Hello is heard.
        for (id, parts) in (1..).zip(join_all((0..AT_ONCE).map(|_| ask(&lane))).await) {
            check(id, &parts, &said);
        }
    });
}

/// All that comes of a reply, until it ends or breaks.
async fn ask(lane: &Arc<Lane>) -> Vec<HttpResponse> {
    let Some(mut reply) = lane.begin(HttpRequestHead::default(), Bytes::new()) else {
        return Vec::new();
    };
    let Ok(first) = reply.first().await else {
        return Vec::new();
    };
    let mut parts = vec![first];
    while let Some(Ok(part)) = reply.next().await {
        parts.push(part);
    }
    parts
}

fn check(id: u64, parts: &[HttpResponse], said: &[ExchangeResponse]) {
    let of_it = said
        .iter()
        .filter(|message| message.id == id)
        .filter_map(|message| match &message.part {
            Some(Part::Reply(reply)) => Some(reply),
            _ => None,
        });
    let mut expected = Vec::new();
    for reply in of_it {
        expected.extend_from_slice(&reply.data);
        if reply.end {
            break;
        }
    }
    let came: Vec<u8> = parts.iter().flat_map(|part| part.data.clone()).collect();
    assert!(expected.starts_with(&came), "another reply than the plugin's");
    let is_whole = parts.last().is_some_and(|part| part.end);
    assert!(!is_whole || came == expected, "half a reply looks whole");
}
