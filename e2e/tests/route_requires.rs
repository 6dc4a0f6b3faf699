//! What a plugin requires of its callers, on a real API server: nobody does by a plugin what they may not do themselves.

#![expect(clippy::expect_used, reason = "a test without its objects tests nothing")]

use k8s_openapi::api::rbac::v1::PolicyRule;
use kite_api::Phase;
use kite_e2e::testing::{Answer, Gateway, SOON, Scope, eventually, scope, send};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// hello in a copy that may list pods in one namespace and requires the same of its callers; one caller who may, and one who may use
/// every plugin, but list no pods.
struct Scene {
    mine: String,
    other: String,
    plugin: String,
    user: String,
    stranger: String,
}

fn of<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a part of an object")
}

fn rule(group: &str, resources: &[&str], verb: &str) -> PolicyRule {
    of(json!({"apiGroups": [group], "resources": resources, "verbs": [verb]}))
}

impl Scene {
    async fn new(scope: &Scope) -> Self {
        let (mine, other) = (scope.namespace("mine").await, scope.namespace("other").await);
        let permissions = json!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"], "namespaces": [mine]}
        ]);
        let pods = |source: Value| json!([{"resource": "pods", "verb": "list", "namespace": source}]);
        let routes = json!([
            {"path": "/hello", "requires": pods(json!({"query": "namespace"}))},
            {"path": "/echo", "requires": pods(json!({"body": "/namespace"}))},
            {"path": "/pods"},
            {"path": "/**", "requires": [{"resource": "nodes", "verb": "get"}]},
        ]);
        let tools = json!([{"name": "hello", "requires": pods(json!({"argument": "/name"}))}]);
        let change = |spec: &mut kite_api::KitePluginSpec| {
            (spec.permissions, spec.routes, spec.tools) = (of(permissions), of(routes), of(tools));
        };
        let plugin = scope.make_plugin("", change).await;
        scope.wait_for_phase(&plugin, Phase::Loaded).await;
        let both = ["kiteplugins/proxy", "kiteplugins/tools"];
        let user = scope.user_with("", vec![rule("kite.dev", &both, "*")]).await;
        scope.allow_in("", &mine, vec![rule("", &["pods"], "list")]).await;
        let stranger = scope.user_with("stranger", vec![rule("kite.dev", &both, "*")]).await;
        Self {
            mine,
            other,
            plugin,
            user,
            stranger,
        }
    }

    async fn get(&self, gateway: &Gateway, token: &str, path: &str) -> Answer {
        gateway.get(token, &format!("{}/{path}", self.plugin)).await
    }

    /// Waits until the gateway knows that one may and the other may not.
    async fn settled(&self, gateway: &Gateway) {
        let path = format!("hello?namespace={}", self.mine);
        for (token, status) in [(&self.user, 200), (&self.stranger, 403)] {
            eventually("rights are heeded", SOON, async || {
                let answer = self.get(gateway, token, &path).await;
                let is_it = answer.status == status && (status == 200 || lacks(&answer) == CALLER);
                if is_it { Ok(()) } else { Err(format!("{answer:?}")) }
            })
            .await;
        }
    }
}

/// The last part of the problem's type.
fn lacks(answer: &Answer) -> String {
    let (status, problem) = answer.problem();
    assert_eq!(status, 403, "{answer:?}");
    problem.rsplit('/').next().unwrap_or_default().to_owned()
}

const CALLER: &str = "caller-lacks-right";
const PLUGIN: &str = "plugin-lacks-right";

#[tokio::test]
async fn a_path_is_used_within_its_callers_rights() {
    scope("requires", async |scope| {
        let it = Scene::new(&scope).await;
        let admin = scope.gateway.admin().to_owned();
        for gateway in scope.gateway_replicas().await {
            it.settled(&gateway).await;
            // The plugin has one namespace, which is told before what the caller has.
            let other = format!("hello?namespace={}", it.other);
            for token in [&it.user, &it.stranger, &admin] {
                for path in [other.as_str(), "hello", "hello?namespace=", "elsewhere"] {
                    assert_eq!(lacks(&it.get(&gateway, token, path).await), PLUGIN, "{path}");
                }
            }
            // The last two are other paths too, which need nodes.
            for (path, lacking) in [
                ("h%65llo?namespace=", CALLER),
                ("hello?n%61mespace=", CALLER),
                ("hello;v=1?namespace=", PLUGIN),
                ("hello/?namespace=", PLUGIN),
            ] {
                let path = format!("{path}{}", it.mine);
                assert_eq!(lacks(&it.get(&gateway, &it.stranger, &path).await), lacking, "{path}");
            }
            // A route without requirements is the plugin's own affair.
            let own = it.get(&gateway, &it.stranger, "pods").await;
            assert!(
                own.json()["error"].is_string() && own.json()["type"].is_null(),
                "{own:?}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn bodies_and_arguments_are_used_within_their_callers_rights() {
    scope("requires-body", async |scope| {
        let it = Scene::new(&scope).await;
        for gateway in scope.gateway_replicas().await {
            it.settled(&gateway).await;
            let echo = async |token: &str, body: &Value| {
                let request = gateway.request(Method::POST, &format!("{}/echo", it.plugin));
                send(request.bearer_auth(token).json(body)).await
            };
            let body = json!({"namespace": it.mine, "a": [1, 2]});
            let echoed = echo(&it.user, &body).await;
            assert_eq!((echoed.status, echoed.json()), (200, body.clone()), "it is passed on");
            assert_eq!(lacks(&echo(&it.user, &json!({"namespace": it.other})).await), PLUGIN);
            assert_eq!(lacks(&echo(&it.stranger, &body).await), CALLER);
            let tool = format!("plugin_{}_hello", it.plugin);
            let call = async |token: &str, name: &str| gateway.tool(token, &tool, json!({"name": name})).await;
            assert_eq!(call(&it.user, &it.mine).await.status, 200);
            assert_eq!(lacks(&call(&it.user, &it.other).await), PLUGIN);
            assert_eq!(lacks(&call(&it.stranger, &it.mine).await), CALLER);
        }
    })
    .await;
}
