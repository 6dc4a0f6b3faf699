//! Who a token is of, remembered for seconds, by a hash of the token that says nothing outside of this process.

use std::sync::Arc;

use ring::{hmac, rand::SystemRandom};

use super::{Lifetimes, Recent};
use crate::{
    metrics::Lookups,
    pipeline::authenticate::{AuthenticateError, Authenticator, BearerToken, Caller},
};

/// An authenticator whose answers hold for moments.
pub struct RecentIdentities<N> {
    authenticator: N,
    key: hmac::Key,
    identities: Recent<[u8; 32], Option<Arc<Caller>>>,
}

/// Why nothing can be remembered.
#[derive(Debug, thiserror::Error)]
#[error("failed to get random bytes")]
pub struct RandomError;

impl<N> RecentIdentities<N> {
    pub fn new(authenticator: N, lifetimes: Lifetimes, lookups: Arc<Lookups>) -> Result<Self, RandomError> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| RandomError)?;
        Ok(Self {
            authenticator,
            key,
            identities: Recent::new(lifetimes, Option::is_some, lookups),
        })
    }

    fn hash(&self, token: &BearerToken) -> [u8; 32] {
        let tag = hmac::sign(&self.key, token.secret().as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(tag.as_ref());
        hash
    }
}

impl<N: Authenticator> Authenticator for RecentIdentities<N> {
    async fn authenticate(&self, token: &BearerToken) -> Result<Option<Arc<Caller>>, AuthenticateError> {
        let ask = || self.authenticator.authenticate(token);
        self.identities.answer(self.hash(token), ask).await
    }
}
