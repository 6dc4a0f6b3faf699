//! What all gateways share about sessions, in one Secret that each reads every other second.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use backon::{ExponentialBuilder, Retryable as _};
use futures::{FutureExt as _, future::BoxFuture};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kite_api::error_chain;
use kube::{Api, Client, api::PostParams};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{
    moment::Moment,
    session::{
        Known, Latest, Ledger, LedgerError, Session,
        seal::SealError,
        shared::{Shared, SharedKey},
    },
};

/// The Secret, which the chart makes without data.
const NAME: &str = "kite-gateway-sessions";
const KEY: &str = "sessions.json";
/// How often the Secret is read. A watch would tell sooner, and would not tell that it no longer does.
const EVERY: Duration = Duration::from_secs(2);
/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(2);
// That a session was ended has to hold everywhere within 5 s.
const _: () = assert!(EVERY.as_secs() + LIMIT.as_secs() < 5, "a logout is known too late");
/// How often the end of a session is tried to be written while others write too.
const TRIES: usize = 8;

/// The Secret, and what is known of it.
#[derive(Clone)]
pub struct SharedSessions {
    api: Api<Secret>,
    latest: Latest,
    longest: Duration,
    /// Held while something newer is told.
    telling: Arc<Mutex<()>>,
}

/// Why the Secret cannot be read or written.
#[derive(Debug, thiserror::Error)]
enum SharedError {
    #[error("failed to get an answer in time")]
    Timeout,
    #[error("failed to read the Secret {NAME}")]
    Get(#[source] kube::Error),
    #[error("failed to parse {KEY} of the Secret {NAME}: take it away, and all have to log in again")]
    Parse(#[source] serde_json::Error),
    #[error("failed to make a key")]
    Key(#[source] SealError),
    #[error("failed to write the Secret {NAME}")]
    Replace(#[source] kube::Error),
}

impl SharedSessions {
    /// In the namespace of the system, for sessions that last at most `longest`.
    pub fn new(client: Client, namespace: &str, longest: Duration) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            latest: Latest::default(),
            longest,
            telling: Arc::default(),
        }
    }

    pub fn latest(&self) -> Latest {
        self.latest.clone()
    }

    /// Keeps what is known current, and the keys young. It does not end.
    pub async fn keep(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut in_order = true;
        loop {
            ticks.tick().await;
            let looked = self.look(Moment::now()).await;
            match &looked {
                Err(error) if in_order => tracing::warn!(error = error_chain(error), "sessions are not kept current"),
                Ok(()) if !in_order => tracing::info!("sessions are kept current again"),
                _ => {}
            }
            in_order = looked.is_ok();
        }
    }

    /// Reads once, and writes a new key if one is due.
    async fn look(&self, now: Moment) -> Result<(), SharedError> {
        let asked = Instant::now();
        let (secret, shared) = self.read().await?;
        if !shared.needs_key(now) {
            self.tell(Known::of(shared, asked));
            return Ok(());
        }
        let key = SharedKey::random(now).map_err(SharedError::Key)?;
        let next = shared.with_key(key, self.longest, now);
        match self.write(secret, &next).await {
            Ok(()) => self.tell(Known::of(next, Instant::now())),
            // Another gateway was first: its key is as good, and read in a moment.
            Err(error) if is_conflict(&error) => self.tell(Known::of(shared, asked)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn read(&self) -> Result<(Secret, Shared), SharedError> {
        let secret = timeout(LIMIT, self.api.get(NAME)).await;
        let secret = secret.map_err(|_| SharedError::Timeout)?.map_err(SharedError::Get)?;
        let text = secret.data.as_ref().and_then(|data| data.get(KEY));
        let shared = Shared::parse(text.map_or(&[], |text| &text.0)).map_err(SharedError::Parse)?;
        Ok((secret, shared))
    }

    /// Fails if somebody has written since `secret` was read: it carries its `resourceVersion`.
    async fn write(&self, mut secret: Secret, shared: &Shared) -> Result<(), SharedError> {
        let data = secret.data.get_or_insert_with(BTreeMap::new);
        data.insert(KEY.to_owned(), ByteString(shared.text()));
        let params = PostParams::default();
        let written = timeout(LIMIT, self.api.replace(NAME, &params, &secret)).await;
        written
            .map_err(|_| SharedError::Timeout)?
            .map_err(SharedError::Replace)?;
        Ok(())
    }

    async fn end_once(&self, session: &Session) -> Result<(), SharedError> {
        let now = Moment::now();
        let (secret, shared) = self.read().await?;
        let next = shared.without(session, now);
        self.write(secret, &next).await?;
        // Whoever reads just now may have read before this was written; what they read is older.
        self.tell(Known::of(next, Instant::now()));
        Ok(())
    }

    /// Tells what is known, unless something newer is.
    fn tell(&self, known: Known) {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        if self.latest.get().is_none_or(|latest| latest.is_older_than(&known)) {
            self.latest.set(Some(known));
        }
    }
}

impl Ledger for SharedSessions {
    fn end<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), LedgerError>> {
        let retries = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(10))
            .with_max_delay(Duration::from_millis(500))
            .with_max_times(TRIES)
            .with_jitter();
        let ended = (|| self.end_once(session)).retry(retries).when(is_conflict);
        async move { ended.await.map_err(|error| LedgerError(Box::new(error))) }.boxed()
    }
}

fn is_conflict(error: &SharedError) -> bool {
    matches!(error, SharedError::Replace(kube::Error::Api(status)) if status.code == 409)
}

#[cfg(test)]
mod tests;
