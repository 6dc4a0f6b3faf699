//! Who calls, by `TokenReview`.

use std::sync::Arc;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kite_api::identity::GATEWAY_AUDIENCE;
use kube::{Api, Client, api::PostParams};

use super::{ReviewError, reviewed};
use crate::pipeline::authenticate::{AuthenticateError, Authenticator, BearerToken, Caller};

/// Asks the API server about each token: whether it is one for the API server itself, as people have, or else one for the
/// gateway, as plugins have that call others.
pub struct TokenReviews(Api<TokenReview>);

impl TokenReviews {
    pub fn new(client: Client) -> Self {
        Self(Api::all(client))
    }
}

impl Authenticator for TokenReviews {
    async fn authenticate(&self, token: &BearerToken) -> Result<Option<Arc<Caller>>, AuthenticateError> {
        // Which audience is the API server's own nobody else knows, so that one review cannot ask for both.
        for audience in [None, Some(GATEWAY_AUDIENCE)] {
            if let Some(caller) = self.review(token, audience).await? {
                return Ok(Some(Arc::new(caller)));
            }
        }
        Ok(None)
    }
}

impl TokenReviews {
    /// Whose token it is, if it is one for `audience`; without one, for the API server.
    async fn review(&self, token: &BearerToken, audience: Option<&str>) -> Result<Option<Caller>, AuthenticateError> {
        let spec = TokenReviewSpec {
            token: Some(token.secret().to_owned()),
            audiences: audience.map(|audience| vec![audience.to_owned()]),
        };
        let review = TokenReview {
            spec,
            ..TokenReview::default()
        };
        let answer = reviewed(self.0.create(&PostParams::default(), &review)).await;
        let status = answer.and_then(|review| review.status.ok_or(ReviewError::NoStatus));
        Ok(caller(
            status.map_err(|error| AuthenticateError(Arc::new(error)))?,
            audience,
        ))
    }
}

/// The caller of an authenticated review. A user without a name is nobody, and so is one whose token the API server does not
/// say to be for `audience`: an API server that knows no audiences names none.
fn caller(status: TokenReviewStatus, audience: Option<&str>) -> Option<Caller> {
    let is_for = |audience: &str| status.audiences.iter().flatten().any(|it| it == audience);
    if !audience.is_none_or(is_for) {
        return None;
    }
    let user = status.user.filter(|_| status.authenticated == Some(true))?;
    Some(Caller::new(
        user.username.filter(|name| !name.is_empty())?,
        user.uid.unwrap_or_default(),
        user.groups.unwrap_or_default(),
        user.extra.unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

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
        assert_eq!(caller(status(|_| ()), None), Some(expected.clone()));
        let for_us = status(|status| status.audiences = Some(vec!["kite-gateway".to_owned()]));
        assert_eq!(caller(for_us, Some("kite-gateway")), Some(expected));
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
            assert_eq!(caller(status(spoil), None), None);
        }
    }

    #[test]
    fn token_passthrough_a_token_for_another_audience_is_nobodys() {
        for audiences in [None, Some(vec![]), Some(vec!["vault".to_owned()])] {
            let other = status(|status| status.audiences = audiences);
            assert_eq!(caller(other, Some("kite-gateway")), None);
        }
    }
}
