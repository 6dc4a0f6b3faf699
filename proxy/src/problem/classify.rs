//! The one table from what went wrong to the type of the problem.

use super::{Kind, Refusal};
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

impl Refusal {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Request(RequestError::Fields) => Kind::TooManyFields,
            Self::Request(RequestError::Coding | RequestError::NoHost | RequestError::Hosts | RequestError::Host) => {
                Kind::InvalidRequest
            }
            Self::Path(_) => Kind::AmbiguousPath,
            Self::Credential(_) => Kind::Unauthenticated,
            Self::Session(error) => of_session(error),
            Self::NoSession => Kind::NoSession,
            Self::CrossSite(_) => Kind::CrossSite,
            Self::TooMany(_) => Kind::TooManyAttempts,
            Self::Authenticate(_) => Kind::AuthenticationUnavailable,
            Self::NoRoute => Kind::NoSuchRoute,
            Self::Method { .. } => Kind::MethodNotAllowed,
            Self::Name(_) => Kind::InvalidName,
            Self::Cluster(_) => Kind::AmbiguousCluster,
            Self::Revision(_) => Kind::InvalidRevision,
            Self::RevisionGone { .. } => Kind::RevisionGone,
            Self::NoCluster => Kind::NoSuchCluster,
            Self::Handshake(HandshakeError::Unsupported) => Kind::UpgradeUnsupported,
            Self::Handshake(HandshakeError::Version) => Kind::WebsocketVersion,
            Self::Handshake(HandshakeError::Body | HandshakeError::Keys | HandshakeError::Malformed(_)) => {
                Kind::InvalidHandshake
            }
            Self::Authorize(_) => Kind::AuthorizationUnavailable,
            Self::AuditUnavailable(_) => Kind::AuditUnavailable,
            Self::AuditFailed(_) => Kind::AuditFailed,
            Self::Forbidden { .. } | Self::NoMetrics => Kind::Forbidden,
            Self::NotReady | Self::Unready(_) => Kind::NotReady,
            Self::NoPlugin => Kind::NoSuchPlugin,
            Self::NoTool => Kind::NoSuchTool,
            Self::NotLoaded => Kind::NotLoaded,
            Self::NoEndpoint { .. } => Kind::NoEndpoint,
            Self::InFlight { .. } => Kind::PluginBusy,
            Self::ListTooLarge => Kind::ListTooLarge,
            Self::Requires(error) => of_requires(error),
            Self::Login(LoginError::MediaType) => Kind::UnsupportedMediaType,
            Self::Login(LoginError::Body(error)) | Self::Arguments(ArgumentsError::Body(error)) => of_body(error),
            Self::Login(LoginError::Parse | LoginError::Token)
            | Self::Arguments(ArgumentsError::NotObject | ArgumentsError::Parse(_) | ArgumentsError::Refused(_)) => {
                Kind::InvalidBody
            }
            Self::Forward(error) => of_forward(error),
            Self::Tool(error) => of_tool(error),
        }
    }
}

fn of_session(error: &SessionError) -> Kind {
    match error {
        SessionError::Cookie(_) | SessionError::Read(_) | SessionError::Over => Kind::Unauthenticated,
        SessionError::Unavailable | SessionError::Seal(_) | SessionError::End(_) => Kind::SessionsUnavailable,
        SessionError::TooLarge => Kind::TokenTooLarge,
    }
}

fn of_requires(error: &RequiresError) -> Kind {
    match error {
        RequiresError::QueryTwice(_) | RequiresError::Query => Kind::AmbiguousQuery,
        RequiresError::MediaType | RequiresError::Form => Kind::UnsupportedMediaType,
        RequiresError::NotText(_)
        | RequiresError::KeyTwice(_)
        | RequiresError::Namespace(_)
        | RequiresError::Name(_) => Kind::InvalidParameter,
        RequiresError::NotGranted(_) => Kind::PluginLacksRight,
        RequiresError::NotHeld(_) => Kind::CallerLacksRight,
        RequiresError::Body(error) => of_body(error),
        RequiresError::Json(_) => Kind::InvalidBody,
    }
}

fn of_body(error: &WholeBodyError) -> Kind {
    match error {
        WholeBodyError::TooLarge(_) => Kind::BodyTooLarge,
        WholeBodyError::Read(_) => Kind::BrokenBody,
        WholeBodyError::Timeout => Kind::BodyTimeout,
    }
}

fn of_forward(error: &ForwardError) -> Kind {
    match error {
        ForwardError::Silent => Kind::BodyTimeout,
        ForwardError::Broken(_) => Kind::BrokenBody,
        ForwardError::TooLarge(_) => Kind::BodyTooLarge,
        ForwardError::Timeout => Kind::PluginTimeout,
        ForwardError::Answer(_) => Kind::PluginAnswerInvalid,
        ForwardError::Call(failure, _) => match failure {
            ExchangeFailure::Busy => Kind::PluginBusy,
            ExchangeFailure::Late => Kind::PluginTimeout,
            ExchangeFailure::Failed => Kind::PluginFailed,
        },
    }
}

fn of_tool(error: &ToolError) -> Kind {
    match error {
        ToolError::NotOffered => Kind::NoSuchTool,
        ToolError::Arguments(_) => Kind::InvalidBody,
        ToolError::Timeout => Kind::PluginTimeout,
        ToolError::NotBegun(_) => Kind::PluginFailed,
        ToolError::NoResult | ToolError::Structured(_) | ToolError::Schema(_) => Kind::PluginAnswerInvalid,
        ToolError::Violations(_) => Kind::ArgumentsRefused,
        ToolError::NotAllowed(_) => Kind::ToolForbidden,
        ToolError::Failed(_) => Kind::ToolFailed,
        ToolError::Call(failure, _) => match failure {
            CallFailure::Refused => Kind::ArgumentsRefused,
            CallFailure::Forbidden => Kind::ToolForbidden,
            CallFailure::NoTool => Kind::NoSuchTool,
            CallFailure::Busy => Kind::PluginBusy,
            CallFailure::Late => Kind::PluginTimeout,
            CallFailure::Failed => Kind::PluginFailed,
        },
    }
}
