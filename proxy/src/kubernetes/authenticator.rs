//! Who calls, by `TokenReview`.

use std::sync::Arc;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kite_api::identity::GATEWAY_AUDIENCE;
use kube::{Api, Client, api::PostParams};

use super::{ReviewError, reviewed};
use crate::pipeline::authenticate::{AuthenticateError, Authenticator, BearerToken, Caller};

/// Asks the API server about each token: whether it is one for the API server itself, as people have, or else one for the
/// gateway, as plugins have that call others. Where audiences are given, theirs are taken in place of the API server's.
pub struct TokenReviews {
    api: Api<TokenReview>,
    audiences: Vec<String>,
}

impl TokenReviews {
    /// With the audiences of people's tokens; without any, the API server's own.
    pub fn new(client: Client, audiences: Vec<String>) -> Self {
        Self {
            api: Api::all(client),
            audiences,
        }
    }
}

impl Authenticator for TokenReviews {
    async fn authenticate(&self, token: &BearerToken) -> Result<Option<Arc<Caller>>, AuthenticateError> {
        for audiences in questions(&self.audiences) {
            if let Some(caller) = self.review(token, &audiences).await? {
                return Ok(Some(Arc::new(caller)));
            }
        }
        Ok(None)
    }
}

/// For which audiences is asked, one question after the other; for none is for the API server's own.
fn questions(audiences: &[String]) -> Vec<Vec<String>> {
    let own = GATEWAY_AUDIENCE.to_owned();
    if audiences.is_empty() {
        // Which audience is the API server's own nobody else knows, so that one review cannot ask for both.
        vec![Vec::new(), vec![own]]
    } else {
        vec![[audiences, &[own]].concat()]
    }
}

impl TokenReviews {
    /// Whose token it is, if it is one for one of `audiences`; without any, for the API server.
    async fn review(&self, token: &BearerToken, audiences: &[String]) -> Result<Option<Caller>, AuthenticateError> {
        let spec = TokenReviewSpec {
            token: Some(token.secret().to_owned()),
            audiences: (!audiences.is_empty()).then(|| audiences.to_vec()),
        };
        let review = TokenReview {
            spec,
            ..TokenReview::default()
        };
        let answer = reviewed(self.api.create(&PostParams::default(), &review)).await;
        let status = answer.and_then(|review| review.status.ok_or(ReviewError::NoStatus));
        Ok(caller(
            status.map_err(|error| AuthenticateError(Arc::new(error)))?,
            audiences,
        ))
    }
}

/// The caller of an authenticated review. A user without a name is nobody, and so is one whose token the API server does not
/// say to be for one of `audiences`: an API server that knows no audiences names none.
fn caller(status: TokenReviewStatus, audiences: &[String]) -> Option<Caller> {
    let is_meant = |named: &String| audiences.contains(named);
    if !audiences.is_empty() && !status.audiences.iter().flatten().any(is_meant) {
        return None;
    }
    let user = status.user.filter(|_| status.authenticated == Some(true))?;
    let caller = Caller::new(
        user.username.filter(|name| !name.is_empty())?,
        user.uid.unwrap_or_default(),
        user.groups.unwrap_or_default(),
        user.extra.unwrap_or_default(),
    );
    Some(if audiences.is_empty() {
        caller
    } else {
        caller.for_gateway_alone()
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(|&text| text.to_owned()).collect()
    }

    fn status(spoil: impl FnOnce(&mut TokenReviewStatus)) -> TokenReviewStatus {
        let user = UserInfo {
            username: Some("jane".to_owned()),
            uid: Some("u-1".to_owned()),
            groups: Some(vec!["dev".to_owned()]),
            extra: Some([("scopes".to_owned(), vec!["a".to_owned()])].into()),
        };
        let mut status = TokenReviewStatus {
            authenticated: Some(true),
            user: Some(user),
            ..TokenReviewStatus::default()
        };
        spoil(&mut status);
        status
    }

    #[test]
    fn the_caller_is_the_whole_user() {
        let expected = Caller::new(
            "jane".to_owned(),
            "u-1".to_owned(),
            vec!["dev".to_owned()],
            [("scopes".to_owned(), vec!["a".to_owned()])].into(),
        );
        assert_eq!(caller(status(|_| ()), &[]), Some(expected.clone()));
        let for_us = || status(|status| status.audiences = Some(vec!["kite-gateway".to_owned()]));
        for audiences in [vec!["kite-gateway".to_owned()], texts(&["dashboard", "kite-gateway"])] {
            assert_eq!(caller(for_us(), &audiences), Some(expected.clone().for_gateway_alone()));
        }
    }

    #[test]
    fn a_token_is_nobodys_for_each_of_its_reasons() {
        let spoils: [fn(&mut TokenReviewStatus); 5] = [
            |status| status.authenticated = Some(false),
            |status| status.authenticated = None,
            |status| status.user = None,
            |status| status.user.as_mut().unwrap().username = None,
            |status| status.user.as_mut().unwrap().username = Some(String::new()),
        ];
        for spoil in spoils {
            assert_eq!(caller(status(spoil), &[]), None);
        }
    }

    #[test]
    fn token_passthrough_a_token_for_another_audience_is_nobodys() {
        for audiences in [None, Some(vec![]), Some(vec!["vault".to_owned()])] {
            let other = status(|status| status.audiences = audiences);
            assert_eq!(caller(other, &texts(&["kite-gateway", "dashboard"])), None);
        }
    }

    #[test]
    fn the_gateways_own_audience_is_always_asked_about() {
        assert_eq!(questions(&[]), [texts(&[]), texts(&["kite-gateway"])]);
        assert_eq!(questions(&texts(&["a", "b"])), [texts(&["a", "b", "kite-gateway"])]);
    }
}
