//! What the gateway records of requests: audit and access log in its pods' logs, its metrics, and its state.

use kite_e2e::testing::{SOON, Scope, eventually, scope, send};
use reqwest::Method;
use serde_json::{Value, json};

/// The records of the audit, or the lines of the access log, that are about the requests whose ids begin with this.
async fn lines(scope: &Scope, begin: &str, of: fn(&Value) -> &Value) -> Vec<Value> {
    let log = scope.gateway_log().await;
    let objects = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut mine: Vec<_> = objects
        .filter(|line| of(line).as_str().is_some_and(|id| id.starts_with(begin)))
        .collect();
    mine.sort_by_key(|line| of(line).to_string());
    mine
}

/// What stands at these keys of an object, as one text.
fn picked(object: &Value, keys: &[&str]) -> String {
    let text = |key: &&str| match &object[*key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    keys.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// Sends requests with ids that begin so: operations of each kind, and some that are refused.
async fn ask(scope: &Scope, begin: &str, stranger: &str) {
    let admin = scope.gateway.admin();
    let tool = r#"{"arguments": {"name": "s3cret"}}"#;
    let asked = [
        (Method::GET, "hello/hello?token=s3cret", admin, ""),
        (Method::POST, "hello/echo", admin, "s3cret"),
        (Method::POST, "tools/plugin_hello_hello", admin, tool),
        (Method::GET, "hello/hello", stranger, ""),
        (Method::PUT, "no-such-plugin/x", admin, ""),
    ];
    for (number, (method, path, token, body)) in asked.into_iter().enumerate() {
        let request = scope.gateway.request(method, path).bearer_auth(token).body(body);
        send(request.header("x-request-id", format!("{begin}-{number}"))).await;
    }
}

#[tokio::test]
async fn each_operation_leaves_a_record_and_each_request_a_line() {
    scope("record", async |scope| {
        let stranger = scope.user("", &[]).await;
        // Of this run alone: the pods' logs go back further.
        let begin = format!("record-{}", std::process::id());
        ask(&scope, &begin, &stranger).await;
        let audit = eventually("all is in the audit", SOON, async || {
            let audit = lines(&scope, &begin, |line| &line["requestId"]).await;
            if audit.len() == 5 {
                Ok(audit)
            } else {
                Err(format!("{audit:?}"))
            }
        })
        .await;
        let keys = ["kind", "cluster", "plugin", "operation", "outcome", "status", "error"];
        let told: Vec<_> = audit.iter().map(|record| picked(record, &keys)).collect();
        assert_eq!(
            told,
            [
                "plugin home hello get /hello succeeded 200 null",
                "plugin home hello create /echo succeeded 200 null",
                "plugin_tool home hello hello succeeded 200 null",
                "plugin home hello get /hello refused 403 forbidden",
                "plugin home no-such-plugin update /x refused 404 no-such-plugin",
            ]
        );
        for record in &audit {
            assert!(record["source"].is_string() && record["user"].is_string(), "{record}");
        }
        assert!(
            audit[0]["revision"].is_u64() && audit[3]["revision"].is_null(),
            "{audit:?}"
        );
        let log = eventually("all is in the access log", SOON, async || {
            let log = lines(&scope, &begin, |line| &line["fields"]["request_id"]).await;
            if log.len() == 5 {
                Ok(log)
            } else {
                Err(format!("{log:?}"))
            }
        })
        .await;
        let keys = ["path", "status", "received_bytes", "sent_bytes"];
        assert_eq!(picked(&log[1]["fields"], &keys), "/api/v1/plugins/hello/echo 200 6 6");
        let secrets = [scope.gateway.admin(), &stranger, "s3cret"];
        let all = scope.gateway_log().await;
        assert!(
            !secrets.iter().any(|secret| all.contains(secret)),
            "a secret is in the log"
        );
    })
    .await;
}

#[tokio::test]
async fn the_metrics_are_for_those_who_may_read_them() {
    scope("metrics", async |scope| {
        let stranger = scope.user("-stranger", &["kite-plugins-user"]).await;
        let reader = scope.user("-reader", &["kite-plugins-metrics-reader"]).await;
        let metrics = |token: String| {
            let gateway = scope.gateway.clone();
            async move { send(gateway.raw(Method::GET, "/metrics").bearer_auth(token)).await }
        };
        assert_eq!(metrics(stranger).await.problem().0, 403);
        assert_eq!(send(scope.gateway.raw(Method::GET, "/metrics")).await.problem().0, 401);
        let page = eventually("the reader may read", SOON, async || {
            let answer = metrics(reader.clone()).await;
            if answer.status == 200 {
                Ok(answer)
            } else {
                Err(format!("{answer:?}"))
            }
        })
        .await;
        let media_type = page.headers.get("content-type").unwrap().to_str().unwrap();
        assert!(media_type.starts_with("application/openmetrics-text"), "{media_type}");
        for part in [
            r#"kite_gateway_requests_in_flight{plugin="hello"}"#,
            "kite_gateway_audit_ok 1",
            "kite_gateway_certificate_expiry_timestamp_seconds ",
            "# EOF",
        ] {
            assert!(page.body.contains(part), "no {part} in {}", page.body);
        }
    })
    .await;
}

#[tokio::test]
async fn readyz_says_what_was_looked_at_and_nothing_else() {
    scope("readyz", async |scope| {
        for replica in scope.gateway_replicas().await {
            let state = send(replica.raw(Method::GET, "/readyz")).await;
            assert_eq!(state.status, 200, "{state:?}");
            let checks = state.json()["checks"].as_array().cloned().unwrap();
            let told: Vec<_> = checks.iter().map(|check| (&check["name"], &check["ok"])).collect();
            let ok = json!(true);
            let names = ["directory", "ending", "certificate", "api-server", "audit"].map(Value::from);
            assert_eq!(
                told,
                names.iter().map(|name| (name, &ok)).collect::<Vec<_>>(),
                "{state:?}"
            );
            assert!(!state.body.contains("hello"), "{state:?}");
        }
    })
    .await;
}
