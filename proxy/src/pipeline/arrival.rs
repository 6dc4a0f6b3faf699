//! How a caller comes: by which of several credentials, and whose it is.

use std::sync::Arc;

use http::{HeaderMap, header};

use super::{
    Gateway,
    authenticate::{Authenticator, BearerToken, Caller, CredentialError, Remembered, proxy},
    authorize::Authorizer,
    same_origin::WebOrigin,
};
use crate::{
    directory::Directory,
    moment::Moment,
    peer::{Certified, Peer, authorities::Authorities},
    problem::Refusal,
    session::{Session, SessionError, Sessions},
    slowdown::Slowdown,
};

/// By what callers come beside bearer tokens, and who is kept from trying too often. The default is nothing.
#[derive(Default)]
pub struct Entrance {
    pub sessions: Option<Sessions>,
    pub authorities: Authorities,
    pub slowdown: Slowdown,
    /// Origins of the dashboard's pages beside the one by which a request reached the gateway.
    pub origins: Vec<WebOrigin>,
}

/// Who calls, and how they are known.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub caller: Arc<Caller>,
    pub way: Way,
}

/// How a caller is known.
#[derive(Clone, Debug)]
pub enum Way {
    /// By a token that they sent.
    Bearer(BearerToken),
    /// By a token that they logged in with.
    Session(Session),
    /// By a client certificate of their own.
    Certificate {
        /// When it ends.
        until: Moment,
    },
    /// By the word of an authenticating proxy.
    Proxy,
}

impl Arrival {
    /// The token by which changes can be made as the caller themselves, if there is one that the API server takes.
    pub fn credential(&self) -> Option<&BearerToken> {
        let token = match &self.way {
            Way::Bearer(token) => token,
            Way::Session(session) => session.token(),
            Way::Certificate { .. } | Way::Proxy => return None,
        };
        (!self.caller.is_for_gateway_alone()).then_some(token)
    }
}

impl<N: Authenticator, Z: Authorizer, D: Directory> Gateway<N, Z, D> {
    /// Who calls. A request has one credential that counts: the header, which is written for this request, before what a browser
    /// or a connection adds to each; and what counts is not passed over for another if it is no good.
    pub(super) async fn arrive(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Arrival, Refusal> {
        if headers.contains_key(header::AUTHORIZATION) {
            let token = BearerToken::of(headers).map_err(Refusal::Credential)?;
            let caller = self.identify(&token, peer).await?;
            let way = Way::Bearer(token);
            return Ok(Arrival { caller, way });
        }
        let now = Moment::now();
        let certified = peer.map_or(Certified::Nobody, |peer| self.entrance.authorities.who(peer, now));
        let person = match certified {
            // A proxy's connection carries many callers. Of those for whom it does not speak nobody is known.
            Certified::Proxy { .. } => {
                let caller = proxy::caller(headers).map_err(CredentialError::Proxy);
                let caller = Arc::new(caller.map_err(Refusal::Credential)?);
                let way = Way::Proxy;
                return Ok(Arrival { caller, way });
            }
            Certified::Unlisted => return Err(Refusal::Credential(CredentialError::Unlisted)),
            Certified::Person { caller, until } => Some(Arrival {
                caller,
                way: Way::Certificate { until },
            }),
            Certified::Nobody => None,
        };
        if let Some(arrival) = self.by_session(headers, now).await? {
            return Ok(arrival);
        }
        person.ok_or(Refusal::Credential(CredentialError::Missing))
    }

    /// Whoever has a session, as long as its token is somebody's.
    async fn by_session(&self, headers: &HeaderMap, now: Moment) -> Result<Option<Arrival>, Refusal> {
        let Some(sessions) = &self.entrance.sessions else {
            return Ok(None);
        };
        let Some(session) = sessions.find(headers, now).map_err(Refusal::Session)? else {
            return Ok(None);
        };
        // Nobody is slowed down: a session is proof of a token that was somebody's.
        let caller = self.authenticator.authenticate(session.token()).await;
        let caller = caller.map_err(Refusal::Authenticate)?;
        let caller = caller.ok_or(Refusal::Session(SessionError::Over))?;
        let way = Way::Session(session);
        Ok(Some(Arrival { caller, way }))
    }

    /// Whose token it is.
    pub(super) async fn identify(&self, token: &BearerToken, peer: Option<&Peer>) -> Result<Arc<Caller>, Refusal> {
        let caller = match self.authenticator.remembered(token).await {
            Remembered::Answer(caller) => caller,
            // Whoever others at the same address try to keep out, by failing often.
            Remembered::Accepted => Box::pin(self.authenticator.authenticate(token))
                .await
                .map_err(Refusal::Authenticate)?,
            Remembered::Nothing => Box::pin(self.attempt(token, peer)).await?,
        };
        caller.ok_or(Refusal::Credential(CredentialError::Refused))
    }

    /// The same of a token of which nothing is known.
    async fn attempt(&self, token: &BearerToken, peer: Option<&Peer>) -> Result<Option<Arc<Caller>>, Refusal> {
        let attempt = match peer {
            Some(peer) => self.entrance.slowdown.attempt(peer.address()).await,
            None => {
                return self
                    .authenticator
                    .authenticate(token)
                    .await
                    .map_err(Refusal::Authenticate);
            }
        };
        let attempt = attempt.map_err(Refusal::TooMany)?;
        let caller = self.authenticator.authenticate(token).await;
        // That nobody can say whose it is, is not the source's fault.
        if !matches!(caller, Ok(None)) {
            attempt.succeeded();
        }
        caller.map_err(Refusal::Authenticate)
    }
}
