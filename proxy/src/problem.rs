//! The one table from what went wrong to what the caller is told (RFC 9457) and what the log is told.

mod known;

use std::borrow::Cow;

use http::{HeaderValue, Response, StatusCode, header};
use kite_api::{Verb, error_chain, name::NameError};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

pub use self::known::KNOWN;
use crate::{
    audit::AuditError,
    pipeline::{
        ResponseBody,
        authenticate::{AuthenticateError, CredentialError},
        authorize::AuthorizeError,
        cluster::ClusterError,
        forward::{ExchangeFailure, ForwardError, HandshakeError},
        full,
        path::PathError,
        requires::RequiresError,
        same_origin::CrossSite,
        session::LoginError,
        tool::{ArgumentsError, CallFailure, ToolError},
        whole_body::WholeBodyError,
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
/// Most bytes of a plugin's text that are passed on in a problem.
const MAX_TEXT: usize = 8 * 1024;

const LATE: &str = "the plugin did not answer in time";
const AGAIN: &str = "the plugin is busy: try again";
const EARLY: &str = "the plugin failed before it answered";
const NO_TOOL: &str = "the plugin offers no tool of this name";
/// Kinds of problems that several refusals share.
const TIMEOUT: (StatusCode, &str, &str) = (
    StatusCode::GATEWAY_TIMEOUT,
    "plugin-timeout",
    "The plugin did not answer in time",
);
const FAILED: (StatusCode, &str, &str) = (StatusCode::BAD_GATEWAY, "plugin-failed", "The plugin failed");
const BUSY: (StatusCode, &str, &str) = (StatusCode::SERVICE_UNAVAILABLE, "plugin-busy", "The plugin is busy");
const TOO_LARGE: (StatusCode, &str, &str) = (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large");
const BROKEN: (StatusCode, &str, &str) = (StatusCode::BAD_REQUEST, "broken-body", "The body broke off");
const SILENT: (StatusCode, &str, &str) = (
    StatusCode::REQUEST_TIMEOUT,
    "body-timeout",
    "The body did not come in time",
);
const INVALID: (StatusCode, &str, &str) = (
    StatusCode::BAD_GATEWAY,
    "plugin-answer-invalid",
    "The plugin's answer is not valid",
);

const REFUSED: (StatusCode, &str, &str) = (
    StatusCode::UNPROCESSABLE_ENTITY,
    "arguments-refused",
    "The tool refuses the arguments",
);
const DENIED: (StatusCode, &str, &str) = (StatusCode::FORBIDDEN, "tool-forbidden", "The plugin refuses the caller");

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

/// What sort of problem it is.
struct Kind {
    status: StatusCode,
    /// Last part of the problem's type. Stable.
    slug: &'static str,
    /// The same for every problem of a type.
    title: &'static str,
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
    let all: Vec<String> = KNOWN.iter().map(|(_, slug, _)| format!("{TYPES}{slug}")).collect();
    schemars::json_schema!({"type": "string", "format": "uri", "enum": all})
}

impl Refusal {
    /// The answer that tells the caller, after the log was told.
    pub fn answer(&self, id: &RequestId) -> Response<ResponseBody> {
        let kind = self.kind();
        let mut response = Response::new(full(self.document(id)));
        *response.status_mut() = kind.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if kind.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if kind.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if let Self::TooMany(TooMany { wait }) = self {
            // Whole seconds, of which none are too few.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        if kind.status == StatusCode::UPGRADE_REQUIRED {
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
        self.log(&kind, id);
        let document = Document {
            r#type: format!("{TYPES}{}", kind.slug),
            title: kind.title,
            status: kind.status.as_u16(),
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

    /// The last part of the problem's type.
    pub fn slug(&self) -> &'static str {
        self.kind().slug
    }

    /// Tells the log what the caller is not told. A caller's own mistakes are of no interest to a cluster's admin.
    fn log(&self, kind: &Kind, id: &RequestId) {
        let (status, problem, error) = (kind.status.as_u16(), kind.slug, error_chain(self));
        if kind.status.is_server_error() {
            tracing::warn!(request_id = %id, status, problem, error, "request refused");
        } else {
            tracing::debug!(request_id = %id, status, problem, error, "request refused");
        }
    }

    #[rustfmt::skip]
    fn kind(&self) -> Kind {
        use StatusCode as S;
        let (status, slug, title) = match self {
            Self::Request(RequestError::Fields) => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "too-many-fields", "The request has too many header fields"),
            Self::Request(RequestError::Coding | RequestError::NoHost | RequestError::Hosts | RequestError::Host) => (S::BAD_REQUEST, "invalid-request", "The request can be read in more than one way"),
            Self::Path(_) => (S::BAD_REQUEST, "ambiguous-path", "The path can be read in more than one way"),
            Self::Credential(_) | Self::Session(SessionError::Cookie(_) | SessionError::Read(_) | SessionError::Over) => (S::UNAUTHORIZED, "unauthenticated", "The caller is not known"),
            Self::Session(SessionError::Unavailable | SessionError::Seal(_) | SessionError::End(_)) => (S::SERVICE_UNAVAILABLE, "sessions-unavailable", "The session could not be begun, checked or ended"),
            Self::Session(SessionError::TooLarge) => (S::PAYLOAD_TOO_LARGE, "token-too-large", "The token is too large for a session"),
            Self::NoSession => (S::CONFLICT, "no-session", "There is no session to end"),
            Self::CrossSite(_) => (S::FORBIDDEN, "cross-site", "The request does not come from the dashboard"),
            Self::TooMany(_) => (S::TOO_MANY_REQUESTS, "too-many-attempts", "Too many tokens were refused"),
            Self::Authenticate(_) => (S::SERVICE_UNAVAILABLE, "authentication-unavailable", "The caller could not be checked"),
            Self::NoRoute => (S::NOT_FOUND, "no-such-route", "There is no such route"),
            Self::Method { .. } => (S::METHOD_NOT_ALLOWED, "method-not-allowed", "The route does not take this method"),
            Self::Name(_) => (S::BAD_REQUEST, "invalid-name", "The name is malformed"),
            Self::Cluster(_) => (S::BAD_REQUEST, "ambiguous-cluster", "The cluster can be read in more than one way"),
            Self::NoCluster => (S::NOT_FOUND, "no-such-cluster", "There is no such cluster"),
            Self::Handshake(HandshakeError::Unsupported) => (S::NOT_IMPLEMENTED, "upgrade-unsupported", "The connection cannot be upgraded"),
            Self::Handshake(HandshakeError::Version) => (S::UPGRADE_REQUIRED, "websocket-version", "The version of WebSocket is another"),
            Self::Handshake(HandshakeError::Body | HandshakeError::Keys | HandshakeError::Malformed(_)) => (S::BAD_REQUEST, "invalid-handshake", "The WebSocket handshake is malformed"),
            Self::Authorize(_) => (S::SERVICE_UNAVAILABLE, "authorization-unavailable", "The caller's rights could not be checked"),
            Self::AuditUnavailable(_) => (S::SERVICE_UNAVAILABLE, "audit-unavailable", "The operation could not be recorded"),
            Self::AuditFailed(_) => (S::INTERNAL_SERVER_ERROR, "audit-failed", "The operation was made and not recorded"),
            Self::Forbidden { .. } | Self::NoMetrics => (S::FORBIDDEN, "forbidden", "The caller may not do this"),
            Self::NotReady | Self::Unready(_) => (S::SERVICE_UNAVAILABLE, "not-ready", "The gateway is not ready"),
            Self::NoPlugin => (S::NOT_FOUND, "no-such-plugin", "There is no such plugin"),
            Self::NoTool | Self::Tool(ToolError::NotOffered) => (S::NOT_FOUND, "no-such-tool", "There is no such tool"),
            Self::NotLoaded => (S::SERVICE_UNAVAILABLE, "not-loaded", "The plugin is not loaded"),
            Self::NoEndpoint { .. } => (S::SERVICE_UNAVAILABLE, "no-endpoint", "No pod of the plugin can be reached"),
            Self::Requires(RequiresError::QueryTwice(_) | RequiresError::Query) => (S::BAD_REQUEST, "ambiguous-query", "The query can be read in more than one way"),
            Self::Requires(RequiresError::MediaType | RequiresError::Form) | Self::Login(LoginError::MediaType) => (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is not JSON"),
            Self::Requires(RequiresError::NotText(_) | RequiresError::KeyTwice(_) | RequiresError::Namespace(_) | RequiresError::Name(_)) => (S::BAD_REQUEST, "invalid-parameter", "A parameter is malformed"),
            Self::Requires(RequiresError::NotGranted(_)) => (S::FORBIDDEN, "plugin-lacks-right", "The plugin was not granted a right that it requires"),
            Self::Requires(RequiresError::NotHeld(_)) => (S::FORBIDDEN, "caller-lacks-right", "The caller lacks a right that the plugin requires"),
            Self::Arguments(ArgumentsError::Body(error)) | Self::Requires(RequiresError::Body(error)) | Self::Login(LoginError::Body(error)) => match error {
                WholeBodyError::TooLarge(_) => TOO_LARGE,
                WholeBodyError::Read(_) => BROKEN,
                WholeBodyError::Timeout => SILENT,
            },
            Self::InFlight { .. } => BUSY,
            Self::Forward(ForwardError::Silent) => SILENT,
            Self::Forward(ForwardError::Broken(_)) => BROKEN,
            Self::Forward(ForwardError::TooLarge(_)) => TOO_LARGE,
            Self::Arguments(ArgumentsError::NotObject | ArgumentsError::Parse(_) | ArgumentsError::Refused(_)) | Self::Requires(RequiresError::Json(_)) | Self::Tool(ToolError::Arguments(_)) | Self::Login(LoginError::Parse | LoginError::Token) => (S::BAD_REQUEST, "invalid-body", "The body is malformed"),
            Self::Forward(ForwardError::Timeout) | Self::Tool(ToolError::Timeout) => TIMEOUT,
            Self::Forward(ForwardError::Call(failure, _)) => match failure {
                ExchangeFailure::Busy => BUSY,
                ExchangeFailure::Late => TIMEOUT,
                ExchangeFailure::Failed => FAILED,
            },
            Self::Tool(ToolError::NotBegun(_)) => FAILED,
            Self::Forward(ForwardError::Answer(_)) | Self::Tool(ToolError::NoResult | ToolError::Structured(_) | ToolError::Schema(_)) => INVALID,
            Self::Tool(ToolError::Violations(_)) => REFUSED,
            Self::Tool(ToolError::NotAllowed(_)) => DENIED,
            Self::ListTooLarge => (S::BAD_REQUEST, "list-too-large", "The list is too large"),
            Self::Tool(ToolError::Failed(_)) => (S::BAD_GATEWAY, "tool-failed", "The tool failed"),
            Self::Tool(ToolError::Call(failure, _)) => match failure {
                CallFailure::Refused => REFUSED,
                CallFailure::Forbidden => DENIED,
                CallFailure::NoTool => (S::NOT_FOUND, "no-such-tool", "There is no such tool"),
                CallFailure::Busy => BUSY,
                CallFailure::Late => TIMEOUT,
                CallFailure::Failed => FAILED,
            },
        };
        Kind { status, slug, title }
    }

    /// Safe to show, and of use to whoever reads it.
    fn detail(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Request(error) => return error.to_string().into(),
            Self::Path(error) => return error.to_string().into(),
            Self::Credential(error) => return error.to_string().into(),
            Self::Name(error) => return error.to_string().into(),
            Self::Cluster(error) => return error.to_string().into(),
            Self::NoCluster => "the dashboard knows no cluster of the name in x-cluster-name",
            Self::CrossSite(error) => return error.to_string().into(),
            Self::Login(error) => return error_chain(error).into(),
            Self::Session(error) => return of_session(error),
            Self::NoSession => "you are not known by a session, so that there is none to end",
            Self::TooMany(_) => "too many tokens from your address were refused: try again",
            Self::Arguments(error) => return error_chain(error).into(),
            Self::Requires(error) => return error_chain(error).into(),
            Self::Handshake(error) => return error_chain(error).into(),
            Self::Method { allow } => return format!("the route takes {allow}").into(),
            Self::Authenticate(_) => "the Kubernetes API could not be asked who calls: try again",
            Self::Authorize(_) => "the Kubernetes API could not be asked what the caller may do: try again",
            Self::NoRoute => "there is no such route",
            // The same text for plugins that exist and for those that do not: nobody learns of what they may not use.
            Self::Forbidden { verb } => {
                let verb = verb.as_str();
                return format!("you lack the verb {verb} on this plugin: ask for a role such as kite-plugins-user")
                    .into();
            }
            Self::NoMetrics => {
                "you lack the verb get on the URL /metrics: ask for the role kite-plugins-metrics-reader"
            }
            Self::AuditUnavailable(_) => {
                "nothing was changed, because no record of it would be kept at the moment: try again"
            }
            Self::AuditFailed(_) => {
                "the plugin may have done it, and the record of it may be lost: look what was changed before you try again"
            }
            Self::NotReady | Self::Unready(_) => "the gateway is starting or ending: try again",
            Self::NoPlugin => "there is no plugin of this name",
            Self::NotLoaded => "the plugin is disabled or not loaded: the status of its KitePlugin says why",
            Self::NoEndpoint { .. } => "no pod of the plugin can be reached at the moment: try again",
            Self::InFlight { most } => {
                return format!("{most} requests to the plugin are under way, and it takes no more at once: try again")
                    .into();
            }
            Self::Forward(ForwardError::Timeout) | Self::Tool(ToolError::Timeout) => LATE,
            Self::Forward(error @ ForwardError::TooLarge(_)) => return error.to_string().into(),
            Self::Forward(ForwardError::Broken(_)) => "the body broke off, or its chunks are malformed",
            Self::Forward(ForwardError::Silent) => "the rest of the body did not come in time",
            Self::Forward(ForwardError::Call(failure, _)) => match failure {
                ExchangeFailure::Busy => AGAIN,
                ExchangeFailure::Late => LATE,
                ExchangeFailure::Failed => EARLY,
            },
            Self::Tool(ToolError::NotBegun(_)) => EARLY,
            Self::Forward(ForwardError::Answer(_)) | Self::Tool(ToolError::NoResult | ToolError::Structured(_)) => {
                "the plugin gave an answer that cannot be passed on"
            }
            Self::Tool(ToolError::Schema(_)) => "the tool's schema cannot be used: its author has to mend it",
            Self::Tool(ToolError::Arguments(error)) => return error_chain(error).into(),
            Self::Tool(ToolError::Violations(all)) => return all.join("; ").into(),
            Self::Tool(ToolError::NotAllowed(reason)) if reason.is_empty() => {
                "the plugin does not let you call this tool so"
            }
            Self::Tool(ToolError::NotAllowed(reason)) => bounded(reason, MAX_TEXT),
            Self::ListTooLarge => "there are too many tools for one answer: ask for one plugin's, with ?plugin=NAME",
            Self::Tool(ToolError::Failed(text)) => bounded(text, MAX_TEXT),
            Self::Tool(ToolError::Call(failure, status)) => match failure {
                CallFailure::Refused | CallFailure::Forbidden => bounded(status.message(), MAX_TEXT),
                CallFailure::Busy => AGAIN,
                CallFailure::NoTool => NO_TOOL,
                CallFailure::Late => LATE,
                CallFailure::Failed => "the plugin failed before the tool ended",
            },
            Self::NoTool | Self::Tool(ToolError::NotOffered) => NO_TOOL,
        })
    }
}

/// What is safe to show, and of use, of a session that is not there.
fn of_session(error: &SessionError) -> Cow<'_, str> {
    Cow::Borrowed(match error {
        SessionError::Cookie(error) => return error.to_string().into(),
        SessionError::Read(_) | SessionError::Over => "the session has ended: log in again",
        SessionError::Unavailable | SessionError::Seal(_) => {
            "the keys of sessions are not known at the moment: try again, or send a token"
        }
        SessionError::End(_) => "the session could not be ended on every gateway and goes on: try again",
        SessionError::TooLarge => "the token has too many bytes for a session's cookies: send it with each request",
    })
}

/// The first `most` bytes of `text`, cut between characters.
pub(crate) fn bounded(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}
