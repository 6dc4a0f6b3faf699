//! What the API server refuses of a KitePlugin's spec, by which text, and the honest neighbour that it accepts.
#![cfg(test)]

mod maximum;
mod refusals;

use kite_api::KitePlugin;
use kite_e2e::testing::{Scope, scope};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
};
use refusals::{Case, REFUSALS};
use serde_json::{Value, json};

/// A valid object called `name`, after a change of its spec.
fn object(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({"version": "1.2.0", "image": "registry.example/plugin:1.2.0"});
    change(&mut spec);
    json!({"apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "metadata": {"name": name}, "spec": spec})
}

/// What the API server says to the object, of which nothing is kept: nothing, or why it refuses it.
async fn refusal(scope: &Scope, object: Value) -> Option<String> {
    let api: Api<DynamicObject> = Api::all_with(scope.client.clone(), &ApiResource::erase::<KitePlugin>(&()));
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match api.create(&dry_run, &serde_json::from_value(object).unwrap()).await {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}

/// Grants what the row grants in another namespace than the plugins', where policies allow little, unless namespaces are its subject.
fn elsewhere(object: &mut Value, field: &str) {
    let permissions = object["spec"]["permissions"].as_array_mut().into_iter().flatten();
    for permission in permissions.filter(|_| !field.contains("namespaces")) {
        let permission = permission.as_object_mut().unwrap();
        permission.entry("namespaces").or_insert(json!(["shop"]));
    }
}

#[tokio::test]
async fn each_refusal_says_what_to_write_and_its_neighbour_is_accepted() {
    scope("admit-refusals", async |scope| {
        let mut wrong = Vec::new();
        for Case {
            field,
            says,
            refused,
            accepted,
        } in REFUSALS
        {
            match refusal(&scope, object("admit-spec", refused)).await {
                Some(text) if text.contains(field) && text.contains(says) => {}
                Some(text) => wrong.push(format!("{field}: expected {says:?}, and it said {text}")),
                None => wrong.push(format!("{field}: accepted, though {says:?}")),
            }
            let mut neighbour = object("admit-spec", accepted);
            elsewhere(&mut neighbour, field);
            if let Some(text) = refusal(&scope, neighbour).await {
                wrong.push(format!("{field}: the neighbour of {says:?} was refused: {text}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}

#[tokio::test]
async fn names_and_what_depends_on_them_are_refused_with_their_reason() {
    scope("admit-names", async |scope| {
        let long = "a".repeat(41);
        for (name, says) in [
            ("a.b", "RFC 1123"),
            (long.as_str(), "40 characters"),
            ("tools", "reserved"),
            ("api", "reserved"),
        ] {
            let text = refusal(&scope, object(name, |_| {})).await.unwrap();
            assert!(text.contains(says), "{text}");
        }
        assert_eq!(refusal(&scope, object(&"a".repeat(40), |_| {})).await, None);

        let depends_on =
            |name: &'static str| move |spec: &mut Value| spec["dependencies"] = json!([{"name": name, "version": "*"}]);
        let text = refusal(&scope, object("lib", depends_on("lib"))).await.unwrap();
        assert!(text.contains("does not depend on itself"), "{text}");
        assert_eq!(refusal(&scope, object("lib", depends_on("other"))).await, None);

        // With `plugin_` and `_` the longest is 64: 16 of the plugin's, 40 of the tool's.
        let plugin = "a".repeat(16);
        let tool = |length: usize| move |spec: &mut Value| spec["tools"] = json!([{"name": "t".repeat(length)}]);
        assert_eq!(refusal(&scope, object(&plugin, tool(40))).await, None);
        let text = refusal(&scope, object(&plugin, tool(41))).await.unwrap();
        assert!(text.contains("at most 64 characters"), "{text}");
    })
    .await;
}

/// The object that the design shows, with every field.
#[tokio::test]
async fn an_object_with_every_field_is_accepted() {
    let text = include_str!("admit_spec/every-field.yaml");
    let object: Value = serde_saphyr::from_str(text).unwrap();
    let crd = serde_json::to_value(kite_api::crd()).unwrap();
    let fields = crd
        .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties")
        .unwrap();
    for field in fields.as_object().unwrap().keys() {
        assert!(object["spec"].get(field).is_some(), "{field}");
    }
    scope("admit-every-field", async |scope| {
        assert_eq!(refusal(&scope, object).await, None);
    })
    .await;
}

#[tokio::test]
async fn every_list_at_its_maximum_is_within_the_cost_of_the_rules() {
    scope("admit-maximum", async |scope| {
        let refused = refusal(&scope, object("admit-maximum", |spec| *spec = maximum::spec())).await;
        assert_eq!(refused, None);
    })
    .await;
}
