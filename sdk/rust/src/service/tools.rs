//! Calls of the author's tools.

use std::panic::AssertUnwindSafe;

use futures::{FutureExt as _, StreamExt as _, stream, stream::BoxStream};
use kite_proto::{CallToolRequest, CallToolResponse, MAX_ARGUMENTS, MAX_RESULT, ToolResult, call_tool_response::Part};
use prost::Message as _;
use tokio::time::timeout;
use tonic::Status;
use tracing::{Instrument as _, error, info_span};

use super::{panic_text, reply, status};
use crate::{RequestId, ToolError, ToolOutput, caller::Context, definitions::Tools};

/// Runs one tool. It runs in the caller's stream, so that it is dropped when the caller goes away.
pub(super) async fn call(
    tools: &Tools,
    request: CallToolRequest,
) -> Result<BoxStream<'static, Result<CallToolResponse, Status>>, Status> {
    let context = Context::try_from(request.context).map_err(|error| status::invalid(&error))?;
    let tool = tools
        .get(&request.tool)
        .ok_or_else(|| Status::not_found("the plugin has no tool of this name"))?;
    if request.arguments.len() > MAX_ARGUMENTS {
        return Err(Status::invalid_argument(format!(
            "the arguments have more than {MAX_ARGUMENTS} bytes"
        )));
    }
    let limit = context.timeout;
    let request_id = context.request_id.clone();
    let running = tool
        .call(context.into(), &request.arguments)
        .map_err(|error| status::invalid(&error))?;

    let span = info_span!("tool", request_id = %request_id, tool = request.tool);
    let running = AssertUnwindSafe(running).catch_unwind().instrument(span);
    let ended = match limit {
        Some(limit) => timeout(limit, running).await.map_err(|_| reply::too_late())?,
        None => running.await,
    };
    let message = match ended {
        Ok(result) => fitting(written(result)?, &request_id, &request.tool),
        Err(panic) => {
            error!(request_id = %request_id, tool = request.tool, panic = panic_text(&*panic), "a tool panicked");
            return Err(Status::internal("the tool failed"));
        }
    };
    Ok(stream::once(async { Ok(message) }).boxed())
}

/// The message with the result. One that is too large is the tool's failure, which its caller can act on.
fn fitting(result: ToolResult, request_id: &RequestId, tool: &str) -> CallToolResponse {
    let message = |result| CallToolResponse {
        part: Some(Part::Result(result)),
    };
    let whole = message(result);
    let length = whole.encoded_len();
    if length <= MAX_RESULT {
        return whole;
    }
    error!(request_id = %request_id, tool, length, limit = MAX_RESULT, "the result of a tool is too large");
    message(ToolResult {
        text: format!("the result of the tool has {length} bytes, the limit is {MAX_RESULT}"),
        is_error: true,
        ..ToolResult::default()
    })
}

fn written(result: Result<ToolOutput, ToolError>) -> Result<ToolResult, Status> {
    match result {
        Ok(ToolOutput { text, structured }) => {
            let structured = structured.map(|value| serde_json::to_vec(&value)).transpose();
            let structured = structured.map_err(|_| Status::internal("the tool's answer cannot be written as JSON"))?;
            Ok(ToolResult {
                text,
                structured_content: structured.unwrap_or_default().into(),
                is_error: false,
            })
        }
        Err(error) => Ok(ToolResult {
            text: error.to_string(),
            is_error: true,
            ..ToolResult::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_of_the_limit_passes_and_one_above_is_a_failure_that_says_so() {
        let of = |length: usize| {
            let result = written(Ok("a".repeat(length).into())).unwrap();
            let message = fitting(result, &RequestId::default(), "large");
            assert!(message.encoded_len() <= MAX_RESULT);
            let Some(Part::Result(result)) = message.part else {
                panic!("no result")
            };
            result
        };
        // Beside the text are its number and length, twice.
        let most = MAX_RESULT - 10;
        assert_eq!(of(most).text.len(), most);
        let failure = of(most + 1);
        assert!(failure.is_error);
        assert_eq!(
            failure.text,
            "the result of the tool has 4194305 bytes, the limit is 4194304"
        );
    }
}
