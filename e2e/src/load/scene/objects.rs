//! What the operator would make: the plugins' objects as described and ready, and a user who may use them.

use std::net::IpAddr;

use k8s_openapi::api::{
    apps::v1::ControllerRevision,
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
    discovery::v1::EndpointSlice,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kite_api::{PluginName, labels, object_names};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::testing::{
    PLUGINS,
    world::{World, object, plugins},
};

const USER: &str = "anna";

/// The plugin's object with its status, and where its one pod is.
#[expect(clippy::expect_used, reason = "without its plugin there is nothing to measure")]
pub(super) async fn plugin(world: &World, name: &str, address: IpAddr, hash: &str) {
    let whole = object(name, json!({"limits": {"inFlight": 10_000, "requestBodyBytes": "2Gi"}}));
    world.given(&whole).await;
    let status = json!({"status": {
        "phase": "Loaded", "activeRevision": 1,
        "revisions": [{"number": 1, "version": "1.0.0", "state": "Active", "definitionsHash": hash}],
        "tools": [{"name": format!("plugin_{name}_greet"), "description": "Greets.", "hash": "sha256:0"}],
    }});
    let patch = Patch::Merge(status);
    plugins(&world.admin)
        .patch_status(name, &PatchParams::default(), &patch)
        .await
        .expect("the plugin's status");
    let service = object_names::revision(&PluginName::parse(name).expect("a name"), 1);
    let record = json!({
        "metadata": {"name": service, "labels": {labels::PLUGIN: name}}, "revision": 1,
        "data": {"spec": {"version": "1.0.0", "image": "a"}},
    });
    let records: Api<ControllerRevision> = Api::namespaced(world.admin.clone(), PLUGINS);
    world.apply(&records, record).await;
    let slice = json!({
        "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service, labels::PLUGIN: name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
    });
    let slices: Api<EndpointSlice> = Api::namespaced(world.admin.clone(), PLUGINS);
    world.apply(&slices, slice).await;
}

/// Makes a user who may use every plugin and tool, and gives their token.
#[expect(clippy::expect_used, reason = "without a user there is nothing to measure")]
pub(super) async fn user(world: &World) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(world.admin.clone(), "default");
    world.apply(&accounts, json!({"metadata": {"name": USER}})).await;
    let rules = json!([{
        "apiGroups": ["kite.dev"], "resources": ["kiteplugins/proxy", "kiteplugins/tools"], "verbs": ["get", "create"],
    }]);
    let role = json!({"metadata": {"name": USER}, "rules": rules});
    world.apply::<ClusterRole>(&Api::all(world.admin.clone()), role).await;
    let binding = json!({
        "metadata": {"name": USER},
        "subjects": [{"kind": "ServiceAccount", "name": USER, "namespace": "default"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": USER},
    });
    world
        .apply::<ClusterRoleBinding>(&Api::all(world.admin.clone()), binding)
        .await;
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(7200),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let token = accounts
        .create_token_request(USER, &PostParams::default(), &request)
        .await
        .expect("a token");
    token.status.expect("a token").token
}
