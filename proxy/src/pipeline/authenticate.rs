//! Who calls: the callers, their tokens, and the trait that knows whose a token is.

pub mod certificate;
pub mod proxy;

use std::{collections::BTreeMap, fmt, sync::Arc};

use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use tokio::time::error::Elapsed;

use self::proxy::ProxyError;

/// The group of all who are known. The API server adds it to those whom it knows itself.
const AUTHENTICATED: &str = "system:authenticated";
/// Most bytes of the Authorization header: more than any token of a known issuer, less than all headers together may have.
const MAX_AUTHORIZATION: usize = 16 * 1024;

/// Says whose credential it is.
pub trait Authenticator: Send + Sync + 'static {
    /// The caller whose token it is, or `None` if it is nobody's.
    fn authenticate(
        &self,
        token: &BearerToken,
    ) -> impl Future<Output = Result<Option<Arc<Caller>>, AuthenticateError>> + Send;

    /// What is known of the token without asking anybody.
    fn remembered(&self, _: &BearerToken) -> impl Future<Output = Remembered> + Send {
        async { Remembered::Nothing }
    }
}

/// What is known of a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Remembered {
    /// Whose it is, or that it is nobody's. It holds without asking.
    Answer(Option<Arc<Caller>>),
    /// That it was somebody's not long ago.
    Accepted,
    Nothing,
}

/// One for several gateways, as each thread has.
impl<N: Authenticator> Authenticator for Arc<N> {
    async fn authenticate(&self, token: &BearerToken) -> Result<Option<Arc<Caller>>, AuthenticateError> {
        N::authenticate(self, token).await
    }

    async fn remembered(&self, token: &BearerToken) -> Remembered {
        N::remembered(self, token).await
    }
}

/// Who calls, in the terms of Kubernetes' `UserInfo`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    name: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
    identity: Identity,
    is_for_gateway_alone: bool,
}

/// Tells callers apart: the same for two of whom every field is the same, and for no others.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Identity([u8; 32]);

impl Caller {
    pub fn new(name: String, uid: String, groups: Vec<String>, extra: BTreeMap<String, Vec<String>>) -> Self {
        let identity = Identity::of(&name, &uid, &groups, &extra);
        Self {
            name,
            uid,
            groups,
            extra,
            identity,
            is_for_gateway_alone: false,
        }
    }

    /// The same, known by a token that the API server itself does not take.
    #[must_use]
    pub fn for_gateway_alone(mut self) -> Self {
        self.is_for_gateway_alone = true;
        self
    }

    pub fn is_for_gateway_alone(&self) -> bool {
        self.is_for_gateway_alone
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn uid(&self) -> &str {
        &self.uid
    }

    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    pub fn extra(&self) -> &BTreeMap<String, Vec<String>> {
        &self.extra
    }

    pub fn identity(&self) -> Identity {
        self.identity
    }
}

impl Identity {
    /// Each text goes with its length, and each list with its own, so that no two callers make the same bytes.
    fn of(name: &str, uid: &str, groups: &[String], extra: &BTreeMap<String, Vec<String>>) -> Self {
        let mut hash = Sha256::new();
        let number = |hash: &mut Sha256, number: usize| hash.update((number as u64).to_be_bytes());
        let text = |hash: &mut Sha256, text: &str| {
            number(hash, text.len());
            hash.update(text);
        };
        let list = |hash: &mut Sha256, list: &[String]| {
            number(hash, list.len());
            for item in list {
                text(hash, item);
            }
        };
        text(&mut hash, name);
        text(&mut hash, uid);
        list(&mut hash, groups);
        number(&mut hash, extra.len());
        for (key, values) in extra {
            text(&mut hash, key);
            list(&mut hash, values);
        }
        Self(hash.finalize().into())
    }
}

/// Why nobody could say whose credential it is. Shared by all who waited for the same answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("failed to review the token")]
pub struct AuthenticateError(#[source] pub Arc<dyn std::error::Error + Send + Sync>);

impl From<Elapsed> for AuthenticateError {
    fn from(late: Elapsed) -> Self {
        Self(Arc::new(late))
    }
}

/// Why a request has no credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CredentialError {
    #[error("the request has no credential: send a Kubernetes token as `Authorization: Bearer …`, or log in")]
    Missing,
    #[error("the request has more than one Authorization header")]
    Several,
    #[error("the Authorization header has more than {MAX_AUTHORIZATION} bytes")]
    TooLong,
    #[error("the Authorization header is not of the form `Bearer …`")]
    NotBearer,
    #[error("the token is not valid, or no longer")]
    Refused,
    #[error("the word of the proxy is not taken: {0}")]
    Proxy(ProxyError),
    #[error("the certificate is of the proxies' CA, and its name is not one of a proxy")]
    Unlisted,
}

/// A token that a caller sent. It is never written anywhere.
#[derive(Clone, Eq, PartialEq)]
pub struct BearerToken(String);

/// The groups of somebody whom the gateway knows itself.
fn authenticated(mut groups: Vec<String>) -> Vec<String> {
    if !groups.iter().any(|group| group == AUTHENTICATED) {
        groups.push(AUTHENTICATED.to_owned());
    }
    groups
}

impl BearerToken {
    /// The token of these characters, if a header could carry it.
    pub fn parse(token: &str) -> Option<Self> {
        let is_token = (1..=MAX_AUTHORIZATION).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
        is_token.then(|| Self(token.to_owned()))
    }

    /// The token of the one Authorization header.
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
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(CredentialError::NotBearer);
        }
        Self::parse(token.trim_matches(' ')).ok_or(CredentialError::NotBearer)
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
    fn cross_user_cache_callers_of_whom_anything_differs_are_told_apart() {
        let caller = |name: &str, uid: &str, groups: &[&str], extra: &[(&str, &[&str])]| {
            let texts = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect();
            let extra = extra.iter().map(|(key, values)| ((*key).to_owned(), texts(values)));
            Caller::new(name.to_owned(), uid.to_owned(), texts(groups), extra.collect()).identity()
        };
        let all = [
            caller("a", "", &[], &[]),
            caller("", "a", &[], &[]),
            caller("", "", &["a"], &[]),
            caller("", "", &["a", ""], &[]),
            caller("", "", &["", "a"], &[]),
            caller("", "", &[], &[("a", &[])]),
            caller("", "", &[], &[("a", &[""])]),
            caller("", "", &[], &[("", &["a"])]),
            caller("", "", &["a"], &[("a", &[])]),
            caller("", "", &["ab"], &[]),
            caller("", "", &["a", "b"], &[]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(index));
        }
        assert_eq!(caller("a", "b", &["c"], &[]), caller("a", "b", &["c"], &[]));
    }

    #[test]
    fn a_token_is_not_written_to_a_log() {
        assert!(!format!("{:?}", of(&["Bearer secret"]).unwrap()).contains("secret"));
    }
}
