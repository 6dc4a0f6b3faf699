//! Why nothing could be measured.

use std::{
    io,
    path::{Path, PathBuf},
};

use kite_conformance::IdentityError;

use crate::{
    bench::BenchError,
    cluster::{ClusterError, CommandError, DebianError},
    process::ProcessError,
    unshared::UnsharedError,
};

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Debian(#[from] DebianError),
    #[error("failed to find the cluster's programs")]
    Cluster(#[from] ClusterError),
    #[error("failed to measure in a network of its own")]
    Unshare(#[from] UnsharedError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("failed to prepare {}", path.display())]
    Prepare { path: PathBuf, source: io::Error },
    #[error("failed to issue a certificate")]
    Identity(#[source] IdentityError),
    #[error("failed to make the serving certificate")]
    Serving(#[source] rcgen::Error),
    #[error("failed to reach the plugin {0} in time")]
    Silent(String),
    #[error("failed to connect to a plugin")]
    Describe(#[source] tonic::transport::Error),
    #[error("failed to have a plugin describe itself")]
    Described(#[source] Box<tonic::Status>),
    #[error("failed to make a client of the gateway")]
    Client(#[source] reqwest::Error),
    #[error(
        "failed to see {side} answer {task} as it should; the last answer was {answer}; the last of its log:\n{log}"
    )]
    NotReady {
        side: String,
        task: &'static str,
        answer: String,
        log: String,
    },
    #[error("failed to send requests")]
    Send(#[source] CommandError),
    #[error("failed to understand what {program} printed:\n{printed}")]
    Unclear { program: &'static str, printed: String },
    #[error("failed to get an answer of the gateway")]
    Request(#[source] reqwest::Error),
    #[error("failed to pass {bytes} bytes: {passed} came")]
    Lost { bytes: u64, passed: u64 },
    #[error("failed to send any request in time")]
    NoTimes,
    #[error("failed to have the offender do what it should: {0}; the last of its callers' log:\n{1}")]
    NoOffence(&'static str, String),
    #[error("failed to find the place of the summary in {0}")]
    NoPlace(&'static str),
    #[error("failed to say when and where this was measured")]
    Circumstances(#[source] BenchError),
}

impl LoadError {
    pub(super) fn prepare(path: &Path, source: io::Error) -> Self {
        Self::Prepare {
            path: path.to_owned(),
            source,
        }
    }
}
