//! Calls of the author's tools.

use std::panic::AssertUnwindSafe;

use futures::{FutureExt as _, StreamExt as _, stream, stream::BoxStream};
use kite_proto::{CallToolRequest, CallToolResponse, MAX_ARGUMENTS, ToolResult, call_tool_response::Part};
use tokio::time::timeout;
use tonic::Status;
use tracing::{Instrument as _, error, info_span};

use super::{panic_text, reply};
use crate::{ToolError, ToolOutput, caller::Context, definitions::Tools};

/// Runs one tool. It runs in the caller's stream, so that it is dropped when the caller goes away.
pub(super) async fn call(
    tools: &Tools,
    request: CallToolRequest,
) -> Result<BoxStream<'static, Result<CallToolResponse, Status>>, Status> {
    let invalid = |error: &dyn std::error::Error| Status::invalid_argument(error.to_string());
    let context = Context::try_from(request.context).map_err(|error| invalid(&error))?;
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
        .map_err(|error| invalid(&error))?;

    let span = info_span!("tool", request_id = %request_id, tool = request.tool);
    let running = AssertUnwindSafe(running).catch_unwind().instrument(span);
    let ended = match limit {
        Some(limit) => timeout(limit, running).await.map_err(|_| reply::too_late())?,
        None => running.await,
    };
    let result = match ended {
        Ok(result) => written(result)?,
        Err(panic) => {
            error!(request_id = %request_id, tool = request.tool, panic = panic_text(&*panic), "a tool panicked");
            return Err(Status::internal("the tool failed"));
        }
    };
    let message = CallToolResponse {
        part: Some(Part::Result(result)),
    };
    Ok(stream::once(async { Ok(message) }).boxed())
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
