//! What runs of a plugin is put back when somebody edits or deletes it, and what others add to it stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    time::Duration,
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{ControllerRevision, Deployment},
        core::v1::{Secret, Service, ServiceAccount},
    },
};
use kube::{Api, Resource, ResourceExt, api::DeleteParams};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::support::{World, world};

/// A label and an annotation that are none of the operator's, as a tool for backups or costs may put on everything.
const FOREIGN: (&str, &str) = ("example.com/team", "shop");

/// The object but for what the API server counts, and what is foreign.
fn substance<K: Resource + Serialize>(object: &K) -> Value {
    let mut all = serde_json::to_value(object).unwrap();
    all["status"] = Value::Null;
    let labels = object.labels().clone();
    let labels: Value = labels.into_iter().filter(|(key, _)| key != FOREIGN.0).collect();
    all["metadata"] = json!({"labels": labels, "owners": object.owner_references()});
    all
}

fn is_marked<K: Resource>(object: &K) -> bool {
    let of = |map: &BTreeMap<String, String>| map.get(FOREIGN.0).map(String::as_str) == Some(FOREIGN.1);
    of(object.labels()) && of(object.annotations())
}

/// Edits the object by hand, and waits until it is as it was, with what is foreign.
async fn edit<K>(w: &World, name: &str, patch: Value)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + 'static,
{
    let api: Api<K> = w.plugins();
    let good = substance(&w.get::<K>(name).await);
    let foreign = json!({FOREIGN.0: FOREIGN.1});
    w.merge(
        &api,
        name,
        json!({"metadata": {"labels": foreign, "annotations": foreign}}),
    )
    .await;
    w.merge(&api, name, patch).await;
    let restored = w.put_back(&api, name, |object| substance(object) == good).await;
    assert!(is_marked(&restored), "{restored:#?}");
}

/// Deletes the object by hand, and waits until there is another like it.
async fn delete<K>(w: &World, name: &str)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + 'static,
{
    let api: Api<K> = w.plugins();
    let good: K = w.get(name).await;
    api.delete(name, &DeleteParams::default()).await.unwrap();
    w.put_back(&api, name, |object| {
        object.uid() != good.uid() && substance(object) == substance(&good)
    })
    .await;
}

#[test]
fn what_runs_is_put_back_when_it_was_edited_and_what_is_foreign_stays() {
    world().run(async |w: &World| {
        w.apply("tampered", json!({})).await;
        w.observed("tampered", 1).await;
        let (name, revision) = ("kite-plugin-tampered", "kite-plugin-tampered-1");
        let other = json!([{"name": "plugin", "image": "registry.invalid/other:1"}]);
        edit::<Deployment>(
            w,
            revision,
            json!({"spec": {"replicas": 7, "template": {"spec": {"containers": other}}}}),
        )
        .await;
        let unlabelled = json!({"metadata": {"labels": {"kite.dev/plugin": null}}});
        edit::<Deployment>(w, revision, unlabelled.clone()).await;
        edit::<Service>(
            w,
            revision,
            json!({"spec": {"selector": {"kite.dev/plugin": "another"}}}),
        )
        .await;
        edit::<Service>(w, revision, unlabelled.clone()).await;
        edit::<ServiceAccount>(w, name, unlabelled).await;
        // Something that no authority of the operator's has issued.
        edit::<Secret>(w, &format!("{name}-tls"), json!({"data": {"clients-ca.crt": "AAAA"}})).await;
    });
}

#[test]
fn what_cannot_be_put_back_in_place_is_made_anew() {
    world().run(async |w: &World| {
        w.apply("repointed", json!({})).await;
        w.observed("repointed", 1).await;
        let revision = "kite-plugin-repointed-1";
        let good = substance(&w.get::<Service>(revision).await);
        // Two ports may not have one name, so that the right one cannot be added beside it.
        let port = json!({"name": "grpc", "port": 1, "protocol": "TCP", "targetPort": "grpc"});
        let services = w.plugins::<Service>();
        w.merge(&services, revision, json!({"spec": {"ports": [port]}})).await;
        w.put_back(&services, revision, |service| substance(service) == good)
            .await;
    });
}

#[test]
fn what_runs_is_made_again_when_it_was_deleted() {
    world().run(async |w: &World| {
        w.apply("vanished", json!({})).await;
        w.observed("vanished", 1).await;
        let (name, revision) = ("kite-plugin-vanished", "kite-plugin-vanished-1");
        delete::<Service>(w, revision).await;
        delete::<ServiceAccount>(w, name).await;
        delete::<Deployment>(w, revision).await;
        let records = w.plugins::<ControllerRevision>();
        let record: ControllerRevision = w.get(revision).await;
        records.delete(revision, &DeleteParams::default()).await.unwrap();
        w.put_back(&records, revision, |again| again.uid() != record.uid())
            .await;
        // Its key was thrown away with it.
        let secret: Secret = w.get(&format!("{name}-tls")).await;
        let secrets = w.plugins::<Secret>();
        secrets
            .delete(&secret.name_any(), &DeleteParams::default())
            .await
            .unwrap();
        w.put_back(&secrets, &secret.name_any(), |again| again.uid() != secret.uid())
            .await;
    });
}

/// Somebody deletes the Secret while the operator is about to mend it, having read the certificate that goes with it.
#[test]
fn a_certificate_that_was_thrown_away_is_never_brought_back() {
    world().run(async |w: &World| {
        w.apply("thrown", json!({})).await;
        w.observed("thrown", 1).await;
        let name = "kite-plugin-thrown-tls";
        let secrets = w.plugins::<Secret>();
        let certificate = |secret: &Secret| secret.data.as_ref()?.get("tls.crt").cloned();
        let mut thrown = BTreeSet::new();
        // Each time a little later: at some time it is between the two.
        for turn in 0..40 {
            let secret: Secret = w.get(name).await;
            thrown.insert(certificate(&secret).expect("a certificate").0);
            w.merge(&secrets, name, json!({"data": {"clients-ca.crt": "AAAA"}}))
                .await;
            tokio::time::sleep(Duration::from_millis(turn)).await;
            secrets.delete(name, &DeleteParams::default()).await.unwrap();
            let again = w.seen(&secrets, name, |again| again.uid() != secret.uid()).await;
            let again = certificate(&again).expect("a certificate").0;
            assert!(!thrown.contains(&again), "after {turn} ms it was brought back");
        }
    });
}
