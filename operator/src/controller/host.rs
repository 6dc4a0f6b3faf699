//! What plugins run with: this program's own version, and the API server's, asked for now and then.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kite_api::host::{Host, HostVersionError};
use kube::Client;
use semver::Version;

/// How long an answer holds. A cluster is updated seldom, and plugins are looked at again after the same time.
const HOLDS: Duration = Duration::from_mins(10);

/// Why it is not known what plugins run with.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("failed to read this program's own version")]
    Own(#[source] semver::Error),
    #[error("failed to ask the API server for its version")]
    Ask(#[source] Box<kube::Error>),
    #[error(transparent)]
    Read(HostVersionError),
}

/// The versions, as far as they have been asked for.
#[derive(Debug, Default)]
pub struct Versions(Mutex<Option<(Host, Instant)>>);

impl Versions {
    /// The versions now. An answer that holds is not asked for again.
    pub async fn now(&self, client: &Client) -> Result<Host, HostError> {
        if let Some((host, asked)) = self.lock().as_ref()
            && asked.elapsed() < HOLDS
        {
            return Ok(host.clone());
        }
        let answer = client
            .apiserver_version()
            .await
            .map_err(|error| HostError::Ask(error.into()))?;
        let host = Host {
            kite: Version::parse(env!("CARGO_PKG_VERSION")).map_err(HostError::Own)?,
            kubernetes: Host::kubernetes_version(&answer.git_version).map_err(HostError::Read)?,
        };
        *self.lock() = Some((host.clone(), Instant::now()));
        Ok(host)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Host, Instant)>> {
        // It is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
