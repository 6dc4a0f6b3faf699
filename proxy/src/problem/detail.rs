//! What callers are told of what went wrong.

use std::borrow::Cow;

use kite_api::error_chain;

use super::{Refusal, bounded};
use crate::{
    pipeline::{
        forward::{ExchangeFailure, ForwardError},
        revision::FIELD,
        tool::{CallFailure, ToolError},
    },
    session::SessionError,
};

/// Most bytes of a plugin's text that are passed on in a problem.
const MAX_TEXT: usize = 8 * 1024;

const LATE: &str = "the plugin did not answer in time";
const AGAIN: &str = "the plugin is busy: try again";
const EARLY: &str = "the plugin failed before it answered";
const INVALID: &str = "the plugin gave an answer that cannot be passed on";
const NO_TOOL: &str = "the plugin offers no tool of this name";

impl Refusal {
    /// Safe to show, and of use to whoever reads it.
    pub(super) fn detail(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Request(error) => return error.to_string().into(),
            Self::Path(error) => return error.to_string().into(),
            Self::Credential(error) => return error.to_string().into(),
            Self::Name(error) => return error.to_string().into(),
            Self::Cluster(error) => return error.to_string().into(),
            Self::Revision(error) => return error.to_string().into(),
            Self::RevisionGone { number } => {
                return format!(
                    "revision {number} of the plugin takes no requests any longer: load the page again, or leave out the field {FIELD}"
                )
                .into();
            }
            Self::NoCluster => "the dashboard knows no cluster of the name in x-cluster-name",
            Self::CrossSite(error) => return error.to_string().into(),
            Self::Login(error) => return error_chain(error).into(),
            Self::Session(error) => return of_session(error),
            Self::NoSession => "you are not known by a session, so that there is none to end",
            Self::TooMany(_) => "too many tokens from your address were refused, or too many sessions begun: try again",
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
            Self::Forward(error) => return of_forward(error),
            Self::Tool(error) => return of_tool(error),
            Self::ListTooLarge => "there are too many tools for one answer: ask for one plugin's, with ?plugin=NAME",
            Self::NoTool => NO_TOOL,
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

fn of_forward(error: &ForwardError) -> Cow<'_, str> {
    Cow::Borrowed(match error {
        ForwardError::Timeout => LATE,
        ForwardError::TooLarge(_) => return error.to_string().into(),
        ForwardError::Broken(_) => "the body broke off, or its chunks are malformed",
        ForwardError::Silent => "the rest of the body did not come in time",
        ForwardError::Answer(_) => INVALID,
        ForwardError::Call(failure, _) => match failure {
            ExchangeFailure::Busy => AGAIN,
            ExchangeFailure::Late => LATE,
            ExchangeFailure::Failed => EARLY,
        },
    })
}

fn of_tool(error: &ToolError) -> Cow<'_, str> {
    Cow::Borrowed(match error {
        ToolError::Timeout => LATE,
        ToolError::NotBegun(_) => EARLY,
        ToolError::NoResult | ToolError::Structured(_) => INVALID,
        ToolError::Schema(_) => "the tool's schema cannot be used: its author has to mend it",
        ToolError::Arguments(error) => return error_chain(error).into(),
        ToolError::Violations(all) => return all.join("; ").into(),
        ToolError::NotAllowed(reason) if reason.is_empty() => "the plugin does not let you call this tool so",
        ToolError::NotAllowed(reason) => bounded(reason, MAX_TEXT),
        ToolError::Failed(text) => bounded(text, MAX_TEXT),
        ToolError::NotOffered => NO_TOOL,
        ToolError::Call(failure, status) => match failure {
            CallFailure::Refused | CallFailure::Forbidden => bounded(status.message(), MAX_TEXT),
            CallFailure::Busy => AGAIN,
            CallFailure::NoTool => NO_TOOL,
            CallFailure::Late => LATE,
            CallFailure::Failed => "the plugin failed before the tool ended",
        },
    })
}
