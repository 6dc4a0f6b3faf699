//! What is told on an object as it happens: changes of its grant, and plugins that it needs or that need it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kite_api::{
    KitePlugin, KitePluginStatus, PluginName,
    boundary::{self, Places},
    conditions::{self, DEPENDENCIES_SATISFIED, PERMISSIONS_GRANTED, READY},
    dependencies::{Need, Standing},
    error_chain, labels,
    plugin::KitePluginSpec,
    rights::{self, Statement},
};
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use super::{
    object::{self, Object},
    status::needed_by,
};
use crate::first_of;

/// Most bytes of an event's note, by the API.
const MAX_NOTE: usize = 1024;

/// Reasons of the events.
mod reasons {
    pub(super) const GRANTED: &str = "Granted";
    pub(super) const GRANT_CHANGED: &str = "GrantChanged";
    pub(super) const RIGHTS_REFUSED: &str = "RightsRefused";
    pub(super) const DEPENDENCY_LOST: &str = "DependencyLost";
    pub(super) const REVISION_TOOK_OVER: &str = "RevisionTookOver";
    pub(super) const NEEDED_BY_OTHERS: &str = "NeededByOthers";
}

/// Something to tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    reason: &'static str,
    is_warning: bool,
    note: String,
}

impl Notice {
    /// Something that somebody should see to.
    pub fn warning(reason: &'static str, note: String) -> Self {
        Self::new(reason, true, note)
    }

    /// Something that nobody needs to see to.
    pub fn normal(reason: &'static str, note: String) -> Self {
        Self::new(reason, false, note)
    }

    pub fn reason(&self) -> &'static str {
        self.reason
    }

    pub fn note(&self) -> &str {
        &self.note
    }

    fn new(reason: &'static str, is_warning: bool, mut note: String) -> Self {
        note.truncate(note.floor_char_boundary(MAX_NOTE));
        Self {
            reason,
            is_warning,
            note,
        }
    }
}

/// The specs of which the grant was told, by plugin, so that the next one can be told by what it changes.
#[derive(Debug, Default)]
pub struct Told(Mutex<HashMap<String, Box<Version>>>);

/// What is given of an object at one of its generations.
#[derive(Clone, Debug)]
struct Version {
    uid: Option<String>,
    generation: Option<i64>,
    spec: KitePluginSpec,
}

impl Told {
    /// What `plugin`'s grant gives that has not been told yet, after the status `status`.
    pub fn grant(&self, plugin: &KitePlugin, status: &KitePluginStatus, places: Places<'_>) -> Option<Notice> {
        let name = plugin.metadata.name.as_deref().unwrap_or_default();
        let mut told = self.lock();
        let before = told.get(name).filter(|before| before.uid == plugin.metadata.uid);
        if before.is_some_and(|before| before.generation == plugin.metadata.generation) {
            return None;
        }
        let (spec, _) = boundary::accepted(&plugin.spec, places);
        let given = Version {
            uid: plugin.metadata.uid.clone(),
            generation: plugin.metadata.generation,
            spec,
        };
        let notice = grant(before.map(|before| &before.spec), &given, status, places.plugins);
        told.insert(name.to_owned(), Box::new(given));
        notice
    }

    /// Forgets all plugins but those for which `exists` holds.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| exists(name));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Box<Version>>> {
        // An entry is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What there is to tell of a revision that has taken over from another.
pub fn took_over(before: &KitePluginStatus, now: &KitePluginStatus) -> Option<Notice> {
    let (old, new) = (before.active()?, now.active()?);
    let note = format!(
        "revision {} (version {}) takes the traffic, and revision {} (version {}) drains",
        new.number, new.version, old.number, old.version,
    );
    (old.number != new.number).then(|| Notice::new(reasons::REVISION_TOOK_OVER, false, note))
}

/// What there is to tell of the grant. Without `before`, the status says whether an operator has told of this generation: one
/// that has just started tells nothing twice, and misses nothing that was changed while there was none.
fn grant(
    before: Option<&KitePluginSpec>,
    now: &Version,
    status: &KitePluginStatus,
    plugins_namespace: &str,
) -> Option<Notice> {
    if let Some(before) = before {
        let changes = rights::changes(Some(before), &now.spec, plugins_namespace);
        let is_warning = changes.added.iter().any(is_dangerous) || !changes.trust.is_empty();
        return (!changes.is_empty()).then(|| Notice::new(reasons::GRANT_CHANGED, is_warning, changes.note(MAX_NOTE)));
    }
    let seen = granted(status);
    if seen.is_some() && seen == now.generation {
        return None;
    }
    let summary = rights::summary(&now.spec, plugins_namespace);
    let is_warning = summary.rights.iter().any(is_dangerous) || !summary.trust.is_empty();
    let (reason, note) = if seen.is_none() {
        (reasons::GRANTED, summary.note(MAX_NOTE))
    } else {
        let what = "the object was changed while no operator watched";
        (reasons::GRANT_CHANGED, format!("{what}: {}", summary.note(MAX_NOTE)))
    };
    Some(Notice::new(reason, is_warning, note))
}

/// The generation whose grant was in force and told. A disabled plugin has no condition of its grant.
fn granted(status: &KitePluginStatus) -> Option<i64> {
    let find = |kind, reason: Option<&str>| {
        let mut conditions = status.conditions.iter();
        conditions.find(|it| it.type_ == kind && it.status == "True" && reason.is_none_or(|reason| it.reason == reason))
    };
    find(PERMISSIONS_GRANTED, None)
        .or_else(|| find(READY, Some(conditions::reasons::DISABLED)))?
        .observed_generation
}

fn is_dangerous(statement: &Statement) -> bool {
    statement.dangerous.is_some()
}

fn find<'a>(status: &'a KitePluginStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind)
}

/// What is refused of the grant since the status was `before`.
pub fn refused(before: &KitePluginStatus, now: &KitePluginStatus) -> Option<Notice> {
    let is_refused = |condition: &&Condition| condition.reason == conditions::reasons::REFUSED;
    let condition = find(now, PERMISSIONS_GRANTED).filter(is_refused)?;
    let known = find(before, PERMISSIONS_GRANTED).filter(is_refused);
    let is_new = known.is_none_or(|known| known.message != condition.message);
    is_new.then(|| Notice::new(reasons::RIGHTS_REFUSED, true, condition.message.clone()))
}

/// What has come between the plugin and others since the status was `before`.
pub fn relations(before: &KitePluginStatus, now: &KitePluginStatus, standing: &Standing) -> Vec<Notice> {
    let mut notices = Vec::new();
    // That a dependency is restarted is no news, nor is another reason for what is lost already.
    let is_lost = !standing.is_satisfied() && !standing.waits();
    // Nor is a dependency that the object itself has just named.
    let was_there = |need: &Need| {
        let mut known = before.dependencies.iter();
        known.any(|it| it.name == need.name.as_str() && it.found.is_some())
    };
    let is_lost = is_lost
        && standing
            .needs
            .iter()
            .any(|need| need.problem.is_some() && was_there(need));
    let was_had = find(before, DEPENDENCIES_SATISFIED).is_some_and(|condition| {
        condition.status == "True" || (condition.reason == conditions::reasons::NOT_READY && standing.is_fatal())
    });
    if let Some(condition) = find(now, DEPENDENCIES_SATISFIED).filter(|_| was_had && is_lost) {
        notices.push(Notice::new(reasons::DEPENDENCY_LOST, true, condition.message.clone()));
    }
    if let Some(text) = needed_by(standing) {
        let is_known = find(before, READY).is_some_and(|condition| condition.message.contains(&text));
        if !is_known {
            notices.push(Notice::new(reasons::NEEDED_BY_OTHERS, true, text));
        }
    }
    notices
}

/// What there is to tell of a plugin that has gone, though others need it.
pub fn gone(bereft: &[PluginName]) -> Option<Notice> {
    (!bereft.is_empty()).then(|| {
        let names: Vec<&str> = bereft.iter().map(PluginName::as_str).collect();
        let note = format!(
            "it was deleted, and other plugins need it: {}; apply it again, or take it out of their spec.dependencies",
            first_of::names(&names)
        );
        Notice::new(reasons::NEEDED_BY_OTHERS, true, note)
    })
}

/// Tells `notices` on `object`. What cannot be told is in the log: it is not worth failing for.
pub async fn publish(client: &Client, object: &Object, notices: impl IntoIterator<Item = Notice>) {
    let reference = ObjectReference {
        api_version: Some(KitePlugin::api_version(&()).into_owned()),
        kind: Some(KitePlugin::kind(&()).into_owned()),
        name: Some(object::name(object).to_owned()),
        uid: object.meta().uid.clone(),
        ..ObjectReference::default()
    };
    for notice in notices {
        tracing::info!(
            plugin = object::name(object),
            reason = notice.reason,
            note = notice.note,
            "told"
        );
        if let Err(error) = tell(client, &reference, &notice, "Reconcile").await {
            tracing::warn!(
                plugin = object::name(object),
                reason = notice.reason,
                error = error_chain(&error),
                "an event could not be told"
            );
        }
    }
}

/// Tells `notice` on an object, of which it came to be known by `action`.
pub async fn tell(
    client: &Client,
    reference: &ObjectReference,
    notice: &Notice,
    action: &str,
) -> Result<(), kube::Error> {
    let event = Event {
        type_: if notice.is_warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: notice.reason.to_owned(),
        note: Some(notice.note.clone()),
        action: action.to_owned(),
        secondary: None,
    };
    // A new recorder each time: one that is kept counts events of one reason as repetitions of the first, whose note it
    // keeps, and these differ in their notes.
    let reporter = Reporter {
        controller: labels::OPERATOR.to_owned(),
        instance: None,
    };
    Recorder::new(client.clone(), reporter).publish(&event, reference).await
}

#[cfg(test)]
mod tests {
    use kite_api::{
        Requirement,
        dependencies::{NeededBy, Problem},
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::validate::tests::PLACES;

    fn plugin(generation: i64, change: impl FnOnce(&mut Value)) -> KitePlugin {
        let mut object = json!({
            "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin",
            "metadata": {"name": "hello", "uid": "u-1", "generation": generation},
            "spec": {
                "version": "0.1.0", "image": "a",
                "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
            },
        });
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    fn secrets(object: &mut Value) {
        object["spec"]["permissions"] = json!([{
            "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "namespaces": ["shop"],
            "acknowledgeDangerous": true,
        }]);
    }

    fn seen(generation: i64) -> KitePluginStatus {
        if generation < 0 {
            return KitePluginStatus::default();
        }
        let granted = json!({
            "type": "PermissionsGranted", "status": "True", "reason": "Granted", "message": "",
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        serde_json::from_value(json!({"conditions": [granted]})).unwrap()
    }

    fn told(told: &Told, plugin: &KitePlugin, status: &KitePluginStatus) -> Option<(&'static str, bool)> {
        let notice = told.grant(plugin, status, PLACES)?;
        Some((notice.reason, notice.is_warning))
    }

    #[test]
    fn a_new_plugin_is_told_once_and_then_by_what_changes() {
        let memory = Told::default();
        let first = plugin(1, |_| {});
        assert_eq!(told(&memory, &first, &seen(-1)), Some(("Granted", false)));
        assert_eq!(told(&memory, &first, &seen(1)), None);
        assert_eq!(
            told(&memory, &plugin(2, |o| o["spec"]["version"] = json!("0.1.1")), &seen(1)),
            None
        );
        assert_eq!(
            told(&memory, &plugin(3, secrets), &seen(2)),
            Some(("GrantChanged", true))
        );
        let again = plugin(1, |o| o["metadata"]["uid"] = json!("u-2"));
        assert_eq!(
            told(&memory, &again, &seen(-1)),
            Some(("Granted", false)),
            "another of the name"
        );
    }

    #[test]
    fn an_operator_that_starts_tells_what_was_changed_meanwhile_and_nothing_twice() {
        assert_eq!(told(&Told::default(), &plugin(3, |_| {}), &seen(3)), None);
        let notice = Told::default().grant(&plugin(4, secrets), &seen(3), PLACES).unwrap();
        assert_eq!((notice.reason, notice.is_warning), ("GrantChanged", true));
        assert!(
            notice
                .note
                .starts_with("the object was changed while no operator watched"),
            "{notice:?}"
        );
    }

    fn status(truth: &str, reason: &str, ready: &str) -> KitePluginStatus {
        let condition = |kind: &str, truth: &str, reason: &str, message: &str| {
            json!({
                "type": kind, "status": truth, "reason": reason, "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        serde_json::from_value(json!({"conditions": [
            condition("DependenciesSatisfied", truth, reason, "m"), condition("Ready", "True", "Loaded", ready),
        ], "dependencies": [{"name": "lib", "required": "*", "found": "1.0.0", "ready": true}]}))
        .unwrap()
    }

    fn needing(problem: Problem) -> Standing {
        Standing {
            needs: vec![Need {
                name: PluginName::parse("lib").unwrap(),
                requirement: Requirement::parse("*").unwrap(),
                optional: false,
                found: None,
                ready: false,
                problem: Some(problem),
            }],
            ..Standing::default()
        }
    }

    fn reasons_of(before: &KitePluginStatus, now: &KitePluginStatus, standing: &Standing) -> Vec<&'static str> {
        let notices = relations(before, now, standing);
        notices.iter().map(|notice| notice.reason).collect()
    }

    #[test]
    fn a_dependency_is_lost_when_it_was_there_and_does_not_come_back_by_itself() {
        let had = status("True", "Satisfied", "");
        let unready = status("False", "NotReady", "");
        let missing = status("False", "Missing", "");
        let lost = ["DependencyLost"];
        assert_eq!(reasons_of(&had, &missing, &needing(Problem::Missing)), lost);
        assert_eq!(reasons_of(&had, &unready, &needing(Problem::Disabled)), lost);
        assert_eq!(reasons_of(&unready, &missing, &needing(Problem::Missing)), lost);
        for (before, now, problem) in [
            (&had, &unready, Problem::NotReady),
            (&missing, &missing, Problem::Missing),
            (&KitePluginStatus::default(), &missing, Problem::Missing),
        ] {
            assert_eq!(
                reasons_of(before, now, &needing(problem)),
                [] as [&str; 0],
                "{problem:?}"
            );
        }
    }

    #[test]
    fn a_dependency_that_was_just_named_is_not_lost() {
        let mut before = status("True", "Satisfied", "");
        before.dependencies.clear();
        let missing = status("False", "Missing", "");
        assert_eq!(
            reasons_of(&before, &missing, &needing(Problem::Missing)),
            [] as [&str; 0]
        );
    }

    #[test]
    fn a_grant_that_was_refused_at_first_is_told_when_it_is_in_force() {
        let mut refused = seen(1);
        refused.conditions[0].status = String::from("False");
        refused.observed_generation = Some(1);
        assert_eq!(
            told(&Told::default(), &plugin(1, |_| {}), &refused),
            Some(("Granted", false))
        );
    }

    #[test]
    fn what_is_refused_is_told_once() {
        let status = |message: &str| -> KitePluginStatus {
            let refused = json!({
                "type": "PermissionsGranted", "status": "False", "reason": "Refused", "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            serde_json::from_value(json!({"conditions": [refused]})).unwrap()
        };
        let notice = refused(&seen(1), &status("no")).unwrap();
        assert_eq!(
            (notice.reason, notice.is_warning, notice.note.as_str()),
            ("RightsRefused", true, "no")
        );
        assert_eq!(refused(&status("no"), &status("no")), None);
        assert!(refused(&status("no"), &status("something else")).is_some());
        assert_eq!(refused(&status("no"), &seen(1)), None);
    }

    #[test]
    fn that_others_need_it_is_told_until_the_status_says_so() {
        let standing = Standing {
            needed_by: vec![NeededBy {
                name: PluginName::parse("user").unwrap(),
                requirement: Requirement::parse("^1").unwrap(),
                problem: Problem::Disabled,
            }],
            ..Standing::default()
        };
        let before = status("True", "Satisfied", "the plugin is loaded");
        assert_eq!(reasons_of(&before, &before, &standing), ["NeededByOthers"]);
        let known = status("True", "Satisfied", &needed_by(&standing).unwrap());
        assert_eq!(reasons_of(&known, &known, &standing), [] as [&str; 0]);
    }

    #[test]
    fn a_plugin_that_is_gone_names_who_needed_it() {
        assert_eq!(gone(&[]), None);
        let names: Vec<PluginName> = (0..10).map(|n| PluginName::parse(&format!("p-{n}")).unwrap()).collect();
        let note = gone(&names).unwrap().note;
        assert!(note.contains("p-0, p-1") && note.contains("and 2 more"), "{note}");
    }

    #[test]
    fn a_note_is_bounded() {
        assert_eq!(Notice::new("A", false, "é".repeat(2000)).note.len(), MAX_NOTE);
    }
}
