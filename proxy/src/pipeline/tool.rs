//! One tool call: the caller's arguments in, the tool's result out.

mod arguments;
mod events;
pub mod list;

use bytes::Bytes;
use http::Response;
use kite_api::{ToolName, validator::ValidatorError};
use kite_proto::{
    AuthorizeToolRequest, AuthorizeToolResponse, CallContext, CallToolRequest, CallToolResponse, MAX_RESULT,
    ToolResult, call_tool_response::Part,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status, Streaming};

pub(super) use self::arguments::Body;
pub use self::{
    arguments::{ArgumentsError, arguments},
    events::are_accepted,
};
use super::{ResponseBody, forward::close, held::held, json, origin::Origin};
use crate::{
    account::Later,
    request_id::RequestId,
    upstream::{self, Connected, InFlight, Place},
};

/// Why a tool has no result.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// Another endpoint can be tried.
    #[error("failed to have the plugin begin with the call")]
    NotBegun(#[source] Box<Status>),
    #[error("failed to get the result in time")]
    Timeout,
    #[error("failed to call the plugin")]
    Call(CallFailure, #[source] Box<Status>),
    #[error("failed to find a result before the end of the stream")]
    NoResult,
    #[error("failed to read the structured content as JSON")]
    Structured(#[source] serde_json::Error),
    #[error("failed to find the tool among those that the plugin offers")]
    NotOffered,
    #[error("failed to read the arguments")]
    Arguments(#[source] serde_json::Error),
    #[error("failed to use the tool's schema")]
    Schema(#[source] ValidatorError),
    /// Each with its place in the arguments.
    #[error("failed to fit the arguments to the tool's schema")]
    Violations(Vec<String>),
    /// The reason is the plugin's own, or empty.
    #[error("failed to get the plugin's consent")]
    NotAllowed(String),
    /// The tool ran and failed; the text is its own.
    #[error("failed in the tool itself")]
    Failed(String),
}

/// What a plugin means by a status, as the protocol says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallFailure {
    /// The arguments do not fit.
    Refused,
    /// This caller may not.
    Forbidden,
    NoTool,
    /// The plugin has too much to do.
    Busy,
    /// The time was up.
    Late,
    Failed,
}

impl From<Code> for CallFailure {
    fn from(code: Code) -> Self {
        match code {
            Code::InvalidArgument => Self::Refused,
            Code::PermissionDenied => Self::Forbidden,
            Code::NotFound => Self::NoTool,
            Code::ResourceExhausted => Self::Busy,
            Code::DeadlineExceeded => Self::Late,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => Self::Failed,
        }
    }
}

/// What a tool gives.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ToolAnswer")]
pub(super) struct Answer<'a> {
    /// For people, and for models.
    result: &'a str,
    /// Of the tool's output schema, if it has one.
    // As the plugin wrote it: a tree of it would take many times the memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Value")]
    structured_content: Option<&'a RawValue>,
}

/// A call of a tool, which no plugin has begun with.
pub struct Call<'a> {
    pub tool: &'a ToolName,
    /// A JSON object that nobody can read in more than one way.
    pub arguments: Bytes,
    pub origin: Origin<'a>,
    /// When the whole call is over, whatever is tried.
    pub deadline: Instant,
}

/// A tool that has said something.
pub struct Running {
    said: Said,
    /// Held until the caller has the whole answer: a large result takes memory for as long as it is being sent.
    place: Option<Place>,
}

/// What a tool says.
struct Said {
    first: Option<Part>,
    parts: Streaming<CallToolResponse>,
    deadline: Instant,
    in_flight: InFlight,
}

impl Call<'_> {
    /// Runs the tool, if its arguments fit and the plugin lets this caller.
    pub async fn on(&self, connected: Connected) -> Result<Running, ToolError> {
        let tool = connected.offered.tool(self.tool).ok_or(ToolError::NotOffered)?;
        let arguments = serde_json::from_slice(&self.arguments).map_err(ToolError::Arguments)?;
        let violations = tool.violations(&arguments).map_err(ToolError::Schema)?;
        drop(arguments);
        if !violations.is_empty() {
            return Err(ToolError::Violations(violations));
        }
        let deadline = self.deadline;
        let mut client = connected.client.max_decoding_message_size(MAX_RESULT);
        if tool.has_authorizer {
            let request = AuthorizeToolRequest {
                context: Some(self.context()),
                tool: self.tool.as_str().to_owned(),
                arguments: self.arguments.clone(),
            };
            let asked = within(deadline, client.authorize_tool(request)).await;
            allowed(asked)?;
        }
        let request = CallToolRequest {
            context: Some(self.context()),
            tool: self.tool.as_str().to_owned(),
            arguments: self.arguments.clone(),
        };
        let began = async {
            let mut parts = client.call_tool(request).await?.into_inner();
            Ok((next(&mut parts).await?, parts))
        };
        let (first, parts) = within(deadline, began).await?;
        let mut in_flight = connected.in_flight;
        Ok(Running {
            place: in_flight.leave(),
            said: Said {
                first,
                parts,
                deadline,
                in_flight,
            },
        })
    }

    fn context(&self) -> CallContext {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.origin.context(Some(left))
    }
}

impl Running {
    /// The tool's result as the answer. How far the tool has come is of no use to a caller that waits for one.
    pub async fn result(self) -> Result<Response<ResponseBody>, ToolError> {
        let answer = json(&answer(&self.said.result().await?)?);
        Ok(answer.map(|body| held(body, self.place)))
    }

    /// Events as the answer, by which the caller learns how far the tool is. The operation is recorded by `later`, before its result
    /// is told.
    pub fn events(self, later: Later, id: RequestId) -> Response<ResponseBody> {
        events::answer(self.said, later, id).map(|body| held(body, self.place))
    }
}

impl Said {
    /// What the tool says next, in time.
    async fn next(&mut self) -> Result<Option<Part>, ToolError> {
        match self.first.take() {
            Some(part) => Ok(Some(part)),
            None => within(self.deadline, next(&mut self.parts)).await,
        }
    }

    async fn result(mut self) -> Result<ToolResult, ToolError> {
        loop {
            match self.next().await? {
                Some(Part::Result(result)) => {
                    self.close();
                    return Ok(result);
                }
                Some(Part::Progress(_)) => {}
                None => return Err(ToolError::NoResult),
            }
        }
    }

    /// After the result all is said.
    fn close(self) {
        close(self.parts, self.in_flight);
    }
}

/// Whether the plugin's authorizer lets the caller. Whatever it answers but yes is a refusal.
fn allowed(asked: Result<tonic::Response<AuthorizeToolResponse>, ToolError>) -> Result<(), ToolError> {
    match asked {
        Ok(answer) if answer.get_ref().allowed => Ok(()),
        Ok(answer) => Err(ToolError::NotAllowed(answer.into_inner().reason)),
        Err(ToolError::Call(_, status)) => {
            tracing::debug!(%status, "the plugin's authorizer failed");
            Err(ToolError::NotAllowed(String::new()))
        }
        Err(error) => Err(error),
    }
}

async fn within<T>(deadline: Instant, asked: impl Future<Output = Result<T, Status>>) -> Result<T, ToolError> {
    let answered = timeout_at(deadline, asked).await.map_err(|_| ToolError::Timeout)?;
    answered.map_err(failure)
}

/// The next of a tool's messages that says something.
async fn next(parts: &mut Streaming<CallToolResponse>) -> Result<Option<Part>, Status> {
    while let Some(message) = parts.message().await? {
        if message.part.is_some() {
            return Ok(message.part);
        }
    }
    Ok(None)
}

fn failure(status: Status) -> ToolError {
    if upstream::never_began(&status) {
        ToolError::NotBegun(Box::new(status))
    } else {
        ToolError::Call(status.code().into(), Box::new(status))
    }
}

fn answer(result: &ToolResult) -> Result<Answer<'_>, ToolError> {
    if result.is_error {
        return Err(ToolError::Failed(result.text.clone()));
    }
    let content = &result.structured_content;
    let structured = (!content.is_empty()).then(|| serde_json::from_slice(content));
    Ok(Answer {
        result: &result.text,
        structured_content: structured.transpose().map_err(ToolError::Structured)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structured_content_is_passed_on_as_it_came() {
        let result = |structured: &'static str| ToolResult {
            text: "done".to_owned(),
            structured_content: Bytes::from_static(structured.as_bytes()),
            is_error: false,
        };
        let text = |structured| serde_json::to_string(&answer(&result(structured)).unwrap()).unwrap();
        assert_eq!(text(""), r#"{"result":"done"}"#);
        assert_eq!(
            text(r#"{"b": 1.0, "a": 12345678901234567890123}"#),
            r#"{"result":"done","structuredContent":{"b": 1.0, "a": 12345678901234567890123}}"#
        );
        for broken in ["[1", "1 2", "\u{e4}"] {
            assert!(
                matches!(answer(&result(broken)), Err(ToolError::Structured(_))),
                "{broken}"
            );
        }
    }
}
