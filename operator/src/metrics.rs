//! What a Prometheus server reads of the operator.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    metrics::{MetricType, gauge::Gauge},
    registry::Registry,
};

/// The media type of `OpenMetrics` text, version 1.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The figures, shared by those who know them and the route that tells.
#[derive(Clone, Debug)]
pub struct Metrics {
    refused: Arc<Refused>,
    faults: Gauge<u64, AtomicU64>,
    known: Gauge<u64, AtomicU64>,
    bindings: Gauge<u64, AtomicU64>,
    registry: Arc<Registry>,
}

/// How many permissions are refused, by plugin. Only plugins in trouble have a line.
#[derive(Debug, Default)]
struct Refused(Mutex<BTreeMap<String, usize>>);

impl Refused {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        // An entry is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Refused {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "refused_permissions",
            "Permissions of a plugin that the rules of the API refuse and the operator does not give",
            None,
            MetricType::Gauge,
        )?;
        for (plugin, count) in self.lock().iter() {
            let labels = [("plugin", plugin.as_str())];
            metric.encode_family(&labels)?.encode_gauge(&(*count as u64))?;
        }
        Ok(())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kite_operator");
        let refused = Arc::new(Refused::default());
        registry.register_collector(Box::new(Arc::clone(&refused)));
        let gauge = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::<u64, AtomicU64>::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let faults = gauge(
            &mut registry,
            "boundary_faults",
            "Policies of the boundary that are missing, altered or not bound",
        );
        let known = gauge(
            &mut registry,
            "boundary_known",
            "Whether the policies of the boundary could be read: 1 or 0",
        );
        let bindings = gauge(
            &mut registry,
            "boundary_reaching_bindings",
            "Bindings that give others than the system more than view in the plugins' namespace",
        );
        Self {
            refused,
            faults,
            known,
            bindings,
            registry: Arc::new(registry),
        }
    }
}

impl Metrics {
    /// So many of the plugin's permissions are refused.
    pub fn refused_permissions(&self, plugin: &str, count: usize) {
        let mut refused = self.refused.lock();
        if count == 0 {
            refused.remove(plugin);
        } else {
            refused.insert(plugin.to_owned(), count);
        }
    }

    /// Forgets all plugins but those for which `exists` holds.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.refused.lock().retain(|plugin, _| exists(plugin));
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

impl IntoResponse for Metrics {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, OPEN_METRICS)], self.text()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert!(page.lines().any(|it| it == line), "{line} in {page}");
        }
        metrics.refused_permissions("hello", 0);
        metrics.boundary(None, 0);
        let page = metrics.text();
        assert!(
            !page.contains("hello") && page.contains("kite_operator_boundary_known 0"),
            "{page}"
        );
    }
}
