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

/// How often it is asked.
const TURN: Duration = Duration::from_millis(100);

/// What the chart has the operator's program find in its environment, beside the filter of its log.
pub const ENVIRONMENT: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// Of two that run beside each other, which one it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Replica {
    First,
    Second,
}

impl Replica {
    /// What it is called in the Lease.
    fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }

    /// Where it tells of itself. Not where it does by default: the plugins listen on all addresses, and two operators share this one.
    fn listens(self) -> SocketAddr {
        let port: u16 = match self {
            Self::First => 8079,
            Self::Second => 8078,
        };
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }
}

/// An operator that runs.
pub(super) struct Operator {
    process: Process,
    client: reqwest::Client,
    listens: SocketAddr,
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
    pub(super) fn start(scene: &Scene, program: &Path, replica: Replica) -> Result<Self, FleetError> {
        let (name, listens) = (replica.name(), replica.listens());
        let mut command = Command::new(program);
        command
            .args(["--listen", &listens.to_string(), "--replica-name", name])
            .env("KUBECONFIG", scene.kubeconfig())
            .envs(ENVIRONMENT);
        let log = scene.folder().join(format!("operator-{name}.log"));
        Ok(Self {
            process: Process::start(&command, &log)?,
            client: reqwest::Client::new(),
            listens,
        })
    }

    /// Waits until it leads, and has looked at so many plugins and has none left to look at.
    pub(super) async fn is_done(&self, plugins: u64, limit: Duration) -> Result<(), FleetError> {
        let what = format!("the operator done with {plugins} plugins");
        let is_done = |readiness: &str, metrics: &str| {
            let looked_at = metric(metrics, "kite_operator_reconciles_total");
            // One that does not lead yet tells nothing of this.
            let left = metric(metrics, "kite_operator_queue_depth");
            is_ready(readiness) && looked_at.is_some_and(|count| count >= plugins) && left == Some(0)
        };
        self.says(&what, limit, is_done).await
    }

    /// Waits until it could lead, while another one does.
    pub(super) async fn stands_by(&self, limit: Duration) -> Result<(), FleetError> {
        let stands_by = |readiness: &str, metrics: &str| is_ready(readiness) && !is_leader(metrics);
        self.says("the operator able to lead", limit, stands_by).await
    }

    /// Waits until it leads, whatever it has done by then.
    pub(super) async fn leads(&self, limit: Duration) -> Result<(), FleetError> {
        self.says("the operator lead", limit, |_, metrics| is_leader(metrics))
            .await
    }

    /// Waits until this holds of what it says of its readiness and in its metrics.
    async fn says(&self, what: &str, limit: Duration, holds: impl Fn(&str, &str) -> bool) -> Result<(), FleetError> {
        let mut turns = tokio::time::interval(TURN);
        let mut last = String::new();
        let said = async {
            loop {
                turns.tick().await;
                // It does not listen yet.
                let Ok(readiness) = self.tell("/readyz").await else {
                    continue;
                };
                let metrics = self.tell("/metrics").await?;
                last = readiness;
                if holds(&last, &metrics) {
                    return Ok(());
                }
            }
        };
        let in_time = tokio::time::timeout(limit, said).await;
        in_time.unwrap_or_else(|_| Err(self.too_late(format!("{what}; it says {last:?}"), limit)))
    }

    /// That something was not seen in time, with the last of what it has written.
    pub(super) fn too_late(&self, what: String, limit: Duration) -> FleetError {
        FleetError::TooLate {
            what,
            limit,
            log: self.process.last_words(),
        }
    }

    async fn tell(&self, path: &str) -> Result<String, FleetError> {
        let answer = self.client.get(format!("http://{}{path}", self.listens)).send().await;
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

    /// Kills it, so that it has no time to give its Lease up.
    pub(super) fn kill(self) {
        // A process that is dropped is killed.
        drop(self.process);
    }
}

impl Scene {
    /// What the operator has asked of the API server since then.
    pub(super) fn requests(&self, since: Timestamp) -> Result<Vec<audit::Request>, FleetError> {
        audit::requests(&self.audit_logs()?, &Self::user(), since).map_err(FleetError::Audit)
    }
}

fn is_ready(readiness: &str) -> bool {
    readiness.starts_with("ok\n")
}

fn is_leader(metrics: &str) -> bool {
    metric(metrics, "kite_operator_leader") == Some(1)
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
