//! The end of a plugin's process, announced where the plugin has a method for that, which is seen once, with an exchange and a stream of
//! exchanges open.

use kite_api::error_chain;
use kite_proto::{ExchangeResponse, HttpResponse, exchange_response::Part};
use prost::Message as _;
use tokio::time::{Instant, interval, timeout};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{exchange::open_on, health, hooks, http, trust::is_taken};
use crate::{
    verdict::{Checked, broken, ensure, not_applicable},
    wire::{Answer, Call, Ended, Event, Shown, Wire},
    world::World,
};

/// How often it is looked whether the plugin has noticed.
const TURN: std::time::Duration = std::time::Duration::from_millis(20);

/// What was seen, a part for each rule.
#[derive(Clone, Debug)]
pub(crate) struct Stopped {
    shutdown: Checked,
    health: Checked,
    drain: Checked,
    connections: Checked,
    under_way: Checked,
    ends: Checked,
}

async fn stopped(world: &World) -> Checked<&Stopped> {
    match world.stopped.get_or_init(|| stop(world)).await {
        Ok(stopped) => Ok(stopped),
        Err(failed) => Err(failed.clone()),
    }
}

pub(crate) async fn shutdown(world: &World) -> Checked {
    stopped(world).await?.shutdown.clone()
}

pub(crate) async fn health(world: &World) -> Checked {
    stopped(world).await?.health.clone()
}

pub(crate) async fn drain(world: &World) -> Checked {
    stopped(world).await?.drain.clone()
}

pub(crate) async fn connections(world: &World) -> Checked {
    stopped(world).await?.connections.clone()
}

pub(crate) async fn under_way(world: &World) -> Checked {
    stopped(world).await?.under_way.clone()
}

pub(crate) async fn ends(world: &World) -> Checked {
    stopped(world).await?.ends.clone()
}

async fn stop(world: &World) -> Checked<Stopped> {
    let Some(process) = &world.process else {
        return not_applicable("the suite did not start the plugin, and does not stop it");
    };
    let mut process = process.lock().await;
    let wire = world.own().await?;
    // What is under way keeps the plugin from its end, so that it can be seen until then.
    let mut held = hold(world, &wire).await?;
    let talk = open_on(world, &wire).await;
    // After it the plugin takes no new connections, so that what is looked at has to be open before.
    let shutdown = hooks::shutdown(world).await;
    if let Err(error) = process.terminate() {
        return not_applicable(error_chain(&error));
    }
    let unheld =
        || not_applicable("the suite knows no path that echoes, by which it could hold the plugin from its end");
    let (health, connections) = match &held {
        Some(_) => (says_so(world).await, refuses(world).await),
        None => (unheld(), unheld()),
    };
    let drain = match talk {
        Ok(mut talk) => drained(world, &mut talk.call).await,
        Err(failed) => Err(failed),
    };
    let under_way = match &mut held {
        Some(call) => finishes(world, call).await,
        None => unheld(),
    };
    drop(held);
    drop(wire);
    let ends = match timeout(world.limits.end, process.ended()).await {
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some(otherwise))) => broken(otherwise, "an end that is none by an error"),
        Ok(Err(error)) => broken(error_chain(&error), "its end"),
        Err(_) => broken(
            format!("it lives {} s after SIGTERM", world.limits.end.as_secs()),
            "its end",
        ),
    };
    Ok(Stopped {
        shutdown,
        health,
        drain,
        connections,
        under_way,
        ends,
    })
}

/// An echo whose first piece has come back, if there is a path that echoes.
async fn hold(world: &World, wire: &Wire) -> Checked<Option<Call>> {
    let Some(path) = &world.known.echo else {
        return Ok(None);
    };
    let mut call = http::begin_without_limit(world, wire, path).await?;
    let piece = kite_proto::HttpRequest {
        data: "first".into(),
        ..kite_proto::HttpRequest::default()
    };
    call.send(&piece, false).await;
    loop {
        match call.next_within(world.limits.answer).await {
            Some(Event::Message(message)) => {
                if HttpResponse::decode(message).is_ok_and(|message| !message.data.is_empty()) {
                    return Ok(Some(call));
                }
            }
            other => return not_applicable(format!("POST {path} does not echo: {other:?}")),
        }
    }
}

async fn says_so(world: &World) -> Checked {
    let until = Instant::now() + world.limits.answer;
    let mut turns = interval(TURN);
    loop {
        turns.tick().await;
        let status = health::status(world, "").await?;
        if status == ServingStatus::NotServing {
            return Ok(());
        }
        if Instant::now() > until {
            return broken(format!("it is {} after SIGTERM", status.as_str_name()), "NOT_SERVING");
        }
    }
}

async fn refuses(world: &World) -> Checked {
    let until = Instant::now() + world.limits.answer;
    let mut turns = interval(TURN);
    loop {
        turns.tick().await;
        let Ok(wire) = world.connect(Shown::Own).await else {
            return Ok(());
        };
        if !is_taken(world, &wire).await {
            return Ok(());
        }
        if Instant::now() > until {
            return broken(
                "a new connection after SIGTERM, on which calls are answered",
                "a refusal",
            );
        }
    }
}

async fn drained(world: &World, call: &mut Call) -> Checked {
    let answer: Answer<ExchangeResponse> = call.collect(world.limits.answer).await;
    let drains = answer
        .messages
        .iter()
        .filter(|(message, _)| matches!(message.part, Some(Part::Drain(_))))
        .count();
    let ended_well = matches!(&answer.ended, Ended::Status(status) if status.code == Code::Ok);
    ensure(
        drains == 1 && ended_well,
        || format!("{drains} Drains, then {}", answer.ended),
        "one Drain, and OK",
    )
}

async fn finishes(world: &World, call: &mut Call) -> Checked {
    let rest = kite_proto::HttpRequest {
        data: "rest".into(),
        end: true,
        ..kite_proto::HttpRequest::default()
    };
    call.send(&rest, true).await;
    let answer: Answer<HttpResponse> = call.collect(world.limits.answer).await;
    let ended = answer.messages.last().is_some_and(|(message, _)| message.end);
    ensure(
        ended,
        || format!("an exchange that was under way: {}", answer.ended),
        "its response, complete",
    )
}
