//! One test per rule of the plan.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::*;
use crate::controller::{revision::tests::revision, validate::tests::plugin};

pub(super) const RULES: Rules = Rules {
    enabled: true,
    history: 5,
    drain: Duration::from_mins(5),
    given: None,
};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A revision of this content; two letters are two contents.
pub(super) fn of(number: i64, content: char) -> Revision {
    revision(number, |o| o["spec"]["image"] = json!(content.to_string()))
}

pub(super) fn wanted(content: char) -> Wanted {
    Wanted::of(&plugin(|o| o["spec"]["image"] = json!(content.to_string())))
}

pub(super) fn told(number: i64, state: RevisionState, since: Option<i64>) -> RevisionStatus {
    RevisionStatus {
        number,
        version: String::from("0.1.0"),
        digest: None,
        definitions_hash: (state != RevisionState::Starting).then(|| String::from("sha256:1")),
        state,
        draining_since: since.map(|second| Time(at(second))),
        message: None,
    }
}

/// The status of a plugin of which this revision serves.
fn serving(number: i64, others: Vec<RevisionStatus>) -> KitePluginStatus {
    let mut revisions = others;
    revisions.push(told(number, RevisionState::Active, None));
    KitePluginStatus {
        active_revision: Some(number),
        revisions,
        ..KitePluginStatus::default()
    }
}

fn planned(recorded: &[Revision], content: char, before: &KitePluginStatus) -> Plan {
    plan(recorded, &wanted(content), before, RULES, at(0))
}

#[test]
fn the_first_revision_is_the_first() {
    let plan = planned(&[], 'a', &KitePluginStatus::default());
    assert_eq!((plan.wanted, plan.is_new, plan.lead), (1, true, None));
    assert_eq!(plan.running().collect::<Vec<_>>(), [1]);
}

#[test]
fn what_ran_before_revisions_were_recorded_is_taken_over_with_its_number() {
    let plan = planned(&[], 'a', &serving(1, vec![]));
    assert_eq!((plan.wanted, plan.is_new, plan.next()), (1, true, None));
}

#[test]
fn a_number_that_was_told_and_never_recorded_is_given_again_and_one_of_a_record_is_not() {
    let before = KitePluginStatus {
        revisions: vec![told(1, RevisionState::Starting, None)],
        ..KitePluginStatus::default()
    };
    assert_eq!(planned(&[], 'a', &before).wanted, 1);
    let rules = Rules {
        given: Some(1),
        ..RULES
    };
    assert_eq!(plan(&[], &wanted('a'), &before, rules, at(0)).wanted, 2);
}

#[test]
fn one_that_serves_and_has_lost_its_record_gets_it_again() {
    let before = serving(2, vec![]);
    for recorded in [vec![], vec![of(1, 'a')], vec![of(1, 'b')]] {
        let plan = planned(&recorded, 'b', &before);
        assert_eq!((plan.wanted, plan.is_new, plan.next()), (2, true, None), "{recorded:?}");
        assert!(plan.has_pods(2));
    }
    // The object wants what an older one was.
    let plan = planned(&[of(1, 'b')], 'b', &before);
    assert_eq!((plan.like, plan.forgotten), (Some(1), vec![1]));
}

#[test]
fn a_change_is_a_new_revision_beside_the_one_that_serves() {
    let plan = planned(&[of(1, 'a')], 'b', &serving(1, vec![]));
    assert_eq!((plan.lead, plan.wanted, plan.is_new), (Some(1), 2, true));
    assert_eq!(plan.running().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn another_change_before_it_took_over_stops_it() {
    let plan = planned(&[of(1, 'a'), of(2, 'b')], 'c', &serving(1, vec![]));
    assert_eq!((plan.lead, plan.wanted), (Some(1), 3));
    assert!(!plan.has_pods(2));
}

#[test]
fn taking_the_change_back_needs_no_new_revision_and_putting_it_again_neither() {
    let recorded = [of(1, 'a'), of(2, 'b')];
    let back = planned(&recorded, 'a', &serving(1, vec![]));
    assert_eq!((back.wanted, back.is_new, back.next()), (1, false, None));
    let again = planned(&recorded, 'b', &serving(1, vec![]));
    assert_eq!((again.wanted, again.is_new, again.next()), (2, false, Some(2)));
}

#[test]
fn going_back_is_a_new_number_with_the_old_record_which_goes() {
    let recorded = [of(1, 'a'), of(2, 'b')];
    let plan = planned(&recorded, 'a', &serving(2, vec![told(1, RevisionState::Stopped, None)]));
    assert_eq!((plan.wanted, plan.is_new, plan.like), (3, true, Some(1)));
    assert_eq!(plan.forgotten, [1]);
}

#[test]
fn going_back_while_the_old_one_drains_takes_nothing_from_its_pages() {
    let recorded = [of(1, 'a'), of(2, 'b')];
    let plan = planned(
        &recorded,
        'a',
        &serving(2, vec![told(1, RevisionState::Draining, Some(0))]),
    );
    assert_eq!((plan.wanted, plan.has_pods(1)), (3, true));
    assert_eq!(plan.forgotten, Vec::<i64>::new());
}

#[test]
fn an_old_one_lingers_for_its_time_and_a_moment() {
    let recorded = [of(1, 'a'), of(2, 'b')];
    let before = serving(2, vec![told(1, RevisionState::Draining, Some(0))]);
    let after = |second| plan(&recorded, &wanted('b'), &before, RULES, at(second));
    assert_eq!(
        (after(299).has_pods(1), after(299).wait),
        (true, Some(Duration::from_secs(1)))
    );
    assert_eq!(
        (after(300).has_pods(1), after(300).wait),
        (true, Some(Duration::from_secs(10)))
    );
    assert_eq!((after(310).has_pods(1), after(310).wait), (false, None));
}

#[test]
fn as_many_as_the_limit_says_are_kept_the_newest_of_them() {
    let recorded = ['a', 'b', 'c', 'd']
        .into_iter()
        .zip(1..)
        .map(|(content, number)| of(number, content));
    let recorded: Vec<Revision> = recorded.collect();
    let forgotten = |history| {
        let rules = Rules { history, ..RULES };
        plan(&recorded, &wanted('d'), &serving(4, vec![]), rules, at(0)).forgotten
    };
    assert_eq!(forgotten(3), Vec::<i64>::new());
    assert_eq!(forgotten(1), [1, 2]);
    assert_eq!(forgotten(0), [1, 2, 3]);
}

#[test]
fn the_newest_is_kept_so_that_its_number_is_not_given_again() {
    let rules = Rules { history: 0, ..RULES };
    let plan = plan(
        &[of(1, 'a'), of(2, 'b')],
        &wanted('a'),
        &serving(1, vec![]),
        rules,
        at(0),
    );
    assert_eq!((plan.wanted, plan.forgotten), (1, vec![]));
}

#[test]
fn a_disabled_plugin_forgets_who_served_so_that_what_was_replaced_does_not_come_back() {
    let recorded = [of(1, 'a'), of(2, 'b')];
    let off = Rules {
        enabled: false,
        ..RULES
    };
    let before = serving(1, vec![]);
    assert_eq!(plan(&recorded, &wanted('b'), &before, off, at(0)).lead, None);
    let stopped = KitePluginStatus {
        revisions: vec![
            told(1, RevisionState::Stopped, None),
            told(2, RevisionState::Stopped, None),
        ],
        ..KitePluginStatus::default()
    };
    let on = planned(&recorded, 'b', &stopped);
    assert_eq!((on.lead, on.wanted, on.is_new), (None, 2, false));
}

#[test]
fn one_that_only_a_dependency_keeps_from_callers_still_leads() {
    let mut held = told(1, RevisionState::Starting, None);
    held.definitions_hash = Some(String::from("sha256:1"));
    let before = KitePluginStatus {
        revisions: vec![held],
        ..KitePluginStatus::default()
    };
    let plan = planned(&[of(1, 'a')], 'b', &before);
    assert_eq!((plan.lead, plan.next()), (Some(1), Some(2)));
}
