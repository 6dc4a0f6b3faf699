//! The one table from what went wrong to the status and the type of the problem.

use http::StatusCode;

use super::Refusal;
use crate::{
    pipeline::{
        forward::{ExchangeFailure, ForwardError, HandshakeError},
        requires::RequiresError,
        session::LoginError,
        tool::{ArgumentsError, CallFailure, ToolError},
        whole_body::WholeBodyError,
    },
    serve::RequestError,
    session::SessionError,
};

/// Status, last part of the type, and title.
type Of = (StatusCode, &'static str, &'static str);

/// What sort of problem it is.
pub(super) struct Kind {
    pub(super) status: StatusCode,
    /// Last part of the problem's type. Stable.
    pub(super) slug: &'static str,
    /// The same for every problem of a type.
    pub(super) title: &'static str,
}

/// Kinds of problems that several refusals share.
const TIMEOUT: Of = (
    StatusCode::GATEWAY_TIMEOUT,
    "plugin-timeout",
    "The plugin did not answer in time",
);
const FAILED: Of = (StatusCode::BAD_GATEWAY, "plugin-failed", "The plugin failed");
const BUSY: Of = (StatusCode::SERVICE_UNAVAILABLE, "plugin-busy", "The plugin is busy");
const TOO_LARGE: Of = (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large");
const BROKEN: Of = (StatusCode::BAD_REQUEST, "broken-body", "The body broke off");
const SILENT: Of = (
    StatusCode::REQUEST_TIMEOUT,
    "body-timeout",
    "The body did not come in time",
);
const INVALID: Of = (
    StatusCode::BAD_GATEWAY,
    "plugin-answer-invalid",
    "The plugin's answer is not valid",
);

const REFUSED: Of = (
    StatusCode::UNPROCESSABLE_ENTITY,
    "arguments-refused",
    "The tool refuses the arguments",
);
const DENIED: Of = (StatusCode::FORBIDDEN, "tool-forbidden", "The plugin refuses the caller");
const INVALID_BODY: Of = (StatusCode::BAD_REQUEST, "invalid-body", "The body is malformed");
const NOT_JSON: Of = (
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "unsupported-media-type",
    "The body is not JSON",
);
const NO_TOOL: Of = (StatusCode::NOT_FOUND, "no-such-tool", "There is no such tool");
const UNAUTHENTICATED: Of = (StatusCode::UNAUTHORIZED, "unauthenticated", "The caller is not known");

impl Refusal {
    #[rustfmt::skip]
    pub(super) fn kind(&self) -> Kind {
        use StatusCode as S;
        let (status, slug, title) = match self {
            Self::Request(RequestError::Fields) => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "too-many-fields", "The request has too many header fields"),
            Self::Request(RequestError::Coding | RequestError::NoHost | RequestError::Hosts | RequestError::Host) => (S::BAD_REQUEST, "invalid-request", "The request can be read in more than one way"),
            Self::Path(_) => (S::BAD_REQUEST, "ambiguous-path", "The path can be read in more than one way"),
            Self::Credential(_) => UNAUTHENTICATED,
            Self::Session(error) => of_session(error),
            Self::NoSession => (S::CONFLICT, "no-session", "There is no session to end"),
            Self::CrossSite(_) => (S::FORBIDDEN, "cross-site", "The request does not come from the dashboard"),
            Self::TooMany(_) => (S::TOO_MANY_REQUESTS, "too-many-attempts", "Too many tokens were refused"),
            Self::Authenticate(_) => (S::SERVICE_UNAVAILABLE, "authentication-unavailable", "The caller could not be checked"),
            Self::NoRoute => (S::NOT_FOUND, "no-such-route", "There is no such route"),
            Self::Method { .. } => (S::METHOD_NOT_ALLOWED, "method-not-allowed", "The route does not take this method"),
            Self::Name(_) => (S::BAD_REQUEST, "invalid-name", "The name is malformed"),
            Self::Cluster(_) => (S::BAD_REQUEST, "ambiguous-cluster", "The cluster can be read in more than one way"),
            Self::Revision(_) => (S::BAD_REQUEST, "invalid-revision", "The revision is not a number, or there are several"),
            Self::RevisionGone { .. } => (S::CONFLICT, "revision-gone", "The revision takes no requests any longer"),
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
            Self::NoTool => NO_TOOL,
            Self::NotLoaded => (S::SERVICE_UNAVAILABLE, "not-loaded", "The plugin is not loaded"),
            Self::NoEndpoint { .. } => (S::SERVICE_UNAVAILABLE, "no-endpoint", "No pod of the plugin can be reached"),
            Self::InFlight { .. } => BUSY,
            Self::ListTooLarge => (S::BAD_REQUEST, "list-too-large", "The list is too large"),
            Self::Requires(error) => of_requires(error),
            Self::Login(LoginError::MediaType) => NOT_JSON,
            Self::Login(LoginError::Body(error)) | Self::Arguments(ArgumentsError::Body(error)) => of_body(error),
            Self::Login(LoginError::Parse | LoginError::Token)
            | Self::Arguments(ArgumentsError::NotObject | ArgumentsError::Parse(_) | ArgumentsError::Refused(_)) => INVALID_BODY,
            Self::Forward(error) => of_forward(error),
            Self::Tool(error) => of_tool(error),
        };
        Kind { status, slug, title }
    }
}

#[rustfmt::skip]
fn of_session(error: &SessionError) -> Of {
    use StatusCode as S;
    match error {
        SessionError::Cookie(_) | SessionError::Read(_) | SessionError::Over => UNAUTHENTICATED,
        SessionError::Unavailable | SessionError::Seal(_) | SessionError::End(_) => (S::SERVICE_UNAVAILABLE, "sessions-unavailable", "The session could not be begun, checked or ended"),
        SessionError::TooLarge => (S::PAYLOAD_TOO_LARGE, "token-too-large", "The token is too large for a session"),
    }
}

#[rustfmt::skip]
fn of_requires(error: &RequiresError) -> Of {
    use StatusCode as S;
    match error {
        RequiresError::QueryTwice(_) | RequiresError::Query => (S::BAD_REQUEST, "ambiguous-query", "The query can be read in more than one way"),
        RequiresError::MediaType | RequiresError::Form => NOT_JSON,
        RequiresError::NotText(_) | RequiresError::KeyTwice(_) | RequiresError::Namespace(_) | RequiresError::Name(_) => (S::BAD_REQUEST, "invalid-parameter", "A parameter is malformed"),
        RequiresError::NotGranted(_) => (S::FORBIDDEN, "plugin-lacks-right", "The plugin was not granted a right that it requires"),
        RequiresError::NotHeld(_) => (S::FORBIDDEN, "caller-lacks-right", "The caller lacks a right that the plugin requires"),
        RequiresError::Body(error) => of_body(error),
        RequiresError::Json(_) => INVALID_BODY,
    }
}

fn of_body(error: &WholeBodyError) -> Of {
    match error {
        WholeBodyError::TooLarge(_) => TOO_LARGE,
        WholeBodyError::Read(_) => BROKEN,
        WholeBodyError::Timeout => SILENT,
    }
}

fn of_forward(error: &ForwardError) -> Of {
    match error {
        ForwardError::Silent => SILENT,
        ForwardError::Broken(_) => BROKEN,
        ForwardError::TooLarge(_) => TOO_LARGE,
        ForwardError::Timeout => TIMEOUT,
        ForwardError::Answer(_) => INVALID,
        ForwardError::Call(failure, _) => match failure {
            ExchangeFailure::Busy => BUSY,
            ExchangeFailure::Late => TIMEOUT,
            ExchangeFailure::Failed => FAILED,
        },
    }
}

fn of_tool(error: &ToolError) -> Of {
    match error {
        ToolError::NotOffered => NO_TOOL,
        ToolError::Arguments(_) => INVALID_BODY,
        ToolError::Timeout => TIMEOUT,
        ToolError::NotBegun(_) => FAILED,
        ToolError::NoResult | ToolError::Structured(_) | ToolError::Schema(_) => INVALID,
        ToolError::Violations(_) => REFUSED,
        ToolError::NotAllowed(_) => DENIED,
        ToolError::Failed(_) => (StatusCode::BAD_GATEWAY, "tool-failed", "The tool failed"),
        ToolError::Call(failure, _) => match failure {
            CallFailure::Refused => REFUSED,
            CallFailure::Forbidden => DENIED,
            CallFailure::NoTool => NO_TOOL,
            CallFailure::Busy => BUSY,
            CallFailure::Late => TIMEOUT,
            CallFailure::Failed => FAILED,
        },
    }
}
