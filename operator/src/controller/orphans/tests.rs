//! What is to go when its plugin is gone, and what is not.

use serde_json::{Value, json};

use super::*;

fn metadata(name: &str) -> Value {
    json!({
        "name": name, "namespace": "n", "uid": "u", "resourceVersion": "7",
        "labels": {"kite.dev/plugin": "hello", "app.kubernetes.io/managed-by": "kite-operator"},
    })
}

fn plugin_of(kind: &str, metadata: Value) -> Option<String> {
    let meta: ObjectMeta = serde_json::from_value(metadata).unwrap();
    bereft_of(kind, &meta).map(|plugin| plugin.as_str().to_owned())
}

fn seen<K: Default>(metadata: Value) -> PartialObjectMeta<K> {
    PartialObjectMeta {
        metadata: serde_json::from_value(metadata).unwrap(),
        ..PartialObjectMeta::default()
    }
}

/// Kind and name of each that may go, in their order.
fn left(orphans: &Orphans) -> Vec<(String, String)> {
    let of_none = orphans.of_none(|_| false, Instant::now()).into_iter();
    of_none
        .map(|((kind, (_, name)), _)| (kind.into_owned(), name))
        .collect()
}

#[test]
fn each_kind_is_known_by_the_name_that_the_operator_gives() {
    let hello = Some(String::from("hello"));
    for resource in order() {
        let kind = resource.kind.as_str();
        let (right, wrong) = match kind {
            "Secret" => ("kite-plugin-hello-tls", "kite-plugin-hello"),
            "Deployment" | "Service" | "PodDisruptionBudget" | "ControllerRevision" => {
                ("kite-plugin-hello-12", "kite-plugin-hello-a-1")
            }
            _ => ("kite-plugin-hello", "kite-plugin-hello-1"),
        };
        assert_eq!(plugin_of(kind, metadata(right)), hello, "{kind}");
        assert_eq!(plugin_of(kind, metadata(wrong)), None, "{kind}");
        assert_eq!(plugin_of(kind, metadata("mine")), None, "{kind}");
    }
    assert_eq!(plugin_of("ConfigMap", metadata("kite-plugin-hello")), None);
}

#[test]
fn what_is_anothers_or_owned_or_going_is_no_orphan() {
    let owner = |kind: &str| json!([{"apiVersion": "kite.dev/v1alpha1", "kind": kind, "name": "hello", "uid": "u"}]);
    let spoilt = [
        ("labels", json!({"kite.dev/plugin": "hello"})),
        ("labels", json!({"app.kubernetes.io/managed-by": "kite-operator"})),
        (
            "labels",
            json!({"kite.dev/plugin": "hello", "app.kubernetes.io/managed-by": "Helm"}),
        ),
        ("labels", Value::Null),
        ("ownerReferences", owner("KitePlugin")),
        ("deletionTimestamp", json!("2025-01-01T00:00:00Z")),
    ];
    for (field, value) in spoilt {
        let mut metadata = metadata("kite-plugin-hello-tls");
        metadata[field] = value.clone();
        assert_eq!(plugin_of("Secret", metadata), None, "{field}: {value}");
    }
    let mut of_another = metadata("kite-plugin-hello-tls");
    of_another["ownerReferences"] = owner("ConfigMap");
    assert!(plugin_of("Secret", of_another).is_some());
}

#[test]
fn the_collector_has_left_what_no_other_plugin_owns() {
    let left = |metadata: &Value| {
        let meta: ObjectMeta = serde_json::from_value(metadata.clone()).unwrap();
        let orphan = Orphan::uncollected(ApiResource::erase::<Secret>(&()), &meta);
        orphan.map(|orphan| (orphan.plugin.as_str().to_owned(), orphan.as_seen.uid))
    };
    let owner =
        |kind: &str, name: &str| json!({"apiVersion": "kite.dev/v1alpha1", "kind": kind, "name": name, "uid": "v"});
    let mut metadata = metadata("kite-plugin-hello-tls");
    metadata["ownerReferences"] = json!([owner("KitePlugin", "hello")]);
    assert_eq!(left(&metadata), Some((String::from("hello"), Some(String::from("u")))));
    metadata["ownerReferences"] = json!([owner("KitePlugin", "hello"), owner("KitePlugin", "other")]);
    assert_eq!(left(&metadata), None);
    // What somebody adds does not save it.
    metadata["ownerReferences"] = json!([owner("KitePlugin", "hello"), owner("ConfigMap", "a")]);
    assert!(left(&metadata).is_some());
    metadata["deletionTimestamp"] = "2025-01-01T00:00:00Z".into();
    assert_eq!(left(&metadata), None);
}

#[test]
fn what_the_collector_has_left_is_known_while_it_changes_and_not_when_another_owns_it() {
    let orphans = Orphans::default();
    let owned = |uid: &str, version: &str| {
        let mut metadata = metadata("kite-plugin-hello-tls");
        metadata["resourceVersion"] = version.into();
        metadata["ownerReferences"] =
            json!([{"apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "name": "hello", "uid": uid}]);
        seen::<Secret>(metadata)
    };
    orphans.take_in(&Event::Apply(owned("v", "1")));
    assert!(left(&orphans).is_empty(), "it is the collector's");
    let orphan = Orphan::uncollected(ApiResource::erase::<Secret>(&()), &owned("v", "1").metadata).unwrap();
    let place = ("Secret".into(), key(&owned("v", "1").metadata));
    put(&mut orphans.lock(), place.clone(), orphan.clone());
    let now = Instant::now();
    orphans.failed(&place, &orphan, now);
    orphans.take_in::<Secret>(&Event::Init);
    orphans.take_in(&Event::Apply(owned("v", "2")));
    assert!(orphans.of_none(|_| false, now).is_empty(), "it waits as long");
    let later = orphans.of_none(|_| false, now + Duration::from_secs(1));
    assert_eq!(later[0].1.as_seen.resource_version.as_deref(), Some("2"));
    orphans.take_in(&Event::Apply(owned("w", "3")));
    assert!(orphans.of_none(|_| false, now + Duration::from_secs(1)).is_empty());
}

#[test]
fn rights_go_first_and_the_record_last_and_nothing_of_a_plugin_that_exists() {
    let orphans = Orphans::default();
    let revision = metadata("kite-plugin-hello-1");
    orphans.take_in(&Event::Apply(seen::<ControllerRevision>(revision.clone())));
    orphans.take_in(&Event::Apply(seen::<Deployment>(revision)));
    orphans.take_in(&Event::Apply(seen::<Role>(metadata("kite-plugin-hello"))));
    orphans.take_in(&Event::Apply(seen::<RoleBinding>(metadata("kite-plugin-hello"))));
    let kinds: Vec<String> = left(&orphans).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["RoleBinding", "Role", "Deployment", "ControllerRevision"]);
    assert!(orphans.of_none(|plugin| plugin == "hello", Instant::now()).is_empty());
}

#[test]
fn what_has_an_owner_again_or_is_gone_is_forgotten() {
    let orphans = Orphans::default();
    let (name, meta) = ("kite-plugin-hello-tls", metadata("kite-plugin-hello-tls"));
    let is_left = [(String::from("Secret"), String::from(name))];
    orphans.take_in(&Event::InitApply(seen::<Secret>(meta.clone())));
    assert_eq!(left(&orphans), is_left);
    let mut owned = meta.clone();
    owned["ownerReferences"] =
        json!([{"apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "name": "hello", "uid": "v"}]);
    orphans.take_in(&Event::Apply(seen::<Secret>(owned)));
    assert!(left(&orphans).is_empty());
    orphans.take_in(&Event::Apply(seen::<Secret>(meta.clone())));
    orphans.take_in::<Role>(&Event::Init);
    assert_eq!(left(&orphans), is_left, "another kind is listed anew");
    orphans.take_in::<Secret>(&Event::Init);
    assert!(left(&orphans).is_empty());
    orphans.take_in(&Event::Apply(seen::<Secret>(meta.clone())));
    orphans.take_in(&Event::Delete(seen::<Secret>(meta)));
    assert!(left(&orphans).is_empty());
}

#[test]
fn what_has_changed_since_it_was_dealt_with_stays_known() {
    let orphans = Orphans::default();
    orphans.take_in(&Event::Apply(seen::<Secret>(metadata("kite-plugin-hello-tls"))));
    let before = orphans.of_none(|_| false, Instant::now());
    let mut later = metadata("kite-plugin-hello-tls");
    later["resourceVersion"] = "8".into();
    orphans.take_in(&Event::Apply(seen::<Secret>(later)));
    for (place, orphan) in &before {
        orphans.settled(place, orphan);
    }
    assert_eq!(left(&orphans).len(), 1);
    for (place, orphan) in &orphans.of_none(|_| false, Instant::now()) {
        orphans.settled(place, orphan);
    }
    assert!(left(&orphans).is_empty());
}

#[test]
fn one_that_cannot_be_deleted_waits_and_keeps_no_other_waiting() {
    let orphans = Orphans::default();
    orphans.take_in(&Event::Apply(seen::<Secret>(metadata("kite-plugin-hello-tls"))));
    orphans.take_in(&Event::Apply(seen::<Role>(metadata("kite-plugin-hello"))));
    let now = Instant::now();
    let (place, orphan) = &orphans.of_none(|_| false, now)[0];
    orphans.failed(place, orphan, now);
    let due = |after| orphans.of_none(|_| false, now + after).len();
    assert_eq!((due(Duration::ZERO), due(Duration::from_secs(1))), (1, 2));
}
