//! What the limits of a plugin's object bound, and which cluster a request is about.
#![cfg(test)]

use std::{fs, io, path::Path, process::Command, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kite_api::KitePluginSpec;
use kite_e2e::testing::{Answer, Gateway, PLUGINS, SOON, Scope, eventually, scope, send};
use kube::{Api, ResourceExt, api::ListParams};
use reqwest::{Body, Method};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// Sets limits in a plugin's object.
fn limited(limits: Value) -> impl FnOnce(&mut KitePluginSpec) {
    move |spec| spec.limits = serde_json::from_value(limits).unwrap()
}

/// The last part of the problem's type, with the status.
fn problem(answer: &Answer) -> (u16, String) {
    let (status, problem) = answer.problem();
    (status, problem.rsplit('/').next().unwrap_or_default().to_owned())
}

/// A body that says something and breaks off when what comes with it is dropped: over HTTP/2 a client that only drops the answer
/// goes on with its body.
fn open_body() -> (Body, oneshot::Sender<()>) {
    let (open, closed) = oneshot::channel::<()>();
    let first = stream::iter([Ok::<_, io::Error>("first")]);
    let end = stream::once(async move {
        let _ = closed.await;
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    (Body::wrap_stream(first.chain(end)), open)
}

fn echo(gateway: &Gateway, plugin: &str, body: impl Into<Body>) -> reqwest::RequestBuilder {
    let request = gateway.request(Method::POST, &format!("{plugin}/echo"));
    request.bearer_auth(gateway.admin()).body(body)
}

#[tokio::test]
async fn starvation_no_more_requests_are_under_way_than_the_object_says() {
    scope("in-flight", async |scope| {
        let plugin = scope.loaded_plugin("", limited(json!({"inFlight": 2}))).await;
        for gateway in scope.gateway_replicas().await {
            let mut open = Vec::new();
            for _ in 0..2 {
                let (body, held) = open_body();
                let answer = echo(&gateway, &plugin, body).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                open.push((answer, held));
            }
            let path = format!("{plugin}/hello");
            let refused = gateway.get(gateway.admin(), &path).await;
            assert_eq!(problem(&refused), (503, "plugin-busy".to_owned()));
            assert_eq!(refused.headers.get("retry-after").unwrap(), "1");
            let other = gateway.get(gateway.admin(), "hello/hello").await;
            assert_eq!(other.status, 200, "another plugin has places of its own");
            drop(open);
            eventually("places are given back", SOON, async || {
                let answer = gateway.get(gateway.admin(), &path).await;
                if answer.status == 200 {
                    Ok(())
                } else {
                    Err(format!("{answer:?}"))
                }
            })
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_has_no_more_bytes_than_the_object_says() {
    scope("body-bytes", async |scope| {
        let plugin = scope
            .loaded_plugin("", limited(json!({"requestBodyBytes": "1Ki"})))
            .await;
        for gateway in scope.gateway_replicas().await {
            let just = send(echo(&gateway, &plugin, vec![b'a'; 1024])).await;
            assert_eq!((just.status, just.body.len()), (200, 1024));
            let announced = send(echo(&gateway, &plugin, vec![b'a'; 1025])).await;
            assert_eq!(problem(&announced), (413, "body-too-large".to_owned()));
            // hello answers before it has the body, so that an answer that has begun is what breaks off.
            let pieces = stream::iter([Ok::<_, io::Error>(vec![b'a'; 600]), Ok(vec![b'a'; 600])]);
            let answer = echo(&gateway, &plugin, Body::wrap_stream(pieces)).send().await;
            let whole = match answer {
                Ok(answer) if answer.status() == 200 => answer.bytes().await.is_ok(),
                Ok(answer) => answer.status() != 413,
                Err(_) => false,
            };
            assert!(!whole, "a body of 1200 bytes passed");
        }
    })
    .await;
}

/// The process of the plugin's only pod.
async fn process(scope: &Scope, plugin: &str) -> u32 {
    let pods: Api<Pod> = Api::namespaced(scope.client.clone(), PLUGINS);
    let selector = ListParams::default().labels(&format!("kite.dev/plugin={plugin}"));
    let pods = pods.list(&selector).await.unwrap().items;
    let [pod] = pods.as_slice() else { panic!("{pods:?}") };
    let uid = pod.uid().unwrap();
    let of_pod = |pid: &u32| {
        let process = Path::new("/proc").join(pid.to_string());
        let file = |name: &str| fs::read_to_string(process.join(name)).unwrap_or_default();
        file("cgroup").contains(&uid) && file("cmdline").starts_with("/plugin")
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    let mut numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.find(of_pod).expect("the pod's process")
}

fn signal(process: u32, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &process.to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn a_plugin_that_hangs_has_as_long_as_its_object_says() {
    scope("hangs", async |scope| {
        let plugin = scope.loaded_plugin("", limited(json!({"timeoutSeconds": 1}))).await;
        let process = process(&scope, &plugin).await;
        signal(process, "-STOP");
        let gateway = &scope.gateway;
        let path = format!("{plugin}/hello");
        let hung = tokio::time::timeout(Duration::from_secs(20), gateway.get(gateway.admin(), &path)).await;
        signal(process, "-CONT");
        assert_eq!(problem(&hung.unwrap()), (504, "plugin-timeout".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_request_is_about_the_home_cluster_or_about_none_that_is_known() {
    let gateway = Gateway::from_env();
    let ask = async |query: &str, fields: &[(&str, &str)]| {
        let mut request = gateway.request(Method::GET, &format!("hello/hello{query}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        send(request.bearer_auth(gateway.admin())).await
    };
    for (query, fields) in [
        ("?x-cluster-name=home", &[][..]),
        ("", &[("x-cluster-name", "home")]),
        ("", &[("cookie", "x-cluster-name=home")]),
        (
            "?x-cluster-name=home",
            &[("x-cluster-name", "home"), ("cookie", "x-cluster-name=home")],
        ),
    ] {
        assert_eq!(ask(query, fields).await.status, 200, "{query} {fields:?}");
    }
    for (query, fields) in [
        ("?x-cluster-name=other", &[][..]),
        ("", &[("x-cluster-name", "other")]),
        ("", &[("cookie", "a=b; x-cluster-name=other")]),
    ] {
        let unknown = problem(&ask(query, fields).await);
        assert_eq!(unknown, (404, "no-such-cluster".to_owned()), "{query} {fields:?}");
    }
    for (query, fields) in [
        ("?x-cluster-name=home&x-cluster-name=home", &[][..]),
        ("?x-cluster-name=home", &[("x-cluster-name", "other")]),
    ] {
        let unclear = problem(&ask(query, fields).await);
        assert_eq!(unclear, (400, "ambiguous-cluster".to_owned()), "{query} {fields:?}");
    }
}
