//! One case: a change to a plugin of its own, what is done to the operator meanwhile, and what has to come of it all the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::api::{DeleteParams, ListParams};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    cell::{Cell, LIMIT},
    change::Change,
    fault::Fault,
    ledger::{Act, Ledger},
    node::Node,
    operator::Operator,
    snapshot::{Found, PLUGIN, State, kinds},
};

/// Where nothing has happened for so long, nothing more will: the longest that an operator waits of its own accord, for a drain aside, are the
/// two seconds before a revision takes over.
const STABLE: Duration = Duration::from_secs(4);

/// Where the operator tells of a plugin.
const STATUS: &str = "kiteplugins/status";

/// What came of a change, and what it took.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    state: State,
    pub(crate) acts: Vec<Act>,
    pub(crate) events: BTreeMap<String, usize>,
    /// The resources that the operator watches.
    watched: BTreeSet<String>,
}

/// A plugin, and all that acts on it.
pub(crate) struct Scene<'a> {
    pub(crate) cell: &'a Cell,
    pub(crate) subject: String,
    pub(crate) operator: Operator,
    pub(crate) ledger: Arc<Ledger>,
    _node: Node,
}

/// The change without a fault, by which the others are measured.
pub(crate) async fn rehearse(cell: &Cell, change: Change) -> Result<Outcome, String> {
    let mut scene = Scene::set(cell).await;
    let outcome = scene.rehearse(change).await;
    let ended = scene.end().await;
    ended.and(outcome)
}

/// The change with the fault; whether the fault came about.
pub(crate) async fn play(cell: &Cell, change: Change, fault: &Fault, expected: &Outcome) -> Result<bool, String> {
    let mut scene = Scene::set(cell).await;
    let outcome = scene.play(change, fault, expected).await;
    let ended = scene.end().await;
    let is_reached = outcome?.is_some();
    ended.map(|()| is_reached)
}

impl<'a> Scene<'a> {
    pub(crate) async fn set(cell: &'a Cell) -> Self {
        let subject = Cell::subject();
        let ledger = Arc::new(Ledger::default());
        Self {
            cell,
            _node: Node::start(&cell.client, cell.plugins_namespace(), &subject),
            operator: Operator::start(cell, &subject, &ledger, None).await,
            subject,
            ledger,
        }
    }

    /// The change without a fault.
    async fn rehearse(&mut self, change: Change) -> Result<Outcome, String> {
        change.prepare(self.cell, &self.subject).await?;
        self.operator.line.quiet().await;
        let before = self.look().await?;
        self.ledger.begin();
        change.carry_out(self.cell, &self.subject).await;
        let state = self.settles(change, &before).await?;
        let outcome = self.outcome(state);
        is_known(&outcome.acts).map(|()| outcome)
    }

    /// The change with the fault. Returns `None` if the fault did not come about.
    async fn play(&mut self, change: Change, fault: &Fault, expected: &Outcome) -> Result<Option<Outcome>, String> {
        change.prepare(self.cell, &self.subject).await?;
        self.operator.line.quiet().await;
        self.arm(fault);
        let before = self.version().await?;
        let begins = change.carry_out(self.cell, &self.subject).await.unwrap_or(before);
        let line = &self.operator.line;
        tokio::select! {
            // One that comes about with the last of what is to be done has come about.
            biased;
            () = line.has_struck() => {}
            state = self.comes_to(&expected.state) => return state.map(|_| None),
        }
        match fault {
            Fault::Crash { .. } => self.restart(None).await,
            Fault::Stale { .. } => {
                self.restart(Some(begins)).await;
                let line = &self.operator.line;
                line.watches(&expected.watched).await?;
                line.quiet().await;
                line.thaw();
            }
            Fault::Unseen { .. } => {
                line.quiet().await;
                line.end_gap();
            }
            Fault::Lost { .. } => {}
        }
        let state = self.comes_to(&expected.state).await?;
        let outcome = self.outcome(state);
        judge(&outcome, expected).map(|()| Some(outcome))
    }

    fn outcome(&self, state: State) -> Outcome {
        Outcome {
            state,
            acts: self.acts(),
            events: self.ledger.events(),
            watched: self.operator.line.watched(),
        }
    }

    /// Counts from now on, and does this when it is time.
    pub(crate) fn arm(&self, fault: &Fault) {
        self.ledger.begin();
        self.operator.line.arm(fault);
    }

    /// Begins another operator in the place of the one that there was.
    pub(crate) async fn restart(&mut self, frozen_at: Option<String>) {
        self.operator.stop();
        self.operator = Operator::start(self.cell, &self.subject, &self.ledger, frozen_at).await;
    }

    /// Waits until all is as it is expected to be, and the operator at rest.
    async fn comes_to(&self, expected: &State) -> Result<State, String> {
        let limit = Instant::now() + LIMIT;
        loop {
            self.operator.line.quiet().await;
            let is_late = Instant::now() > limit;
            // What is told comes last, and costs one question where all costs a dozen.
            if !is_late && expected.0.contains_key(PLUGIN) && self.told().await?.as_ref() != expected.0.get(PLUGIN) {
                continue;
            }
            let state = self.look().await?;
            if state == *expected {
                return Ok(state);
            }
            if is_late {
                let differences = state.differences(expected).join("\n  ");
                let seconds = LIMIT.as_secs();
                return Err(format!(
                    "it did not come to where it should within {seconds} s:\n  {differences}"
                ));
            }
        }
    }

    /// Waits until the change is done and nothing happens any more.
    pub(crate) async fn settles(&self, change: Change, before: &State) -> Result<State, String> {
        let limit = Instant::now() + LIMIT;
        let (mut state, mut since) = (self.look().await?, Instant::now());
        while since.elapsed() < STABLE || !change.is_done(&state, before) {
            self.operator.line.quiet().await;
            let now = self.look().await?;
            if now != state {
                (state, since) = (now, Instant::now());
            }
            if Instant::now() > limit {
                return Err(format!("it did not come to rest: {:#?}", state.0));
            }
        }
        Ok(state)
    }

    /// The plugin itself.
    async fn told(&self) -> Result<Option<Value>, String> {
        let found = Found::plugin_alone(self.cell, &self.subject).await;
        let mut state = found
            .map_err(|error| error.to_string())?
            .normal(self.cell, &self.subject);
        Ok(state.0.remove(PLUGIN))
    }

    /// All that there is of the plugin, when what the cluster itself collects is gone.
    pub(crate) async fn look(&self) -> Result<State, String> {
        let looked = async {
            let found = Found::of(self.cell, &self.subject).await?;
            found.collect(&self.cell.client).await?;
            Ok(found.normal(self.cell, &self.subject))
        };
        looked.await.map_err(|error: kube::Error| error.to_string())
    }

    /// The version of the cluster now.
    async fn version(&self) -> Result<String, String> {
        let list = self.cell.objects().list(&ListParams::default().limit(1)).await;
        let list = list.map_err(|error| error.to_string())?;
        list.metadata
            .resource_version
            .ok_or_else(|| String::from("a list has a version"))
    }

    /// What the operators did, in normal words.
    fn acts(&self) -> Vec<Act> {
        let mut acts = self.ledger.acts();
        for act in &mut acts {
            act.name = act.name.replace(&self.subject, "NAME");
        }
        acts
    }

    /// Takes away all that there is of the plugin. What no collector would take is an error.
    pub(crate) async fn end(self) -> Result<(), String> {
        self.operator.stop();
        let limit = Instant::now() + LIMIT;
        loop {
            let _ = self
                .cell
                .objects()
                .delete(&self.subject, &DeleteParams::background())
                .await;
            let state = self.look().await?;
            if state == State::default() {
                return Ok(());
            }
            if Instant::now() > limit {
                return Err(format!("this is left of a plugin that is gone: {:?}", state.0.keys()));
            }
        }
    }
}

/// Whether the operators did to the plugin's objects what one does without faults, and not a thing more.
fn judge(outcome: &Outcome, expected: &Outcome) -> Result<(), String> {
    let (here, there) = (lasting(&outcome.acts), lasting(&expected.acts));
    if here == there {
        return Ok(());
    }
    let all: Vec<String> = outcome.acts.iter().map(Act::to_string).collect();
    Err(format!(
        "other things were done to objects than without faults:\n  {}\nexpected:\n  {}\nall writes:\n  {}",
        here.join("\n  "),
        there.join("\n  "),
        all.join("\n  ")
    ))
}

/// What was done to objects. What is told of them may be told in more steps, or in fewer.
fn lasting(acts: &[Act]) -> Vec<String> {
    let lasting = acts.iter().filter(|act| act.resource != STATUS);
    let mut told: Vec<String> = lasting.map(Act::to_string).collect();
    told.sort_unstable();
    told
}

/// Whether nothing was written but what is compared.
fn is_known(acts: &[Act]) -> Result<(), String> {
    let known = kinds().map(|kind| kind.plural);
    let is_known = |act: &&Act| act.resource == STATUS || known.contains(&act.resource);
    match acts.iter().find(|act| !is_known(act)) {
        None => Ok(()),
        Some(act) => Err(format!("the operator writes what nobody compares: {act}")),
    }
}
