//! Which replica acts: the one that holds a Lease. The others wait for it, able to.
//!
//! The protocol is that of the controllers of Kubernetes itself, with one thing more: a holder writes only by a client that asks
//! its own clock before each write ([`Term::client`]) and before bytes leave ([`wire`]), so that one which was stopped and goes on writes
//! nothing.

pub mod claim;
pub mod standby;
pub mod term;
pub mod wire;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kite_api::{error_chain, labels};
use kube::{Api, Client, api::PostParams};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::claim::{Next, Observed};
pub use self::term::Term;
use crate::health::Readiness;

/// Name of the Lease, in *system*.
pub const LEASE: &str = "kite-operator";
/// How long others wait after they have seen the Lease renewed for the last time.
pub const DURATION: Duration = Duration::from_secs(12);
/// How long a holder writes after it began to renew the Lease for the last time. The rest is for what is on its way then.
const VALID: Duration = Duration::from_secs(9);
/// How often the Lease is renewed, or looked at.
const EVERY: Duration = Duration::from_secs(2);
/// Most that one request about the Lease may take before the next is tried.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why the Lease could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("failed to read Lease {LEASE}")]
    Read(#[source] Box<kube::Error>),
    #[error("failed to take Lease {LEASE}")]
    Take(#[source] Box<kube::Error>),
    #[error("failed to renew Lease {LEASE}")]
    Renew(#[source] Box<kube::Error>),
    #[error("failed to give up Lease {LEASE}")]
    GiveUp(#[source] Box<kube::Error>),
    #[error("failed to get an answer about Lease {LEASE} within {} s", PATIENCE.as_secs())]
    Silence,
}

/// A replica that leads, or waits to.
pub struct Candidate {
    leases: Api<Lease>,
    /// Differs from that of every other process, also from that of an earlier one of the same pod.
    identity: String,
    readiness: Readiness,
}

/// The Lease, held, and the term that it gives.
#[derive(Debug)]
pub struct Held {
    pub term: Term,
    lease: Lease,
}

/// How a term ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Loss {
    /// Somebody else holds the Lease, or nobody.
    Taken,
    /// It could not be renewed in time.
    Expired,
}

impl Candidate {
    /// A candidate for the Lease in namespace `system`, called `name` and something that no other is called.
    pub fn new(client: &Client, system: &str, name: &str, readiness: Readiness) -> Self {
        Self {
            leases: Api::namespaced(client.clone(), system),
            identity: format!("{name}_{}", uuid::Uuid::new_v4()),
            readiness,
        }
    }

    /// Waits until this replica holds the Lease. `None`: it was told to stop before.
    pub async fn win(&self, stop: &CancellationToken) -> Option<Held> {
        let mut observed = Observed::default();
        while !stop.is_cancelled() {
            let wait = match in_time(self.attempt(&mut observed)).await {
                Ok(Attempt::Won(held)) => {
                    tracing::info!(identity = self.identity, "this replica leads");
                    self.readiness.leads();
                    return Some(*held);
                }
                Ok(Attempt::Waits { holder, remaining }) => {
                    self.readiness.waits_for(holder);
                    remaining.min(EVERY)
                }
                Err(error) => {
                    tracing::warn!(error = error_chain(&error), "this replica cannot lead now");
                    EVERY
                }
            };
            tokio::select! {
                () = stop.cancelled() => return None,
                () = sleep(wait) => {}
            }
        }
        None
    }

    async fn attempt(&self, observed: &mut Observed) -> Result<Attempt, LeaseError> {
        let found = self.leases.get_opt(LEASE).await;
        let found = found.map_err(|error| LeaseError::Read(error.into()))?;
        let exists = found.is_some();
        // Before it is written: how long the answer takes is not to make the term longer.
        let now = Instant::now();
        let wanted = match claim::next(found, observed, &self.identity, now) {
            Next::Wait { holder, remaining } => return Ok(Attempt::Waits { holder, remaining }),
            Next::Take(lease) => lease,
        };
        let written = if exists {
            self.leases.replace(LEASE, &params(), &wanted).await
        } else {
            self.leases.create(&params(), &wanted).await
        };
        match written {
            Ok(lease) => Ok(Attempt::Won(Box::new(Held {
                term: Term::until(now + VALID),
                lease,
            }))),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(Attempt::Waits {
                holder: String::from("another replica that was quicker"),
                remaining: EVERY,
            }),
            Err(error) => Err(LeaseError::Take(error.into())),
        }
    }

    /// Renews the Lease for as long as that goes well. When it returns, the term has ended.
    pub async fn keep(&self, held: &mut Held) -> Loss {
        let mut next = Instant::now() + EVERY;
        loop {
            tokio::time::sleep_until(next.min(held.term.end())).await;
            let now = Instant::now();
            if !held.term.holds() {
                return Loss::Expired;
            }
            next = now + EVERY;
            let Ok(renewed) = timeout_at(held.term.end(), in_time(self.renew(&held.lease))).await else {
                return Loss::Expired;
            };
            match renewed {
                Ok(Some(lease)) => {
                    held.lease = lease;
                    if !held.term.extend(now + VALID) {
                        return Loss::Expired;
                    }
                    self.readiness.leads();
                }
                Ok(None) => {
                    held.term.close();
                    return Loss::Taken;
                }
                Err(error) => tracing::warn!(error = error_chain(&error), "the Lease was not renewed"),
            }
        }
    }

    /// The Lease as it stands after it was renewed. `None`: it is not this replica's any more.
    async fn renew(&self, lease: &Lease) -> Result<Option<Lease>, LeaseError> {
        match self
            .leases
            .replace(LEASE, &params(), &claim::renewed(lease.clone()))
            .await
        {
            Ok(lease) => Ok(Some(lease)),
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                // Somebody has written it; it may have been a label.
                let found = self.leases.get_opt(LEASE).await;
                let found = found.map_err(|error| LeaseError::Read(error.into()))?;
                let Some(found) = found.filter(|found| claim::is_held_by(found, &self.identity)) else {
                    return Ok(None);
                };
                let renewed = self.leases.replace(LEASE, &params(), &claim::renewed(found)).await;
                renewed.map(Some).map_err(|error| LeaseError::Renew(error.into()))
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            Err(error) => Err(LeaseError::Renew(error.into())),
        }
    }

    /// Ends the term, and gives the Lease up, so that another replica need not wait. Where it is another's already, nothing is
    /// written.
    pub async fn give_up(&self, held: Held) {
        held.term.close();
        let released = claim::given_up(held.lease);
        let written = async {
            let written = self.leases.replace(LEASE, &params(), &released).await;
            written.map_err(|error| LeaseError::GiveUp(error.into()))
        };
        match in_time(written).await {
            Ok(_) => tracing::info!(identity = self.identity, "this replica has given up the Lease"),
            Err(error) => tracing::warn!(error = error_chain(&error), "others wait until the Lease expires"),
        }
    }
}

/// What came of trying to lead.
enum Attempt {
    Won(Box<Held>),
    Waits { holder: String, remaining: Duration },
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(labels::OPERATOR.to_owned()),
        ..PostParams::default()
    }
}

/// An API server that does not answer is asked again, by a connection that may be a better one.
async fn in_time<T>(question: impl Future<Output = Result<T, LeaseError>>) -> Result<T, LeaseError> {
    timeout(PATIENCE, question).await.unwrap_or(Err(LeaseError::Silence))
}
