//! What a Prometheus server reads of the operator.

mod by_name;
#[cfg(test)]
mod convention;
mod plugins;
mod queue;
mod told;

use std::{
    fmt::Debug,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use kube::runtime::reflector::Store;
use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Metric, Registry},
};

use strum::IntoEnumIterator;

pub use self::queue::Queue;
use self::{by_name::ByName, plugins::Plugins, told::Told};
use crate::{controller::object::Object, identity::rotation::Stage};

/// The media type of `OpenMetrics` text, version 1.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper ends of the buckets, in seconds: from a look that finds all well to the protocol's longest answer.
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// One label out of a closed set.
type Label = [(&'static str, &'static str); 1];
/// Two of them.
type Labels = [(&'static str, &'static str); 2];
type Number = Gauge<u64, AtomicU64>;

/// The figures, shared by those who know them and the route that tells.
#[derive(Clone, Debug)]
pub struct Metrics {
    refused: ByName,
    plugin_certificates: ByName,
    told: Told,
    plugins: Plugins,
    faults: Number,
    known: Number,
    bindings: Number,
    leads: Number,
    terms: Counter,
    reconciles: Counter,
    errors: Family<Label, Counter>,
    durations: Histogram,
    answers: Family<Label, Histogram, fn() -> Histogram>,
    certificates: Family<Label, Number>,
    rotations: Family<Labels, Number>,
    registry: Arc<Registry>,
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

/// Registers a number for each plugin that has one, and returns it.
fn by_plugin(registry: &mut Registry, name: &'static str, help: &'static str) -> ByName {
    let numbers = ByName::new("plugin", name, help);
    registry.register_collector(Box::new(numbers.clone()));
    numbers
}

/// Registers `metric`, and returns it.
fn registered<M: Metric + Clone + Debug>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Default for Metrics {
    fn default() -> Self {
        let mut all = Registry::with_prefix("kite_operator");
        let help = "Permissions of a plugin that the rules of the API refuse and the operator does not give";
        let refused = by_plugin(&mut all, "refused_permissions", help);
        let help = "When the certificate of a plugin ends";
        let plugin_certificates = by_plugin(&mut all, "plugin_certificate_expiry_timestamp_seconds", help);
        let plugins = Plugins::default();
        all.register_collector(Box::new(plugins.clone()));
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        all.register("build", "The version of the operator", version);
        let mut gauge = |name, help| registered(&mut all, name, help, Number::default());
        let help = "Policies of the boundary that are missing, altered or not bound";
        let faults = gauge("boundary_faults", help);
        let help = "Whether the policies of the boundary could be read: 1 or 0";
        let known = gauge("boundary_known", help);
        let help = "Bindings that give others than the system more than view in the plugins' namespace";
        let bindings = gauge("boundary_reaching_bindings", help);
        let leads = gauge("leader", "Whether this replica leads: 1 or 0");
        let help = "When a certificate ends that the operator keeps for itself or the gateway";
        let certificates = Family::default();
        let certificates = registered(&mut all, "certificate_expiry_timestamp_seconds", help, certificates);
        let help = "How far the rotation of a CA is: 1 of its present state, 0 of the others";
        let rotations = registered(&mut all, "ca_rotation", help, Family::default());
        let told = Told::registered(&mut all);
        let help = "How often this replica has begun to lead";
        let terms = registered(&mut all, "terms", help, Counter::default());
        let help = "How often a plugin was looked at and brought to where it should be, or was not";
        let reconciles = registered(&mut all, "reconciles", help, Counter::default());
        let help = "How often that failed, by the step that failed";
        let errors = registered(&mut all, "reconcile_errors", help, Family::default());
        let help = "Seconds that it took";
        let durations = registered(&mut all, "reconcile_duration_seconds", help, histogram());
        let help = "Seconds until a plugin's pod said what it is, or did not";
        let answers = Family::new_with_constructor(histogram as fn() -> Histogram);
        let answers = registered(&mut all, "describe_duration_seconds", help, answers);
        Self {
            refused,
            plugin_certificates,
            told,
            plugins,
            faults,
            known,
            bindings,
            leads,
            terms,
            reconciles,
            errors,
            durations,
            answers,
            certificates,
            rotations,
            registry: Arc::new(all),
        }
    }
}

impl Metrics {
    /// This replica leads from now on.
    pub fn leads(&self) {
        self.leads.set(1);
        self.terms.inc();
    }

    /// This replica does not lead any more: what it knew of plugins and certificates is another's to tell.
    pub fn rests(&self) {
        self.leads.set(0);
        self.plugins.are_in(None);
        self.certificates.clear();
        self.rotations.clear();
        self.retain_clusters(|_| false);
        self.retain(|_| false);
    }

    /// The plugins are in `store` from now on.
    pub fn plugins_are_in(&self, store: Store<Object>) {
        self.plugins.are_in(Some(store));
    }

    /// Where it is told which plugins wait.
    pub fn queue(&self) -> &Queue {
        &self.plugins.queue
    }

    /// A plugin was looked at, which took so long and failed in that step.
    pub fn reconciled(&self, took: Duration, failed: Option<&'static str>) {
        self.reconciles.inc();
        self.durations.observe(took.as_secs_f64());
        if let Some(step) = failed {
            self.errors.get_or_create(&[("reason", step)]).inc();
        }
    }

    /// A pod was asked what it is, which took so long, and answered or did not.
    pub fn asked(&self, took: Duration, answered: bool) {
        let outcome = if answered { "answered" } else { "failed" };
        let of_outcome = self.answers.get_or_create(&[("outcome", outcome)]);
        of_outcome.observe(took.as_secs_f64());
    }

    /// A certificate of the operator's or the gateway's ends then.
    pub fn certificate(&self, certificate: &'static str, end: Option<SystemTime>) {
        if let Some(end) = end.and_then(seconds) {
            self.certificates
                .get_or_create(&[("certificate", certificate)])
                .set(end);
        }
    }

    /// The rotation of this CA is so far.
    pub fn rotation(&self, ca: &'static str, stage: Stage) {
        for each in Stage::iter() {
            let labels = [("ca", ca), ("state", each.into())];
            self.rotations.get_or_create(&labels).set(u64::from(each == stage));
        }
    }

    /// The certificate of a plugin ends then.
    pub fn plugin_certificate(&self, plugin: &str, end: Option<SystemTime>) {
        self.plugin_certificates.set(plugin, end.and_then(seconds));
    }

    /// So many of the plugin's permissions are refused.
    pub fn refused_permissions(&self, plugin: &str, count: usize) {
        self.refused.set(plugin, (count > 0).then_some(count as u64));
    }

    /// Forgets all plugins but those for which `exists` holds.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.refused.retain(&exists);
        self.plugin_certificates.retain(exists);
    }

    /// So many of the boundary's policies are not as they should be, if that is known, and so many bindings reach the plugins.
    pub fn boundary(&self, faults: Option<usize>, bindings: usize) {
        self.known.set(u64::from(faults.is_some()));
        self.faults.set(faults.unwrap_or_default() as u64);
        self.bindings.set(bindings as u64);
    }

    /// All of it as `OpenMetrics` text.
    pub fn text(&self) -> String {
        let mut page = String::new();
        // Writing to a text does not fail.
        let _ = text::encode(&mut page, &self.registry);
        page
    }
}

/// Seconds since the epoch.
fn seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .map(|since| since.as_secs())
}

impl IntoResponse for Metrics {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, OPEN_METRICS)], self.text()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(page: &str, line: &str) -> bool {
        page.lines().any(|it| it == line)
    }

    #[test]
    fn figures_are_told_and_those_of_plugins_without_trouble_are_gone() {
        let metrics = Metrics::default();
        metrics.refused_permissions("hello", 2);
        metrics.boundary(Some(1), 3);
        let page = metrics.text();
        for line in [
            r#"kite_operator_refused_permissions{plugin="hello"} 2"#,
            "kite_operator_boundary_faults 1",
            "kite_operator_boundary_known 1",
            "kite_operator_boundary_reaching_bindings 3",
        ] {
            assert!(has(&page, line), "{line} in {page}");
        }
        metrics.refused_permissions("hello", 0);
        metrics.boundary(None, 0);
        let page = metrics.text();
        assert!(
            !page.contains("hello") && page.contains("kite_operator_boundary_known 0"),
            "{page}"
        );
    }

    #[test]
    fn what_a_replica_did_is_told_and_what_it_knew_is_gone_when_it_leads_no_more() {
        let metrics = Metrics::default();
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        metrics.leads();
        metrics.reconciled(Duration::from_millis(20), None);
        metrics.reconciled(Duration::from_secs(40), Some("apply"));
        metrics.asked(Duration::from_secs(10), false);
        metrics.certificate("serving", Some(end));
        metrics.plugin_certificate("hello", Some(end));
        metrics.rotation("serving-ca", Stage::Spreading);
        metrics.rotation("serving-ca", Stage::Retiring);
        let page = metrics.text();
        for line in [
            "kite_operator_leader 1",
            "kite_operator_terms_total 1",
            "kite_operator_reconciles_total 2",
            r#"kite_operator_reconcile_errors_total{reason="apply"} 1"#,
            r#"kite_operator_reconcile_duration_seconds_bucket{le="0.025"} 1"#,
            r#"kite_operator_reconcile_duration_seconds_bucket{le="30.0"} 1"#,
            "kite_operator_reconcile_duration_seconds_count 2",
            r#"kite_operator_describe_duration_seconds_count{outcome="failed"} 1"#,
            r#"kite_operator_certificate_expiry_timestamp_seconds{certificate="serving"} 2000000000"#,
            r#"kite_operator_plugin_certificate_expiry_timestamp_seconds{plugin="hello"} 2000000000"#,
            r#"kite_operator_ca_rotation{ca="serving-ca",state="spreading"} 0"#,
            r#"kite_operator_ca_rotation{ca="serving-ca",state="retiring"} 1"#,
        ] {
            assert!(has(&page, line), "{line} in {page}");
        }
        metrics.rests();
        let page = metrics.text();
        assert!(
            has(&page, "kite_operator_leader 0") && has(&page, "kite_operator_terms_total 1"),
            "{page}"
        );
        assert!(!page.contains("2000000000") && !page.contains("serving-ca"), "{page}");
    }
}
