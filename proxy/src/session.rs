//! Sessions: a token that a person logged in with, carried by their browser, sealed. The gateway keeps nothing of it but which were ended.

pub mod cookie;
pub mod expiry;
pub mod seal;
pub mod shared;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::sleep};
use uuid::Uuid;

use self::{
    cookie::CookieError,
    seal::{Key, SealError},
    shared::{SPREADS_FOR, Shared},
};
use crate::{moment::Moment, pipeline::authenticate::BearerToken};

/// A session is sealed anew when this part of the time has passed after which an idle one ends, so that not every answer carries it.
const RENEWALS: u32 = 10;

/// Of a person who is logged in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    id: Uuid,
    begun: Moment,
    /// When it ends whatever happens.
    until: Moment,
    /// When it was last known to be used.
    used: Moment,
    token: BearerToken,
}

/// A session as it is sealed.
#[derive(Deserialize, Serialize)]
struct Sealed {
    id: Uuid,
    begun: Moment,
    until: Moment,
    used: Moment,
    token: String,
}

/// For how long sessions last.
#[derive(Clone, Copy, Debug)]
pub struct Lasting {
    /// One that is not used.
    pub idle: Duration,
    /// Any, unless its token ends earlier.
    pub longest: Duration,
    /// What is known of ended ones, while nobody can say whether there are more.
    pub outage: Duration,
}

/// What is known of that which all gateways share, by when it was asked.
pub struct Known {
    shared: Shared,
    keys: Vec<Key>,
    asked: Instant,
}

/// The last that is known; nothing at first.
#[derive(Clone, Default)]
pub struct Latest {
    known: Arc<ArcSwapOption<Known>>,
    /// Told when other sessions are ended, or other keys are there, than before.
    changed: watch::Sender<()>,
}

/// Tells all gateways.
pub trait Ledger: Send + Sync {
    /// Ends a session on every gateway. It is recorded for all of them when this is done.
    fn end<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), LedgerError>>;
}

/// Why an end of a session is not recorded.
#[derive(Debug, thiserror::Error)]
#[error("failed to record the end of a session")]
pub struct LedgerError(#[source] pub crate::BoxError);

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("failed to find one session cookie")]
    Cookie(#[source] CookieError),
    #[error("failed to read the session cookie")]
    Read(#[source] SealError),
    #[error("failed to find the session going on")]
    Over,
    #[error("failed to find the sessions' keys")]
    Unavailable,
    #[error("failed to seal the session")]
    Seal(#[source] SealError),
    #[error("failed to fit the token into cookies")]
    TooLarge,
    #[error("failed to end the session everywhere")]
    End(#[source] LedgerError),
}

/// Begins, finds, renews and ends sessions.
pub struct Sessions {
    latest: Latest,
    ledger: Box<dyn Ledger>,
    lasting: Lasting,
    /// Where browsers send the cookie: the gateway's base path.
    path: String,
}

impl Session {
    /// When it ends if it is not used again.
    pub fn ends(&self, lasting: Lasting) -> Moment {
        self.until.min(self.used.after(lasting.idle))
    }

    /// When it ends whatever happens.
    pub fn until(&self) -> Moment {
        self.until
    }

    pub fn token(&self) -> &BearerToken {
        &self.token
    }

    #[cfg(test)]
    pub(crate) fn for_test(token: BearerToken) -> Self {
        Self {
            id: Uuid::nil(),
            begun: Moment::of(0),
            until: Moment::NEVER,
            used: Moment::of(0),
            token,
        }
    }

    fn parse(plain: &[u8]) -> Option<Self> {
        let sealed: Sealed = serde_json::from_slice(plain).ok()?;
        Some(Self {
            id: sealed.id,
            begun: sealed.begun,
            until: sealed.until,
            used: sealed.used,
            token: BearerToken::parse(&sealed.token)?,
        })
    }

    fn text(&self) -> Vec<u8> {
        let sealed = Sealed {
            id: self.id,
            begun: self.begun,
            until: self.until,
            used: self.used,
            token: self.token.secret().to_owned(),
        };
        serde_json::to_vec(&sealed).unwrap_or_default()
    }
}

impl Known {
    pub fn of(shared: Shared, asked: Instant) -> Self {
        Self {
            keys: shared.keys(),
            shared,
            asked,
        }
    }

    pub fn is_older_than(&self, other: &Self) -> bool {
        self.asked < other.asked
    }
}

impl Latest {
    pub fn get(&self) -> Option<Arc<Known>> {
        self.known.load_full()
    }

    pub fn set(&self, known: Option<Known>) {
        let known = known.map(Arc::new);
        let before = self.known.swap(known.clone());
        if before.as_deref().map(|before| &before.shared) != known.as_deref().map(|known| &known.shared) {
            self.changed.send_replace(());
        }
    }
}

impl Sessions {
    pub fn new(latest: Latest, ledger: impl Ledger + 'static, lasting: Lasting, path: String) -> Self {
        Self {
            latest,
            ledger: Box::new(ledger),
            lasting,
            path,
        }
    }

    pub fn lasting(&self) -> Lasting {
        self.lasting
    }

    /// A session with this token, that begins now.
    pub fn begin(&self, token: BearerToken, now: Moment) -> Session {
        let until = now.after(self.lasting.longest);
        Session {
            id: Uuid::new_v4(),
            begun: now,
            until: expiry::of(&token).map_or(until, |expiry| until.min(expiry)),
            used: now,
            token,
        }
    }

    /// The session of a request, if it has one that goes on.
    pub fn find(&self, headers: &HeaderMap, now: Moment) -> Result<Option<Session>, SessionError> {
        let Some(value) = cookie::read(headers).map_err(SessionError::Cookie)? else {
            return Ok(None);
        };
        let known = self.known()?;
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(value);
        let sealed = sealed.map_err(|_| SessionError::Read(SealError::Form))?;
        let plain = seal::open(sealed, &known.keys).map_err(|error| match error {
            // It may be one that was made since.
            SealError::Key if known.asked.elapsed() > SPREADS_FOR => SessionError::Unavailable,
            error => SessionError::Read(error),
        })?;
        let session = Session::parse(&plain).ok_or(SessionError::Read(SealError::Form))?;
        if session.ends(self.lasting) <= now || known.shared.has_ended(&session) {
            return Err(SessionError::Over);
        }
        Ok(Some(session))
    }

    /// When the session is over: logged out at any gateway, or at its end whatever happens; and when nobody could say any more whether
    /// it was logged out. That it is not used for a while ends no session with something open.
    pub async fn over(&self, session: &Session) {
        let mut changes = self.latest.changed.subscribe();
        while let Some(left) = self.left(session, Moment::now()) {
            tokio::select! {
                // Fails never, as this has a sender too.
                _ = changes.changed() => {}
                () = sleep(left) => {}
            }
        }
    }

    /// For how long the session goes on unless something else becomes known; `None`: it is over.
    fn left(&self, session: &Session, now: Moment) -> Option<Duration> {
        let known = self.known().ok()?;
        if session.until <= now || known.shared.has_ended(session) {
            return None;
        }
        let certain = self.certain().saturating_sub(known.asked.elapsed());
        // Long enough that it is too old by then.
        Some(session.until.since(now).min(certain + Duration::from_millis(10)))
    }

    /// Whether it is time to seal the session anew.
    pub fn is_due(&self, session: &Session, now: Moment) -> bool {
        now.since(session.used) >= self.lasting.idle / RENEWALS
    }

    /// The fields that give the caller the session as it is now used.
    pub fn give(&self, session: &Session, now: Moment, headers: &HeaderMap) -> Result<Vec<HeaderValue>, SessionError> {
        let known = self.known()?;
        let sealing = known.shared.sealing(now);
        let key = known.keys.iter().find(|key| Some(key.id()) == sealing);
        let used = Session {
            used: now,
            ..session.clone()
        };
        let sealed = key.ok_or(SessionError::Unavailable)?.seal(&used.text());
        let value = BASE64_URL_SAFE_NO_PAD.encode(sealed.map_err(SessionError::Seal)?);
        cookie::set(&value, &self.path, headers).ok_or(SessionError::TooLarge)
    }

    /// Ends the session on every gateway; then the fields that take it from the caller.
    pub async fn end(&self, session: &Session, headers: &HeaderMap) -> Result<Vec<HeaderValue>, SessionError> {
        self.ledger.end(session).await.map_err(SessionError::End)?;
        Ok(cookie::clear(&self.path, headers))
    }

    /// What is known, if it is not too old to say which sessions were ended.
    fn known(&self) -> Result<Arc<Known>, SessionError> {
        let known = self.latest.get().ok_or(SessionError::Unavailable)?;
        if known.asked.elapsed() > self.certain() {
            return Err(SessionError::Unavailable);
        }
        Ok(known)
    }

    /// How long it counts what was known last.
    fn certain(&self) -> Duration {
        self.lasting.outage.max(SPREADS_FOR / 2)
    }
}

#[cfg(test)]
pub(crate) mod tests;
