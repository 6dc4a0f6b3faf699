//! What there is to say of telling plugins, and of the clusters that they are told of.

use std::time::Duration;

use prometheus_client::{
    metrics::{family::Family, histogram::Histogram},
    registry::Registry,
};

use super::{Metrics, by_name::ByName, histogram, registered};

/// What was called, and what came of it.
type Call = [(&'static str, &'static str); 2];

/// The figures.
#[derive(Clone, Debug)]
pub(super) struct Told {
    calls: Family<Call, Histogram, fn() -> Histogram>,
    clusters: ByName,
}

impl Told {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let help = "Seconds until a plugin's pod answered to what it was told, or did not";
        let calls = Family::new_with_constructor(histogram as fn() -> Histogram);
        let calls = registered(registry, "tell_duration_seconds", help, calls);
        let clusters = ByName::new(
            "cluster",
            "cluster_reachable",
            "Whether a cluster's API server answered when it was asked last: 1 or 0",
        );
        registry.register_collector(Box::new(clusters.clone()));
        Self { calls, clusters }
    }
}

impl Metrics {
    /// A pod was told something of this kind, which took so long and came to that.
    pub fn told(&self, kind: &'static str, took: Duration, outcome: &'static str) {
        let of_kind = self.told.calls.get_or_create(&[("call", kind), ("outcome", outcome)]);
        of_kind.observe(took.as_secs_f64());
    }

    /// Whether a cluster answers. `None`: it is not known, or there is no such cluster.
    pub fn cluster(&self, cluster: &str, answers: Option<bool>) {
        self.told.clusters.set(cluster, answers.map(u64::from));
    }

    /// Forgets all clusters but those for which `exists` holds.
    pub fn retain_clusters(&self, exists: impl Fn(&str) -> bool) {
        self.told.clusters.retain(exists);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_plugins_were_told_is_told_and_clusters_that_are_gone_are_not() {
        let metrics = Metrics::default();
        metrics.told("settings", Duration::from_millis(20), "refused");
        metrics.cluster("far", Some(false));
        metrics.cluster("near", Some(true));
        metrics.retain_clusters(|name| name == "far");
        let page = metrics.text();
        for line in [
            r#"kite_operator_tell_duration_seconds_count{call="settings",outcome="refused"} 1"#,
            r#"kite_operator_cluster_reachable{cluster="far"} 0"#,
        ] {
            assert!(page.lines().any(|it| it == line), "{line} in {page}");
        }
        assert!(!page.contains("near"), "{page}");
    }
}
