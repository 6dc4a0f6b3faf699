//! Small exchanges on one stream.

mod talk;

use std::collections::BTreeSet;

use kite_proto::{ExchangeHello, HttpResponse, MAX_EXCHANGE_MESSAGE, exchange_response::Part};
use tonic::Code;

pub(crate) use self::talk::{Said, open_on};
use self::talk::{Talk, is_terminal, open, said};
use super::http::{Exchanged, Judge, judge_messages};
use crate::{
    verdict::{Checked, broken, ensure, not_applicable},
    wire::{Answer, Ended, Status},
    world::World,
};

/// What a stream may take at once, and how much data a message may have.
const IN_FLIGHT: std::ops::RangeInclusive<u32> = 1..=65_536;
const DATA: std::ops::RangeInclusive<u32> = 1024..=16 * 1024;
/// Most exchanges that are begun at once.
const MANY: u32 = 512;
/// Credit that is less than a reply needs.
const LITTLE: u32 = 1000;
/// Credit that is given again and again until a reply is whole.
const MORE: u32 = 64 * 1024;

pub(crate) async fn hello(world: &World) -> Checked {
    let said = said(world).await?;
    let is_hello = |part: &Option<Part>| matches!(part, Some(Part::Hello(_)));
    let first = said.messages.first().map(|(message, _)| message);
    let seen = || match first {
        Some(_) => String::from("the first message is no Hello"),
        None => format!("no message, {}", said.ended),
    };
    ensure(first.is_some_and(|first| is_hello(&first.part)), seen, "Hello")?;
    let hellos = said
        .messages
        .iter()
        .filter(|(message, _)| is_hello(&message.part))
        .count();
    ensure(hellos == 1, || format!("{hellos} Hellos"), "one")
}

pub(crate) async fn ranges(world: &World) -> Checked {
    let ExchangeHello {
        max_in_flight,
        max_message,
    } = said(world).await?.hello()?;
    ensure(
        IN_FLIGHT.contains(&max_in_flight),
        || format!("max_in_flight {max_in_flight}"),
        "1 to 65536",
    )?;
    ensure(
        DATA.contains(&max_message),
        || format!("max_message {max_message}"),
        "1024 to 16384",
    )
}

pub(crate) async fn terminal(world: &World) -> Checked {
    let said = said(world).await?;
    said.hello()?;
    each_is_terminal(said)?;
    is_over(said)
}

/// That each exchange that was begun has one terminal message, and nothing after it.
fn each_is_terminal(said: &Said) -> Checked {
    let mut over = BTreeSet::new();
    for (message, _) in &said.messages {
        let id = message.id;
        match &message.part {
            Some(Part::Hello(_) | Part::Drain(_)) => continue,
            Some(_) => {}
            None => return broken(format!("a message for {id} without a part"), "a part of an exchange"),
        }
        ensure(
            said.begun.contains(&id),
            || format!("a message for {id}, which was not begun"),
            "ids that were begun",
        )?;
        ensure(
            !over.contains(&id),
            || format!("a message for {id} after its terminal one"),
            "nothing",
        )?;
        if is_terminal(message) {
            over.insert(id);
        }
    }
    Ok(())
}

/// That each exchange that was begun has a terminal message.
fn is_over(said: &Said) -> Checked {
    let over: BTreeSet<u64> = said
        .messages
        .iter()
        .filter(|(message, _)| is_terminal(message))
        .map(|(message, _)| message.id)
        .collect();
    match said.begun.difference(&over).next() {
        Some(id) => broken(
            format!("no terminal message for {id}, {}", said.ended),
            "one for each id",
        ),
        None => Ok(()),
    }
}

pub(crate) async fn reply(world: &World) -> Checked {
    let said = said(world).await?;
    said.hello()?;
    for id in &said.begun {
        let parts = said.messages.iter().filter(|(message, _)| message.id == *id);
        let replies = parts.filter_map(|(message, bytes)| match &message.part {
            Some(Part::Reply(reply)) => Some((reply.clone(), *bytes)),
            _ => None,
        });
        let messages: Vec<(HttpResponse, usize)> = replies.collect();
        let ended = Ended::Status(Status {
            code: Code::Ok,
            message: String::new(),
        });
        let one = Exchanged::new(format!("the reply {id}"), "GET", Answer { messages, ended });
        let judges = [
            Judge::HeadFirst,
            Judge::TrailersLast,
            Judge::Head,
            Judge::Status,
            Judge::NoInterim,
        ];
        judges.into_iter().try_for_each(|judge| judge_messages(&one, judge))?;
    }
    Ok(())
}

pub(crate) async fn message(world: &World) -> Checked {
    let said = said(world).await?;
    let most = usize::try_from(said.hello()?.max_message).unwrap_or(usize::MAX);
    for (message, bytes) in &said.messages {
        ensure(
            *bytes <= MAX_EXCHANGE_MESSAGE,
            || format!("a message of {bytes} bytes"),
            format!("at most {MAX_EXCHANGE_MESSAGE}"),
        )?;
        if let Some(Part::Reply(reply)) = &message.part {
            let data = reply.data.len();
            ensure(
                data <= most,
                || format!("a message with {data} bytes of data"),
                format!("at most {most}"),
            )?;
        }
    }
    Ok(())
}

pub(crate) async fn many(world: &World) -> Checked {
    let mut talk = open(world).await?;
    let count = u64::from(talk.hello.max_in_flight.clamp(1, MANY));
    talk.begin_all(world, 1..=count).await;
    let missing = talk.missing_terminals(world, (1..=count).collect()).await;
    ensure(
        missing.is_empty(),
        || {
            format!(
                "{} of {count} exchanges have no terminal message; {}",
                missing.len(),
                talk.state()
            )
        },
        "a reply, or Busy, for each",
    )
}

pub(crate) async fn cancel(world: &World) -> Checked {
    let mut talk = open(world).await?;
    let path = world.known.events.as_deref();
    talk.begin(world, 1, path).await;
    talk.cancel(1).await;
    let missing = talk.missing_terminals(world, BTreeSet::from([1])).await;
    ensure(
        missing.is_empty(),
        || {
            format!(
                "an exchange that was given up has no terminal message; {}",
                talk.state()
            )
        },
        "one",
    )
}

pub(crate) async fn late_cancel(world: &World) -> Checked {
    let mut talk = open(world).await?;
    talk.begin(world, 1, None).await;
    if !talk.missing_terminals(world, BTreeSet::from([1])).await.is_empty() {
        return not_applicable("an exchange has no terminal message");
    }
    talk.cancel(1).await;
    talk.begin(world, 2, None).await;
    let missing = talk.missing_terminals(world, BTreeSet::from([2])).await;
    ensure(
        missing.is_empty(),
        || {
            format!(
                "no exchange is answered after one was given up that was over; {}",
                talk.state()
            )
        },
        "the stream goes on",
    )
}

pub(crate) async fn credit(world: &World) -> Checked {
    let Some(path) = &world.known.large else {
        return not_applicable("the suite knows no path that is answered by more than one message");
    };
    let mut talk = open(world).await?;
    talk.begin(world, 1, Some(path)).await;
    let Some(first) = talk.reply(world.limits.answer).await else {
        return not_applicable("the exchange has no reply");
    };
    if first.end {
        return not_applicable(format!("GET {path} is answered by one message"));
    }
    let without = talk.data(world.limits.silence).await;
    ensure(without == 0, || format!("{without} bytes without credit"), "none")?;
    talk.credit(1, LITTLE).await;
    let little = talk.data(world.limits.silence).await;
    let most = usize::try_from(LITTLE).unwrap_or(usize::MAX);
    ensure(
        little <= most,
        || format!("{little} bytes for a credit of {LITTLE}"),
        format!("at most {LITTLE}"),
    )?;
    loop {
        talk.credit(1, MORE).await;
        match talk.reply(world.limits.answer).await {
            Some(reply) if reply.end => return Ok(()),
            Some(_) => {}
            None => return broken("a reply that does not go on for new credit", "the rest of it"),
        }
    }
}

/// Begins an exchange twice, and reads how the stream ends.
async fn breached(world: &World, talk: &mut Talk) -> Ended {
    talk.begin(world, 5, None).await;
    talk.begin(world, 5, None).await;
    talk.call
        .collect::<kite_proto::ExchangeResponse>(world.limits.answer)
        .await
        .ended
}

pub(crate) async fn breach(world: &World) -> Checked {
    let mut talk = open(world).await?;
    let ended = breached(world, &mut talk).await;
    let is_internal = matches!(&ended, Ended::Status(status) if status.code == Code::Internal);
    ensure(
        is_internal,
        || format!("for an id that was begun twice: {ended}"),
        "INTERNAL",
    )
}

pub(crate) async fn breach_alone(world: &World) -> Checked {
    let wire = world.own().await?;
    let mut talk = open_on(world, &wire).await?;
    breached(world, &mut talk).await;
    let one = super::http::exchange_on(world, &wire, "GET", "/conformance").await?;
    let seen = || format!("on its connection, GET /conformance: {}", one.answer.ended);
    ensure(one.is_answered(), seen, "an answer")
}

pub(crate) async fn end(world: &World) -> Checked {
    let mut talk = open(world).await?;
    let ids = 1..=4;
    for id in ids.clone() {
        talk.begin(world, id, None).await;
    }
    talk.call.finish();
    let answer = talk.call.collect(world.limits.answer).await;
    let ended_well = matches!(&answer.ended, Ended::Status(status) if status.code == Code::Ok);
    ensure(
        ended_well,
        || format!("after the host has ended its side: {}", answer.ended),
        "OK",
    )?;
    let said = Said {
        begun: ids.collect(),
        messages: answer.messages,
        ended: answer.ended,
    };
    is_over(&said)
}
