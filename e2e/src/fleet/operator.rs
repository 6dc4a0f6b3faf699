//! The operator's program: what it says of itself, and what it takes.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;

use super::{FleetError, scene::Scene};
use crate::{audit, process::Process};

/// Where it tells of itself. Not where it does by default: the plugins listen on all addresses.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8079);
/// How often it is asked.
const TURN: Duration = Duration::from_millis(100);

/// What the chart has the operator's program find in its environment, beside the filter of its log.
pub const ENVIRONMENT: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// An operator that runs.
pub(super) struct Operator {
    process: Process,
    client: reqwest::Client,
}

/// Of what was written, so much is told.
const TOLD: usize = 10;

/// What was taken in some time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Took {
    pub(super) time: Duration,
    pub(super) cpu: Duration,
    /// The most bytes in memory.
    pub(super) peak: u64,
    pub(super) reads: usize,
    pub(super) writes: usize,
    /// The first of the writes, in words.
    pub(super) written: Vec<String>,
}

/// What is taken from now on.
pub(super) struct Meter {
    began: Instant,
    since: Timestamp,
    cpu: Duration,
}

impl Operator {
    pub(super) fn start(scene: &Scene, program: &Path) -> Result<Self, FleetError> {
        let mut command = Command::new(program);
        command
            .args(["--listen", &LISTEN.to_string()])
            .env("KUBECONFIG", scene.kubeconfig())
            .envs(ENVIRONMENT);
        Ok(Self {
            process: Process::start(&command, &scene.folder().join("operator.log"))?,
            client: reqwest::Client::new(),
        })
    }

    /// Waits until it leads, and has looked at so many plugins and has none left to look at.
    pub(super) async fn is_done(&self, plugins: u64, limit: Duration) -> Result<(), FleetError> {
        let mut turns = tokio::time::interval(TURN);
        let mut last = String::new();
        let done = async {
            loop {
                turns.tick().await;
                // It does not listen yet.
                let Ok(told) = self.tell("/readyz").await else { continue };
                let metrics = self.tell("/metrics").await?;
                last = told;
                let looked_at = metric(&metrics, "kite_operator_reconciles_total");
                // One that does not lead yet tells nothing of this.
                let left = metric(&metrics, "kite_operator_queue_depth");
                let is_done = looked_at.is_some_and(|count| count >= plugins) && left == Some(0);
                if last.starts_with("ok\n") && is_done {
                    return Ok(());
                }
            }
        };
        let in_time = tokio::time::timeout(limit, done).await;
        in_time.unwrap_or_else(|_| {
            Err(FleetError::TooLate {
                what: format!("the operator done with {plugins} plugins; it says {last:?}"),
                limit,
                log: self.process.last_words(),
            })
        })
    }

    async fn tell(&self, path: &str) -> Result<String, FleetError> {
        let answer = self.client.get(format!("http://{LISTEN}{path}")).send().await;
        let answer = answer.map_err(FleetError::Operator)?;
        answer.text().await.map_err(FleetError::Operator)
    }

    /// Counts what it takes from now on.
    pub(super) fn meter(&self) -> Result<Meter, FleetError> {
        self.process.forget_peak()?;
        Ok(Meter {
            began: Instant::now(),
            since: Timestamp::now(),
            cpu: self.process.cpu()?,
        })
    }

    /// What it has taken since.
    pub(super) fn took(&self, scene: &Scene, meter: &Meter) -> Result<Took, FleetError> {
        let time = meter.began.elapsed();
        let (writes, others): (Vec<_>, Vec<_>) = scene
            .requests(meter.since)?
            .into_iter()
            .partition(audit::Request::is_write);
        let reads = others.iter().filter(|request| request.is_read()).count();
        Ok(Took {
            time,
            cpu: self.process.cpu()?.saturating_sub(meter.cpu),
            peak: self.process.peak()?,
            reads,
            writes: writes.len(),
            written: writes.iter().take(TOLD).map(audit::Request::in_words).collect(),
        })
    }

    /// Tells it to stop, so that another need not wait for its Lease, and waits until it has.
    pub(super) fn end(self) {
        self.process.end();
    }
}

impl Scene {
    /// What the operator has asked of the API server since then.
    pub(super) fn requests(&self, since: Timestamp) -> Result<Vec<audit::Request>, FleetError> {
        audit::requests(&self.audit_logs()?, &Self::user(), since).map_err(FleetError::Audit)
    }
}

/// A number without labels, in the text of metrics.
fn metric(text: &str, name: &str) -> Option<u64> {
    let values = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let mut numbers = values.filter_map(|value| value.trim().parse().ok());
    numbers.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let text = "# TYPE a counter\na_total 7\na_total_more 8\na_total{b=\"c\"} 9\n";
        assert_eq!(metric(text, "a_total"), Some(7));
        assert_eq!(metric(text, "a"), None);
    }
}
