//! A stream of exchanges, whose rules the gateway may break in any way.

use std::collections::BTreeMap;

use kite_proto::{
    ExchangeRequest, ExchangeResponse, HttpResponse, MAX_EXCHANGE_MESSAGE, exchange_request::Part as Asked,
    exchange_response::Part,
};
use prost::Message as _;
use tonic::Code;

use super::{Answered, call, check_http, shared};
use crate::messages;

/// What was said of one exchange.
#[derive(Default)]
struct Said {
    reply: Vec<HttpResponse>,
    terminal: u32,
}

/// A whole stream.
pub(crate) fn serve(data: &[u8]) {
    let asked = messages::split(data);
    let answered = messages::run(call(shared(), "Exchange", asked.clone()));
    let (said, largest) = said(&answered);
    let asked = messages::decoded::<ExchangeRequest>(&asked);
    let begun: Vec<u64> = asked
        .iter()
        .filter(|message| matches!(message.part, Some(Asked::Begin(_))))
        .map(|message| message.id)
        .collect();
    for (id, Said { reply, terminal }) in &said {
        assert!(begun.contains(id), "{id} was never begun");
        assert!(*terminal <= 1, "{id} has {terminal} ends");
        check_http(reply);
        assert!(reply.iter().all(|part| part.data.len() <= largest));
    }
    if answered.status.code() == Code::Ok {
        for id in &begun {
            let terminal = said.get(id).map_or(0, |said| said.terminal);
            assert_eq!(terminal, 1, "{id} has so many ends, and the stream ended well");
        }
    }
}

/// What was said by id, and the most bytes of data that the plugin says it sends.
fn said(answered: &Answered<ExchangeResponse>) -> (BTreeMap<u64, Said>, usize) {
    let mut said = BTreeMap::<u64, Said>::new();
    let mut largest = 0;
    for (index, message) in answered.messages.iter().enumerate() {
        assert!(message.encoded_len() <= MAX_EXCHANGE_MESSAGE);
        let part = message.part.clone().expect("a part");
        if let Part::Hello(hello) = part {
            assert_eq!((index, message.id), (0, 0), "Hello is the first message");
            largest = usize::try_from(hello.max_message).expect("a length");
            continue;
        }
        assert!(index > 0, "Hello is the first message");
        let exchange = said.entry(message.id).or_default();
        assert_eq!(exchange.terminal, 0, "{} goes on after its end", message.id);
        match part {
            Part::Reply(reply) => {
                exchange.terminal += u32::from(reply.end);
                exchange.reply.push(reply);
            }
            Part::Busy(_) | Part::Cancelled(_) | Part::Failed(_) => exchange.terminal += 1,
            Part::Hello(_) | Part::Drain(_) => unreachable!("nobody has told the plugin to stop"),
        }
    }
    (said, largest)
}
