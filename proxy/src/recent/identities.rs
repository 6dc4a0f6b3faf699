//! Who a token is of, remembered for seconds, by a hash of the token that says nothing outside of this process.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use ring::{hmac, rand::SystemRandom};

use super::{Lifetimes, Recent};
use crate::{
    metrics::Lookups,
    pipeline::authenticate::{AuthenticateError, Authenticator, BearerToken, Caller, Remembered},
};

/// Most tokens of which it is remembered whose they are: those of 100,000 callers, and some that were refused.
const MOST: u64 = 125_000;
/// How long it is remembered of a token that it was somebody's. It says nothing of whether it still is.
const ACCEPTED: Duration = Duration::from_mins(15);

/// An authenticator whose answers hold for moments.
pub struct RecentIdentities<N> {
    authenticator: N,
    key: hmac::Key,
    identities: Recent<[u8; 32], Option<Arc<Caller>>>,
    accepted: Cache<[u8; 32], ()>,
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
            accepted: Cache::builder().max_capacity(MOST).time_to_live(ACCEPTED).build(),
            identities: Recent::new(MOST, lifetimes, Option::is_some, lookups),
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
        let hash = self.hash(token);
        let ask = || async move {
            let caller = self.authenticator.authenticate(token).await?;
            if caller.is_some() {
                self.accepted.insert(hash, ()).await;
            }
            Ok(caller)
        };
        self.identities.answer(hash, ask).await
    }

    async fn remembered(&self, token: &BearerToken) -> Remembered {
        let hash = self.hash(token);
        if let Some(answer) = self.identities.holding(&hash).await {
            Remembered::Answer(answer)
        } else if self.accepted.contains_key(&hash) {
            Remembered::Accepted
        } else {
            Remembered::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knows the token good, and says of no other whose it is.
    struct Api;

    impl Authenticator for Api {
        async fn authenticate(&self, token: &BearerToken) -> Result<Option<Arc<Caller>>, AuthenticateError> {
            let jane = || Caller::new("jane".to_owned(), String::new(), vec![], [].into());
            Ok((token.secret() == "good").then(|| Arc::new(jane())))
        }
    }

    fn identities(holds: Duration) -> RecentIdentities<Api> {
        let lifetimes = Lifetimes {
            yes: holds,
            no: holds,
            outage: Duration::ZERO,
        };
        RecentIdentities::new(Api, lifetimes, Arc::default()).unwrap()
    }

    #[tokio::test]
    async fn what_holds_is_told_without_asking() {
        let identities = identities(Duration::from_mins(10));
        for token in ["good", "bad"] {
            let token = BearerToken::parse(token).unwrap();
            assert_eq!(identities.remembered(&token).await, Remembered::Nothing);
            let answer = identities.authenticate(&token).await.unwrap();
            assert_eq!(identities.remembered(&token).await, Remembered::Answer(answer));
        }
    }

    #[tokio::test]
    async fn a_token_that_was_somebodys_is_remembered_longer() {
        let identities = identities(Duration::ZERO);
        for (token, remembered) in [("good", Remembered::Accepted), ("bad", Remembered::Nothing)] {
            let token = BearerToken::parse(token).unwrap();
            identities.authenticate(&token).await.unwrap();
            assert_eq!(identities.remembered(&token).await, remembered);
        }
    }
}
