//! What holds of every plan, whatever is done to a plugin in whatever order: the plan is carried out on a model, as the operator would.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::{collection::vec, prelude::*};

use super::{
    tests::{at, of, told, wanted},
    *,
};

/// What may happen between two looks.
#[derive(Clone, Debug)]
enum Step {
    /// The object wants another content.
    Want(char),
    Enable(bool),
    Limit(usize),
    /// The revision that is to take over comes up, if there is one.
    ComesUp,
    /// Time goes by.
    Wait(i64),
    /// A dependency is lost, or is there again.
    Held(bool),
    /// Somebody deletes what records the revision that serves, while none is to take over.
    RecordLost,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![Just('a'), Just('b'), Just('c'), Just('d')].prop_map(Step::Want),
        1 => any::<bool>().prop_map(Step::Enable),
        1 => (0..4_usize).prop_map(Step::Limit),
        4 => Just(Step::ComesUp),
        2 => (1..400_i64).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Held),
        1 => Just(Step::RecordLost),
    ]
}

/// A plugin as the cluster has it.
struct Model {
    recorded: Vec<Revision>,
    status: KitePluginStatus,
    content: char,
    rules: Rules,
    now: i64,
    held: bool,
    /// What each number that was ever given stands for.
    given: BTreeMap<i64, char>,
}

impl Model {
    fn new() -> Self {
        Self {
            recorded: Vec::new(),
            status: KitePluginStatus::default(),
            content: 'a',
            rules: Rules {
                enabled: true,
                history: 2,
                drain: Duration::from_secs(100),
                given: None,
            },
            now: 0,
            held: false,
            given: BTreeMap::new(),
        }
    }

    fn plan(&self) -> Plan {
        plan(
            &self.recorded,
            &wanted(self.content),
            &self.status,
            self.rules,
            at(self.now),
        )
    }

    fn lose_record(&mut self) {
        let settled = (self.recorded.last()).map(|newest| newest.number) == self.status.active_revision;
        if settled && self.plan().next().is_none() {
            self.recorded.pop();
        }
    }

    /// One look of the operator, in which what is to come up does so or does not.
    fn look(&mut self, comes_up: bool) -> Plan {
        let plan = self.plan();
        if plan.is_new {
            self.recorded.push(of(plan.wanted, self.content));
        }
        self.recorded
            .retain(|revision| !plan.forgotten.contains(&revision.number));
        let lead = plan.lead.unwrap_or(plan.wanted);
        let had = self.status.active_revision.is_some();
        let serves = match plan.next() {
            Some(next) if comes_up && !self.held => next,
            _ => lead,
        };
        let is_up = self.rules.enabled && !self.held && (had || plan.lead.is_some() || comes_up);
        let before = self.status.clone();
        let entries = self.recorded.iter().map(|revision| {
            let number = revision.number;
            let old = before.revisions.iter().find(|entry| entry.number == number);
            if number == serves {
                let state = if is_up {
                    RevisionState::Active
                } else {
                    RevisionState::Starting
                };
                let mut entry = told(number, state, None);
                let knew = old.and_then(|entry| entry.definitions_hash.clone());
                let knew = knew.filter(|_| self.rules.enabled && plan.lead == Some(number));
                entry.definitions_hash = entry.definitions_hash.or(knew);
                if !self.rules.enabled {
                    entry.state = RevisionState::Stopped;
                }
                return entry;
            }
            let since = old.and_then(|entry| entry.draining_since.clone());
            let since = if number == lead && serves != lead {
                Some(Time(at(self.now)))
            } else {
                since
            };
            let mut entry = told(number, RevisionState::Stopped, None);
            entry.draining_since = since.filter(|_| self.rules.enabled);
            entry
        });
        self.status = KitePluginStatus {
            revisions: entries.collect(),
            active_revision: is_up.then_some(serves),
            ..KitePluginStatus::default()
        };
        plan
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_plan_keeps_its_promises(steps in vec(step(), 1..40)) {
        let mut model = Model::new();
        for step in steps {
            let mut comes_up = false;
            match step {
                Step::Want(content) => model.content = content,
                Step::Enable(enabled) => model.rules.enabled = enabled,
                Step::Limit(history) => model.rules.history = history,
                Step::ComesUp => comes_up = true,
                Step::Wait(seconds) => model.now += seconds,
                Step::Held(held) => model.held = held,
                Step::RecordLost => model.lose_record(),
            }
            let before = model.status.active_revision;
            prop_assert_eq!(model.plan(), model.plan(), "it follows from what it is given alone");
            let plan = model.look(comes_up);
            // Of those that do not linger two run at most, and the one that serves is among them.
            prop_assert!(plan.running().count() <= 2);
            if model.rules.enabled {
                prop_assert!(before.is_none_or(|active| plan.has_pods(active)), "{:?}", plan);
                prop_assert!(model.held || before.is_none() || model.status.active_revision.is_some());
            }
            // What runs, serves or lingers is not deleted.
            prop_assert!(!plan.forgotten.iter().any(|number| plan.has_pods(*number) || *number == plan.wanted));
            // A number means one content for ever.
            prop_assert_eq!(*model.given.entry(plan.wanted).or_insert(model.content), model.content);
            // The history has its bound: what is kept beside what runs, lingers or is the newest.
            let past = model.recorded.iter().filter(|it| !plan.has_pods(it.number) && it.number != plan.wanted);
            prop_assert!(past.count() <= model.rules.history + 1);
        }
        // However it came to be, what the object wants is what serves in the end, and nothing else is begun.
        model.rules.enabled = true;
        model.held = false;
        for _ in 0..3 {
            model.look(true);
        }
        let active = model.status.active_revision.unwrap();
        prop_assert_eq!(model.given.get(&active).copied().unwrap_or(model.content), model.content);
        model.now += 1000;
        model.look(true);
        let settled = (model.recorded.clone(), model.status.clone());
        let plan = model.look(true);
        prop_assert_eq!((plan.is_new, plan.next(), plan.lingering.len(), plan.wait), (false, None, 0, None));
        prop_assert_eq!((model.recorded, model.status), settled);
    }
}
