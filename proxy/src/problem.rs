//! The one table from what went wrong to what the caller is told (RFC 9457) and what the log is told.

use std::borrow::Cow;

use http::{HeaderValue, Response, StatusCode, header};
use kite_api::{Verb, error_chain, name::NameError};
use serde::Serialize;

use crate::{
    pipeline::{
        ResponseBody,
        authenticate::{AuthenticateError, CredentialError},
        authorize::AuthorizeError,
        cluster::ClusterError,
        forward::{ExchangeFailure, ForwardError, HandshakeError},
        full,
        path::PathError,
        requires::RequiresError,
        tool::{ArgumentsError, CallFailure, ToolError},
        whole_body::WholeBodyError,
    },
    request_id::RequestId,
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
    #[error("failed to read the path")]
    Path(#[source] PathError),
    #[error("failed to find a credential")]
    Credential(#[source] CredentialError),
    #[error("failed to ask who calls")]
    Authenticate(#[source] AuthenticateError),
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

/// The body of a problem.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
    /// The detail again, for clients that know no problem documents.
    error: &'a str,
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
        };
        serde_json::to_vec(&document).unwrap_or_default()
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
            Self::Path(_) => (S::BAD_REQUEST, "ambiguous-path", "The path can be read in more than one way"),
            Self::Credential(_) => (S::UNAUTHORIZED, "unauthenticated", "The caller is not known"),
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
            Self::Forbidden { .. } => (S::FORBIDDEN, "forbidden", "The caller may not do this"),
            Self::NotReady => (S::SERVICE_UNAVAILABLE, "not-ready", "The gateway is not ready"),
            Self::NoPlugin => (S::NOT_FOUND, "no-such-plugin", "There is no such plugin"),
            Self::NoTool | Self::Tool(ToolError::NotOffered) => (S::NOT_FOUND, "no-such-tool", "There is no such tool"),
            Self::NotLoaded => (S::SERVICE_UNAVAILABLE, "not-loaded", "The plugin is not loaded"),
            Self::NoEndpoint { .. } => (S::SERVICE_UNAVAILABLE, "no-endpoint", "No pod of the plugin can be reached"),
            Self::Requires(RequiresError::QueryTwice(_) | RequiresError::Query) => (S::BAD_REQUEST, "ambiguous-query", "The query can be read in more than one way"),
            Self::Requires(RequiresError::MediaType | RequiresError::Form) => (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is not JSON"),
            Self::Requires(RequiresError::NotText(_) | RequiresError::KeyTwice(_) | RequiresError::Namespace(_) | RequiresError::Name(_)) => (S::BAD_REQUEST, "invalid-parameter", "A parameter is malformed"),
            Self::Requires(RequiresError::NotGranted(_)) => (S::FORBIDDEN, "plugin-lacks-right", "The plugin was not granted a right that it requires"),
            Self::Requires(RequiresError::NotHeld(_)) => (S::FORBIDDEN, "caller-lacks-right", "The caller lacks a right that the plugin requires"),
            Self::Arguments(ArgumentsError::Body(error)) | Self::Requires(RequiresError::Body(error)) => match error {
                WholeBodyError::TooLarge(_) => TOO_LARGE,
                WholeBodyError::Read(_) => BROKEN,
                WholeBodyError::Timeout => SILENT,
            },
            Self::InFlight { .. } => BUSY,
            Self::Forward(ForwardError::Silent) => SILENT,
            Self::Forward(ForwardError::TooLarge(_)) => TOO_LARGE,
            Self::Forward(ForwardError::Broken(_)) => BROKEN,
            Self::Arguments(ArgumentsError::NotObject | ArgumentsError::Parse(_) | ArgumentsError::Refused(_)) | Self::Requires(RequiresError::Json(_)) | Self::Tool(ToolError::Arguments(_)) => (S::BAD_REQUEST, "invalid-body", "The body is malformed"),
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
            Self::Path(error) => return error.to_string().into(),
            Self::Credential(error) => return error.to_string().into(),
            Self::Name(error) => return error.to_string().into(),
            Self::Cluster(error) => return error.to_string().into(),
            Self::NoCluster => "the dashboard knows no cluster of the name in x-cluster-name",
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
            Self::NotReady => "the gateway is starting or ending: try again",
            Self::NoPlugin => "there is no plugin of this name",
            Self::NotLoaded => "the plugin is disabled or not loaded: the status of its KitePlugin says why",
            Self::NoEndpoint { .. } => "no pod of the plugin can be reached at the moment: try again",
            Self::InFlight { most } => {
                return format!("{most} requests to the plugin are under way, and it takes no more at once: try again")
                    .into();
            }
            Self::Forward(ForwardError::Timeout) | Self::Tool(ToolError::Timeout) => LATE,
            Self::Forward(error @ ForwardError::TooLarge(_)) => return error.to_string().into(),
            Self::Forward(ForwardError::Broken(_)) => "the body broke off before its end",
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

/// The first `most` bytes of `text`, cut between characters.
pub(crate) fn bounded(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}
