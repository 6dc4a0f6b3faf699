//! On whose behalf a call is made.

use std::{collections::BTreeMap, convert::Infallible, fmt, time::Duration};

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use kite_proto::CallContext;

use crate::Cluster;

/// Most characters of a request's id.
const MAX_REQUEST_ID: usize = 64;
/// Most bytes of a cluster's name.
pub(crate) const MAX_CLUSTER: usize = 253;

/// Who calls, as Kubernetes knows them. The gateway has authenticated them; the plugin never sees their credentials.
///
/// As an extractor it refuses calls that the host itself makes, which have no caller; `Option<Caller>` takes those too.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Caller {
    /// The user's name.
    pub name: String,
    /// What tells this user from an earlier one of the same name; may be empty.
    pub uid: String,
    /// The groups that the user is in.
    pub groups: Vec<String>,
    /// More that the authenticator knows, by key.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The call has no caller: the host itself makes it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this can be used on behalf of a user only, and the call has none")]
pub struct NoCaller;

impl IntoResponse for NoCaller {
    fn into_response(self) -> Response {
        (StatusCode::FORBIDDEN, self.to_string()).into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = NoCaller;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoCaller> {
        parts.extensions.get::<Self>().cloned().ok_or(NoCaller)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// The id that names a call in every log, the gateway's and the audit log included. Empty if the host gave none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RequestId(String);

impl RequestId {
    /// The id as text: printable ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Why a `CallContext` is no good.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ContextError {
    #[error("the message has no context")]
    Absent,
    #[error("the request's id is not of at most {MAX_REQUEST_ID} printable ASCII characters")]
    RequestId,
    #[error("the cluster's name has more than {MAX_CLUSTER} bytes")]
    Cluster,
    #[error("the timeout is not a positive duration")]
    Timeout,
}

/// A `CallContext` that was accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Context {
    pub(crate) caller: Option<Caller>,
    pub(crate) request_id: RequestId,
    pub(crate) cluster: Cluster,
    pub(crate) timeout: Option<Duration>,
}

impl TryFrom<Option<CallContext>> for Context {
    type Error = ContextError;

    fn try_from(context: Option<CallContext>) -> Result<Self, ContextError> {
        let context = context.ok_or(ContextError::Absent)?;
        let id = context.request_id;
        if id.len() > MAX_REQUEST_ID || !id.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(ContextError::RequestId);
        }
        if context.cluster.len() > MAX_CLUSTER {
            return Err(ContextError::Cluster);
        }
        let timeout = context
            .timeout
            .map(Duration::try_from)
            .transpose()
            .map_err(|_| ContextError::Timeout)?;
        let caller = context.user.map(|user| {
            let mut extra = BTreeMap::<_, Vec<_>>::new();
            for entry in user.extra {
                extra.entry(entry.key).or_default().extend(entry.values);
            }
            Caller {
                name: user.name,
                uid: user.uid,
                groups: user.groups,
                extra,
            }
        });
        Ok(Self {
            caller,
            request_id: RequestId(id),
            cluster: Cluster(context.cluster),
            timeout,
        })
    }
}

#[cfg(test)]
mod tests {
    use kite_proto::{User, UserExtra};

    use super::*;

    fn good() -> CallContext {
        let extra = |key: &str, value: &str| UserExtra {
            key: key.into(),
            values: vec![value.into()],
        };
        CallContext {
            user: Some(User {
                name: "anna".into(),
                uid: "1".into(),
                groups: vec!["a".into(), "b".into()],
                extra: vec![extra("k", "1"), extra("k", "2")],
            }),
            request_id: "r-1".into(),
            timeout: Some(kite_proto_duration(5, 0)),
            ..CallContext::default()
        }
    }

    fn kite_proto_duration(seconds: i64, nanos: i32) -> prost_types::Duration {
        prost_types::Duration { seconds, nanos }
    }

    fn spoilt(spoil: impl FnOnce(&mut CallContext)) -> ContextError {
        let mut context = good();
        spoil(&mut context);
        Context::try_from(Some(context)).unwrap_err()
    }

    #[test]
    fn a_good_context_is_taken_whole() {
        let context = Context::try_from(Some(good())).unwrap();
        let extra = BTreeMap::from([("k".to_owned(), vec!["1".to_owned(), "2".to_owned()])]);
        let groups = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(
            context.caller,
            Some(Caller {
                name: "anna".into(),
                uid: "1".into(),
                groups,
                extra
            })
        );
        assert_eq!(
            (context.request_id.as_str(), context.timeout),
            ("r-1", Some(Duration::from_secs(5)))
        );
    }

    #[test]
    fn a_context_is_refused_for_each_of_its_reasons() {
        assert_eq!(Context::try_from(None), Err(ContextError::Absent));
        assert_eq!(
            spoilt(|context| context.request_id = "a\n".into()),
            ContextError::RequestId
        );
        assert_eq!(
            spoilt(|context| context.request_id = "a".repeat(65)),
            ContextError::RequestId
        );
        assert_eq!(
            spoilt(|context| context.cluster = "a".repeat(254)),
            ContextError::Cluster
        );
        assert_eq!(
            spoilt(|context| context.timeout = Some(kite_proto_duration(-1, 0))),
            ContextError::Timeout
        );
    }
}
