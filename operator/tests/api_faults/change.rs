//! What happens in the life of a plugin: what has to be there before, and the change itself.

use kite_api::{KitePlugin, Phase};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::{Value, json};
use strum::{Display, EnumIter};

use super::{
    cell::Cell,
    snapshot::{Found, PLUGIN, State, api},
};

/// A change to a plugin, or to what it is made of.
#[derive(Clone, Copy, Debug, Display, EnumIter, Eq, PartialEq)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Change {
    Create,
    /// Another version, with other rights.
    Update,
    /// What an update has left behind is to go at once.
    Settle,
    /// More pods, other settings.
    Scale,
    Disable,
    Enable,
    /// Somebody deletes everything that the operator has made.
    Meddle,
    /// Somebody deletes one binding, and nothing else happens.
    Pilfer,
    Delete,
}

impl Change {
    /// Brings the plugin to where the change begins.
    pub(crate) async fn prepare(self, cell: &Cell, subject: &str) -> Result<(), String> {
        if self == Self::Create {
            return Ok(());
        }
        cell.apply(subject, &first(cell)).await;
        cell.seen(subject, serves(1)).await?;
        match self {
            Self::Settle => {
                cell.apply(subject, &second(cell)).await;
                cell.seen(subject, serves(2)).await?;
            }
            Self::Enable => {
                cell.apply(subject, &with(first(cell), json!({"enabled": false}))).await;
                cell.seen(subject, is(Phase::Disabled)).await?;
            }
            Self::Create | Self::Update | Self::Scale | Self::Disable | Self::Meddle | Self::Pilfer | Self::Delete => {}
        }
        Ok(())
    }

    /// Whether the change has come to its end, of which is what there was `before` and what there is now.
    pub(crate) fn is_done(self, now: &State, before: &State) -> bool {
        let status = now.0.get(PLUGIN).and_then(|plugin| plugin.get("status"));
        let is = |field: &str, wanted: Value| status.and_then(|status| status.get(field)) == Some(&wanted);
        let is_looked_at = is("observedGeneration", json!("PRESENT"));
        match self {
            Self::Create | Self::Enable => is_looked_at && is("activeRevision", json!(1)),
            Self::Update => is_looked_at && is("activeRevision", json!(2)),
            Self::Settle => {
                is_looked_at
                    && status
                        .and_then(|it| it["revisions"].as_array())
                        .is_some_and(|it| it.len() == 1)
            }
            Self::Scale => is_looked_at && is("readyReplicas", json!(2)),
            Self::Disable => is_looked_at && is("phase", json!("Disabled")),
            Self::Meddle | Self::Pilfer => now == before,
            Self::Delete => *now == State::default(),
        }
    }

    /// Makes the change. Returns the version of the cluster in which the operator's view of it begins, where that is another than the one
    /// before the change.
    pub(crate) async fn carry_out(self, cell: &Cell, subject: &str) -> Option<String> {
        let spec = match self {
            Self::Create => {
                let created = cell.apply(subject, &first(cell)).await;
                return created.resource_version();
            }
            Self::Enable => first(cell),
            Self::Update => second(cell),
            Self::Settle => with(second(cell), json!({"drainSeconds": 0, "revisionHistoryLimit": 0})),
            Self::Scale => {
                let more = json!({"replicas": 2, "settings": {"a": 2}, "description": "more of it"});
                with(first(cell), more)
            }
            Self::Disable => with(first(cell), json!({"enabled": false})),
            Self::Meddle => {
                meddle(cell, subject, |_| true).await;
                return None;
            }
            Self::Pilfer => {
                meddle(cell, subject, |kind| kind == "ClusterRoleBinding").await;
                return None;
            }
            Self::Delete => {
                let deleted = cell.objects().delete(subject, &DeleteParams::foreground()).await;
                deleted.expect("the plugin is deleted");
                return None;
            }
        };
        cell.apply(subject, &spec).await;
        None
    }
}

fn first(cell: &Cell) -> Value {
    json!({
        "version": "0.1.0",
        "image": "registry.invalid/hello:0.1.0",
        "permissions": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["services"], "verbs": ["get"], "namespaces": [cell.shop]},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"], "namespaces": ["*"]},
        ],
        "calls": ["other"],
        "settings": {"a": 1},
    })
}

/// Another version, which asks for less in one place and for more in another.
fn second(cell: &Cell) -> Value {
    let permissions = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"], "namespaces": ["*"]},
        {"apiGroups": [""], "resources": ["services"], "verbs": ["get"], "namespaces": ["default"]},
    ]);
    let image = "registry.invalid/hello:0.2.0";
    with(
        first(cell),
        json!({"version": "0.2.0", "image": image, "permissions": permissions}),
    )
}

fn with(mut spec: Value, fields: Value) -> Value {
    if let (Value::Object(spec), Value::Object(fields)) = (&mut spec, fields) {
        spec.extend(fields);
    }
    spec
}

fn serves(revision: i64) -> impl Fn(&KitePlugin) -> bool {
    move |plugin| {
        let status = plugin.status.as_ref();
        status.is_some_and(|it| it.active_revision == Some(revision) && it.phase == Some(Phase::Loaded))
    }
}

fn is(phase: Phase) -> impl Fn(&KitePlugin) -> bool {
    move |plugin| {
        let status = plugin.status.as_ref();
        status.is_some_and(|it| it.phase == Some(phase) && it.observed_generation == plugin.metadata.generation)
    }
}

/// Deletes what there is of the kinds for which `takes` holds.
async fn meddle(cell: &Cell, subject: &str, takes: impl Fn(&str) -> bool) {
    let found = Found::of(cell, subject).await.expect("what there is");
    for (kind, object) in found.objects.iter().filter(|(kind, _)| takes(&kind.kind)) {
        // What the operator was quicker with is as good.
        let _ = api(&cell.client, kind, object)
            .delete(&object.name_any(), &DeleteParams::default())
            .await;
    }
}
