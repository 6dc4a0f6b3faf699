//! Tools, as the gateway calls them.

use kite_proto::{
    AuthorizeToolRequest, AuthorizeToolResponse, CallToolRequest, call_tool_response::Part, plugin_client::PluginClient,
};
use tonic::{Code, Status, transport::Channel};

use crate::{
    plugin::TestPlugin,
    world::{World, call, context, within},
};

#[tokio::test]
async fn a_tool_answers_its_caller() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut client = world.client().await;
    let result = call(&mut client, "hello", r#"{"name": "bob"}"#).await.unwrap();
    assert_eq!(
        (result.text.as_str(), result.is_error),
        ("anna greets bob in request-1", false)
    );
    assert_eq!(&result.structured_content[..], br#"{"name":"bob"}"#);

    let result = call(&mut client, "fail", "{}").await.unwrap();
    assert_eq!(
        (result.text.as_str(), result.is_error),
        ("invalid digit found in string", true)
    );
}

#[tokio::test]
async fn a_call_of_a_tool_is_refused_for_each_of_its_reasons() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut client = world.client().await;
    let large = format!(r#"{{"name": "{}"}}"#, "a".repeat(kite_proto::MAX_ARGUMENTS));
    for (tool, arguments, code, words) in [
        ("none", "{}", Code::NotFound, "no tool"),
        ("hello", r#"{"name": 1}"#, Code::InvalidArgument, "argument name"),
        ("hello", "{}", Code::InvalidArgument, "`name`"),
        ("hello", "[\"bob\"]", Code::InvalidArgument, "not a JSON object"),
        ("hello", large.as_str(), Code::InvalidArgument, "more than"),
        ("panic", "{}", Code::Internal, "failed"),
    ] {
        let status = call(&mut client, tool, arguments).await.unwrap_err();
        assert_eq!(status.code(), code, "{tool}: {status}");
        assert!(status.message().contains(words), "{status}");
    }
    call(&mut client, "hello", r#"{"name": "bob"}"#).await.unwrap();
}

#[tokio::test]
async fn a_refusal_that_would_quote_much_is_cut_and_the_connection_survives() {
    let (plugin, beside, mut told) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let mut client = world.client().await;
    let mut other = client.clone();
    let under_way = tokio::spawn(async move { call(&mut other, "slow", "{}").await });
    assert_eq!(within("the start of the tool", told.recv()).await, Some(true));

    let large = format!(r#"{{"number": "{}"}}"#, "ä".repeat(250_000));
    let status = call(&mut client, "count", &large).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(
        status
            .message()
            .starts_with("the argument number does not fit: invalid type: string")
    );
    assert!(status.message().len() <= kite_proto::MAX_STATUS_MESSAGE);

    beside.go_on.notify_one();
    assert_eq!(under_way.await.unwrap().unwrap().text, "slow");
}

#[tokio::test]
async fn a_result_that_is_too_large_is_the_tools_failure() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut client = world.client().await;
    let result = call(&mut client, "count", r#"{"number": 4000000}"#).await.unwrap();
    assert_eq!((result.text.len(), result.is_error), (4_000_000, false));
    let result = call(&mut client, "count", r#"{"number": 4194304}"#).await.unwrap();
    assert!(result.is_error);
    assert!(result.text.contains("the limit is 4194304"), "{}", result.text);
}

#[tokio::test]
async fn a_tool_is_dropped_when_its_caller_goes_away() {
    let (plugin, _, mut told) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let mut client = world.client().await;
    let calling = tokio::spawn(async move { call(&mut client, "slow", "{}").await });
    assert_eq!(within("the start of the tool", told.recv()).await, Some(true));
    calling.abort();
    assert_eq!(within("the end of the tool", told.recv()).await, Some(false));
}

fn steps() -> CallToolRequest {
    CallToolRequest {
        context: Some(context()),
        tool: "steps".into(),
        arguments: "{}".into(),
    }
}

#[tokio::test]
async fn progress_is_told_while_the_tool_runs_and_the_result_comes_last() {
    let (plugin, beside, _told) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let mut client = world.client().await;
    let running = async {
        let mut stream = client.call_tool(steps()).await.unwrap().into_inner();
        // By a task that the tool has spawned, while the tool itself waits for something else.
        beside.tell.notify_one();
        let mut parts = vec![stream.message().await.unwrap().unwrap().part.unwrap()];
        beside.go_on.notify_one();
        while let Some(message) = stream.message().await.unwrap() {
            parts.push(message.part.unwrap());
        }
        parts
    };
    let parts = within("the tool", running).await;
    let told = parts.iter().map(|part| match part {
        Part::Progress(progress) => format!("{} {}", progress.fraction, progress.message),
        Part::Result(result) => result.text.clone(),
    });
    assert_eq!(told.collect::<Vec<_>>(), ["0.25 a quarter", "0.5 half", "done"]);
}

#[tokio::test]
async fn what_a_tool_has_spawned_learns_that_the_caller_went_away() {
    let (plugin, beside, mut told) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let mut client = world.client().await;
    beside.tell.notify_one();
    let mut stream = client.call_tool(steps()).await.unwrap().into_inner();
    within("the first progress", stream.message()).await.unwrap().unwrap();
    drop(stream);
    assert_eq!(within("the cancellation", told.recv()).await, Some(false));
}

#[tokio::test]
async fn a_tool_whose_time_is_up_is_dropped() {
    let (plugin, _beside, mut told) = TestPlugin::new();
    let world = World::serve(plugin).await;
    let mut client = world.client().await;
    let mut request = steps();
    request.context.as_mut().unwrap().timeout = Some(prost_types::Duration {
        seconds: 0,
        nanos: 1_000_000,
    });
    let mut stream = client.call_tool(request).await.unwrap().into_inner();
    let ended = async {
        while stream.message().await?.is_some() {}
        Ok::<(), Status>(())
    };
    let status = within("the end of the tool", ended).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(within("the cancellation", told.recv()).await, Some(false));
}

async fn authorize(
    client: &mut PluginClient<Channel>,
    tool: &str,
    arguments: &str,
) -> Result<AuthorizeToolResponse, Status> {
    let request = AuthorizeToolRequest {
        context: Some(context()),
        tool: tool.into(),
        arguments: arguments.as_bytes().to_vec().into(),
    };
    let answer = within("the authorizer", client.authorize_tool(request)).await?;
    Ok(answer.into_inner())
}

#[tokio::test]
async fn an_authorizer_says_who_may_call_with_which_arguments() {
    let world = World::serve(TestPlugin::new().0).await;
    let mut client = world.client().await;
    let answer = authorize(&mut client, "hello", r#"{"name": "bob"}"#).await.unwrap();
    assert_eq!((answer.allowed, answer.reason.as_str()), (true, ""));
    let answer = authorize(&mut client, "hello", r#"{"name": "carl"}"#).await.unwrap();
    assert_eq!(
        (answer.allowed, answer.reason.as_str()),
        (false, "anna may not greet carl")
    );
    assert!(
        authorize(&mut client, "fail", "{}").await.unwrap().allowed,
        "it has no authorizer"
    );
    for (tool, arguments, code) in [
        ("none", "{}", Code::NotFound),
        ("hello", "{}", Code::InvalidArgument),
        ("hello", r#"{"name": "panic"}"#, Code::Internal),
    ] {
        let status = authorize(&mut client, tool, arguments).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
    }
}
