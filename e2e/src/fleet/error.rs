//! Why nothing could be measured.

use std::{io, path::PathBuf, time::Duration};

use crate::{
    bench::BenchError,
    cluster::{ClusterError, DebianError},
    process::ProcessError,
    target::TargetError,
    unshared::UnsharedError,
};

#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error(transparent)]
    Debian(#[from] DebianError),
    #[error("failed to find the cluster's programs")]
    Cluster(#[from] ClusterError),
    #[error("failed to measure in a network of its own")]
    Unshare(#[from] UnsharedError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("failed to write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to write JSON")]
    Json(#[source] serde_json::Error),
    #[error("failed to make a client of the API server")]
    Client(#[source] TargetError),
    #[error("failed to ask the API server")]
    Ask(#[source] Box<kube::Error>),
    #[error("failed to see {what} within {} s; the last of the logs:\n{log}", limit.as_secs())]
    TooLate { what: String, limit: Duration, log: String },
    #[error("failed to ask the operator how it is")]
    Operator(#[source] reqwest::Error),
    #[error("failed to read the API server's log")]
    Audit(#[source] io::Error),
    #[error("failed to say when and where this was measured")]
    Circumstances(#[source] BenchError),
}

impl From<kube::Error> for FleetError {
    fn from(error: kube::Error) -> Self {
        Self::Ask(Box::new(error))
    }
}
