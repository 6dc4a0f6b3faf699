//! Calls of one message: tools, objects, and what the host itself says.

use bytes::Bytes;
use kite_proto::{
    AuthorizeToolResponse, CallToolRequest, CallToolResponse, GetFileResponse, MAX_CHUNK, MAX_RESULT, ResourceRequest,
    ResourceResponse, call_tool_response::Part, resource_response,
};
use prost::Message as _;
use serde_json::Value;
use tonic::Code;

use super::{Answered, call, served, shared};
use crate::messages;

/// What the host itself says, by a number in the place of a name.
const HOST: [&str; 6] = [
    "Describe",
    "GetFile",
    "ApplySettings",
    "OnClusterEvent",
    "Intercept",
    "Shutdown",
];

/// The call and the question whether it may be made.
pub(crate) fn tool(data: &[u8]) {
    let message = Bytes::copy_from_slice(data);
    let called: Answered<CallToolResponse> = messages::run(call(shared(), "CallTool", vec![message.clone()]));
    let results = called
        .messages
        .iter()
        .filter(|message| matches!(message.part, Some(Part::Result(_))))
        .count();
    match called.messages.split_last() {
        Some((last, before)) if called.status.code() == Code::Ok => {
            assert!(
                matches!(last.part, Some(Part::Result(_))),
                "the result is the last message"
            );
            assert!(
                before
                    .iter()
                    .all(|message| matches!(message.part, Some(Part::Progress(_))))
            );
            assert!(
                called
                    .messages
                    .iter()
                    .all(|message| message.encoded_len() <= MAX_RESULT)
            );
        }
        _ => assert!(called.status.code() != Code::Ok && results == 0),
    }
    let asked: Answered<AuthorizeToolResponse> = messages::run(call(shared(), "AuthorizeTool", vec![message]));
    if CallToolRequest::decode(data).is_ok() {
        // The tool itself does not fail.
        assert_ne!(called.status.code(), Code::Internal, "{}", called.status);
        assert_ne!(asked.status.code(), Code::Internal, "{}", asked.status);
    }
}

/// A question about objects, or a change of them.
pub(crate) fn resource(data: &[u8]) {
    let message = Bytes::copy_from_slice(data);
    let answered: Answered<ResourceResponse> = messages::run(call(shared(), "Resource", vec![message]));
    let Ok(asked) = ResourceRequest::decode(data) else {
        return;
    };
    // The type itself does not fail.
    assert_ne!(answered.status.code(), Code::Internal, "{}", answered.status);
    for message in answered.messages {
        match message.part.expect("a part") {
            resource_response::Part::Object(object) => {
                let object: Value = serde_json::from_slice(&object).expect("JSON");
                let metadata = object.get("metadata").expect("metadata");
                let of = |field: &str| metadata.get(field).and_then(Value::as_str).unwrap_or_default();
                assert_eq!(of("namespace"), asked.namespace);
                // One that is made is named by itself alone.
                let is_named = asked.verb() != kite_proto::ResourceVerb::Create && !asked.name.is_empty();
                assert!(!is_named || of("name") == asked.name, "another object");
            }
            resource_response::Part::List(list) => assert!(list.objects.len() <= 1),
        }
    }
}

/// What the host itself says: which it is stands in the first byte.
pub(crate) fn host(data: &[u8]) {
    let Some((first, message)) = data.split_first() else {
        return;
    };
    let Some(method) = HOST.get(usize::from(*first)) else {
        return;
    };
    let message = Bytes::copy_from_slice(message);
    // Each may be the last.
    if *method == "GetFile" {
        let answered: Answered<GetFileResponse> = messages::run(call(served(), method, vec![message]));
        let pieces = answered.messages.iter().map(|piece| piece.data.len());
        assert!(pieces.into_iter().all(|length| (1..=MAX_CHUNK).contains(&length)));
    } else {
        messages::run(call::<()>(served(), method, vec![message]));
    }
}
