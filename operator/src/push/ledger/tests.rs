use kite_api::settings::{FromSecret, effective};
use kite_proto::Supports;
use serde_json::{Value, json};

use super::*;
use crate::push::{
    clusters::{KEPT, tests::name},
    news::Listener,
};

pub(crate) fn settings(value: u64) -> Settings {
    let Value::Object(fields) = json!({"value": value}) else {
        panic!("an object")
    };
    Settings::new(effective(None, Some(&fields), FromSecret::Nothing).unwrap())
}

pub(super) fn process(pod: &str, restarts: i32) -> Process {
    Process {
        pod: pod.to_owned(),
        restarts,
    }
}

/// The process of a pod of the revision, which supports everything.
pub(crate) fn listener(pod: &str, restarts: i32, revision: i64) -> Listener {
    Listener {
        process: process(pod, restarts),
        name: format!("pod-{pod}"),
        ip: String::from("192.0.2.1"),
        revision,
        supports: Supports {
            settings: true,
            cluster_events: true,
            shutdown: true,
            ..Supports::default()
        },
    }
}

pub(crate) fn news(wanted: &[(i64, Option<u64>)], listeners: Vec<Listener>) -> News {
    News {
        settings: wanted
            .iter()
            .map(|(revision, value)| (*revision, value.map(settings)))
            .collect(),
        pods: listeners.iter().map(|it| it.process.pod.clone()).collect(),
        listeners,
        ..News::default()
    }
}

/// What is told now, as pod and act, and the calls.
fn due(ledger: &mut Ledger, now: Instant) -> (Vec<String>, Vec<Call>) {
    let calls = ledger.due(now);
    let words = calls.iter().map(|call| {
        let act = match &call.act {
            Act::Settings(numbered) => String::from_utf8_lossy(numbered.settings().json()).into_owned(),
            Act::Event(event) => format!("{:?} {}", event.change, event.cluster.as_str()),
            Act::Stop => String::from("stop"),
        };
        format!("{}{}: {act}", call.process.pod, call.process.restarts)
    });
    (words.collect(), calls)
}

fn end(ledger: &mut Ledger, calls: &[Call], outcome: &Result<Answer, String>, now: Instant) {
    for call in calls {
        ledger.ended(call, outcome.clone(), now);
    }
}

fn refusal(reason: &str) -> Answer {
    Answer::Refused(reason.to_owned())
}

#[test]
fn each_process_is_told_once_and_one_that_was_restarted_again() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    ledger.learn(news(&[(1, Some(7))], vec![listener("a", 0, 1), listener("b", 0, 1)]));
    let (words, calls) = due(&mut ledger, now);
    assert_eq!(words, [r#"a0: {"value":7}"#, r#"b0: {"value":7}"#]);
    assert_eq!(ledger.told().settings[&1].waiting, 2);
    assert!(due(&mut ledger, now).0.is_empty(), "they are under way");
    end(&mut ledger, &calls, &Ok(Answer::Taken), now);
    assert!(due(&mut ledger, now).0.is_empty() && ledger.wait(now).is_none());
    assert_eq!(ledger.told().settings[&1].accepted, 2);
    ledger.learn(news(&[(1, Some(7))], vec![listener("a", 0, 1), listener("b", 1, 1)]));
    assert_eq!(due(&mut ledger, now).0, [r#"b1: {"value":7}"#]);
}

#[test]
fn what_fails_is_tried_again_after_a_wait_and_other_settings_at_once() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    ledger.learn(news(&[(1, Some(1))], vec![listener("a", 0, 1)]));
    let (_, calls) = due(&mut ledger, now);
    end(&mut ledger, &calls, &Err(String::from("no answer")), now);
    assert_eq!(ledger.told().settings[&1].failed["pod-a"], "no answer");
    assert!(ledger.told().is_settled());
    assert!(due(&mut ledger, now).0.is_empty());
    assert_eq!(ledger.wait(now), Some(Duration::from_secs(1)));
    let later = now + Duration::from_secs(1);
    let (words, calls) = due(&mut ledger, later);
    assert_eq!(words, [r#"a0: {"value":1}"#]);
    assert_eq!(
        ledger.told().settings[&1].failed.len(),
        1,
        "it stands until the next one"
    );
    end(&mut ledger, &calls, &Err(String::from("no answer")), later);
    ledger.learn(news(&[(1, Some(2))], vec![listener("a", 0, 1)]));
    assert_eq!(due(&mut ledger, later).0, [r#"a0: {"value":2}"#]);
    assert_eq!(ledger.wait(later), None);
    ledger.learn(news(&[(1, None)], vec![listener("a", 0, 1)]));
    assert!(ledger.told().is_settled(), "there is nothing to be told");
}

#[test]
fn what_failed_and_is_not_to_be_told_any_more_is_not_waited_for() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    let mut clusters = Clusters::default();
    clusters.set(name("home"), "");
    ledger.learn_clusters(Arc::new(clusters));
    let with = |wanted: &[(i64, Option<u64>)], settings, cluster_events| {
        let mut it = listener("a", 0, 1);
        it.supports.settings = settings;
        it.supports.cluster_events = cluster_events;
        news(wanted, vec![it])
    };
    let wanted = [(1, Some(1))];
    ledger.learn(with(&wanted, true, true));
    let (_, calls) = due(&mut ledger, now);
    assert_eq!(calls.len(), 2);
    end(&mut ledger, &calls, &Err(String::from("no answer")), now);
    assert_eq!(ledger.wait(now), Some(Duration::from_secs(1)));
    // Both are due from now on.
    let later = now + Duration::from_secs(1);
    ledger.learn(with(&wanted, false, false));
    assert!(due(&mut ledger, later).0.is_empty(), "it supports neither any more");
    assert_eq!(ledger.wait(later), None);
    ledger.learn(with(&[], true, false));
    assert!(due(&mut ledger, later).0.is_empty(), "its revision drains");
    assert_eq!(ledger.wait(later), None);
    ledger.learn(with(&wanted, false, true));
    let (words, calls) = due(&mut ledger, later);
    assert_eq!(words, ["a0: Added home"]);
    end(&mut ledger, &calls, &Err(String::from("no answer")), later);
    assert_eq!(ledger.wait(later), Some(Duration::from_secs(2)));
    ledger.learn(with(&wanted, true, true));
    assert_eq!(due(&mut ledger, later).0, [r#"a0: {"value":1}"#]);
    assert_eq!(ledger.wait(later), Some(Duration::from_secs(2)));
}

#[test]
fn what_a_process_may_have_taken_is_not_relied_on() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    let with = |value| news(&[(1, Some(value))], vec![listener("a", 0, 1)]);
    for (value, outcome) in [(1, Ok(Answer::Taken)), (2, Err(String::from("no answer")))] {
        ledger.learn(with(value));
        let (_, calls) = due(&mut ledger, now);
        end(&mut ledger, &calls, &outcome, now);
    }
    ledger.learn(with(1));
    assert_eq!(due(&mut ledger, now).0, [r#"a0: {"value":1}"#]);
}

#[test]
fn a_refusal_stands_and_one_that_knows_nothing_gets_what_the_others_go_on_with() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    let with = |value, listeners| news(&[(1, value)], listeners);
    ledger.learn(with(Some(1), vec![listener("a", 0, 1)]));
    let (_, calls) = due(&mut ledger, now);
    end(&mut ledger, &calls, &Ok(Answer::Taken), now);
    ledger.learn(with(Some(2), vec![listener("a", 0, 1)]));
    let (_, calls) = due(&mut ledger, now);
    end(&mut ledger, &calls, &Ok(refusal("too much")), now);
    assert!(due(&mut ledger, now).0.is_empty(), "it is not asked again");
    assert_eq!(ledger.told().settings[&1].refused["pod-a"], "too much");

    let both = || vec![listener("a", 0, 1), listener("b", 0, 1)];
    ledger.learn(with(Some(2), both()));
    let (words, calls) = due(&mut ledger, now);
    assert_eq!(words, [r#"b0: {"value":1}"#]);
    end(&mut ledger, &calls, &Ok(Answer::Taken), now);
    let (words, calls) = due(&mut ledger, now);
    assert_eq!(words, [r#"b0: {"value":2}"#]);
    end(&mut ledger, &calls, &Ok(refusal("too much")), now);
    assert_eq!(ledger.told().settings[&1].refused.len(), 2);

    // Nor does what cannot be settings take the last ones from it.
    ledger.learn(with(None, vec![listener("a", 0, 1), listener("b", 1, 1)]));
    assert_eq!(due(&mut ledger, now).0, [r#"b1: {"value":1}"#]);
}

#[test]
fn a_process_is_told_what_clusters_there_are_and_then_what_happens() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    let mut clusters = Clusters::default();
    clusters.set(name("home"), "");
    clusters.set(name("far"), "1");
    ledger.learn_clusters(Arc::new(clusters.clone()));
    ledger.learn(news(&[], vec![listener("a", 0, 1)]));
    let step = |ledger: &mut Ledger, expected: &str, outcome: Result<Answer, String>| {
        let (words, calls) = due(ledger, now);
        assert_eq!(words, [format!("a0: {expected}")]);
        end(ledger, &calls, &outcome, now);
    };
    step(&mut ledger, "Added far", Ok(Answer::Taken));
    clusters.set(name("far"), "2");
    clusters.remove(&name("far"));
    ledger.learn_clusters(Arc::new(clusters.clone()));
    step(&mut ledger, "Added home", Ok(Answer::Taken));
    step(&mut ledger, "Updated far", Err(String::from("no answer")));
    assert!(due(&mut ledger, now).0.is_empty());
    let later = now + ledger.wait(now).unwrap();
    let (words, calls) = due(&mut ledger, later);
    assert_eq!(words, ["a0: Updated far"]);
    end(&mut ledger, &calls, &Ok(Answer::Taken), later);
    step(&mut ledger, "Removed far", Ok(Answer::Taken));
    assert!(due(&mut ledger, now).0.is_empty());

    // Of one that is told nothing for too long only the difference is known.
    clusters.set(name("near"), "");
    for n in 0..300 {
        clusters.set(name("home"), &n.to_string());
    }
    ledger.learn_clusters(Arc::new(clusters));
    step(&mut ledger, "Added near", Ok(Answer::Taken));
    step(&mut ledger, "Updated home", Ok(Answer::Taken));
    assert_eq!(ledger.wait(now), None);
}

#[test]
fn nobody_is_told_what_there_is_before_all_were_found() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    let mut clusters = Clusters::awaited(name("home"));
    ledger.learn_clusters(Arc::new(clusters.clone()));
    ledger.learn(news(&[], vec![listener("a", 0, 1)]));
    assert!(due(&mut ledger, now).0.is_empty() && ledger.wait(now).is_none());
    let all = ["far", "home"].map(|it| (name(it), String::new()));
    clusters.replace(all.clone().into());
    ledger.learn_clusters(Arc::new(clusters));
    let (words, calls) = due(&mut ledger, now);
    assert_eq!(words, ["a0: Added far"]);
    end(&mut ledger, &calls, &Ok(Answer::Taken), now);
    let (words, calls) = due(&mut ledger, now);
    assert_eq!(words, ["a0: Added home"]);
    let Act::Event(last) = &calls[0].act else {
        panic!("an event")
    };
    assert_eq!(last.present, all.map(|(name, _)| name), "the last has the names of all");
}

#[test]
fn many_clusters_are_told_to_the_end_while_they_change() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    let mut clusters = Clusters::default();
    for n in 0..KEPT + 2 {
        clusters.set(name(&format!("c{n}")), "");
    }
    ledger.learn_clusters(Arc::new(clusters.clone()));
    ledger.learn(news(&[], vec![listener("a", 0, 1)]));
    let mut lists = 0;
    // All, and after them what has happened meanwhile.
    for told in 0..2 * KEPT + 2 {
        if (1..=KEPT).contains(&told) {
            clusters.set(name("c0"), &told.to_string());
            ledger.learn_clusters(Arc::new(clusters.clone()));
        }
        let (words, calls) = due(&mut ledger, now);
        assert_eq!(words.len(), 1, "the {told}th");
        let Act::Event(event) = &calls[0].act else {
            panic!("an event")
        };
        lists += usize::from(!event.present.is_empty());
        end(&mut ledger, &calls, &Ok(Answer::Taken), now);
    }
    assert_eq!((lists, due(&mut ledger, now).0), (1, Vec::new()));
}

#[test]
fn before_it_is_stopped_it_is_told_so_once_and_nothing_else() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    let mut clusters = Clusters::default();
    ledger.learn(news(&[(1, Some(1))], vec![listener("a", 0, 1)]));
    let (_, calls) = due(&mut ledger, now);
    end(&mut ledger, &calls, &Ok(Answer::Taken), now);
    // Its revision has been relieved, and its pod is still there.
    let mut relieved = news(&[(2, Some(2))], vec![listener("b", 0, 2)]);
    relieved.pods.insert(String::from("a"));
    ledger.learn(relieved.clone());
    assert_eq!(
        due(&mut ledger, now).0,
        [r#"b0: {"value":2}"#],
        "the old one keeps its settings"
    );
    clusters.set(name("far"), "");
    ledger.learn_clusters(Arc::new(clusters));
    relieved.stopping.insert(1);
    ledger.learn(relieved.clone());
    assert_eq!(ledger.told().releasing, 1);
    let (words, calls) = due(&mut ledger, now);
    assert_eq!(words, ["a0: stop", "b0: Added far"]);
    end(&mut ledger, &calls, &Err(String::from("no answer")), now);
    assert_eq!(ledger.told().releasing, 0, "it is not relied on");
    assert!(!due(&mut ledger, now).0.contains(&String::from("a0: stop")));
}
