//! The figures as metrics with names and labels.

use std::{collections::HashMap, fmt, sync::Arc};

use kite_api::PluginName;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{Figures, Lookups, Times, process::Process};
use crate::audit::Standing;

/// All that is told, as it was at one moment.
pub(super) struct Page {
    pub(super) own: Arc<Figures>,
    pub(super) plugins: Arc<HashMap<PluginName, Arc<Figures>>>,
    pub(super) connections: HashMap<PluginName, usize>,
    pub(super) lookups: [(&'static str, Arc<Lookups>); 2],
    pub(super) changes: u64,
    pub(super) changed: i64,
    pub(super) certificate_ends: i64,
    pub(super) audit: Standing,
    pub(super) lines_lost: Option<u64>,
    pub(super) process: Process,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Page(…)")
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.requests(&mut encoder)?;
        self.plugins(&mut encoder)?;
        self.lookups(&mut encoder)?;
        self.counters(&mut encoder)?;
        self.gauges(&mut encoder)?;
        let help = "The version of the gateway";
        let mut metric = encoder.encode_descriptor("kite_gateway_build", help, None, MetricType::Info)?;
        metric.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }
}

impl Page {
    /// Of no plugin, and of each.
    fn all(&self) -> impl Iterator<Item = (&str, &Figures)> {
        let plugins = self.plugins.iter().map(|(name, figures)| (name.as_str(), &**figures));
        [("", &*self.own)].into_iter().chain(plugins)
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that ended, by plugin (empty: of none), route, what the method does and the status' class";
        let mut metric = encoder.encode_descriptor("kite_gateway_requests", help, None, MetricType::Counter)?;
        for (plugin, figures) in self.all() {
            for (class, doing, code, number) in figures.requests() {
                let labels = [
                    ("plugin", plugin),
                    ("route", class.as_str()),
                    ("method", doing.as_str()),
                    ("code", code.as_str()),
                ];
                count(&mut metric.encode_family(&labels)?, number)?;
            }
        }
        let help = "Seconds from a request to the head of its answer";
        let name = "kite_gateway_request_duration_seconds";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (plugin, figures) in self.all() {
            for (class, times) in figures.times() {
                let labels = [("plugin", plugin), ("route", class.as_str())];
                histogram(&mut metric.encode_family(&labels)?, times)?;
            }
        }
        let help = "Requests that the gateway answered with a problem, by the last part of the problem's type";
        let mut metric = encoder.encode_descriptor("kite_gateway_problems", help, None, MetricType::Counter)?;
        for (plugin, figures) in self.all() {
            for (problem, number) in figures.problems() {
                let labels = [("plugin", plugin), ("problem", problem)];
                count(&mut metric.encode_family(&labels)?, number)?;
            }
        }
        Ok(())
    }

    fn plugins(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
        type Of = fn(&Figures) -> &AtomicU64;
        let kinds: [(&str, &str, MetricType, Of); 4] = [
            (
                "kite_gateway_requests_in_flight",
                "Requests whose answer has not ended",
                MetricType::Gauge,
                |it| &it.in_flight,
            ),
            (
                "kite_gateway_request_bytes",
                "Bytes of the bodies of requests",
                MetricType::Counter,
                |it| &it.received,
            ),
            (
                "kite_gateway_response_bytes",
                "Bytes of the bodies of answers",
                MetricType::Counter,
                |it| &it.sent,
            ),
            (
                "kite_gateway_endpoint_failures",
                "Attempts to use an endpoint of a plugin that failed before a request began there",
                MetricType::Counter,
                |it| &it.endpoint_failures,
            ),
        ];
        for (name, help, kind, of) in kinds {
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (plugin, figures) in self.all() {
                let number = of(figures).load(Relaxed);
                let labels = [("plugin", plugin)];
                let mut metric = metric.encode_family(&labels)?;
                if matches!(kind, MetricType::Counter) {
                    count(&mut metric, number)?;
                } else {
                    metric.encode_gauge(&number)?;
                }
            }
        }
        let help = "Open connections to the endpoints of a plugin";
        let name = "kite_gateway_upstream_connections";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for plugin in self.plugins.keys() {
            let open = self.connections.get(plugin).copied().unwrap_or_default() as u64;
            let labels = [("plugin", plugin.as_str())];
            metric.encode_family(&labels)?.encode_gauge(&open)?;
        }
        Ok(())
    }

    fn lookups(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Questions of who calls (identity) and what they may do (right), by where the answer was found";
        let mut metric = encoder.encode_descriptor("kite_gateway_lookups", help, None, MetricType::Counter)?;
        for (question, lookups) in &self.lookups {
            for (found, number) in lookups.counts() {
                let labels = [("question", *question), ("found", found.as_str())];
                count(&mut metric.encode_family(&labels)?, number)?;
            }
        }
        let help = "Seconds that questions to the API server took";
        let name = "kite_gateway_api_server_duration_seconds";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (question, lookups) in &self.lookups {
            let labels = [("question", *question)];
            histogram(&mut metric.encode_family(&labels)?, lookups.times())?;
        }
        let help = "Questions that the API server did not answer";
        let name = "kite_gateway_api_server_failures";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (question, lookups) in &self.lookups {
            let labels = [("question", *question)];
            count(&mut metric.encode_family(&labels)?, lookups.failures())?;
        }
        Ok(())
    }

    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counters = [
            (
                "kite_gateway_directory_changes",
                "Times that the table of plugins was made anew",
                Some(self.changes),
            ),
            (
                "kite_gateway_audit_records",
                "Records of the audit that were kept",
                Some(self.audit.kept),
            ),
            (
                "kite_gateway_audit_lost",
                "Records of the audit that were not kept",
                Some(self.audit.lost),
            ),
            (
                "kite_gateway_access_log_lost",
                "Lines of the access log that were not written",
                self.lines_lost,
            ),
        ];
        for (name, help, number) in counters {
            if let Some(number) = number {
                let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
                count(&mut metric, number)?;
            }
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let moment = |second: i64| u64::try_from(second).ok().filter(|second| *second > 0);
        let gauges = [
            (
                "kite_gateway_directory_last_change_timestamp_seconds",
                "When the table of plugins was last made anew",
                moment(self.changed),
            ),
            (
                "kite_gateway_certificate_expiry_timestamp_seconds",
                "When the serving certificate ends",
                moment(self.certificate_ends),
            ),
            (
                "kite_gateway_audit_ok",
                "Whether records of the audit can be kept: 1 or 0",
                Some(u64::from(self.audit.trouble.is_none())),
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory of the process",
                self.process.resident_bytes,
            ),
            (
                "process_open_fds",
                "Open file descriptors of the process",
                self.process.open_files,
            ),
        ];
        for (name, help, number) in gauges {
            if let Some(number) = number {
                let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                metric.encode_gauge(&number)?;
            }
        }
        Ok(())
    }
}

fn count(metric: &mut MetricEncoder<'_>, number: u64) -> fmt::Result {
    metric.encode_counter::<NoLabelSet, _, u64>(&number, None)
}

/// Nothing, where nothing took any time.
fn histogram(metric: &mut MetricEncoder<'_>, times: &Times) -> fmt::Result {
    let (sum, number, buckets) = times.seen();
    if number == 0 {
        return Ok(());
    }
    metric.encode_histogram::<NoLabelSet>(sum, number, &buckets, None)
}
