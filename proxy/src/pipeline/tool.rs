//! One tool call: the caller's arguments in, the tool's result out.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::Response;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kite_api::ToolName;
use kite_proto::{CallToolRequest, CallToolResponse, MAX_ARGUMENTS, ToolResult, call_tool_response::Part};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::{
    RequestBody, ResponseBody,
    authenticate::Caller,
    forward::{close, context},
    json,
};
use crate::{BoxError, request_id::RequestId, upstream::Connected};

/// Most bytes of a tool's result.
const MAX_RESULT: usize = 4 * 1024 * 1024;

/// Why the body of a tool call is no arguments.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentsError {
    #[error("the body has more than {MAX_ARGUMENTS} bytes")]
    TooLarge,
    #[error("failed to read the body")]
    Read(#[source] BoxError),
    #[error("the body is not a JSON object")]
    NotObject,
    #[error("the body is not of the form {{\"arguments\": {{…}}}}")]
    Parse(#[source] serde_json::Error),
}

/// Why a tool has no result.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("failed to get the result in time")]
    Timeout,
    #[error("failed to call the plugin")]
    Call(#[source] Box<Status>),
    #[error("failed to find a result before the end of the stream")]
    NoResult,
    #[error("failed to read the structured content as JSON")]
    Structured(#[source] serde_json::Error),
    /// The tool ran and failed; the text is its own.
    #[error("failed in the tool itself")]
    Failed(String),
}

/// What a caller sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    #[serde(default)]
    arguments: Option<Map<String, Value>>,
}

/// What a caller gets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    result: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<Value>,
}

/// The arguments in `body`, written anew, so that nobody after this reads them in another way.
pub async fn arguments(body: RequestBody) -> Result<Bytes, ArgumentsError> {
    // Boxed, because the compiler cannot see that this future may change threads as part of a larger one.
    let whole = Limited::new(body, MAX_ARGUMENTS).collect().boxed();
    let body = whole.await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            ArgumentsError::TooLarge
        } else {
            ArgumentsError::Read(error)
        }
    })?;
    parse(&body.to_bytes())
}

fn parse(body: &[u8]) -> Result<Bytes, ArgumentsError> {
    // What is derived for a struct would take a list of its fields too.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(ArgumentsError::NotObject);
    }
    let call: Call = serde_json::from_slice(body).map_err(ArgumentsError::Parse)?;
    let arguments = serde_json::to_vec(&call.arguments.unwrap_or_default()).map_err(ArgumentsError::Parse)?;
    if arguments.len() > MAX_ARGUMENTS {
        Err(ArgumentsError::TooLarge)
    } else {
        Ok(arguments.into())
    }
}

/// Runs `tool` and gives its result as the answer to the caller.
pub async fn call(
    connected: Connected,
    tool: &ToolName,
    arguments: Bytes,
    caller: Caller,
    id: &RequestId,
    limit: Duration,
) -> Result<Response<ResponseBody>, ToolError> {
    let request = CallToolRequest {
        context: Some(context(caller, id, Some(limit))),
        tool: tool.as_str().to_owned(),
        arguments,
    };
    let mut client = connected.client.max_decoding_message_size(MAX_RESULT);
    let result = async {
        let mut parts = client.call_tool(request).await?.into_inner();
        Ok((result(&mut parts).await?, parts))
    };
    let (result, parts) = timeout(limit, result)
        .await
        .map_err(|_| ToolError::Timeout)?
        .map_err(|status: Status| ToolError::Call(Box::new(status)))?;
    close(parts, connected.in_flight);
    Ok(json(&answer(result.ok_or(ToolError::NoResult)?)?))
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

fn answer(result: ToolResult) -> Result<Answer, ToolError> {
    if result.is_error {
        return Err(ToolError::Failed(result.text));
    }
    let structured =
        (!result.structured_content.is_empty()).then(|| serde_json::from_slice(&result.structured_content));
    Ok(Answer {
        result: result.text,
        structured_content: structured.transpose().map_err(ToolError::Structured)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_an_object_or_absent() {
        for (body, arguments) in [
            (r#"{"arguments": {"b": 1, "a": [true]}}"#, r#"{"a":[true],"b":1}"#),
            (r#"{"arguments": {}}"#, "{}"),
            (r#"{"arguments": null}"#, "{}"),
            ("{}", "{}"),
        ] {
            assert_eq!(parse(body.as_bytes()).unwrap(), arguments);
        }
    }

    #[test]
    fn any_other_body_is_refused() {
        for body in [
            "",
            "null",
            "[]",
            "1",
            "{",
            r#"{"arguments": []}"#,
            r#"{"arguments": "x"}"#,
            r#"{"other": 1}"#,
            r#"{"arguments": {}, "other": 1}"#,
            r#"{"arguments": {}, "arguments": {}}"#,
            "{} {}",
        ] {
            assert!(
                matches!(
                    parse(body.as_bytes()),
                    Err(ArgumentsError::NotObject | ArgumentsError::Parse(_))
                ),
                "{body}"
            );
        }
    }

    #[test]
    fn arguments_that_grow_when_written_anew_are_bounded_too() {
        let body = format!(r#"{{"arguments": {{"a": [{}1]}}}}"#, "1e9,".repeat(200_000));
        assert!(body.len() < MAX_ARGUMENTS);
        assert!(matches!(parse(body.as_bytes()), Err(ArgumentsError::TooLarge)));
    }

    #[test]
    fn a_result_is_an_answer_or_a_reason() {
        let result = |structured: &'static str, is_error| ToolResult {
            text: "done".to_owned(),
            structured_content: Bytes::from_static(structured.as_bytes()),
            is_error,
        };
        let text = |result| serde_json::to_string(&answer(result).unwrap()).unwrap();
        assert_eq!(text(result("", false)), r#"{"result":"done"}"#);
        assert_eq!(
            text(result("[1]", false)),
            r#"{"result":"done","structuredContent":[1]}"#
        );
        assert!(matches!(answer(result("[1", false)), Err(ToolError::Structured(_))));
        assert!(matches!(answer(result("", true)), Err(ToolError::Failed(text)) if text == "done"));
    }
}
