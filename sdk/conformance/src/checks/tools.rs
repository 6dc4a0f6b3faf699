//! Tools, called once each with the arguments that the suite was given.

use kite_api::{json_rules, validator::Validator};
use kite_proto::{
    AuthorizeToolRequest, AuthorizeToolResponse, CallToolRequest, CallToolResponse, MAX_RESULT, Progress, Tool,
    ToolResult, call_tool_response::Part,
};
use tonic::Code;

use super::definitions;
use crate::{
    verdict::{Checked, broken, ensure, not_applicable},
    wire::{Answer, Ended},
    world::World,
};

/// Most bytes of a text beside progress, and of a reason.
const MAX_TEXT: usize = 1024;
/// What is no object.
const NO_ARGUMENTS: [&str; 2] = ["conformance", "[]"];

/// A tool that was called.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    tool: Tool,
    answer: Answer<CallToolResponse>,
}

impl Called {
    fn progress(&self) -> impl Iterator<Item = &Progress> {
        self.answer
            .messages
            .iter()
            .filter_map(|(message, _)| match &message.part {
                Some(Part::Progress(progress)) => Some(progress),
                Some(Part::Result(_)) | None => None,
            })
    }

    fn result(&self) -> Option<&ToolResult> {
        self.answer
            .messages
            .iter()
            .find_map(|(message, _)| match &message.part {
                Some(Part::Result(result)) => Some(result),
                Some(Part::Progress(_)) | None => None,
            })
    }
}

async fn call(world: &World, tool: &str, arguments: &str) -> Checked<Answer<CallToolResponse>> {
    let request = CallToolRequest {
        context: Some(world.context()),
        tool: tool.to_owned(),
        arguments: arguments.as_bytes().to_vec().into(),
    };
    world.ask("CallTool", &request).await
}

/// The tools whose arguments are known.
async fn known(world: &World) -> Checked<Vec<(&Tool, &str)>> {
    let tools = definitions::tools(world).await?;
    let mut known = Vec::new();
    for (name, arguments) in &world.known.tools {
        let tool = tools.iter().find(|tool| tool.name == *name);
        known.extend(tool.map(|tool| (tool, arguments.as_str())));
    }
    if known.is_empty() {
        return not_applicable("the suite knows no arguments for any of the plugin's tools");
    }
    Ok(known)
}

async fn called(world: &World) -> Checked<&Vec<Called>> {
    let call_all = async || {
        let mut called = Vec::new();
        for (tool, arguments) in known(world).await? {
            called.push(Called {
                tool: tool.clone(),
                answer: call(world, &tool.name, arguments).await?,
            });
        }
        Ok(called)
    };
    world.called.get_or_try_init(call_all).await
}

pub(crate) async fn unknown(world: &World) -> Checked {
    definitions::tools(world).await?;
    let answer = call(world, "conformance_no_such_tool", "{}").await?;
    answer.refused(Code::NotFound, "a tool that is not there")
}

pub(crate) async fn arguments(world: &World) -> Checked {
    for tool in definitions::tools(world).await? {
        for arguments in NO_ARGUMENTS {
            let answer = call(world, &tool.name, arguments).await?;
            answer.refused(
                Code::InvalidArgument,
                &format!("{} with the arguments {arguments}", tool.name),
            )?;
        }
    }
    Ok(())
}

pub(crate) async fn result(world: &World) -> Checked {
    for one in called(world).await? {
        let is_result = |message: &CallToolResponse| matches!(message.part, Some(Part::Result(_)));
        let kinds: Vec<_> = one
            .answer
            .messages
            .iter()
            .map(|(message, _)| is_result(message))
            .collect();
        let results = kinds.iter().filter(|is_result| **is_result).count();
        let ended_well = matches!(&one.answer.ended, Ended::Status(status) if status.code == Code::Ok);
        ensure(
            results == 1 && kinds.last() == Some(&true) && ended_well,
            || {
                format!(
                    "{}: {results} results in {} messages, then {}",
                    one.tool.name,
                    kinds.len(),
                    one.answer.ended
                )
            },
            "one result, the last message, and OK",
        )?;
    }
    Ok(())
}

pub(crate) async fn progress(world: &World) -> Checked {
    let mut any = false;
    for one in called(world).await? {
        let mut last = None;
        for Progress { fraction, .. } in one.progress() {
            any = true;
            let grows = last.is_none_or(|last| *fraction > last);
            ensure(
                (0.0..=1.0).contains(fraction) && grows,
                || format!("{}: {fraction} after {last:?}", one.tool.name),
                "more than before, from 0 to 1",
            )?;
            last = Some(*fraction);
        }
    }
    if any {
        Ok(())
    } else {
        not_applicable("no tool that was called tells its progress")
    }
}

pub(crate) async fn progress_text(world: &World) -> Checked {
    let mut any = false;
    for one in called(world).await? {
        for Progress { message, .. } in one.progress() {
            any = true;
            ensure(
                message.len() <= MAX_TEXT,
                || format!("{}: {} bytes beside its progress", one.tool.name, message.len()),
                format!("at most {MAX_TEXT}"),
            )?;
        }
    }
    if any {
        Ok(())
    } else {
        not_applicable("no tool that was called tells its progress")
    }
}

pub(crate) async fn message(world: &World) -> Checked {
    for one in called(world).await? {
        let largest = one
            .answer
            .messages
            .iter()
            .map(|(_, bytes)| *bytes)
            .max()
            .unwrap_or_default();
        ensure(
            largest <= MAX_RESULT,
            || format!("{}: a message of {largest} bytes", one.tool.name),
            format!("at most {MAX_RESULT}"),
        )?;
    }
    Ok(())
}

pub(crate) async fn structured(world: &World) -> Checked {
    let mut any = false;
    for one in called(world).await? {
        let Some(result) = one.result().filter(|result| !result.is_error) else {
            continue;
        };
        let (content, schema) = (&result.structured_content, &one.tool.output_schema);
        if content.is_empty() && schema.is_empty() {
            continue;
        }
        any = true;
        if let Err(reason) = fits(content, schema) {
            let seen = format!("{}: {reason}", one.tool.name);
            return broken(seen, "structured content that fits the output schema");
        }
    }
    if any {
        Ok(())
    } else {
        not_applicable("no tool that was called answers structured content")
    }
}

fn fits(content: &[u8], schema: &[u8]) -> Result<(), String> {
    if schema.is_empty() {
        return Err(String::from("structured content of a tool without an output schema"));
    }
    json_rules::check(content).map_err(|error| error.to_string())?;
    let content = serde_json::from_slice(content).map_err(|error| error.to_string())?;
    // A schema that is none, or that costs too much, is not judged by.
    let Some(validator) = serde_json::from_slice(schema)
        .ok()
        .and_then(|schema| Validator::new(&schema).ok())
    else {
        return Ok(());
    };
    validator.check(&content).map_err(|violations| violations.join("; "))
}

pub(crate) async fn authorizer(world: &World) -> Checked {
    let with: Vec<_> = known(world)
        .await?
        .into_iter()
        .filter(|(tool, _)| tool.has_authorizer)
        .collect();
    if with.is_empty() {
        return not_applicable("no tool whose arguments are known has an authorizer");
    }
    for (tool, arguments) in with {
        let request = AuthorizeToolRequest {
            context: Some(world.context()),
            tool: tool.name.clone(),
            arguments: arguments.as_bytes().to_vec().into(),
        };
        let answer: Answer<AuthorizeToolResponse> = world.ask("AuthorizeTool", &request).await?;
        let reason = answer.one("AuthorizeTool")?.reason.len();
        ensure(
            reason <= MAX_TEXT,
            || format!("{}: a reason of {reason} bytes", tool.name),
            format!("at most {MAX_TEXT}"),
        )?;
    }
    Ok(())
}
