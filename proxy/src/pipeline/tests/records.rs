//! What the gateway tells of requests and of itself: records, metrics and its state.

use std::{io, sync::atomic::Ordering};

use super::*;
use crate::{
    audit::{Lines, Trail},
    metrics::OPEN_METRICS,
};

/// The records of the audit.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// What has its records written here.
    pub(super) fn recorder(&self) -> Arc<Recorder> {
        Arc::new(Recorder {
            cluster: "home".into(),
            trail: Trail::start(Lines::to(self.clone())).unwrap(),
            access_log: None,
            metrics: Arc::default(),
            traces: None,
        })
    }
}

impl Asking {
    async fn recorded(&self) -> Vec<Value> {
        self.gateway.recorder.trail.settle().await;
        let written = self.written.0.lock().unwrap();
        let lines = written.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn a_gateway_is_ready_between_its_first_list_and_its_end() {
    for path in ["/healthz", "/readyz"] {
        assert_eq!(asking(Some(table())).ask("GET", path, "", "").await.status, 200);
    }
    let starting = asking(None);
    assert_eq!(starting.ask("GET", "/healthz", "", "").await.status, 200);
    for path in ["/readyz", "/api/v1/plugins/", "/api/v1/plugins/hello/"] {
        let seen = starting.ask("GET", path, "admin", "").await;
        assert_eq!((seen.status, seen.slug()), (503, "not-ready"), "{path}");
    }
    let ending = asking(Some(table()));
    ending.gateway.ending.store(true, Ordering::Relaxed);
    assert_eq!(ending.ask("GET", "/readyz", "", "").await.status, 503);
    assert_eq!(ending.ask("GET", "/api/v1/plugins/", "admin", "").await.status, 200);
}

#[tokio::test]
async fn the_state_is_told_check_by_check_and_names_no_plugin() {
    let seen = asking(Some(table())).ask("GET", "/readyz", "", "").await;
    let names: Vec<_> = seen.body["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| &check["name"])
        .collect();
    assert_eq!(names, ["directory", "ending", "certificate", "api-server", "audit"]);
    assert!(!seen.body.to_string().contains("hello"), "{}", seen.body);
    let seen = asking(None).ask("GET", "/readyz", "", "").await;
    assert_eq!(seen.body["checks"][0]["ok"], false, "{}", seen.body);
    assert_eq!(seen.body["checks"][1]["ok"], true);
}

#[tokio::test]
async fn the_metrics_are_for_those_who_may_read_them() {
    let asking = asking(Some(table()));
    asking.gateway.recorder.metrics.changed(&table());
    for path in ["/api/v1/plugins/hello/x", "/api/v1/plugins/secret-name/x"] {
        asking.ask("GET", path, "stranger", "").await;
    }
    asking.asked();
    let response = asking
        .gateway
        .answer(request("GET", "/metrics", "prometheus", ""))
        .await;
    assert_eq!(asking.asked(), ["who", "/metrics"]);
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], OPEN_METRICS);
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    for (plugin, number) in [("hello", 1), ("", 1)] {
        let line = format!(r#"kite_gateway_problems_total{{plugin="{plugin}",problem="forbidden"}} {number}"#);
        assert!(text.lines().any(|it| it == line), "no {line} in {text}");
    }
    assert!(!text.contains("secret-name"), "{text}");
}

#[tokio::test]
async fn refusals_leave_a_record_once_a_plugin_is_named() {
    let asking = asking(Some(table()));
    for (method, path, token) in [
        ("GET", "/api/v1/plugins/hello/x", "junk"),
        ("GET", "/api/v1/plugins/Bad_Name/x", "admin"),
        ("GET", "/api/v1/plugins/", "admin"),
        ("GET", "/api/v1/plugins/hello/x?token=1", "stranger"),
        ("PATCH", "/api/v1/plugins/unknown/x", "admin"),
        ("POST", "/api/v1/plugins/tools/plugin_off_greet", "admin"),
    ] {
        asking.ask(method, path, token, "").await;
    }
    let mut told: Vec<_> = asking.recorded().await;
    told.sort_by_key(|record| record["time"].as_str().unwrap().to_owned());
    let keys = ["user", "plugin", "revision", "operation", "outcome", "error"];
    let told: Vec<_> = told
        .iter()
        .map(|record| keys.map(|key| record[key].to_string()).join(" "))
        .collect();
    assert_eq!(
        told,
        [
            r#""stranger" "hello" null "get /x" "refused" "forbidden""#,
            r#""admin" "unknown" null "patch /x" "refused" "no-such-plugin""#,
            r#""admin" "off" null "greet" "failed" "not-loaded""#,
        ]
    );
}
