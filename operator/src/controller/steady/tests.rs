//! What is known of objects, as watches, writes and lists bring it.

use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::json;

use super::*;

fn account(version: u32) -> ServiceAccount {
    let metadata = json!({"namespace": "n", "name": "a", "uid": "u", "resourceVersion": version.to_string()});
    serde_json::from_value(json!({"metadata": metadata})).unwrap()
}

fn desired(app: &str) -> ServiceAccount {
    let metadata = json!({"namespace": "n", "name": "a", "labels": {"app": app}});
    serde_json::from_value(json!({"metadata": metadata})).unwrap()
}

fn seen(version: u32) -> PartialObjectMeta<ServiceAccount> {
    PartialObjectMeta {
        metadata: account(version).metadata,
        ..PartialObjectMeta::default()
    }
}

struct Case {
    steady: Steady,
    now: Instant,
}

impl Case {
    /// A kind of which all that there is has been listed: nothing.
    fn new() -> Self {
        let case = Self {
            steady: Steady::default(),
            now: Instant::now(),
        };
        case.take_in([Event::Init, Event::InitDone]);
        case
    }

    fn take_in(&self, events: impl IntoIterator<Item = Event<PartialObjectMeta<ServiceAccount>>>) {
        for event in events {
            self.steady.take_in(&event, self.now);
        }
    }

    fn applied(&self, version: u32) {
        self.steady.applied_as(&account(version), &desired("a"), self.now);
    }

    fn verdict(&self) -> Verdict {
        self.steady.judge(&desired("a"), self.now)
    }
}

#[test]
fn what_was_applied_and_not_touched_since_stands() {
    let case = Case::new();
    assert_eq!(case.verdict(), Verdict::Differs, "there is none");
    case.applied(1);
    assert_eq!(case.verdict(), Verdict::MayStand, "the watch is behind");
    case.take_in([Event::Apply(seen(1))]);
    assert_eq!(case.verdict(), Verdict::Stands);
    assert_eq!(case.steady.judge(&desired("b"), case.now), Verdict::Differs);
}

#[test]
fn what_somebody_has_touched_or_deleted_does_not_stand() {
    let case = Case::new();
    case.applied(1);
    case.take_in([Event::Apply(seen(1)), Event::Apply(seen(2))]);
    assert_eq!(case.verdict(), Verdict::MayStand);
    assert!(!case.steady.is_as_desired(&account(2), &desired("a"), case.now));
    case.applied(3);
    case.take_in([Event::Apply(seen(3)), Event::Delete(seen(3))]);
    assert_eq!(case.verdict(), Verdict::Differs);
}

#[test]
fn of_plugins_that_are_gone_is_told_what_the_watch_has_brought() {
    let case = Case::new();
    let mut labelled = seen(1);
    labelled.metadata.labels = Some([(labels::PLUGIN.to_owned(), "hello".to_owned())].into());
    case.take_in([Event::Apply(labelled.clone())]);
    assert_eq!(case.steady.of_none(|plugin| plugin == "hello"), []);
    let place = (Some(String::from("n")), String::from("a"));
    let left = Left {
        kind: "ServiceAccount".into(),
        key: place,
        plugin: String::from("hello"),
        state: state(&labelled.metadata),
    };
    assert_eq!(case.steady.of_none(|_| false), [left]);
    case.take_in([Event::Delete(labelled)]);
    assert_eq!(case.steady.of_none(|_| false), []);
    case.applied(1);
    assert_eq!(case.steady.of_none(|_| false), [], "no watch has brought it");
}

/// The event of somebody's change may come before the answer to what was applied before it.
#[test]
fn what_is_answered_late_hides_no_change() {
    let case = Case::new();
    case.take_in([Event::Apply(seen(1)), Event::Apply(seen(2))]);
    case.applied(1);
    assert_eq!(case.verdict(), Verdict::MayStand);
}

#[test]
fn what_was_not_read_for_long_is_read() {
    let mut case = Case::new();
    case.applied(1);
    case.take_in([Event::Apply(seen(1))]);
    case.now += RESYNC;
    assert_eq!(case.verdict(), Verdict::MayStand);
    assert!(case.steady.is_as_desired(&account(1), &desired("a"), case.now));
    assert_eq!(case.verdict(), Verdict::Stands);
}

#[test]
fn a_new_list_is_waited_for_and_what_has_gone_is_forgotten() {
    let mut case = Case::new();
    case.applied(1);
    case.now += RESYNC / 2;
    case.take_in([Event::Apply(seen(1)), Event::Init]);
    assert_eq!(case.verdict(), Verdict::MayStand);
    case.take_in([Event::InitDone]);
    assert_eq!(case.verdict(), Verdict::Differs);
    assert_eq!(Steady::default().judge(&desired("a"), case.now), Verdict::MayStand);
}

#[test]
fn what_the_operator_deletes_does_not_stand_though_the_watch_is_behind() {
    let case = Case::new();
    case.applied(1);
    case.take_in([Event::Apply(seen(1))]);
    case.steady.deleted::<ServiceAccount>(Some("n"), "a", true);
    assert_eq!(case.verdict(), Verdict::MayStand);
}

/// Whoever makes a `ServiceAccount` may give it a generation, which then stays.
#[test]
fn a_generation_says_nothing() {
    let case = Case::new();
    let with = |version: u32| {
        let mut account = account(version);
        account.metadata.generation = Some(1);
        account
    };
    case.steady.applied_as(&with(1), &desired("a"), case.now);
    let mut changed = seen(2);
    changed.metadata.generation = Some(1);
    case.take_in([Event::Apply(changed)]);
    assert_eq!(case.verdict(), Verdict::MayStand);
    assert!(!case.steady.is_as_desired(&with(2), &desired("a"), case.now));
}

fn of_plugin(version: u32, plugin: &str) -> PartialObjectMeta<ServiceAccount> {
    let mut seen = seen(version);
    seen.metadata.labels = Some([(labels::PLUGIN.to_owned(), plugin.to_owned())].into());
    seen
}

impl Case {
    fn found(&self) -> Option<usize> {
        let found = self.steady.of_plugin::<ServiceAccount>("hello", self.now)?;
        assert!(found.iter().all(|key| *key == (Some("n".to_owned()), "a".to_owned())));
        Some(found.len())
    }

    fn applied_of_plugin(&self, version: u32) {
        self.steady
            .applied_as(&account(version), &of_plugin_desired(), self.now);
    }
}

fn of_plugin_desired() -> ServiceAccount {
    let mut desired = desired("a");
    desired.metadata.labels = of_plugin(1, "hello").metadata.labels;
    desired
}

#[test]
fn what_there_is_of_a_plugin_is_what_was_seen_and_applied() {
    let case = Case::new();
    assert_eq!(case.found(), Some(0));
    case.take_in([Event::Apply(of_plugin(1, "other"))]);
    assert_eq!(case.found(), Some(0));
    case.take_in([Event::Apply(of_plugin(2, "hello"))]);
    assert_eq!(case.found(), Some(1));
    case.take_in([Event::Delete(of_plugin(2, "hello"))]);
    assert_eq!(case.found(), Some(0));
    case.applied_of_plugin(3);
    assert_eq!(case.found(), Some(1), "the watch is behind");
}

#[test]
fn what_was_deleted_is_there_until_that_is_certain() {
    let case = Case::new();
    case.take_in([Event::Apply(of_plugin(1, "hello"))]);
    case.steady.deleted::<ServiceAccount>(Some("n"), "a", false);
    assert_eq!(case.found(), Some(1));
    case.steady.deleted::<ServiceAccount>(Some("n"), "a", true);
    assert_eq!(case.found(), Some(0));
    case.take_in([Event::Apply(of_plugin(2, "hello"))]);
    assert_eq!(case.found(), Some(1), "somebody keeps it, or has made it again");
}

/// A watch that is behind brings the end of one and the beginning of the next, after that was made.
#[test]
fn what_was_made_anew_is_there_though_the_one_before_has_gone() {
    let case = Case::new();
    case.take_in([Event::Apply(of_plugin(1, "hello"))]);
    case.applied_of_plugin(3);
    let mut before = of_plugin(1, "hello");
    before.metadata.uid = Some("another".to_owned());
    case.take_in([Event::Delete(before)]);
    assert_eq!(case.found(), Some(1));
    case.take_in([Event::Delete(of_plugin(3, "hello"))]);
    assert_eq!(case.found(), Some(0));
}

#[test]
fn what_may_have_been_written_is_there_and_is_read() {
    let case = Case::new();
    case.steady.may_be_there(&of_plugin_desired());
    assert_eq!(case.found(), Some(1));
    assert_eq!(case.steady.judge(&of_plugin_desired(), case.now), Verdict::MayStand);
    case.applied_of_plugin(1);
    case.take_in([Event::Apply(of_plugin(1, "hello"))]);
    assert_eq!(case.steady.judge(&of_plugin_desired(), case.now), Verdict::Stands);
    case.steady.may_be_there(&of_plugin_desired());
    assert_eq!(case.steady.judge(&of_plugin_desired(), case.now), Verdict::MayStand);
}

#[test]
fn what_only_a_list_has_found_is_not_forgotten() {
    let case = Case::new();
    let found = [of_plugin(1, "hello").metadata];
    case.steady.listed::<ServiceAccount>("hello", &found, case.now);
    assert_eq!(case.found(), Some(1));
}

#[test]
fn nothing_is_known_before_all_were_listed_nor_long_after() {
    let mut case = Case::new();
    assert_eq!(Steady::default().of_plugin::<ServiceAccount>("hello", case.now), None);
    case.take_in([Event::Init, Event::InitApply(of_plugin(1, "hello"))]);
    assert_eq!(case.found(), None);
    case.take_in([Event::InitDone]);
    assert_eq!(case.found(), Some(1));
    case.now += RESYNC;
    assert_eq!(case.found(), None);
    case.steady.listed::<ServiceAccount>("hello", &[], case.now);
    assert_eq!(case.found(), Some(1));
    case.steady.retain(|_| false);
    assert_eq!(case.found(), None);
}

#[test]
fn what_is_applied_while_the_watch_lists_is_not_forgotten() {
    let mut case = Case::new();
    case.applied_of_plugin(1);
    case.now += RESYNC / 2;
    case.take_in([Event::Init, Event::InitDone]);
    assert_eq!(case.found(), Some(0), "it was applied before, and is not in the list");
    case.take_in([Event::Init]);
    case.applied_of_plugin(2);
    case.take_in([Event::InitDone]);
    assert_eq!(case.found(), Some(1));
}
