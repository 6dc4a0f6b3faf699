//! The rules of a stream, each kept and each broken, and whatever else a plugin may say.

use std::collections::{BTreeMap, BTreeSet};

use kite_proto::{ExchangeBusy, ExchangeCancelled, ExchangeDrain, HttpResponseHead};
use proptest::{collection::vec, prelude::*};

use super::*;

fn message(id: u64, part: Part) -> ExchangeResponse {
    ExchangeResponse { id, part: Some(part) }
}

fn hello(max_in_flight: u32, max_message: u32) -> ExchangeResponse {
    message(
        0,
        Part::Hello(ExchangeHello {
            max_in_flight,
            max_message,
        }),
    )
}

fn reply(id: u64, bytes: usize, end: bool) -> ExchangeResponse {
    let reply = HttpResponse {
        head: Some(HttpResponseHead::default()),
        data: vec![0; bytes].into(),
        end,
        ..HttpResponse::default()
    };
    message(id, Part::Reply(reply))
}

fn drain(last_id: u64) -> ExchangeResponse {
    message(0, Part::Drain(ExchangeDrain { last_id }))
}

fn busy(id: u64) -> ExchangeResponse {
    message(id, Part::Busy(ExchangeBusy {}))
}

fn cancelled(id: u64) -> ExchangeResponse {
    message(id, Part::Cancelled(ExchangeCancelled {}))
}

fn failed(id: u64) -> ExchangeResponse {
    message(id, Part::Failed(ExchangeFailed::default()))
}

/// A stream on which the plugin has said Hello, and this many exchanges have begun.
fn begun(count: usize) -> Ledger<u64> {
    let mut ledger = Ledger::default();
    ledger.hear(hello(100, 1024)).unwrap();
    for _ in 0..count {
        assert!(ledger.has_room(1024));
        let id = ledger.last + 1;
        assert_eq!(ledger.begin(id), id);
    }
    ledger
}

#[test]
fn hello_comes_first_once_and_within_its_bounds() {
    for (first, breach) in [
        (reply(1, 0, true), Breach::Hello),
        (drain(0), Breach::Hello),
        (message(1, hello(1, 1024).part.unwrap()), Breach::Hello),
        (hello(0, 1024), Breach::Numbers),
        (hello(65_537, 1024), Breach::Numbers),
        (hello(1, 1023), Breach::Numbers),
        (hello(1, 16 * 1024 + 1), Breach::Numbers),
        (ExchangeResponse::default(), Breach::Empty),
    ] {
        let mut ledger = Ledger::<u64>::default();
        assert!(!ledger.has_room(0));
        assert_eq!(ledger.hear(first), Err(breach));
    }
    assert_eq!(begun(0).hear(hello(1, 1024)), Err(Breach::Hello));
}

#[test]
fn a_stream_is_abandoned_when_nobody_can_say_or_wants_to_hear_anything() {
    let mut ledger = begun(2);
    ledger.give_up(1);
    ledger.give_up(2);
    assert!(!ledger.is_abandoned(), "the plugin can be told");
    let mut ledger = begun(2);
    ledger.cover();
    ledger.give_up(1);
    assert!(!ledger.is_abandoned(), "somebody waits");
    ledger.give_up(2);
    assert!(ledger.is_abandoned());
    let mut ledger = begun(0);
    ledger.cover();
    assert!(!ledger.is_abandoned(), "the plugin ends it");
}

#[test]
fn no_more_begin_than_the_plugin_takes() {
    let mut ledger = Ledger::default();
    ledger.hear(hello(2, 1024)).unwrap();
    assert!(ledger.has_room(1024) && !ledger.has_room(1025));
    ledger.begin(1);
    ledger.begin(2);
    assert!(!ledger.has_room(0));
    ledger.give_up(1);
    assert!(!ledger.has_room(0), "it has no end yet");
    ledger.hear(cancelled(1)).unwrap();
    assert!(ledger.has_room(0));
    let mut many = Ledger::default();
    many.hear(hello(65_536, 1024)).unwrap();
    for id in 0..MAX_IN_FLIGHT {
        assert!(many.has_room(0));
        many.begin(id);
    }
    assert!(!many.has_room(0), "nor more than the gateway has room for");
}

#[test]
fn each_exchange_has_one_end() {
    for end in [reply(1, 0, true), busy(1), failed(1)] {
        let mut ledger = begun(2);
        assert!(matches!(ledger.hear(end.clone()), Ok(Heard::Over(1, _))));
        for later in [end, reply(1, 0, false), failed(1)] {
            assert_eq!(ledger.hear(later), Err(Breach::Unknown(1)));
        }
        assert_eq!(ledger.end(), [2]);
    }
    for id in [0, 3] {
        assert_eq!(begun(2).hear(reply(id, 0, true)), Err(Breach::Unknown(id)));
    }
}

#[test]
fn an_end_fits_what_came_before_it() {
    let mut ledger = begun(1);
    ledger.hear(reply(1, 0, false)).unwrap();
    assert_eq!(ledger.hear(busy(1)), Err(Breach::Order(1)));
    assert_eq!(
        ledger.hear(cancelled(1)),
        Err(Breach::Order(1)),
        "nobody has given it up"
    );
    assert_eq!(ledger.end(), [1], "whoever waits is told");
}

#[test]
fn what_was_given_up_is_heard_by_nobody() {
    let mut ledger = begun(1);
    assert!(ledger.give_up(1) && !ledger.give_up(1), "it is said once");
    assert_eq!(ledger.hear(reply(1, 1, false)), Ok(Heard::Nothing));
    assert!(!ledger.give(1, 1), "it has no credit");
    assert_eq!(ledger.hear(reply(1, 1, false)), Err(Breach::Credit(1)));
    let mut ledger = begun(1);
    ledger.give_up(1);
    assert_eq!(
        ledger.hear(reply(1, 1, true)),
        Ok(Heard::Nothing),
        "it was there already"
    );
    assert!(ledger.is_empty() && !ledger.give_up(1));
}

#[test]
fn data_is_covered_but_for_the_first_message() {
    let mut ledger = begun(1);
    assert_eq!(ledger.hear(reply(1, 1025, true)), Err(Breach::Data(1024)));
    assert!(matches!(ledger.hear(reply(1, 1024, false)), Ok(Heard::Part(..))));
    assert_eq!(ledger.hear(reply(1, 1, true)), Err(Breach::Credit(1)));
    assert!(ledger.give(1, 5));
    assert!(matches!(ledger.hear(reply(1, 5, false)), Ok(Heard::Part(..))));
    assert_eq!(ledger.hear(reply(1, 1, false)), Err(Breach::Credit(1)));
    assert!(ledger.give(1, MAX_CREDIT) && !ledger.give(1, 1));
    ledger.cover();
    for _ in 0..=MAX_CREDIT / 1024 {
        ledger.hear(reply(1, 1024, false)).unwrap();
    }
}

#[test]
fn what_is_above_the_last_of_a_drain_never_began() {
    let mut ledger = begun(4);
    let Ok(Heard::NotBegun(mut all)) = ledger.hear(drain(2)) else {
        panic!("two of them");
    };
    all.sort_unstable();
    assert_eq!(all, [3, 4]);
    assert!(!ledger.has_room(0) && ledger.is_retired());
    assert_eq!(ledger.hear(reply(3, 0, true)), Err(Breach::Unknown(3)));
    assert!(matches!(ledger.hear(reply(2, 0, true)), Ok(Heard::Over(2, _))));
    assert_eq!(ledger.hear(drain(2)), Err(Breach::Drain), "it is said once");
    assert_eq!(begun(4).hear(drain(5)), Err(Breach::Drain));
    assert_eq!(begun(4).hear(message(1, drain(4).part.unwrap())), Err(Breach::Drain));
    let mut ledger = begun(2);
    ledger.hear(reply(2, 0, false)).unwrap();
    assert_eq!(ledger.hear(drain(1)), Err(Breach::Drain), "it has begun");
    assert_eq!(ledger.end().len(), 2, "whoever waits is told");
}

#[derive(Clone, Debug)]
enum Step {
    Begin(usize),
    GiveUp(u64),
    Give(u64, usize),
    Retire,
    Hear(ExchangeResponse),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0..12_u64;
    let said = prop_oneof![
        4 => (id.clone(), 0..1200_usize, any::<bool>()).prop_map(|(id, bytes, end)| reply(id, bytes, end)),
        1 => id.clone().prop_map(busy),
        1 => id.clone().prop_map(cancelled),
        1 => id.clone().prop_map(failed),
        1 => id.clone().prop_map(drain),
    ];
    prop_oneof![
        4 => (0..1100_usize).prop_map(Step::Begin),
        1 => id.clone().prop_map(Step::GiveUp),
        1 => (id, 0..5000_usize).prop_map(|(id, bytes)| Step::Give(id, bytes)),
        1 => Just(Step::Retire),
        8 => said.prop_map(Step::Hear),
    ]
}

proptest! {
    /// Whoever begins an exchange learns its end exactly once, or has given it up; and gets no more than was covered.
    #[test]
    fn everybody_is_told_once(steps in vec(step(), 0..80)) {
        let mut ledger = Ledger::default();
        ledger.hear(hello(5, 1024)).unwrap();
        let (mut waiting, mut given) = (BTreeSet::new(), BTreeMap::<u64, usize>::new());
        let mut got = BTreeMap::<u64, (bool, usize)>::new();
        for step in steps {
            match step {
                Step::Begin(body) => if ledger.has_room(body) {
                    prop_assert!(body <= 1024 && ledger.live.len() < 5);
                    let next = ledger.last + 1;
                    prop_assert_eq!(ledger.begin(next), next);
                    waiting.insert(next);
                },
                Step::GiveUp(id) => prop_assert_eq!(ledger.give_up(id), waiting.remove(&id)),
                Step::Give(id, bytes) => if ledger.give(id, bytes) {
                    prop_assert!(waiting.contains(&id));
                    *given.entry(id).or_default() += bytes;
                },
                Step::Retire => ledger.retire(),
                Step::Hear(said) => {
                    let bytes = match &said.part {
                        Some(Part::Reply(reply)) => reply.data.len(),
                        _ => 0,
                    };
                    let id = said.id;
                    match ledger.hear(said) {
                        Err(_) => break,
                        Ok(Heard::Part(of, _)) => {
                            prop_assert_eq!(*of, id);
                            prop_assert!(waiting.contains(&id));
                        }
                        Ok(Heard::Over(of, _)) => {
                            prop_assert_eq!(of, id);
                            prop_assert!(waiting.remove(&of));
                        }
                        Ok(Heard::NotBegun(all)) => for of in all {
                            prop_assert!(waiting.remove(&of) && !got.contains_key(&of));
                        },
                        Ok(Heard::Nothing) => prop_assert!(!waiting.contains(&id)),
                    }
                    let (begun, covered) = got.entry(id).or_default();
                    *covered += if *begun { bytes } else { 0 };
                    *begun = true;
                    prop_assert!(*covered <= given.get(&id).copied().unwrap_or_default());
                }
            }
        }
        prop_assert_eq!(ledger.end().into_iter().collect::<BTreeSet<_>>(), waiting);
        prop_assert!(ledger.is_empty() && !ledger.has_room(0));
    }
}
