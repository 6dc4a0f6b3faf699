//! Calls of the author's tools, and the question whether one may be made.

use std::{future::Future, panic::AssertUnwindSafe, task::Poll};

use futures::{FutureExt as _, StreamExt as _, stream, stream::BoxStream};
use kite_proto::{
    AuthorizeToolRequest, AuthorizeToolResponse, CallContext, CallToolRequest, CallToolResponse, MAX_ARGUMENTS,
    MAX_RESULT, ToolResult, call_tool_response::Part,
};
use prost::Message as _;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{Instrument as _, Span, error, error_span};

use super::{panic_text, reply, status};
use crate::{
    Kite, RequestId, Tool, ToolContext,
    caller::Context,
    definitions::Tools,
    tool::{Progress, ToolError, ToolOutput},
};

type Message = Result<CallToolResponse, Status>;

/// A call that may be made, not begun.
struct Call<'a> {
    tool: &'a Tool,
    context: Context,
    deadline: Option<Instant>,
    span: Span,
}

impl<'a> Call<'a> {
    fn new(tools: &'a Tools, context: Option<CallContext>, tool: &str, arguments: &[u8]) -> Result<Self, Status> {
        let context = Context::try_from(context).map_err(|error| status::invalid(&error))?;
        let tool = tools
            .get(tool)
            .ok_or_else(|| Status::not_found("the plugin has no tool of this name"))?;
        if arguments.len() > MAX_ARGUMENTS {
            return Err(Status::invalid_argument(format!(
                "the arguments have more than {MAX_ARGUMENTS} bytes"
            )));
        }
        Ok(Self {
            tool,
            deadline: context.timeout.and_then(|limit| Instant::now().checked_add(limit)),
            span: error_span!("tool", request_id = %context.request_id, tool = tool.name),
            context,
        })
    }
}

/// Runs one tool. It runs in the caller's stream, so that it is dropped when the caller goes away.
pub(super) fn call(tools: &Tools, kite: Kite, request: CallToolRequest) -> Result<BoxStream<'static, Message>, Status> {
    let Call {
        tool,
        context,
        deadline,
        span,
    } = Call::new(tools, request.context, &request.tool, &request.arguments)?;
    let counted = kite.metrics().tool(&request.tool);
    let progress = Progress::default();
    let cancelled = CancellationToken::new();
    let guard = cancelled.clone().drop_guard();
    let request_id = context.request_id.clone();
    let context = ToolContext::new(context, kite, progress.clone(), cancelled);
    let running = (tool.handler)(context, &request.arguments).map_err(|error| status::invalid(&error))?;

    let ended = async move {
        let _guard = guard;
        let running = AssertUnwindSafe(running).catch_unwind().instrument(span);
        let ended = match deadline {
            Some(deadline) => timeout_at(deadline, running).await.map_err(|_| reply::too_late())?,
            None => running.await,
        };
        match ended {
            Ok(result) => {
                counted.ended(if result.is_ok() { "ok" } else { "error" });
                Ok(fitting(written(result)?, &request_id, &request.tool))
            }
            Err(panic) => {
                counted.ended("failed");
                error!(request_id = %request_id, tool = request.tool, panic = panic_text(&*panic), "a tool panicked");
                Err(Status::internal("the tool failed"))
            }
        }
    };
    Ok(with_progress(ended, progress))
}

/// The messages of progress, as they come, and then what `ended` gives.
fn with_progress(
    ended: impl Future<Output = Message> + Send + 'static,
    progress: Progress,
) -> BoxStream<'static, Message> {
    let mut ended = Some(Box::pin(ended));
    let mut last = None;
    stream::poll_fn(move |context| {
        let ready = |message| {
            Poll::Ready(Some(Ok(CallToolResponse {
                part: Some(Part::Progress(message)),
            })))
        };
        // The tool first: what it tells while it is polled goes out at once.
        if let Some(running) = &mut ended
            && let Poll::Ready(message) = running.poll_unpin(context)
        {
            ended = None;
            last = Some(message);
        }
        if let Poll::Ready(message) = progress.poll(context) {
            return ready(message);
        }
        match (last.take(), &ended) {
            (None, Some(_)) => Poll::Pending,
            (message, _) => Poll::Ready(message),
        }
    })
    .boxed()
}

/// Asks the author's authorizer. A tool that has none is for whoever the host lets call it.
pub(super) async fn authorize(
    tools: &Tools,
    kite: Kite,
    request: AuthorizeToolRequest,
) -> Result<AuthorizeToolResponse, Status> {
    let call = Call::new(tools, request.context, &request.tool, &request.arguments)?;
    let Some(authorizer) = &call.tool.authorizer else {
        return Ok(allowed());
    };
    let cancelled = CancellationToken::new();
    let _guard = cancelled.clone().drop_guard();
    let request_id = call.context.request_id.clone();
    let context = ToolContext::new(call.context, kite, Progress::default(), cancelled);
    let asking = authorizer(context, &request.arguments).map_err(|error| status::invalid(&error))?;
    let asking = AssertUnwindSafe(asking).catch_unwind().instrument(call.span);
    let answer = match call.deadline {
        Some(deadline) => timeout_at(deadline, asking).await.map_err(|_| reply::too_late())?,
        None => asking.await,
    };
    match answer {
        Ok(Ok(())) => Ok(allowed()),
        Ok(Err(refused)) => Ok(AuthorizeToolResponse {
            allowed: false,
            reason: status::cut(refused.to_string()),
        }),
        Err(panic) => {
            let panic = panic_text(&*panic);
            error!(request_id = %request_id, tool = request.tool, panic, "the authorizer of a tool panicked");
            Err(Status::internal("the tool's authorizer failed"))
        }
    }
}

fn allowed() -> AuthorizeToolResponse {
    AuthorizeToolResponse {
        allowed: true,
        reason: String::new(),
    }
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
            let result = written(Ok(ToolOutput {
                text: "a".repeat(length),
                structured: None,
            }))
            .unwrap();
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
