//! The controller against a real API server, without a kubelet: what it makes, puts back, withdraws and leaves alone.

#[cfg(test)]
mod boundary;
#[cfg(test)]
mod edited;
#[cfg(test)]
mod grants;
#[cfg(test)]
mod hang;
#[cfg(test)]
mod moment;
#[cfg(test)]
mod orphans;
#[cfg(test)]
mod relations;
#[cfg(test)]
mod revisions;
#[cfg(test)]
mod rotation;
#[cfg(test)]
#[path = "../support/server.rs"]
mod server;
#[cfg(test)]
mod support;
#[cfg(test)]
mod told;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod workload;

use std::time::SystemTime;

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::{Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kite_api::{KitePlugin, Phase, PluginName, identity as names};
use kite_operator::identity::certificate::Certified;
use kube::{
    ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use support::{World, is_owned, world};

/// A grant in the plugins' namespace.
fn pods() -> Value {
    json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}])
}

#[test]
fn a_plugin_gets_its_objects_with_owner_and_labels() {
    world().run(async |w: &World| {
        let plugin = w.apply("made", json!({"permissions": pods()})).await;
        w.observed("made", 1).await;
        is_owned(&w.get::<ServiceAccount>("kite-plugin-made").await, &plugin);
        is_owned(&w.get::<Role>("kite-plugin-made").await, &plugin);
        is_owned(&w.get::<RoleBinding>("kite-plugin-made").await, &plugin);
        is_owned(&w.get::<Deployment>("kite-plugin-made-1").await, &plugin);
        is_owned(&w.get::<Service>("kite-plugin-made-1").await, &plugin);
        is_owned(&w.get::<ControllerRevision>("kite-plugin-made-1").await, &plugin);
        is_owned(&w.get::<NetworkPolicy>("kite-plugin-made").await, &plugin);
        let secret: Secret = w.get("kite-plugin-made-tls").await;
        is_owned(&secret, &plugin);
        assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
        assert_eq!(
            secret.data.unwrap().into_keys().collect::<Vec<_>>(),
            [
                "clients-ca.crt",
                "gateway-address",
                "gateway-ca.crt",
                "tls.crt",
                "tls.key"
            ]
        );
        let status = w.plugin("made").await.status.unwrap();
        assert_eq!((status.phase, status.active_revision), (Some(Phase::Pending), None));
    });
}

#[test]
fn a_plugin_that_was_made_again_owns_what_there_is_of_the_first() {
    world().run(async |w: &World| {
        let nodes = json!({"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"], "namespaces": ["*"]});
        let mut permissions = pods();
        permissions.as_array_mut().unwrap().push(nodes);
        let first = w.apply("again", json!({"permissions": permissions.clone()})).await;
        w.observed("again", 1).await;
        let plugins = w.everywhere::<KitePlugin>();
        plugins.delete("again", &DeleteParams::default()).await.unwrap();
        w.gone(&plugins, "again").await;
        let second = w.apply("again", json!({"permissions": permissions})).await;
        assert_ne!(second.uid(), first.uid());
        w.observed("again", 1).await;
        is_owned(&w.get::<ServiceAccount>("kite-plugin-again").await, &second);
        is_owned(&w.get::<Role>("kite-plugin-again").await, &second);
        is_owned(&w.get::<RoleBinding>("kite-plugin-again").await, &second);
        is_owned(&w.get::<Secret>("kite-plugin-again-tls").await, &second);
        is_owned(&w.get::<Service>("kite-plugin-again-1").await, &second);
        is_owned(&w.get::<Deployment>("kite-plugin-again-1").await, &second);
        let role = w.everywhere::<ClusterRole>().get("kite-plugin-again").await;
        is_owned(&role.unwrap(), &second);
        let binding = w.everywhere::<ClusterRoleBinding>().get("kite-plugin-again").await;
        is_owned(&binding.unwrap(), &second);
    });
}

#[test]
fn a_plugin_inherits_no_account_and_no_pods_from_one_that_had_its_name() {
    world().run(async |w: &World| {
        w.apply("orphaned", json!({"permissions": pods()})).await;
        w.observed("orphaned", 1).await;
        let account: ServiceAccount = w.get("kite-plugin-orphaned").await;
        let deployment: Deployment = w.get("kite-plugin-orphaned-1").await;
        let plugins = w.everywhere::<KitePlugin>();
        plugins.delete("orphaned", &DeleteParams::background()).await.unwrap();
        w.gone(&plugins, "orphaned").await;
        // Without a garbage collector all that it had is still there, as where one has not come to it yet.
        let wide = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"], "namespaces": ["*"]}]);
        w.apply("orphaned", json!({"permissions": wide})).await;
        w.observed("orphaned", 1).await;
        let other: ServiceAccount = w.get("kite-plugin-orphaned").await;
        assert_ne!(other.uid(), account.uid(), "its tokens are worth nothing");
        let other: Deployment = w.get("kite-plugin-orphaned-1").await;
        assert_ne!(other.uid(), deployment.uid());
    });
}

#[test]
fn a_permission_that_is_taken_out_takes_role_and_binding_with_it() {
    world().run(async |w: &World| {
        w.apply("withdrawn", json!({"permissions": pods()})).await;
        w.observed("withdrawn", 1).await;
        w.get::<RoleBinding>("kite-plugin-withdrawn").await;
        let before: Deployment = w.get("kite-plugin-withdrawn-1").await;
        w.apply("withdrawn", json!({})).await;
        w.gone(&w.plugins::<RoleBinding>(), "kite-plugin-withdrawn").await;
        w.gone(&w.plugins::<Role>(), "kite-plugin-withdrawn").await;
        w.observed("withdrawn", 2).await;
        let after: Deployment = w.get("kite-plugin-withdrawn-1").await;
        assert_eq!(
            after.metadata.generation, before.metadata.generation,
            "nothing is restarted"
        );
    });
}

#[test]
fn a_role_that_was_edited_or_deleted_by_hand_is_put_back() {
    world().run(async |w: &World| {
        w.apply("edited", json!({"permissions": pods()})).await;
        w.observed("edited", 1).await;
        let roles = w.plugins::<Role>();
        let good: Role = w.get("kite-plugin-edited").await;
        let wider = json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
        w.merge(&roles, "kite-plugin-edited", wider).await;
        w.put_back(&roles, "kite-plugin-edited", |role| role.rules == good.rules)
            .await;
        roles
            .delete("kite-plugin-edited", &DeleteParams::default())
            .await
            .unwrap();
        w.put_back(&roles, "kite-plugin-edited", |role| {
            role.rules == good.rules && role.uid() != good.uid()
        })
        .await;
    });
}

#[test]
fn a_binding_that_was_made_for_another_role_is_replaced() {
    world().run(async |w: &World| {
        w.apply("rebound", json!({"permissions": pods()})).await;
        w.observed("rebound", 1).await;
        let bindings = w.plugins::<RoleBinding>();
        let mut other: RoleBinding = w.get("kite-plugin-rebound").await;
        bindings
            .delete("kite-plugin-rebound", &DeleteParams::default())
            .await
            .unwrap();
        other.role_ref.kind = String::from("ClusterRole");
        other.role_ref.name = String::from("cluster-admin");
        other.metadata.resource_version = None;
        other.metadata.uid = None;
        // Where the operator was quicker, what it made stands already, and that is as good.
        let _ = bindings.create(&PostParams::default(), &other).await;
        w.seen(&bindings, "kite-plugin-rebound", |binding| {
            binding.role_ref.kind == "Role"
        })
        .await;
    });
}

#[test]
fn a_disabled_plugin_is_scaled_to_zero_and_loses_its_bindings() {
    world().run(async |w: &World| {
        let mut permissions = pods();
        permissions
            .as_array_mut()
            .unwrap()
            .push(json!({"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"], "namespaces": ["*"]}));
        w.apply("disabled", json!({"permissions": permissions.clone()})).await;
        w.observed("disabled", 1).await;
        w.apply("disabled", json!({"permissions": permissions, "enabled": false}))
            .await;
        w.gone(&w.plugins::<RoleBinding>(), "kite-plugin-disabled").await;
        w.gone(&w.everywhere::<ClusterRoleBinding>(), "kite-plugin-disabled")
            .await;
        let scaled = |deployment: &Deployment| deployment.spec.as_ref().unwrap().replicas == Some(0);
        w.seen(&w.plugins(), "kite-plugin-disabled-1", scaled).await;
        let status = w.observed("disabled", 2).await.status.unwrap();
        assert_eq!(status.phase, Some(Phase::Disabled));
        let conditions = status
            .conditions
            .iter()
            .map(|it| (it.type_.as_str(), it.status.as_str(), it.reason.as_str()));
        assert_eq!(
            conditions.collect::<Vec<_>>(),
            [
                ("DependenciesSatisfied", "True", "Satisfied"),
                ("Ready", "True", "Disabled")
            ]
        );
    });
}

#[test]
fn a_grant_for_the_whole_cluster_is_a_cluster_role() {
    world().run(async |w: &World| {
        let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"], "namespaces": ["*"]}]);
        let plugin = w.apply("wide", json!({"permissions": nodes})).await;
        w.observed("wide", 1).await;
        let role = w.everywhere::<ClusterRole>().get("kite-plugin-wide").await.unwrap();
        is_owned(&role, &plugin);
        let binding = w
            .everywhere::<ClusterRoleBinding>()
            .get("kite-plugin-wide")
            .await
            .unwrap();
        is_owned(&binding, &plugin);
        assert_eq!(
            binding.subjects.unwrap()[0].namespace.as_deref(),
            Some(w.plugins_namespace())
        );
        assert!(w.plugins::<Role>().get_opt("kite-plugin-wide").await.unwrap().is_none());
        w.apply("wide", json!({})).await;
        w.gone(&w.everywhere::<ClusterRoleBinding>(), "kite-plugin-wide").await;
        w.gone(&w.everywhere::<ClusterRole>(), "kite-plugin-wide").await;
    });
}

#[test]
fn a_namespace_that_appears_later_gets_its_role_then() {
    world().run(async |w: &World| {
        let later = format!("later-{}", w.plugins_namespace());
        let there = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "namespaces": [later]}]);
        let plugin = w.apply("later", json!({"permissions": there})).await;
        w.observed("later", 1).await;
        w.make_namespace(&later).await;
        let role = w.seen(&w.within::<Role>(&later), "kite-plugin-later", |_| true).await;
        is_owned(&role, &plugin);
        w.seen(&w.within::<RoleBinding>(&later), "kite-plugin-later", |_| true)
            .await;
    });
}

#[test]
fn a_second_look_writes_nothing() {
    world().run(async |w: &World| {
        let nodes = json!({"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"], "namespaces": ["*"]});
        let mut permissions = pods();
        permissions.as_array_mut().unwrap().push(nodes);
        let limits = json!({"limits": {"cpu": "1000m", "memory": "128Mi"}});
        w.apply(
            "steady",
            json!({"permissions": permissions.clone(), "resources": limits.clone(), "replicas": 2}),
        )
        .await;
        w.observed("steady", 1).await;
        let before = w.versions("steady").await;
        // The same in other words: another generation, which the status shows when it was looked at.
        w.apply(
            "steady",
            json!({"permissions": permissions.clone(), "resources": limits.clone(), "replicas": 2, "enabled": true}),
        )
        .await;
        let settled = w.observed("steady", 2).await;
        assert_eq!(w.versions("steady").await, before);
        let again = async {
            for (generation, fields) in [(3, json!({})), (4, json!({"enabled": true})), (5, json!({}))] {
                let mut spec = json!({"permissions": permissions, "resources": limits, "replicas": 2});
                spec.as_object_mut()
                    .unwrap()
                    .extend(fields.as_object().unwrap().clone());
                w.apply("steady", spec).await;
                w.observed("steady", generation).await;
            }
        };
        let last = |plugin: &KitePlugin| plugin.status.as_ref().and_then(|it| it.observed_generation) == Some(5);
        let (writes, ()) = tokio::join!(w.writes(&settled, last), again);
        assert_eq!(
            writes, 6,
            "each change of the object is answered by one write of its status"
        );
    });
}

#[test]
fn a_restart_replaces_no_ca_and_no_certificate() {
    world().run(async |w: &World| {
        let _alone = w.gateway.lock().await;
        w.apply("kept", json!({})).await;
        w.observed("kept", 1).await;
        let secrets = [
            names::SERVERS_CA_SECRET,
            names::CLIENTS_CA_SECRET,
            names::SERVING_CA_SECRET,
            names::GATEWAY_CLIENT_SECRET,
            names::GATEWAY_SERVING_SECRET,
        ];
        let versions = async || {
            let mut versions = Vec::new();
            for name in secrets {
                let secret = w.seen(&w.system::<Secret>(), name, |_| true).await;
                assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"), "{name}");
                versions.push(secret.resource_version());
            }
            versions
        };
        let before = versions().await;
        let identity = w.start_identity_again().await;
        assert_eq!(versions().await, before);
        let secret: Secret = w.get("kite-plugin-kept-tls").await;
        let certified = Certified::of_data(&secret.data.unwrap()).unwrap();
        let kept = identity
            .plugin_certificate(
                &PluginName::parse("kept").unwrap(),
                Some(certified.clone()),
                SystemTime::now(),
            )
            .unwrap();
        assert_eq!(kept, certified, "the CA that was read again accepts what it has issued");
    });
}

#[test]
fn the_gateways_certificate_follows_its_service() {
    world().run(async |w: &World| {
        let _alone = w.gateway.lock().await;
        let secrets = w.system::<Secret>();
        let before = w.seen(&secrets, names::GATEWAY_SERVING_SECRET, |_| true).await;
        let service = json!({
            "metadata": {"name": names::GATEWAY_SERVICE},
            "spec": {"ports": [{"port": 443}], "selector": {"app": "kite-gateway"}},
        });
        let service = serde_json::from_value(service).unwrap();
        w.system::<Service>()
            .create(&PostParams::default(), &service)
            .await
            .unwrap();
        w.seen(&secrets, names::GATEWAY_SERVING_SECRET, |secret| {
            secret.data != before.data
        })
        .await;
    });
}

#[test]
fn a_plugin_that_answers_as_it_should_is_loaded_and_one_that_does_not_is_failed() {
    world().run(async |w: &World| {
        w.apply("asked", json!({})).await;
        w.observed("asked", 1).await;
        let running = support::plugin::start(w, "asked", "0.1.0").await;
        let phase = |wanted| move |plugin: &KitePlugin| plugin.status.as_ref().and_then(|it| it.phase) == Some(wanted);
        let loaded = w
            .seen(&w.everywhere(), "asked", phase(Phase::Loaded))
            .await
            .status
            .unwrap();
        assert_eq!(
            (loaded.version.as_deref(), loaded.active_revision),
            (Some("0.1.0"), Some(1))
        );
        assert_eq!(
            loaded.active().unwrap().definitions_hash,
            Some(running.definitions_hash.clone())
        );
        assert_eq!(loaded.tools[0].name, "plugin_asked_hello");
        // It is deleted for what it says, so that it is not there for long.
        let plugins = w.everywhere();
        let failed = w.seen(&plugins, "asked", phase(Phase::Failed));
        let (failed, ()) = tokio::join!(failed, running.replace(w, "0.2.0"));
        let failed = failed.status.unwrap();
        assert_eq!(failed.active_revision, None);
        let ready = failed
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready")
            .unwrap();
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("False", "VersionMismatch")
        );
    });
}
