//! Sessions on two gateways without affinity: whoever logs in at one is known at the other, until they log out at either.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kite_e2e::testing::{Answer, Gateway, SOON, SYSTEM, Scope, eventually, scope, send};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::interval;

const SESSION: &str = "/api/v1/session";
const SECRET: &str = "kite-gateway-sessions";
const KEY: &str = "sessions.json";
/// What a logout may take to be seen everywhere: 5 s where the machine does nothing else.
const LOGOUT: Duration = Duration::from_mins(1);

/// A request as a page of the dashboard makes it.
fn from_page(request: RequestBuilder) -> RequestBuilder {
    request.header("sec-fetch-site", "same-origin")
}

async fn log_in(gateway: &Gateway, token: &str) -> Answer {
    let request = gateway.raw(Method::POST, SESSION).json(&json!({ "token": token }));
    send(from_page(request)).await
}

/// What a browser sends that was given the cookies of `answer`.
fn cookie(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    let set = answer.headers.get_all("set-cookie").iter();
    let pairs = set.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap());
    pairs.collect::<Vec<_>>().join("; ")
}

async fn who(gateway: &Gateway, cookie: &str) -> Answer {
    send(gateway.raw(Method::GET, SESSION).header("cookie", cookie)).await
}

async fn two(scope: &Scope) -> (Gateway, Gateway) {
    let mut replicas = scope.gateway_replicas().await.into_iter();
    let two = (replicas.next().unwrap(), replicas.next().unwrap());
    assert!(replicas.next().is_none());
    two
}

#[tokio::test]
async fn a_session_is_one_on_every_gateway_and_so_is_its_end() {
    scope("session", async |scope| {
        let token = scope.user("", &["kite-plugins-user"]).await;
        let (one, other) = two(&scope).await;
        let answer = log_in(&one, &token).await;
        let set = answer.headers.get("set-cookie").unwrap().to_str().unwrap().to_owned();
        for attribute in ["; HttpOnly", "; Secure", "; SameSite=Strict", "; Path=/"] {
            assert!(set.contains(attribute), "{set}");
        }
        assert!(!set.contains(&token));
        let cookie = cookie(&answer);
        let told = who(&other, &cookie).await;
        assert_eq!((told.status, told.json()), (200, answer.json()));
        assert_eq!(told.json()["user"]["name"], "system:serviceaccount:default:session");
        assert_eq!(told.json()["method"], "session");
        eventually("the user may use hello", SOON, async || {
            let request = other.request(Method::GET, "hello/hello").header("cookie", &cookie);
            match send(request).await {
                Answer { status: 200, .. } => Ok(()),
                answer => Err(format!("{answer:?}")),
            }
        })
        .await;
        let tool = other
            .request(Method::POST, "tools/plugin_hello_hello")
            .header("cookie", &cookie)
            .json(&json!({"arguments": {"name": "Ann"}}));
        assert_eq!(send(from_page(tool)).await.status, 200);

        let end = other.raw(Method::DELETE, SESSION).header("cookie", &cookie);
        assert_eq!(send(from_page(end)).await.status, 204);
        assert_eq!(
            who(&other, &cookie).await.problem().0,
            401,
            "at once where it was ended"
        );
        eventually("the logout is seen at the other gateway", LOGOUT, async || {
            match who(&one, &cookie).await.status {
                401 => Ok(()),
                status => Err(status.to_string()),
            }
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn cross_site_a_session_changes_nothing_for_another_page() {
    let gateway = Gateway::from_env();
    let cookie = cookie(&log_in(&gateway, gateway.admin()).await);
    let tool = || {
        gateway
            .request(Method::POST, "tools/plugin_hello_hello")
            .header("cookie", &cookie)
            .json(&json!({"arguments": {"name": "Ann"}}))
    };
    let login = || {
        gateway
            .raw(Method::POST, SESSION)
            .json(&json!({"token": gateway.admin()}))
    };
    let events = || {
        gateway
            .request(Method::GET, "hello/hello")
            .header("cookie", &cookie)
            .header("accept", "text/event-stream")
    };
    for request in [tool(), login(), events()] {
        let silent = request.try_clone().unwrap();
        let cross = request.try_clone().unwrap().header("sec-fetch-site", "cross-site");
        let evil = request.header("origin", "https://evil.example");
        for request in [silent, cross, evil] {
            let (status, kind) = send(request).await.problem();
            assert_eq!((status, kind.as_str()), (403, "https://kite.dev/problems/cross-site"));
        }
    }
    let own = gateway.raw(Method::GET, "/").build().unwrap().url().origin();
    let request = tool().header("origin", own.ascii_serialization());
    assert_eq!(send(request).await.status, 200);
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    scope("sessionless", async |scope| {
        let token = scope.user("", &[]).await;
        let gateway = &scope.gateway;
        let cookie = cookie(&log_in(gateway, &token).await);
        assert_eq!(who(gateway, &cookie).await.status, 200);
        let accounts: Api<ServiceAccount> = Api::namespaced(scope.client.clone(), "default");
        accounts.delete(&scope.name, &DeleteParams::default()).await.unwrap();
        eventually(
            "the session of a token that is no more is over",
            SOON * 2,
            async || match who(gateway, &cookie).await.status {
                401 => Ok(()),
                status => Err(status.to_string()),
            },
        )
        .await;
        assert_eq!(log_in(gateway, "junk").await.problem().0, 401);
    })
    .await;
}

/// The keys of the sessions, and the Secret in which they are.
async fn keys(secrets: &Api<Secret>) -> (Secret, Value) {
    let secret = secrets.get(SECRET).await.unwrap();
    let text = secret.data.as_ref().unwrap().get(KEY).unwrap();
    let shared = serde_json::from_slice(&text.0).unwrap();
    (secret, shared)
}

fn number(shared: &Value) -> usize {
    shared["keys"].as_array().unwrap().len()
}

#[tokio::test]
async fn sessions_go_on_when_keys_change() {
    scope("session-keys", async |scope| {
        let (one, other) = two(&scope).await;
        // One of its own: there is a bound on the sessions that one caller may begin.
        let token = scope.user("", &[]).await;
        let old = cookie(&log_in(&one, &token).await);
        let secrets: Api<Secret> = Api::namespaced(scope.client.clone(), SYSTEM);
        // As if they had been made half a day ago. Whoever writes at the same time wins.
        let before = eventually("the keys are old", SOON, async || {
            let (mut secret, mut shared) = keys(&secrets).await;
            for key in shared["keys"].as_array_mut().unwrap() {
                let made = key["made"].as_u64().unwrap();
                key["made"] = (made - 12 * 60 * 60).into();
            }
            let data = secret.data.as_mut().unwrap();
            data.get_mut(KEY).unwrap().0 = serde_json::to_vec(&shared).unwrap();
            let replaced = secrets.replace(SECRET, &PostParams::default(), &secret).await;
            replaced.map(|_| number(&shared)).map_err(|error| error.to_string())
        })
        .await;
        let after = eventually("a gateway has made a new key", SOON, async || {
            let (_, shared) = keys(&secrets).await;
            if number(&shared) > before {
                Ok(number(&shared))
            } else {
                Err(shared["keys"].as_array().unwrap().len().to_string())
            }
        })
        .await;
        assert_eq!(after, before + 1, "one of the two has made it");
        // Until the new key seals, and after it does.
        let mut last = cookie(&log_in(&one, &token).await);
        let first = last.clone();
        let mut log_ins = interval(Duration::from_secs(1));
        eventually("the new key seals", SOON * 3, async || {
            for cookie in [&old, &last] {
                for gateway in [&one, &other] {
                    assert_eq!(who(gateway, cookie).await.status, 200);
                }
            }
            log_ins.tick().await;
            last = cookie(&log_in(&one, &token).await);
            // Version and key come first.
            let head = |cookie: &str| cookie["auth_token=".len()..][..20].to_owned();
            if head(&last) == head(&first) {
                Err("the old key seals".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
        for gateway in [&one, &other] {
            assert_eq!(who(gateway, &last).await.status, 200);
        }
    })
    .await;
}
