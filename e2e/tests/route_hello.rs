//! The routes of a plugin, through the gateway, as their callers use them.

use kite_api::Phase;
use kite_e2e::testing::{Gateway, PLUGINS, SOON, eventually, scope, send};
use kube::ResourceExt;
use reqwest::Method;
use serde_json::{Value, json};

const JUNK: &str = "junk";

#[tokio::test]
async fn an_admin_uses_the_routes() {
    let gateway = Gateway::from_env();
    let hello = gateway.get(gateway.admin(), "hello/hello").await;
    assert_eq!(hello.status, 200, "{hello:?}");
    assert!(hello.json()["message"].is_string(), "{hello:?}");
    let pods = gateway.get(gateway.admin(), "hello/pods").await;
    assert_eq!(pods.status, 200, "{pods:?}");
    assert!(pods.body.contains("kite-plugin-hello-"), "{pods:?}");
    let echo = gateway
        .request(Method::POST, "hello/echo")
        .bearer_auth(gateway.admin())
        .body("a\0b\u{fc}");
    let echo = send(echo).await;
    assert_eq!((echo.status, echo.body.as_str()), (200, "a\0b\u{fc}"));
    for (name, value) in [
        ("content-security-policy", "sandbox"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(hello.headers.get(name).unwrap(), value);
    }
}

#[tokio::test]
async fn a_large_body_is_echoed_whole() {
    let gateway = Gateway::from_env();
    let body: Vec<u8> = (0..8 * 1024 * 1024_u32)
        .map(|n| n.to_le_bytes()[usize::from(n.to_le_bytes()[3])])
        .collect();
    let request = gateway
        .request(Method::POST, "hello/echo")
        .bearer_auth(gateway.admin())
        .body(body.clone());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.unwrap() == body, "the body came back changed");
}

#[tokio::test]
async fn without_a_valid_token_it_is_401() {
    let gateway = Gateway::from_env();
    let none = send(gateway.request(Method::GET, "hello/hello")).await;
    let junk = gateway.get(JUNK, "hello/hello").await;
    let unknown = gateway.get(JUNK, "no-such-plugin/x").await;
    let list = send(gateway.request(Method::GET, "")).await;
    for answer in [none, junk, unknown, list] {
        assert_eq!(answer.problem().0, 401);
        assert_eq!(answer.headers.get("www-authenticate").unwrap(), "Bearer");
    }
}

#[tokio::test]
async fn without_rights_it_is_403_with_one_text() {
    scope("forbidden", async |scope| {
        let token = scope.user("", &[]).await;
        let known = scope.gateway.get(&token, "hello/hello").await;
        let unknown = scope.gateway.get(&token, "olleh/hello").await;
        assert_eq!(known.problem().0, 403);
        assert_eq!(known.problem_text(), unknown.problem_text());
        let known = scope
            .gateway
            .tool(&token, "plugin_hello_hello", json!({"name": "x"}))
            .await;
        let unknown = scope
            .gateway
            .tool(&token, "plugin_olleh_hello", json!({"name": "x"}))
            .await;
        assert_eq!(known.problem().0, 403);
        assert_eq!(known.problem_text(), unknown.problem_text());
        let list = scope.gateway.get(&token, "").await;
        assert_eq!(
            (list.status, list.json()),
            (200, json!([])),
            "who may use none sees none"
        );
    })
    .await;
}

#[tokio::test]
async fn kite_plugins_user_is_enough_to_use_it() {
    scope("user", async |scope| {
        let token = scope.user("", &["kite-plugins-user"]).await;
        // Bindings reach the authorizer through a watch.
        eventually("the user may use hello", SOON, async || {
            let answer = scope.gateway.get(&token, "hello/hello").await;
            if answer.status == 200 {
                Ok(())
            } else {
                Err(format!("{answer:?}"))
            }
        })
        .await;
        let tool = scope
            .gateway
            .tool(&token, "plugin_hello_hello", json!({"name": "Ann"}))
            .await;
        assert_eq!(tool.status, 200, "{tool:?}");
        assert!(names(&scope.gateway.get(&token, "").await.json()).contains(&"hello".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn an_unknown_plugin_is_404_and_a_disabled_one_503() {
    scope("disabled", async |scope| {
        let admin = scope.gateway.admin();
        assert_eq!(scope.gateway.get(admin, "no-such-plugin/x").await.problem().0, 404);
        let plugin = scope.loaded_plugin("", |_| {}).await;
        assert_eq!(scope.gateway.get(admin, &format!("{plugin}/hello")).await.status, 200);
        scope.patch_plugin(&plugin, json!({"spec": {"enabled": false}})).await;
        scope.wait_for_phase(&plugin, Phase::Disabled).await;
        scope.wait_for_answer(&plugin, 503).await;
        scope.gateway.get(admin, &format!("{plugin}/hello")).await.problem();
        eventually("its pods are gone", SOON * 4, async || {
            let pods = scope.pods_of(&plugin).await;
            if pods.is_empty() {
                Ok(())
            } else {
                Err(format!("{} pods", pods.len()))
            }
        })
        .await;
        scope.patch_plugin(&plugin, json!({"spec": {"enabled": null}})).await;
        scope.wait_for_phase(&plugin, Phase::Loaded).await;
        scope.wait_for_answer(&plugin, 200).await;
    })
    .await;
}

#[tokio::test]
async fn two_plugins_of_one_image_serve_at_once() {
    scope("second", async |scope| {
        let plugin = scope.loaded_plugin("", |_| {}).await;
        let admin = scope.gateway.admin();
        let (first, second) = (
            scope.gateway.get(admin, "hello/pods").await,
            scope.gateway.get(admin, &format!("{plugin}/pods")).await,
        );
        assert_eq!((first.status, second.status), (200, 200), "{first:?} {second:?}");
        let tool = scope
            .gateway
            .tool(admin, &format!("plugin_{plugin}_hello"), json!({"name": "Ann"}))
            .await;
        assert_eq!(tool.status, 200, "{tool:?}");
        let list = names(&scope.gateway.get(admin, "").await.json());
        assert!(list.contains(&"hello".to_owned()) && list.contains(&plugin), "{list:?}");
        assert!(list.is_sorted(), "{list:?}");
    })
    .await;
}

#[tokio::test]
async fn the_list_says_what_older_clients_read() {
    let gateway = Gateway::from_env();
    for path in ["", "?x=y"] {
        let list = gateway.get(gateway.admin(), path).await.json();
        let hello = list
            .as_array()
            .unwrap()
            .iter()
            .find(|plugin| plugin["name"] == "hello")
            .unwrap()
            .clone();
        assert_eq!(
            hello,
            json!({"name": "hello", "version": "0.1.0", "description": "Greets, and lists the pods around it", "state": "loaded"})
        );
    }
    for path in ["manifests", "manifests/", "frontends", "frontends/"] {
        let answer = gateway.get(gateway.admin(), path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "[]"), "{path}");
    }
}

#[tokio::test]
async fn each_replica_answers_each_request() {
    scope("replicas", async |scope| {
        let replicas = scope.gateway_replicas().await;
        assert_eq!(replicas.len(), 2);
        for replica in replicas {
            assert_eq!(replica.get(replica.admin(), "hello/pods").await.status, 200);
            assert_eq!(
                replica
                    .tool(replica.admin(), "plugin_hello_hello", json!({"name": "x"}))
                    .await
                    .status,
                200
            );
            assert_eq!(replica.get(JUNK, "hello/pods").await.status, 401);
            for open in ["/healthz", "/readyz"] {
                assert_eq!(send(replica.raw(Method::GET, open)).await.status, 200, "{open}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn hello_lists_the_pods_of_its_own_namespace() {
    scope("pods", async |scope| {
        let hello = scope.pods_of("hello").await;
        let answer = scope.gateway.get(scope.gateway.admin(), "hello/pods").await.json();
        assert_eq!(answer["namespace"], PLUGINS);
        let told = serde_json::to_string(&answer["pods"]).unwrap();
        for pod in hello {
            assert!(told.contains(&pod.name_any()), "{told}");
        }
    })
    .await;
}

fn names(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|plugin| plugin["name"].as_str().map(str::to_owned))
        .collect()
}
