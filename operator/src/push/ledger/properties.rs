//! Whatever happens in whatever order, each process is told in order, the new after the old, and everything in the end.

use std::mem;

use kite_api::name::ClusterName;
use kite_proto::Supports;
use proptest::prelude::*;

use super::{
    tests::{listener, news, process},
    *,
};
use crate::push::{
    clusters::{Change, tests::name},
    news::Listener,
};

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The settings become others, or cannot be settings.
    Settings(Option<u64>),
    /// A pod comes, or its process is started again.
    Starts(u8),
    /// A pod is not ready any more, and comes back as it was.
    Rests(u8),
    Goes(u8),
    /// A process says otherwise whether it supports settings, and events.
    Says(u8, bool, bool),
    /// Revision 2 drains, or it does not.
    Drains(bool),
    Cluster(u8, Option<u8>),
    /// Another operator takes over, which does not know what was told. This cluster has gone before.
    TakesOver(u8),
    /// One of the calls that are under way ends so.
    Ends(prop::sample::Index, Outcome),
    /// Time goes by.
    Waits,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Taken,
    Refused,
    /// No answer, though it may have taken note.
    Lost,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Taken), Just(Outcome::Refused), Just(Outcome::Lost)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => prop::option::weighted(0.8, 0..4_u64).prop_map(Step::Settings),
        1 => (0..3_u8).prop_map(Step::Starts),
        1 => (0..3_u8).prop_map(Step::Rests),
        1 => (0..3_u8).prop_map(Step::Goes),
        1 => (0..3_u8, any::<bool>(), any::<bool>())
            .prop_map(|(pod, settings, events)| Step::Says(pod, settings, events)),
        1 => any::<bool>().prop_map(Step::Drains),
        2 => (0..3_u8, prop::option::of(0..3_u8)).prop_map(|(cluster, print)| Step::Cluster(cluster, print)),
        1 => (0..3_u8).prop_map(Step::TakesOver),
        6 => (any::<prop::sample::Index>(), outcome()).prop_map(|(which, outcome)| Step::Ends(which, outcome)),
        2 => Just(Step::Waits),
    ]
}

/// What a process has seen.
#[derive(Default)]
struct Seen {
    /// Number of the last settings that it was sent.
    last: u64,
    current: Option<Settings>,
    clusters: BTreeSet<String>,
    events: Vec<ClusterEvent>,
}

/// A pod that there is.
struct Pod {
    restarts: i32,
    is_ready: bool,
    supports: Supports,
}

/// Of which revision a pod is.
fn revision(pod: u8) -> i64 {
    if pod == 2 { 2 } else { 1 }
}

struct World {
    ledger: Ledger,
    clusters: Clusters,
    wanted: Option<u64>,
    is_draining: bool,
    pods: BTreeMap<u8, Pod>,
    restarts: i32,
    seen: BTreeMap<Process, Seen>,
    under_way: Vec<Call>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            ledger: Ledger::default(),
            clusters: Clusters::default(),
            wanted: None,
            is_draining: false,
            pods: BTreeMap::new(),
            restarts: 0,
            seen: BTreeMap::new(),
            under_way: Vec::new(),
            now: Instant::now(),
        }
    }

    /// The settings of each revision that has some.
    fn settings(&self) -> BTreeMap<i64, Option<u64>> {
        let revisions = if self.is_draining { 1..=1 } else { 1..=2 };
        revisions.map(|revision| (revision, self.wanted)).collect()
    }

    fn learn(&mut self) {
        let ready = self.pods.iter().filter(|(_, it)| it.is_ready);
        let listeners = ready.map(|(pod, it)| Listener {
            supports: it.supports,
            ..listener(&pod.to_string(), it.restarts, revision(*pod))
        });
        let settings: Vec<_> = self.settings().into_iter().collect();
        let mut news = news(&settings, listeners.collect());
        news.pods = self.pods.keys().map(u8::to_string).collect();
        let waiting = news.waiting();
        self.ledger.learn(news);
        let told = self.ledger.told().settings;
        assert!(
            waiting.keys().all(|revision| told.contains_key(revision)),
            "of each that is to be told something is said: {told:?}"
        );
    }

    fn begin(&mut self) {
        for call in self.ledger.due(self.now) {
            let seen = self.seen.entry(call.process.clone()).or_default();
            let lane = mem::discriminant(&call.act);
            let mut others = self.under_way.iter();
            let beside = others.any(|it| it.process == call.process && mem::discriminant(&it.act) == lane);
            assert!(!beside, "two at a time: {call:?}");
            if let Act::Settings(numbered) = &call.act {
                assert!(numbered.number >= seen.last, "the old after the new: {call:?}");
                seen.last = numbered.number;
            }
            self.under_way.push(call);
        }
        assert_ne!(self.ledger.wait(self.now), Some(Duration::ZERO), "what is due is begun");
    }

    fn end(&mut self, which: usize, outcome: Outcome) {
        let call = self.under_way.remove(which);
        self.takes_note(&call, matches!(outcome, Outcome::Refused));
        let answer = match outcome {
            Outcome::Taken => Ok(Answer::Taken),
            Outcome::Refused if matches!(call.act, Act::Settings(_)) => Ok(Answer::Refused(String::from("no"))),
            Outcome::Refused | Outcome::Lost => Err(String::from("no answer")),
        };
        self.ledger.ended(&call, answer, self.now);
    }

    /// What a process does with what it is told.
    fn takes_note(&mut self, call: &Call, refuses: bool) {
        let seen = self.seen.get_mut(&call.process).unwrap();
        match &call.act {
            Act::Settings(numbered) if !refuses => seen.current = Some(numbered.settings.clone()),
            Act::Event(event) => {
                seen.events.push(event.clone());
                // As the SDK does.
                let present: BTreeSet<&str> = event.present.iter().map(ClusterName::as_str).collect();
                seen.clusters
                    .retain(|it| present.is_empty() || present.contains(it.as_str()));
                let cluster = event.cluster.as_str().to_owned();
                match event.change {
                    Change::Added | Change::Updated => seen.clusters.insert(cluster),
                    Change::Removed => seen.clusters.remove(&cluster),
                };
            }
            Act::Settings(_) | Act::Stop => {}
        }
    }

    fn happens(&mut self, step: Step) {
        match step {
            Step::Settings(wanted) => self.wanted = wanted,
            Step::Starts(pod) => {
                self.restarts += 1;
                let started = Pod {
                    restarts: self.restarts,
                    is_ready: true,
                    supports: listener("", 0, 1).supports,
                };
                self.pods.insert(pod, started);
            }
            Step::Rests(pod) => {
                if let Some(it) = self.pods.get_mut(&pod) {
                    it.is_ready = !it.is_ready;
                }
            }
            Step::Goes(pod) => _ = self.pods.remove(&pod),
            Step::Says(pod, settings, cluster_events) => {
                if let Some(it) = self.pods.get_mut(&pod) {
                    it.supports.settings = settings;
                    it.supports.cluster_events = cluster_events;
                }
            }
            Step::Drains(is_draining) => self.is_draining = is_draining,
            Step::Cluster(cluster, print) => {
                let cluster = name(&format!("c{cluster}"));
                match print {
                    Some(print) => self.clusters.set(cluster, &print.to_string()),
                    None => self.clusters.remove(&cluster),
                };
                self.ledger.learn_clusters(Arc::new(self.clusters.clone()));
            }
            Step::TakesOver(gone) => self.is_taken_over(gone),
            Step::Ends(which, outcome) if !self.under_way.is_empty() => {
                self.end(which.index(self.under_way.len()), outcome);
            }
            Step::Ends(..) => {}
            Step::Waits => self.now += Duration::from_secs(1),
        }
        self.learn();
        self.begin();
    }

    /// What is under way ends with the operator.
    fn is_taken_over(&mut self, gone: u8) {
        for call in mem::take(&mut self.under_way) {
            // It may have taken note.
            if self.restarts % 2 == 0 {
                self.takes_note(&call, false);
            }
        }
        self.clusters.remove(&name(&format!("c{gone}")));
        let mut found = Clusters::default();
        found.set(name("home"), "");
        for cluster in self.clusters.present() {
            found.set(cluster.clone(), "0");
        }
        self.ledger = Ledger::default();
        for seen in self.seen.values_mut() {
            seen.last = 0;
        }
        // Before it has found them it tells nobody what there is.
        self.ledger.learn_clusters(Arc::new(Clusters::awaited(name("home"))));
        self.learn();
        self.begin();
        let is_event = |call: &Call| matches!(call.act, Act::Event(_));
        assert!(!self.under_way.iter().any(is_event), "{:?}", self.under_way);
        self.clusters = found;
        self.ledger.learn_clusters(Arc::new(self.clusters.clone()));
    }

    /// Nothing happens any more, and everybody takes what they are told.
    fn settle(&mut self) {
        for pod in self.pods.values_mut() {
            pod.is_ready = true;
        }
        self.learn();
        for _ in 0..10_000 {
            self.begin();
            if !self.under_way.is_empty() {
                self.end(0, Outcome::Taken);
            } else if let Some(wait) = self.ledger.wait(self.now) {
                self.now += wait;
            } else {
                return;
            }
        }
        panic!("it does not come to an end");
    }
}

/// Whether the events are those of `expected`, in their order, each once or several times in a row.
fn are_all(events: &[ClusterEvent], expected: &[&ClusterEvent]) -> bool {
    let mut rest = events;
    for event in expected {
        let Some((first, others)) = rest.split_first() else {
            return false;
        };
        if first != *event {
            return false;
        }
        rest = others;
        while let Some((again, others)) = rest.split_first().filter(|(again, _)| again == event) {
            // One that happened twice in a row is not told from one that was told twice.
            let _ = again;
            rest = others;
        }
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn each_process_is_told_everything_in_order_and_never_the_old_after_the_new(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::new();
        for step in steps {
            world.happens(step);
        }
        world.settle();
        let present: BTreeSet<String> = world.clusters.present().map(|it| it.as_str().to_owned()).collect();
        let told = world.ledger.told();
        let settings = world.settings();
        for (pod, Pod { restarts, supports, .. }) in &world.pods {
            let seen = &world.seen.remove(&process(&pod.to_string(), *restarts)).unwrap_or_default();
            if supports.cluster_events {
                prop_assert_eq!(&seen.clusters, &present);
            }
            let revision = revision(*pod);
            if let Some(Some(wanted)) = settings.get(&revision).filter(|_| supports.settings) {
                let wanted = tests::settings(*wanted);
                let is_refused = told.settings[&revision].refused.contains_key(&format!("pod-{pod}"));
                prop_assert!(is_refused || seen.current.as_ref() == Some(&wanted), "{:?}", seen.current);
            }
        }
    }

    #[test]
    fn a_process_that_is_there_from_the_beginning_is_told_each_event_at_least_once(
        changes in prop::collection::vec((0..3_u8, prop::option::of(0..3_u8)), 0..40),
        ends in prop::collection::vec((any::<prop::sample::Index>(), outcome()), 0..80),
    ) {
        let mut world = World::new();
        world.happens(Step::Starts(0));
        let mut ends = ends.into_iter();
        for (cluster, print) in changes {
            world.happens(Step::Cluster(cluster, print));
            if let Some((which, outcome)) = ends.next() {
                world.happens(Step::Ends(which, outcome));
                world.happens(Step::Waits);
            }
        }
        for (which, outcome) in ends {
            world.happens(Step::Ends(which, outcome));
        }
        world.settle();
        let expected: Vec<&ClusterEvent> = world.clusters.since(0).unwrap().collect();
        let mut once = expected.clone();
        once.dedup();
        let seen = world.seen.remove(&process("0", 1)).unwrap_or_default();
        prop_assert!(are_all(&seen.events, &once), "{:?} for {:?}", seen.events, expected);
    }
}
