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

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Time};
    use kite_api::{RevisionState, RevisionStatus};
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::{revision::tests::revision, validate::tests::plugin};

    /// An object that wants this image.
    fn with(image: &'static str) -> impl Fn(&mut Value) {
        move |object| object["spec"]["image"] = json!(image)
    }

    /// What there is when these revisions are recorded, and those of these numbers have a Deployment.
    fn surroundings(recorded: &[Revision], deployed: &[i64]) -> Surroundings {
        let owner = plugin(|_| {});
        let deployments = deployed.iter().map(|number| (*number, Deployment::default()));
        let records = recorded.iter().map(|it| it.object(&owner, "kite-plugins"));
        Surroundings {
            deployments: deployments.collect(),
            records: records.collect(),
            ..Surroundings::default()
        }
    }

    /// The status of a plugin with one revision, which has said what it is.
    fn told(number: i64, state: RevisionState) -> KitePluginStatus {
        let entry = RevisionStatus {
            number,
            version: String::from("0.1.0"),
            digest: None,
            definitions_hash: Some(String::from("sha256:1")),
            state,
            draining_since: None,
            message: None,
        };
        KitePluginStatus {
            active_revision: (state == RevisionState::Active).then_some(number),
            revisions: vec![entry],
            ..KitePluginStatus::default()
        }
    }

    /// The numbers of those that run: of the one that leads, and of the one that is to take over.
    fn running(fleet: &Fleet) -> (i64, Option<i64>) {
        let Pair { lead, next } = fleet.running.as_ref().map(|revision| revision.number);
        (lead, next)
    }

    /// The numbers of those that are kept.
    fn kept(fleet: &Fleet) -> Vec<i64> {
        fleet.history().kept.iter().map(|named| named.number).collect()
    }

    #[test]
    fn a_lead_that_serves_nobody_and_has_no_deployment_is_not_made_again_beside_another() {
        let recorded = [revision(1, with("a"))];
        let fleet = |image, deployed: &[i64], state| {
            let there = surroundings(&recorded, deployed);
            Fleet::of(&plugin(with(image)), &there, &told(1, state)).unwrap()
        };
        let gone = fleet("b", &[], RevisionState::Starting);
        assert_eq!((gone.plan.lead, running(&gone)), (None, (2, None)));
        assert_eq!((&gone.forgotten, kept(&gone)), (&BTreeSet::from([1]), vec![2]));
        let there = fleet("b", &[1], RevisionState::Starting);
        assert_eq!(running(&there), (1, Some(2)), "it has a Deployment");
        let serving = fleet("b", &[], RevisionState::Active);
        assert_eq!(running(&serving), (1, Some(2)), "it serves");
        let wanted = fleet("a", &[], RevisionState::Starting);
        assert_eq!(
            (wanted.plan.lead, running(&wanted)),
            (Some(1), (1, None)),
            "there is no other"
        );
        for fleet in [&there, &serving, &wanted] {
            assert_eq!(fleet.forgotten, BTreeSet::new());
        }
    }

    #[test]
    fn what_lingers_beside_a_lead_that_is_left_out_stays() {
        let recorded = [revision(1, with("a")), revision(2, with("b"))];
        let mut before = told(1, RevisionState::Draining);
        for entry in &mut before.revisions {
            entry.draining_since = Some(Time(status::now()));
        }
        before.revisions.extend(told(2, RevisionState::Starting).revisions);
        let there = surroundings(&recorded, &[1]);
        let fleet = Fleet::of(&plugin(with("c")), &there, &before).unwrap();
        assert_eq!(running(&fleet), (3, None));
        assert_eq!(fleet.plan.lingering, BTreeSet::from([1]));
        assert_eq!((&fleet.forgotten, kept(&fleet)), (&BTreeSet::from([2]), vec![1, 3]));
    }

    #[test]
    fn what_is_half_gone_or_recorded_nowhere_goes_whole() {
        let recorded = [revision(1, with("a")), revision(2, with("b"))];
        let before = told(2, RevisionState::Active);
        let fleet = |there: &Surroundings| Fleet::of(&plugin(with("b")), there, &before).unwrap();
        let whole = fleet(&surroundings(&recorded, &[1, 2]));
        assert_eq!((&whole.forgotten, kept(&whole)), (&BTreeSet::new(), vec![1, 2]));
        let half = fleet(&surroundings(&recorded, &[2]));
        assert_eq!((&half.forgotten, kept(&half)), (&BTreeSet::from([1]), vec![2]));
        let mut stray = surroundings(&recorded, &[1, 2, 7]);
        assert_eq!(fleet(&stray).forgotten, BTreeSet::from([7]));
        // There is a record of it, though not one that is understood.
        let mut odd = revision(7, |_| {}).object(&plugin(|_| {}), "kite-plugins");
        odd.data = None;
        stray.records.push(odd);
        assert_eq!(fleet(&stray).forgotten, BTreeSet::new());
        // It gets its record again.
        let unrecorded = fleet(&surroundings(&[], &[2]));
        assert_eq!(
            (running(&unrecorded), &unrecorded.forgotten),
            ((2, None), &BTreeSet::new())
        );
        assert_eq!(unrecorded.new.map(|new| new.number), Some(2));
    }

    #[test]
    fn a_new_revision_that_is_like_one_before_has_pods_as_they_were_then() {
        let recorded = [revision(1, with("a")), revision(2, with("b"))];
        let there = surroundings(&recorded, &[1, 2]);
        let before = told(2, RevisionState::Active);
        let new = |image| {
            let fleet = Fleet::of(&plugin(with(image)), &there, &before).unwrap();
            let new = fleet.new.unwrap();
            (new.number, new.record.template)
        };
        let Record { template, tokens, .. } = &recorded[0].record;
        assert_eq!(new("a"), (3, template.clone()));
        assert_eq!(new("c"), (3, pod::template(&plugin(with("c")), *tokens)));
        assert_ne!(new("c").1, *template);
    }

    #[test]
    fn what_runs_goes_on_and_what_lacks_something_makes_no_pods() {
        let recorded = [revision(1, with("a")), revision(2, with("b"))];
        let object = plugin(with("b"));
        let serving = told(1, RevisionState::Active);
        let held = |recorded: &[Revision], deployed: &[i64], before: &KitePluginStatus, flags: [bool; 3]| {
            let [has_started, may_start, may_have] = flags;
            let there = surroundings(recorded, deployed);
            let fleet = Fleet::of(&object, &there, before).unwrap();
            let running = fleet.starts(&object, &there, has_started, may_start, may_have);
            let Pair { lead, next } = running.as_ref().map(|start| start.held);
            (lead, next, version_that_goes_on(&running), wanted_is_held(&running))
        };
        let all = [true; 3];
        let (not_yet, not_named) = ([true, false, true], [true, true, false]);
        let goes_on = Some(String::from("0.1.0"));
        assert_eq!(held(&recorded, &[1], &serving, all), (false, Some(false), None, false));
        for lacks in [not_yet, not_named] {
            assert_eq!(
                held(&recorded, &[1], &serving, lacks),
                (false, Some(true), goes_on.clone(), true)
            );
            assert_eq!(
                held(&recorded, &[1, 2], &serving, lacks),
                (false, Some(false), None, false),
                "it has pods already"
            );
        }
        // One alone, which has no pods now.
        let (alone, before) = (&recorded[1..], told(2, RevisionState::Starting));
        assert_eq!(held(alone, &[], &before, not_yet), (false, None, None, false));
        assert_eq!(held(alone, &[], &before, not_named), (true, None, None, true));
        let never_started = [false, false, true];
        assert_eq!(held(alone, &[], &before, never_started), (true, None, None, true));
    }
}
