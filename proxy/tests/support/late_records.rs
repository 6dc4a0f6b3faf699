//! What is recorded of requests that go on after the head of their answer.

use std::sync::{Arc, atomic::Ordering};

use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::{
    LIMIT, SHORT, Scene,
    limits::call_by_events,
    records::{gated, picked},
    served::Served,
    socket::Peer as Socket,
    socket_frames::{close, masked},
    tools::events,
};

const RECORD: [&str; 4] = ["operation", "outcome", "status", "error"];
const LINE: [&str; 4] = ["route", "status", "end", "problem"];

#[tokio::test]
async fn a_call_by_events_is_recorded_as_it_ends() {
    let scene = Scene::new().await;
    for tool in ["halfway", "fail", "silent"] {
        assert_eq!(scene.whole(call_by_events(tool)).await.unwrap().status, 200, "{tool}");
    }
    // One whose caller goes away before the result.
    let mut begun = scene.gateway.answer(call_by_events("begun")).await.into_body();
    begun.frame().await.unwrap().unwrap();
    assert_eq!(scene.records.audit().await.len(), 3, "it has not ended");
    drop(begun);
    let audit = scene.records.audit().await;
    let told: Vec<_> = audit.iter().map(|record| picked(record, &RECORD)).collect();
    assert_eq!(
        told,
        [
            "halfway succeeded 200 null",
            "fail failed 502 tool-failed",
            "silent failed 502 plugin-answer-invalid",
            "begun cancelled null null",
        ]
    );
    let log = scene.records.log();
    let told: Vec<_> = log.iter().map(|line| picked(line, &LINE)).collect();
    assert_eq!(
        told,
        [
            "tool 200 complete null",
            "tool 502 complete tool-failed",
            "tool 502 complete plugin-answer-invalid",
            "tool null cancelled null",
        ]
    );
    let recorder = &scene.records.recorder;
    let metrics = recorder.metrics.text([].into(), &recorder.trail, None);
    for (code, count) in [("2xx", 1), ("5xx", 2), ("cancelled", 1)] {
        let is_it = |line: &&str| {
            line.starts_with("kite_gateway_requests_total{")
                && line.contains(r#"route="tool""#)
                && line.contains(&format!(r#"code="{code}""#))
        };
        let line = metrics.lines().find(is_it).unwrap_or_else(|| panic!("{metrics}"));
        assert!(line.ends_with(&format!(" {count}")), "{line}");
    }
}

#[tokio::test]
async fn a_result_is_not_told_before_its_record_is_kept() {
    let (scene, gate) = gated().await;
    let mut answer = scene.gateway.answer(call_by_events("halfway")).await.into_body();
    let progress = timeout(LIMIT, answer.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(events(progress.data_ref().unwrap())[0].0, "progress");
    let mut result = Box::pin(answer.frame());
    assert!(timeout(SHORT, &mut result).await.is_err(), "told too early");
    gate.turns.add_permits(100);
    let result = timeout(LIMIT, result).await.unwrap().unwrap().unwrap();
    assert_eq!(events(result.data_ref().unwrap())[0].0, "result");
    assert_eq!(picked(&gate.lines.lines()[0], &RECORD), "halfway succeeded 200 null");
}

#[tokio::test]
async fn a_result_whose_record_is_lost_is_an_error() {
    let (scene, gate) = gated().await;
    gate.turns.add_permits(100);
    gate.fails.store(true, Ordering::Relaxed);
    let answer = scene.whole(call_by_events("halfway")).await.unwrap();
    let events = events(&answer.body);
    let (name, document) = events.last().unwrap();
    assert_eq!(*name, "error");
    assert!(
        document["type"].as_str().unwrap().ends_with("/audit-failed"),
        "{document}"
    );
    assert_eq!(picked(&scene.records.log()[0], &LINE), "tool 500 complete audit-failed");
}

/// The record of a change whose caller leaves while the sink is stuck.
#[tokio::test]
async fn a_change_whose_caller_leaves_while_records_wait_is_kept_once() {
    let (scene, gate) = gated().await;
    let gateway = Arc::clone(&scene.gateway);
    let change = gateway.answer(super::gateway::request(http::Method::POST, "rogue/echo", "a"));
    assert!(timeout(SHORT, change).await.is_err(), "answered too early");
    gate.turns.add_permits(100);
    let audit = scene.records.audit().await;
    assert_eq!(audit.len(), 1, "{audit:?}");
    assert_eq!(picked(&audit[0], &["operation"]), "create /echo");
}

#[tokio::test]
async fn a_web_socket_is_on_record_from_its_opening_and_logged_at_its_end() {
    let served = Served::new().await;
    let records = &served.scene.records;
    let under_way = || {
        let recorder = &records.recorder;
        let metrics = recorder.metrics.text([].into(), &recorder.trail, None);
        let line = r#"kite_gateway_requests_in_flight{plugin="rogue"} 1"#;
        metrics.lines().any(|it| it == line)
    };
    for (path, ends, expected) in [
        ("", Some(close(1000, b"")), "101 complete"),
        ("", Some(masked(0x83, b"no such frame")), "101 cancelled"),
        ("", None, "101 cancelled"),
        ("-close", Some(close(4001, b"bye")), "101 complete"),
        ("-broken?status", Some(close(1011, b"")), "101 broken"),
    ] {
        records.forget().await;
        let mut peer = Socket::open(&served, &format!("/api/v1/plugins/rogue/socket{path}"), &[]).await;
        let audit = records.audit().await;
        assert_eq!(picked(&audit[0], &["outcome", "status"]), "succeeded 101");
        assert!(records.log().is_empty() && under_way(), "{path} is open");
        if let Some(bytes) = ends {
            peer.send(&bytes).await;
            while peer.frame().await.is_some() {}
        }
        drop(peer);
        let log = async {
            loop {
                match records.log().pop() {
                    Some(line) => return line,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        let line = timeout(LIMIT, log).await.unwrap();
        assert_eq!(picked(&line, &["status", "end"]), expected, "{path}");
        let (head, whole) = (line["head_ms"].as_f64(), line["duration_ms"].as_f64());
        assert!(head < whole, "{line}");
        assert!(!under_way());
        assert_eq!(records.audit().await.len(), 1, "one operation, one record");
    }
}
