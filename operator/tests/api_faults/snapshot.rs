//! All that there is of a plugin, in words that are the same for another plugin that is the same.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::{Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kite_api::{KitePlugin, labels};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::cell::Cell;

/// What a plugin is made of. A kind that the operator writes and that is not here is told as an error.
pub(crate) fn kinds() -> [ApiResource; 11] {
    [
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<Role>(&()),
        ApiResource::erase::<RoleBinding>(&()),
        ApiResource::erase::<ClusterRole>(&()),
        ApiResource::erase::<ClusterRoleBinding>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<ControllerRevision>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<Deployment>(&()),
    ]
}

/// The objects of a plugin as the API server has them.
pub(crate) struct Found {
    pub(crate) plugin: Option<DynamicObject>,
    pub(crate) objects: Vec<(ApiResource, DynamicObject)>,
}

/// What the plugin itself is called in a state.
pub(crate) const PLUGIN: &str = "KitePlugin";

impl Found {
    /// Without its objects.
    pub(crate) async fn plugin_alone(cell: &Cell, subject: &str) -> Result<Self, kube::Error> {
        let kind = ApiResource::erase::<KitePlugin>(&());
        let plugins: Api<DynamicObject> = Api::all_with(cell.client.clone(), &kind);
        Ok(Self {
            plugin: plugins.get_opt(subject).await?,
            objects: Vec::new(),
        })
    }

    pub(crate) async fn of(cell: &Cell, subject: &str) -> Result<Self, kube::Error> {
        let ours = ListParams::default().labels(&format!("{}={subject}", labels::PLUGIN));
        let mut objects = Vec::new();
        for kind in kinds() {
            let list = Api::all_with(cell.client.clone(), &kind).list(&ours).await?;
            objects.extend(list.items.into_iter().map(|object| (kind.clone(), object)));
        }
        let Self { plugin, .. } = Self::plugin_alone(cell, subject).await?;
        Ok(Self { plugin, objects })
    }

    /// Deletes what the cluster's garbage collector would: the dependents of an object that is gone or waits for that, and
    /// then what waits.
    pub(crate) async fn collect(&self, client: &Client) -> Result<(), kube::Error> {
        let waits = |plugin: &&DynamicObject| plugin.metadata.deletion_timestamp.is_some();
        let alive = self
            .plugin
            .as_ref()
            .filter(|plugin| !waits(plugin))
            .and_then(ResourceExt::uid);
        let mut is_held = false;
        for (kind, object) in &self.objects {
            // What has no owner is nobody's to collect.
            let mut owners = object
                .owner_references()
                .iter()
                .map(|owner| Some(&owner.uid))
                .peekable();
            if owners.peek().is_none() || owners.any(|owner| owner == alive.as_ref()) {
                continue;
            }
            is_held = true;
            match api(client, kind, object)
                .delete(&object.name_any(), &DeleteParams::default())
                .await
            {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                outcome => _ = outcome?,
            }
        }
        if let Some(plugin) = self.plugin.as_ref().filter(waits).filter(|_| !is_held) {
            let plugins: Api<KitePlugin> = Api::all(client.clone());
            let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            plugins
                .patch(&plugin.name_any(), &PatchParams::default(), &none)
                .await?;
        }
        Ok(())
    }

    /// What there is, by what it is, in normal words.
    pub(crate) fn normal(&self, cell: &Cell, subject: &str) -> State {
        let uid = self.plugin.as_ref().and_then(ResourceExt::uid);
        let mut words = vec![
            (subject.to_owned(), "NAME"),
            (cell.options.namespaces.plugins.clone(), "PLUGINS"),
            (cell.options.namespaces.system.clone(), "SYSTEM"),
            (cell.shop.clone(), "SHOP"),
        ];
        words.extend(uid.map(|uid| (uid, "OWNER")));
        let plugin = self.plugin.iter().map(|plugin| (PLUGIN.to_owned(), plugin));
        let objects = self.objects.iter().map(|(kind, object)| {
            let namespace = object.namespace().unwrap_or_default();
            (format!("{} {namespace}/{}", kind.kind, object.name_any()), object)
        });
        let all = plugin.chain(objects);
        State(
            all.map(|(what, object)| (replaced(&what, &words), normal(object, &words)))
                .collect(),
        )
    }
}

/// The API of objects such as this one.
pub(crate) fn api(client: &Client, kind: &ApiResource, object: &DynamicObject) -> Api<DynamicObject> {
    match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, kind),
        None => Api::all_with(client.clone(), kind),
    }
}

/// Objects in normal words.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State(pub(crate) BTreeMap<String, Value>);

impl State {
    /// In what this differs from what was expected; nothing, if it does not.
    pub(crate) fn differences(&self, expected: &Self) -> Vec<String> {
        let (here, there) = (self.flat(), expected.flat());
        let all: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let differ = all.into_iter().filter(|place| here.get(*place) != there.get(*place));
        let word = |value: Option<&Value>| value.map_or_else(|| String::from("nothing"), Value::to_string);
        differ
            .map(|place| {
                format!(
                    "{place}: {}, expected {}",
                    word(here.get(place)),
                    word(there.get(place))
                )
            })
            .collect()
    }

    fn flat(&self) -> BTreeMap<String, Value> {
        let mut flat = BTreeMap::new();
        for (what, object) in &self.0 {
            flatten(what.clone(), object, &mut flat);
        }
        flat
    }
}

fn flatten(place: String, value: &Value, flat: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (field, value) in fields {
                flatten(format!("{place} .{field}"), value, flat);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (number, value) in items.iter().enumerate() {
                flatten(format!("{place} [{number}]"), value, flat);
            }
        }
        value => _ = flat.insert(place, value.clone()),
    }
}

/// An object without what is another's every time, or somebody else's.
fn normal(object: &DynamicObject, words: &[(String, &str)]) -> Value {
    let generation = object.metadata.generation;
    let metadata = json!({
        "labels": object.metadata.labels,
        "annotations": object.metadata.annotations,
        "ownerReferences": object.metadata.owner_references,
        "finalizers": object.metadata.finalizers,
        "isBeingDeleted": object.metadata.deletion_timestamp.is_some(),
    });
    let mut value = object.data.clone();
    if let Value::Object(fields) = &mut value {
        let is_plugin = object.types.as_ref().is_some_and(|types| types.kind == PLUGIN);
        // That of others is their controllers'.
        if !is_plugin {
            fields.remove("status");
        }
        fields.insert(String::from("metadata"), metadata);
    }
    walk(&mut value, &mut |key, value| match (key, value) {
        ("lastTransitionTime" | "drainingSince", value) => *value = json!("TIME"),
        ("tls.crt" | "tls.key" | "clients-ca.crt" | "gateway-ca.crt", value) => *value = json!("PEM"),
        // Uids of namespaces: those of one cell are not those of another.
        ("uid", Value::String(text)) if !words.iter().any(|(uid, _)| uid == text) => *text = String::from("UID"),
        ("observedGeneration", value) if *value == json!(generation) => *value = json!("PRESENT"),
        (_, Value::String(text)) => *text = without_hashes(&replaced(text, words)),
        _ => {}
    });
    value
}

fn replaced(text: &str, words: &[(String, &str)]) -> String {
    words
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Hashes speak of names, too.
fn without_hashes(text: &str) -> String {
    let mut pieces = text.split("sha256:");
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        whole.push_str("sha256:HASH");
        whole.push_str(piece.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    whole
}

/// Changes every value, and then what is in it, with the name of the field that has it.
pub(crate) fn walk(value: &mut Value, change: &mut impl FnMut(&str, &mut Value)) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                change(key, value);
                walk(value, change);
            }
        }
        Value::Array(items) => {
            for item in items {
                change("", item);
                walk(item, change);
            }
        }
        _ => {}
    }
}

#[test]
fn two_states_differ_where_they_do() {
    let state = |value: Value| State(BTreeMap::from([(String::from("a"), value)]));
    let one = state(json!({"b": [1, 2], "c": {}}));
    assert_eq!(one.differences(&one), Vec::<String>::new());
    let other = state(json!({"b": [1, 3], "c": {}, "d": null}));
    assert_eq!(
        one.differences(&other),
        ["a .b [1]: 2, expected 3", "a .d: nothing, expected null"]
    );
}

#[test]
fn normal_words_are_the_same_for_another_plugin() {
    let words = [(String::from("subject-7"), "NAME"), (String::from("u-1"), "OWNER")];
    let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "A", "name": "subject-7", "uid": uid});
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "kite-plugin-subject-7-1", "uid": "x", "ownerReferences": [owner("u-1"), owner("u-2")]},
        "spec": {"a": "of subject-7", "hash": "x@sha256:abc12; y", "list": ["subject-7"]}, "status": {"b": 1},
    });
    let object = serde_json::from_value(object).unwrap();
    assert_eq!(
        normal(&object, &words),
        json!({
            "metadata": {
                "labels": null, "annotations": null, "finalizers": null, "isBeingDeleted": false,
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "A", "name": "NAME", "uid": "OWNER"},
                    {"apiVersion": "v1", "kind": "A", "name": "NAME", "uid": "UID"},
                ],
            },
            "spec": {"a": "of NAME", "hash": "x@sha256:HASH; y", "list": ["NAME"]},
        })
    );
}
