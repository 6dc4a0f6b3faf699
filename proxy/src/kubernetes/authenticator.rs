//! Who calls, by `TokenReview`.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};

use super::{ReviewError, reviewed};
use crate::pipeline::authenticate::{AuthenticateError, Authenticator, BearerToken, Caller};

/// Asks the API server about each token, for the API server's own audiences.
pub struct TokenReviews(Api<TokenReview>);

impl TokenReviews {
    pub fn new(client: Client) -> Self {
        Self(Api::all(client))
    }
}

impl Authenticator for TokenReviews {
    async fn authenticate(&self, token: &BearerToken) -> Result<Option<Caller>, AuthenticateError> {
        let spec = TokenReviewSpec {
            token: Some(token.secret().to_owned()),
            ..TokenReviewSpec::default()
        };
        let review = TokenReview {
            spec,
            ..TokenReview::default()
        };
        let answer = reviewed(self.0.create(&PostParams::default(), &review)).await;
        let status = answer.and_then(|review| review.status.ok_or(ReviewError::NoStatus));
        Ok(caller(status.map_err(|error| AuthenticateError(error.into()))?))
    }
}

/// The caller of an authenticated review. A user without a name is nobody.
fn caller(status: TokenReviewStatus) -> Option<Caller> {
    let user = status.user.filter(|_| status.authenticated == Some(true))?;
    Some(Caller {
        name: user.username.filter(|name| !name.is_empty())?,
        uid: user.uid.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default(),
    })
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
        let expected = Caller {
            name: "jane".to_owned(),
            uid: "u-1".to_owned(),
            groups: vec!["dev".to_owned()],
            extra: [("scopes".to_owned(), vec!["a".to_owned()])].into(),
        };
        assert_eq!(caller(status(|_| ())), Some(expected));
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
            assert_eq!(caller(status(spoil)), None);
        }
    }
}
