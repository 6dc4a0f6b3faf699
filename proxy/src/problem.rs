//! What the caller is told of what went wrong (RFC 9457), and what the log is told.

mod classify;
mod detail;
mod kind;
#[cfg(test)]
mod tests;

use http::{HeaderValue, Response, StatusCode, header};
use kite_api::{Verb, error_chain, name::NameError};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

pub use self::kind::Kind;
use crate::{
    audit::AuditError,
    pipeline::{
        ResponseBody,
        authenticate::{AuthenticateError, CredentialError},
        authorize::AuthorizeError,
        cluster::ClusterError,
        forward::{ForwardError, HandshakeError},
        full,
        path::PathError,
        requires::RequiresError,
        revision::PinError,
        same_origin::CrossSite,
        session::LoginError,
        tool::{ArgumentsError, ToolError},
    },
    readiness::Check,
    request_id::RequestId,
    serve::RequestError,
    session::SessionError,
    slowdown::TooMany,
    upstream::EndpointError,
};

/// Where the types of problems are named.
const TYPES: &str = "https://kite.dev/problems/";
/// Seconds after which to come again, where the trouble passes by itself.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Every way in which a request ends without a plugin's answer.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("failed to take the request for one that everybody reads alike")]
    Request(#[source] RequestError),
    #[error("failed to read the path")]
    Path(#[source] PathError),
    #[error("failed to find a credential")]
    Credential(#[source] CredentialError),
    #[error("failed to ask who calls")]
    Authenticate(#[source] AuthenticateError),
    #[error("failed to use the session")]
    Session(#[source] SessionError),
    #[error("failed to log in")]
    Login(#[source] LoginError),
    #[error("failed to see that the request comes from the dashboard")]
    CrossSite(#[source] CrossSite),
    #[error("failed too often to tell who calls")]
    TooMany(#[source] TooMany),
    #[error("failed to find a session to end")]
    NoSession,
    #[error("failed to find a route")]
    NoRoute,
    #[error("failed to find the method among {allow}")]
    Method { allow: &'static str },
    #[error("failed to read the name")]
    Name(#[source] NameError),
    #[error("failed to read which cluster is meant")]
    Cluster(#[source] ClusterError),
    #[error("failed to find the cluster")]
    NoCluster,
    #[error("failed to read which revision is meant")]
    Revision(#[source] PinError),
    #[error("failed to find revision {number}, which drains no longer")]
    RevisionGone { number: i64 },
    #[error("failed to upgrade the connection")]
    Handshake(#[source] HandshakeError),
    #[error("failed to ask what the caller may do")]
    Authorize(#[source] AuthorizeError),
    #[error("failed to find the caller's right to {}", verb.as_str())]
    Forbidden { verb: Verb },
    #[error("failed to find what the plugin requires of its callers")]
    Requires(#[source] RequiresError),
    #[error("failed to find the gateway ready")]
    NotReady,
    #[error("failed to find every check passed")]
    Unready(Vec<Check>),
    #[error("failed to find the caller's right to read the metrics")]
    NoMetrics,
    #[error("failed to begin a change whose record would be kept")]
    AuditUnavailable(#[source] AuditError),
    #[error("failed to keep the record of a change that was made")]
    AuditFailed(#[source] AuditError),
    #[error("failed to find the plugin")]
    NoPlugin,
    #[error("failed to find the tool")]
    NoTool,
    #[error("failed to list all tools within the bound")]
    ListTooLarge,
    #[error("failed to find a revision that takes traffic")]
    NotLoaded,
    #[error("failed to find a place among {most} requests under way")]
    InFlight { most: usize },
    #[error("failed to use any of {tried} endpoints")]
    NoEndpoint {
        tried: usize,
        #[source]
        last: Option<EndpointError>,
    },
    #[error("failed to read the tool's arguments")]
    Arguments(#[source] ArgumentsError),
    #[error("failed to forward to the plugin")]
    Forward(#[source] ForwardError),
    #[error("failed to call the tool")]
    Tool(#[source] ToolError),
}

/// Why there is no other answer (RFC 9457).
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Problem")]
pub(crate) struct Document<'a> {
    /// Stable, for programs.
    #[schemars(schema_with = "types")]
    r#type: String,
    /// The same for every problem of a type.
    title: &'a str,
    /// The status of the answer.
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// What happened, and what to do about it.
    detail: &'a str,
    /// By which the request is found in logs.
    request_id: &'a str,
    /// The detail again, for clients that know no problem documents.
    error: &'a str,
    /// What was looked at, where the gateway is asked whether it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<&'a [Check]>,
}

/// All types of problems.
fn types(_: &mut SchemaGenerator) -> Schema {
    let all: Vec<String> = Kind::ALL.iter().map(|kind| format!("{TYPES}{}", kind.slug())).collect();
    schemars::json_schema!({"type": "string", "format": "uri", "enum": all})
}

impl Refusal {
    /// The answer that tells the caller, after the log was told.
    pub fn answer(&self, id: &RequestId) -> Response<ResponseBody> {
        let kind = self.kind();
        let mut response = Response::new(full(self.document(id)));
        *response.status_mut() = kind.status();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if kind.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if kind.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if let Self::TooMany(TooMany { wait }) = self {
            // Whole seconds, of which none are too few.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        if kind.status() == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if let Self::Method { allow } = self {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }

    /// The problem document (RFC 9457, section 3.1), after the log was told.
    pub fn document(&self, id: &RequestId) -> Vec<u8> {
        let (kind, detail) = (self.kind(), self.detail());
        self.log(kind, id);
        let document = Document {
            r#type: format!("{TYPES}{}", kind.slug()),
            title: kind.title(),
            status: kind.status().as_u16(),
            detail: &detail,
            request_id: id.as_str(),
            error: &detail,
            checks: match self {
                Self::Unready(checks) => Some(checks),
                _ => None,
            },
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.kind().status()
    }

    /// The last part of the problem's type.
    pub fn slug(&self) -> &'static str {
        self.kind().slug()
    }

    /// Tells the log what the caller is not told. A caller's own mistakes are of no interest to a cluster's admin.
    fn log(&self, kind: Kind, id: &RequestId) {
        let (status, problem, error) = (kind.status().as_u16(), kind.slug(), error_chain(self));
        if kind.status().is_server_error() {
            tracing::warn!(request_id = %id, status, problem, error, "request refused");
        } else {
            tracing::debug!(request_id = %id, status, problem, error, "request refused");
        }
    }
}

/// The first `most` bytes of `text`, cut between characters.
pub(crate) fn bounded(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}
