//! Bounds of what every call is answered with, seen over the whole run.

use kite_proto::{CallToolRequest, GetFileRequest, MAX_METADATA, MAX_STATUS_MESSAGE, ResourceRequest, ResourceVerb};

use crate::{
    verdict::{Checked, ensure, not_applicable},
    wire::Answer,
    world::World,
};

/// A name that no message has room to quote.
const LONG: usize = 3000;

pub(crate) async fn status_message(world: &World) -> Checked {
    let long = "n".repeat(LONG);
    let tool = CallToolRequest {
        context: Some(world.context()),
        tool: long.clone(),
        arguments: "{}".into(),
    };
    let object = ResourceRequest {
        context: Some(world.context()),
        r#type: long.clone(),
        verb: ResourceVerb::Get.into(),
        name: long.clone(),
        ..ResourceRequest::default()
    };
    let file = GetFileRequest {
        context: Some(world.host_context()),
        path: long,
    };
    let _: Answer<()> = world.ask("CallTool", &tool).await?;
    let _: Answer<()> = world.ask("Resource", &object).await?;
    let _: Answer<()> = world.ask("GetFile", &file).await?;
    let Some((method, bytes)) = world.log.largest().message else {
        return not_applicable("no call was answered by a status");
    };
    ensure(
        bytes <= MAX_STATUS_MESSAGE,
        || format!("{method}: a message of {bytes} bytes"),
        format!("at most {MAX_STATUS_MESSAGE}"),
    )
}

pub(crate) async fn metadata(world: &World) -> Checked {
    let Some((method, bytes)) = world.log.largest().metadata else {
        return not_applicable("no call was answered");
    };
    let most = usize::try_from(MAX_METADATA).unwrap_or(usize::MAX);
    ensure(
        bytes <= most,
        || format!("{method}: header fields or trailers of {bytes} bytes"),
        format!("at most {most}"),
    )
}
