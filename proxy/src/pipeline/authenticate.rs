//! Who calls: finding the credential in a request, and the trait that knows whose it is.

use std::{collections::BTreeMap, fmt};

use http::{HeaderMap, header};

use crate::BoxError;

/// Most bytes of the Authorization header: more than any token of a known issuer, less than all headers together may have.
const MAX_AUTHORIZATION: usize = 16 * 1024;

/// Says whose credential it is.
pub trait Authenticator: Send + Sync + 'static {
    /// The caller whose token it is, or `None` if it is nobody's.
    fn authenticate(
        &self,
        token: &BearerToken,
    ) -> impl Future<Output = Result<Option<Caller>, AuthenticateError>> + Send;
}

/// Who calls, in the terms of Kubernetes' `UserInfo`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Caller {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Why nobody could say whose credential it is.
#[derive(Debug, thiserror::Error)]
#[error("failed to review the token")]
pub struct AuthenticateError(#[source] pub BoxError);

/// Why a request has no credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CredentialError {
    #[error("the request has no Authorization header: send a Kubernetes token as `Authorization: Bearer …`")]
    Missing,
    #[error("the request has more than one Authorization header")]
    Several,
    #[error("the Authorization header has more than {MAX_AUTHORIZATION} bytes")]
    TooLong,
    #[error("the Authorization header is not of the form `Bearer …`")]
    NotBearer,
    #[error("the token is not valid, or no longer")]
    Refused,
}

/// A token that a caller sent. It is never written anywhere.
#[derive(Clone, Eq, PartialEq)]
pub struct BearerToken(String);

impl BearerToken {
    /// The one credential of a request.
    pub fn of(headers: &HeaderMap) -> Result<Self, CredentialError> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = values.next().ok_or(CredentialError::Missing)?;
        if values.next().is_some() {
            return Err(CredentialError::Several);
        }
        if value.len() > MAX_AUTHORIZATION {
            return Err(CredentialError::TooLong);
        }
        let text = value.to_str().map_err(|_| CredentialError::NotBearer)?;
        let (scheme, token) = text.split_once(' ').ok_or(CredentialError::NotBearer)?;
        let token = token.trim_matches(' ');
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(CredentialError::NotBearer);
        }
        Ok(Self(token.to_owned()))
    }

    /// The token itself, for the API server alone.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(values: &[&str]) -> Result<BearerToken, CredentialError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                header::AUTHORIZATION,
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        BearerToken::of(&headers)
    }

    #[test]
    fn a_token_is_found_whatever_the_case_of_its_scheme() {
        for value in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert_eq!(of(&[value]).unwrap().secret(), "abc");
        }
    }

    #[test]
    fn a_credential_is_refused_for_each_of_its_reasons() {
        let long = format!("Bearer {}", "a".repeat(MAX_AUTHORIZATION));
        let cases: [(&[&str], CredentialError); 8] = [
            (&[], CredentialError::Missing),
            (&["Bearer a", "Bearer a"], CredentialError::Several),
            (&[&long], CredentialError::TooLong),
            (&["Basic abc"], CredentialError::NotBearer),
            (&["Bearer"], CredentialError::NotBearer),
            (&["Bearer  "], CredentialError::NotBearer),
            (&["Bearer a b"], CredentialError::NotBearer),
            (&["Bearer \u{e4}"], CredentialError::NotBearer),
        ];
        for (values, reason) in cases {
            assert_eq!(of(values).unwrap_err(), reason, "{values:?}");
        }
    }

    #[test]
    fn a_token_is_not_written_to_a_log() {
        assert!(!format!("{:?}", of(&["Bearer secret"]).unwrap()).contains("secret"));
    }
}
