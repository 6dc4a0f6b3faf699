//! What the cluster asks: `/healthz`, whether the process turns, `/readyz`, whether it does its work or could take it over, and
//! `/metrics`.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::time::Instant;

use crate::{boundary::Boundary, leadership, metrics::Metrics};

/// What is told of the operator; shared by those who find it out and the routes.
#[derive(Clone, Debug, Default)]
pub struct Health {
    pub readiness: Readiness,
    pub boundary: Boundary,
    pub metrics: Metrics,
}

/// What this replica does, and whether it can; shared by those who find it out and the route that tells.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Standing>>);

#[derive(Clone, Debug, Default)]
struct Standing {
    /// When the Lease was last read or renewed.
    seen: Option<Instant>,
    role: Role,
}

#[derive(Clone, Debug)]
enum Role {
    Leads {
        /// The CAs and the gateway's certificates exist.
        identity: bool,
        /// All plugins were read and are watched.
        synced: bool,
    },
    Waits {
        holder: String,
        /// Whether it could lead, or what it would lack.
        able: Result<(), String>,
    },
}

impl Role {
    fn waits_for(holder: String) -> Self {
        let able = Err(String::from("this has not been tried yet"));
        Self::Waits { holder, able }
    }
}

impl Default for Role {
    fn default() -> Self {
        Self::waits_for(String::from("nobody that is known yet"))
    }
}

impl Readiness {
    /// This replica has taken the Lease or renewed it.
    pub fn leads(&self) {
        let mut standing = self.lock();
        standing.seen = Some(Instant::now());
        if matches!(standing.role, Role::Waits { .. }) {
            standing.role = Role::Leads {
                identity: false,
                synced: false,
            };
        }
    }

    /// This replica has read that another one holds the Lease.
    pub fn waits_for(&self, holder: String) {
        let mut standing = self.lock();
        standing.seen = Some(Instant::now());
        match &mut standing.role {
            Role::Waits { holder: known, .. } => *known = holder,
            role @ Role::Leads { .. } => *role = Role::waits_for(holder),
        }
    }

    /// This replica does not lead any more.
    pub fn has_lost(&self) {
        self.lock().role = Role::default();
    }

    /// The CAs and the gateway's certificates exist.
    pub fn identity_exists(&self) {
        if let Role::Leads { identity, .. } = &mut self.lock().role {
            *identity = true;
        }
    }

    /// All plugins were read and are watched.
    pub fn watch_is_synced(&self) {
        if let Role::Leads { synced, .. } = &mut self.lock().role {
            *synced = true;
        }
    }

    /// Whether this replica could lead, or what it would lack.
    pub fn able(&self, outcome: Result<(), String>) {
        if let Role::Waits { able, .. } = &mut self.lock().role {
            *able = outcome;
        }
    }

    /// Whether this replica waits to lead.
    pub fn waits(&self) -> bool {
        matches!(self.lock().role, Role::Waits { .. })
    }

    /// Whether this replica waits to lead and could.
    pub fn is_able(&self) -> bool {
        matches!(self.lock().role, Role::Waits { able: Ok(()), .. })
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        // Each of its fields is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// Whether it is ready at `now`, and why, in lines.
    fn answer(&self, now: Instant) -> (StatusCode, String) {
        let silence = self.seen.map(|seen| now.duration_since(seen));
        let is_heard = silence.is_some_and(|silence| silence < leadership::DURATION);
        let mut lines = String::new();
        // Writing to a text does not fail.
        let _ = match (silence, &self.role) {
            (None, _) => writeln!(lines, "lease: it could not be read yet"),
            (Some(silence), _) if !is_heard => {
                writeln!(lines, "lease: not read or renewed for {} s", silence.as_secs())
            }
            (_, Role::Leads { .. }) => writeln!(lines, "lease: this replica holds it"),
            (_, Role::Waits { holder, .. }) => writeln!(lines, "lease: this replica waits for it; {holder} holds it"),
        };
        let is_able = match &self.role {
            Role::Leads { identity, synced } => {
                lines += if *identity {
                    "identity: the CAs and the gateway's certificates exist\n"
                } else {
                    "identity: the CAs could not be read or made yet: see the operator's log\n"
                };
                lines += if *synced {
                    "plugins: they were read and are watched\n"
                } else {
                    "plugins: they have not been read yet\n"
                };
                *identity && *synced
            }
            Role::Waits { able, .. } => {
                let _ = match able {
                    Ok(()) => writeln!(lines, "standby: this replica could lead"),
                    Err(lack) => writeln!(lines, "standby: this replica could not lead: {lack}"),
                };
                able.is_ok()
            }
        };
        if is_heard && is_able {
            (StatusCode::OK, format!("ok\n{lines}"))
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{lines}"))
        }
    }
}

/// The routes. A boundary that is not whole is told with 200: plugins that run are not to suffer for it.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route(
            "/readyz",
            get(
                async |State(Health {
                           readiness, boundary, ..
                       }): State<Health>| {
                    let standing = readiness.lock().clone();
                    let (status, text) = standing.answer(Instant::now());
                    (status, format!("{text}{}", boundary.text()))
                },
            ),
        )
        .route("/metrics", get(async |State(health): State<Health>| health.metrics))
        .with_state(health)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Whether it is ready after so many seconds, and the first line that says why.
    fn answer(readiness: &Readiness, seconds: u64) -> (bool, String) {
        let standing = readiness.lock().clone();
        let (status, text) = standing.answer(Instant::now() + Duration::from_secs(seconds));
        (status.is_success(), text.lines().nth(1).unwrap_or_default().to_owned())
    }

    #[test]
    fn a_replica_that_leads_is_ready_when_its_identity_exists_and_its_watch_is_synced() {
        let readiness = Readiness::default();
        assert_eq!(answer(&readiness, 0), (false, "lease: it could not be read yet".into()));
        readiness.leads();
        assert!(!answer(&readiness, 0).0);
        readiness.watch_is_synced();
        assert!(!answer(&readiness, 0).0);
        readiness.identity_exists();
        assert_eq!(answer(&readiness, 0), (true, "lease: this replica holds it".into()));
        readiness.leads();
        assert!(answer(&readiness, 11).0, "renewed, it is as ready as before");
        assert_eq!(
            answer(&readiness, 12),
            (false, "lease: not read or renewed for 12 s".into())
        );
    }

    #[test]
    fn a_replica_that_waits_is_ready_when_it_could_lead() {
        let readiness = Readiness::default();
        readiness.waits_for("other".into());
        let waits = "lease: this replica waits for it; other holds it";
        assert_eq!(answer(&readiness, 0), (false, waits.into()), "it has not tried");
        readiness.able(Ok(()));
        assert!(readiness.is_able());
        readiness.waits_for("other".into());
        assert_eq!(answer(&readiness, 0), (true, waits.into()));
        assert!(!answer(&readiness, 12).0, "it hears nothing of the Lease");
        readiness.able(Err("no CRD".into()));
        assert!(!answer(&readiness, 0).0);
    }

    #[test]
    fn what_was_known_of_one_role_is_not_believed_of_the_other() {
        let readiness = Readiness::default();
        readiness.waits_for("other".into());
        readiness.able(Ok(()));
        readiness.leads();
        assert!(!answer(&readiness, 0).0 && !readiness.waits());
        readiness.identity_exists();
        readiness.watch_is_synced();
        readiness.has_lost();
        assert!(!answer(&readiness, 0).0 && readiness.waits() && !readiness.is_able());
        readiness.watch_is_synced();
        readiness.leads();
        assert!(!answer(&readiness, 0).0, "a term begins with nothing");
    }
}
