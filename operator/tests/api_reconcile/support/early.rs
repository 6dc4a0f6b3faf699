//! Plugins that depend on one another in every way, some of them applied before the operator starts.

use kite_api::KitePlugin;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

/// Begins the names of those that are there before the operator.
pub(crate) const EARLY: &str = "early";

/// Name, without the prefix, and spec of each.
pub(crate) fn plugins(prefix: &str) -> Vec<(&'static str, Value)> {
    let needs = |other: &str, version: &str| json!([{"name": format!("{prefix}-{other}"), "version": version}]);
    let spec = |fields: Value| {
        let mut spec = json!({"version": "0.1.0", "image": "registry.invalid/hello:0.1.0"});
        spec.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        spec
    };
    vec![
        ("user", spec(json!({"dependencies": needs("lib", "^1.0")}))),
        ("far", spec(json!({"dependencies": needs("lib", "^2.0")}))),
        ("lost", spec(json!({"dependencies": needs("nobody", "*")}))),
        ("a", spec(json!({"dependencies": needs("b", "*")}))),
        ("b", spec(json!({"dependencies": needs("a", "*")}))),
        ("behind", spec(json!({"dependencies": needs("a", "*")}))),
        (
            "optional",
            spec(json!({"dependencies": [{"name": format!("{prefix}-nobody"), "version": "1", "optional": true}]})),
        ),
        ("new", spec(json!({"compatibility": {"kubernetes": ">=9"}}))),
        ("needs-off", spec(json!({"dependencies": needs("off", "*")}))),
        ("off", spec(json!({"enabled": false}))),
        ("lib", spec(json!({"version": "1.4.2"}))),
    ]
}

/// Applies one of them.
pub(crate) async fn apply_one(client: &Client, prefix: &str, name: &str, spec: &Value) {
    let name = format!("{prefix}-{name}");
    let object =
        json!({"apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "metadata": {"name": name}, "spec": spec});
    let api: Api<KitePlugin> = Api::all(client.clone());
    api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(object))
        .await
        .expect("the plugin is applied");
}

/// Applies all that are to be there before the operator.
pub(crate) async fn apply(client: &Client) {
    for (name, spec) in plugins(EARLY) {
        apply_one(client, EARLY, name, &spec).await;
    }
}
