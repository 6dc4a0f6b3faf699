//! One tool call: the caller's arguments in, the tool's result out.

mod arguments;

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use kite_api::ToolName;
use kite_proto::{CallToolRequest, CallToolResponse, MAX_RESULT, ToolResult, call_tool_response::Part};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

pub use self::arguments::{ArgumentsError, arguments};
use super::{
    ResponseBody,
    authenticate::Caller,
    forward::{close, context},
    json,
};
use crate::{
    request_id::RequestId,
    upstream::{self, Connected},
};

/// Why a tool has no result.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// Another connection can be tried.
    #[error("failed to send the call at all")]
    Unsent(#[source] Box<Status>),
    #[error("failed to get the result in time")]
    Timeout,
    #[error("failed to call the plugin")]
    Call(CallFailure, #[source] Box<Status>),
    #[error("failed to find a result before the end of the stream")]
    NoResult,
    #[error("failed to read the structured content as JSON")]
    Structured(#[source] serde_json::Error),
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

/// What a caller gets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    result: &'a str,
    /// As the plugin wrote it: a tree of it would take many times the memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<&'a RawValue>,
}

/// The call of `tool`, which the plugin is told has `limit` left.
pub fn request(tool: &ToolName, arguments: Bytes, caller: &Caller, id: &RequestId, limit: Duration) -> CallToolRequest {
    CallToolRequest {
        context: Some(context(caller, id, Some(limit))),
        tool: tool.as_str().to_owned(),
        arguments,
    }
}

/// Runs a tool and gives its result as the answer to the caller.
pub async fn call(
    connected: Connected,
    request: CallToolRequest,
    limit: Duration,
) -> Result<Response<ResponseBody>, ToolError> {
    let mut client = connected.client.max_decoding_message_size(MAX_RESULT);
    let result = async {
        let mut parts = client.call_tool(request).await?.into_inner();
        Ok((result(&mut parts).await?, parts))
    };
    let (result, parts) = timeout(limit, result)
        .await
        .map_err(|_| ToolError::Timeout)?
        .map_err(failure)?;
    close(parts, connected.in_flight);
    let result = result.ok_or(ToolError::NoResult)?;
    if result.is_error {
        return Err(ToolError::Failed(result.text));
    }
    Ok(json(&answer(&result)?))
}

fn failure(status: Status) -> ToolError {
    if upstream::is_unsent(&status) {
        ToolError::Unsent(Box::new(status))
    } else {
        ToolError::Call(status.code().into(), Box::new(status))
    }
}

/// The result among a tool's messages. How far the tool has come is of no use to a caller that waits for one answer.
async fn result(parts: &mut Streaming<CallToolResponse>) -> Result<Option<ToolResult>, Status> {
    while let Some(message) = parts.message().await? {
        if let Some(Part::Result(result)) = message.part {
            return Ok(Some(result));
        }
    }
    Ok(None)
}

fn answer(result: &ToolResult) -> Result<Answer<'_>, ToolError> {
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
