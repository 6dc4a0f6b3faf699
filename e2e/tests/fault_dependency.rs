//! Plugins that need one another on a real cluster: who starts, who takes traffic, and what kubectl says of it.
#![cfg(test)]

use kite_api::{KitePluginStatus, Phase, identity::GATEWAY_AUDIENCE, plugin::Dependency};
use kite_e2e::{
    cluster,
    testing::{PLUGINS, SOON, START, Scope, eventually, scope},
};
use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::json;

fn needs(name: &str) -> Vec<Dependency> {
    vec![Dependency {
        name: name.to_owned(),
        version: String::from("^0.1"),
        optional: None,
    }]
}

/// The plugin's status, once its condition has this status and reason.
async fn told(scope: &Scope, name: &str, kind: &str, status: &str, reason: &str) -> KitePluginStatus {
    eventually(&format!("{name} tells {kind}={status} {reason}"), START, async || {
        let plugin = scope.plugins().get(name).await.map_err(|error| error.to_string())?;
        let found = plugin.status.unwrap_or_default();
        let mut conditions = found.conditions.iter();
        if conditions.any(|it| it.type_ == kind && it.status == status && it.reason == reason) {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await
}

fn describe(name: &str) -> String {
    let layout = cluster::Layout::from_env().unwrap();
    let mut kubectl = cluster::tools(&layout).unwrap().kubectl();
    let output = kubectl.args(["describe", "kp", name]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_plugin_starts_with_what_it_needs_and_serves_as_long_as_that_is_there() {
    scope("depends", async |scope| {
        let lib_name = format!("{}-lib", scope.name);
        let user = scope
            .make_plugin("-user", |spec| spec.dependencies = needs(&lib_name))
            .await;
        told(&scope, &user, "DependenciesSatisfied", "False", "Missing").await;
        assert_eq!(scope.pods_of(&user).await.len(), 0, "nothing is started");
        let lib = scope.loaded_plugin("-lib", |_| {}).await;
        scope.wait_for_phase(&user, Phase::Loaded).await;
        scope.wait_for_answer(&user, 200).await;

        // Disabled: who runs goes on.
        scope.patch_plugin(&lib, json!({"spec": {"enabled": false}})).await;
        told(&scope, &user, "DependenciesSatisfied", "False", "NotReady").await;
        scope.wait_for_answer(&lib, 503).await;
        scope.wait_for_answer(&user, 200).await;
        scope.patch_plugin(&lib, json!({"spec": {"enabled": null}})).await;
        told(&scope, &user, "DependenciesSatisfied", "True", "Satisfied").await;

        // Gone: no traffic, and the pods wait for it to come back.
        let pods = scope.pods_of(&user).await.len();
        let foreground = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Foreground),
            ..DeleteParams::default()
        };
        scope.plugins().delete(&lib, &foreground).await.unwrap();
        let lost = told(&scope, &user, "DependenciesSatisfied", "False", "Missing").await;
        assert_eq!((lost.phase, lost.active_revision), (Some(Phase::Failed), None));
        scope.wait_for_answer(&user, 503).await;
        assert_eq!(scope.pods_of(&user).await.len(), pods);
        let text = eventually("kubectl describe tells it", SOON, async || {
            let text = describe(&user);
            if text.contains("DependencyLost") {
                Ok(text)
            } else {
                Err(text)
            }
        })
        .await;
        for word in ["Granted", "get and list pods", &lib, "Missing"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        eventually("the object is gone", START, async || {
            match scope.plugins().get_opt(&lib).await {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        scope.make_plugin("-lib", |_| {}).await;
        scope.wait_for_phase(&user, Phase::Loaded).await;
        scope.wait_for_answer(&user, 200).await;
    })
    .await;
}

#[tokio::test]
async fn a_plugin_calls_those_that_it_names_through_the_gateway_and_no_others() {
    scope("calls", async |scope| {
        let called = scope.loaded_plugin("-called", |_| {}).await;
        let other = scope.loaded_plugin("-other", |_| {}).await;
        let plugin = scope
            .loaded_plugin("-caller", |spec| spec.calls = vec![called.clone()])
            .await;
        let pods = scope.pods_of(&plugin).await;
        let volumes = pods[0].spec.as_ref().unwrap().volumes.as_ref().unwrap();
        let kite = volumes.iter().find(|volume| volume.name == "kite").unwrap();
        let mut sources = kite.projected.as_ref().unwrap().sources.iter().flatten();
        let token = sources
            .find_map(|source| source.service_account_token.as_ref())
            .unwrap();
        assert_eq!(token.audience.as_deref(), Some(GATEWAY_AUDIENCE));

        // What the kubelet puts there is a token of the plugin's account for this audience.
        let account = format!("kite-plugin-{plugin}");
        let token = scope.token_for(PLUGINS, &account, &[GATEWAY_AUDIENCE]).await;
        let answer = scope.gateway.get(&token, &format!("{called}/hello")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains(&account), "as itself: {answer:?}");
        assert_eq!(scope.gateway.get(&token, &format!("{other}/hello")).await.status, 403);
        let elsewhere = scope.token_for(PLUGINS, &account, &["vault"]).await;
        assert_eq!(
            scope.gateway.get(&elsewhere, &format!("{called}/hello")).await.status,
            401
        );
        // It opens nothing at the API server.
        let client = scope.client_with(&token).await;
        assert!(matches!(client.apiserver_version().await, Err(kube::Error::Api(status)) if status.code == 401));

        scope.patch_plugin(&plugin, json!({"spec": {"calls": null}})).await;
        eventually("the right is withdrawn", SOON, async || {
            match scope.gateway.get(&token, &format!("{called}/hello")).await.status {
                403 => Ok(()),
                status => Err(status.to_string()),
            }
        })
        .await;
    })
    .await;
}
