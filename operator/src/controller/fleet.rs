//! A plugin's revisions as they should be: the plan, and the records that it speaks of.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use kite_api::KitePluginStatus;

use super::{
    build::{Start, pod},
    gather::{GatherError, Surroundings},
    pair::Pair,
    plan::{self, Plan, Rules},
    revision::{Record, Revision, Rights, Wanted},
    status::{self, History, Named},
    validate::ValidatedPlugin,
};

/// A plugin's revisions as they should be.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub plan: Plan,
    /// The one that is not recorded yet.
    pub new: Option<Revision>,
    /// What there is of these is deleted.
    pub forgotten: BTreeSet<i64>,
    pub running: Pair<Revision>,
    history: History,
}

impl Fleet {
    /// What should become of what was `found`, after the status `before`.
    pub fn of(plugin: &ValidatedPlugin, found: &Surroundings, before: &KitePluginStatus) -> Result<Self, GatherError> {
        let recorded = found.revisions(before.active_revision)?;
        let wanted = Wanted::of(plugin);
        let rules = Rules {
            enabled: plugin.enabled,
            history: plugin.spec.kept_revisions(),
            drain: plugin.spec.drain(),
            given: found.records.iter().map(|record| record.revision).max(),
        };
        let now = status::now();
        let mut plan = plan::plan(&recorded, &wanted, before, rules, now);
        // What serves nobody and has no Deployment is not made again beside another that is wanted: it may be just what the API server refuses.
        let is_gone = |lead: i64| before.active_revision.is_none() && !found.deployments.contains_key(&lead);
        if let Some(lead) = plan.lead.filter(|lead| *lead != plan.wanted && is_gone(*lead)) {
            let mut without = before.clone();
            without.revisions.retain(|entry| entry.number != lead);
            plan = plan::plan(&recorded, &wanted, &without, rules, now);
        }
        Ok(Self::after(plan, recorded, plugin, wanted, found))
    }

    fn after(
        plan: Plan,
        recorded: Vec<Revision>,
        plugin: &ValidatedPlugin,
        wanted: Wanted,
        found: &Surroundings,
    ) -> Self {
        let by_number = |number| recorded.iter().find(|revision| revision.number == number);
        let target = by_number(plan.wanted).cloned().unwrap_or_else(|| {
            let like = plan.like.and_then(by_number).map(|like| like.record.template.clone());
            made(plan.wanted, plugin, wanted, like)
        });
        let lead = plan.lead.and_then(by_number).cloned();
        let new = plan.is_new.then(|| target.clone());
        let unrecorded = found.deployments.keys().copied();
        // What is recorded nowhere is nobody's.
        let stray = unrecorded.filter(|number| !found.is_recorded(*number) && *number != plan.wanted);
        // What somebody has begun to take away, as an operator that ended over it, goes whole: a record alone is nothing to go back to.
        let numbers = recorded.iter().map(|revision| revision.number);
        let half = numbers.filter(|number| !found.deployments.contains_key(number) && !plan.binds(*number));
        let forgotten: BTreeSet<i64> = plan.forgotten.iter().copied().chain(half).chain(stray).collect();
        let mut kept = recorded;
        kept.retain(|revision| !forgotten.contains(&revision.number));
        kept.extend(new.clone());
        let running = match lead {
            Some(lead) if lead.number != target.number => Pair {
                lead,
                next: Some(target),
            },
            _ => Pair {
                lead: target,
                next: None,
            },
        };
        let history = History {
            kept: kept.iter().map(named).collect(),
            drain: plugin.spec.drain(),
        };
        Self {
            plan,
            new,
            forgotten,
            running,
            history,
        }
    }

    /// The revision that the object wants.
    pub fn wanted(&self) -> &Revision {
        self.running.next.as_ref().unwrap_or(&self.running.lead)
    }

    /// What is told of those that are kept.
    pub fn history(&self) -> History {
        self.history.clone()
    }

    /// What runs. A revision that waits for what the plugin needs makes no pods before it has that, and the one that the object wants none
    /// before it may have what the object names (`may_have`). One that runs goes on, and while only the first is amiss one that had started.
    pub fn starts<'a>(
        &'a self,
        plugin: &ValidatedPlugin,
        found: &Surroundings,
        has_started: bool,
        may_start: bool,
        may_have: bool,
    ) -> Pair<Start<'a>> {
        let Pair { lead, next } = self.running.as_ref();
        let wanted = self.wanted().number;
        let start = |revision: &'a Revision, started: bool| {
            let runs = plugin.enabled && found.runs(revision.number);
            let waits = !(may_start || plugin.enabled && started);
            let lacks = !may_have && revision.number == wanted;
            Start {
                revision,
                held: !runs && (waits || lacks),
            }
        };
        Pair {
            lead: start(lead, has_started),
            next: next.map(|next| start(next, false)),
        }
    }
}

/// The version that goes on while the one that the object wants waits for what it needs.
pub fn version_that_goes_on(running: &Pair<Start<'_>>) -> Option<String> {
    let waits = running.next.is_some_and(|next| next.held) && !running.lead.held;
    waits.then(|| running.lead.revision.version.to_string())
}

/// Whether the revision that the object wants makes no pods yet.
pub fn wanted_is_held(running: &Pair<Start<'_>>) -> bool {
    running.next.as_ref().unwrap_or(&running.lead).held
}

/// A new revision. If it is `like` one before, its pods are as they were then.
fn made(number: i64, plugin: &ValidatedPlugin, wanted: Wanted, like: Option<PodTemplateSpec>) -> Revision {
    let Wanted { spec, tokens } = wanted;
    Revision {
        number,
        version: plugin.version.clone(),
        record: Record {
            spec,
            tokens,
            rights: Rights::of(&plugin.spec),
            template: like.unwrap_or_else(|| pod::template(plugin, tokens)),
        },
    }
}

/// The revision, as a status names it.
pub fn named(revision: &Revision) -> Named {
    Named {
        number: revision.number,
        version: revision.version.to_string(),
    }
}
