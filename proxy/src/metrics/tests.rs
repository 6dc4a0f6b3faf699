//! The page, and whose figures are on it.

mod convention;

use std::time::Duration;

use super::*;
use crate::{
    account::{Class, Doing},
    audit::Lines,
};

fn name(name: &str) -> PluginName {
    PluginName::parse(name).unwrap()
}

fn page(metrics: &Metrics) -> Vec<String> {
    let trail = Trail::start(Lines::to(Vec::new())).unwrap();
    let text = metrics.text(HashMap::from([(name("hello"), 2)]), &trail, None);
    assert!(text.ends_with("# EOF\n"), "{text}");
    text.lines().map(str::to_owned).collect()
}

fn table(names: &[&str]) -> Table {
    let entry = || crate::directory::Entry {
        version: "1.0.0".to_owned(),
        description: String::new(),
        enabled: true,
        phase: kite_api::Phase::Loaded,
        trouble: None,
        active: None,
        draining: Vec::new(),
        tools: [].into(),
        limits: kite_api::RequestLimits::default(),
    };
    names.iter().map(|it| (name(it), entry())).collect()
}

/// The metrics when something of everything was counted, and a request is under way.
fn counted() -> (Metrics, UnderWay) {
    let metrics = Metrics::default();
    metrics.changed(&table(&["hello"]));
    metrics.certificate_ends(Timestamp::from_second(1000).unwrap());
    let figures = metrics.of(Some(&name("hello")));
    figures.ended(Class::Plugin, Doing::Read, Code::Successful);
    figures.took(Class::Plugin, Duration::from_millis(3));
    figures.passed(5, 7);
    figures.problem("forbidden");
    figures.endpoint_failed();
    metrics.decisions.found(Found::Fresh);
    metrics.decisions.asked(Duration::from_millis(1), false);
    (metrics, UnderWay::of(figures))
}

#[test]
fn what_is_counted_is_told() {
    let (metrics, _under_way) = counted();
    let page = page(&metrics);
    for line in [
        r#"kite_gateway_requests_total{plugin="hello",route="plugin",method="read",code="2xx"} 1"#,
        r#"kite_gateway_request_duration_seconds_bucket{le="0.0025",plugin="hello",route="plugin"} 0"#,
        r#"kite_gateway_request_duration_seconds_bucket{le="0.005",plugin="hello",route="plugin"} 1"#,
        r#"kite_gateway_request_duration_seconds_bucket{le="+Inf",plugin="hello",route="plugin"} 1"#,
        r#"kite_gateway_request_duration_seconds_count{plugin="hello",route="plugin"} 1"#,
        r#"kite_gateway_problems_total{plugin="hello",problem="forbidden"} 1"#,
        r#"kite_gateway_requests_in_flight{plugin="hello"} 1"#,
        r#"kite_gateway_request_bytes_total{plugin="hello"} 5"#,
        r#"kite_gateway_response_bytes_total{plugin="hello"} 7"#,
        r#"kite_gateway_endpoint_failures_total{plugin="hello"} 1"#,
        r#"kite_gateway_upstream_connections{plugin="hello"} 2"#,
        r#"kite_gateway_lookups_total{question="right",found="fresh"} 1"#,
        r#"kite_gateway_api_server_failures_total{question="right"} 1"#,
        r#"kite_gateway_api_server_duration_seconds_count{question="right"} 1"#,
        "kite_gateway_directory_changes_total 1",
        "kite_gateway_certificate_expiry_timestamp_seconds 1000",
        "kite_gateway_audit_ok 1",
        "kite_gateway_audit_lost_total 0",
        concat!(
            r#"kite_gateway_build_info{version=""#,
            env!("CARGO_PKG_VERSION"),
            r#""} 1"#
        ),
    ] {
        assert!(page.iter().any(|it| it == line), "no {line} in {page:#?}");
    }
    assert!(
        page.iter()
            .any(|line| line.starts_with("process_resident_memory_bytes "))
    );
}

#[test]
fn plugins_that_are_gone_are_forgotten_and_others_are_never_known() {
    let metrics = Metrics::default();
    metrics.changed(&table(&["hello", "other"]));
    for plugin in ["hello", "other", "stranger"] {
        metrics
            .of(Some(&name(plugin)))
            .ended(Class::Plugin, Doing::Change, Code::ClientError);
    }
    let counts = |metrics: &Metrics| {
        let counts = page(metrics).into_iter();
        let mut counts: Vec<_> = counts
            .filter_map(|line| {
                line.strip_prefix("kite_gateway_requests_total{plugin=")
                    .map(str::to_owned)
            })
            .collect();
        counts.sort_unstable();
        counts
    };
    let line = |plugin: &str| format!(r#""{plugin}",route="plugin",method="change",code="4xx"}} 1"#);
    assert_eq!(counts(&metrics), [line(""), line("hello"), line("other")]);
    metrics.changed(&table(&["other", "young"]));
    assert_eq!(counts(&metrics), [line(""), line("other")]);
    assert!(!page(&metrics).concat().contains("hello"));
    metrics.changed(&table(&["hello", "other"]));
    assert_eq!(counts(&metrics), [line(""), line("other")], "it begins at nothing");
}

#[test]
fn a_request_is_under_way_until_it_is_dropped() {
    let metrics = Metrics::default();
    let under_way = UnderWay::of(metrics.of(None));
    let line = |number| format!(r#"kite_gateway_requests_in_flight{{plugin=""}} {number}"#);
    assert!(page(&metrics).contains(&line(1)));
    drop(under_way);
    assert!(page(&metrics).contains(&line(0)));
}
