//! The arguments of a tool call, as a caller sends them.

use std::time::Duration;

use bytes::Bytes;
use kite_api::json_rules;
use kite_proto::MAX_ARGUMENTS;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use crate::pipeline::{
    RequestBody,
    whole_body::{WholeBodyError, whole},
};

/// Why the body of a tool call is no arguments.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentsError {
    #[error(transparent)]
    Body(#[from] WholeBodyError),
    #[error("the body is not of the form {{\"arguments\": {{…}}}}")]
    NotObject,
    #[error("failed to parse the body")]
    Parse(#[source] serde_json::Error),
    #[error("failed to take the arguments")]
    Refused(#[source] serde_json::Error),
}

/// What a caller of a tool sends.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ToolCall")]
pub(in crate::pipeline) struct Body<'a> {
    /// What the tool's input schema says; none is an empty object.
    #[serde(borrow, default)]
    #[schemars(with = "Option<Map<String, Value>>")]
    arguments: Option<&'a RawValue>,
}

/// The arguments in `body`, which has to be there within `limit`: the caller's own bytes, which nobody can read in more
/// than one way.
pub async fn arguments(body: RequestBody, limit: Duration) -> Result<Bytes, ArgumentsError> {
    parse(&whole(body, MAX_ARGUMENTS, limit).await?)
}

fn parse(body: &Bytes) -> Result<Bytes, ArgumentsError> {
    // What is derived for a struct would take a list of its fields too.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(ArgumentsError::NotObject);
    }
    let call: Body = serde_json::from_slice(body).map_err(ArgumentsError::Parse)?;
    let Some(arguments) = call.arguments else {
        return Ok(Bytes::from_static(b"{}"));
    };
    if !arguments.get().starts_with('{') {
        return Err(ArgumentsError::NotObject);
    }
    json_rules::check(arguments.get().as_bytes()).map_err(ArgumentsError::Refused)?;
    Ok(body.slice_ref(arguments.get().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Bytes, ArgumentsError> {
        super::parse(&Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn arguments_are_an_object_or_absent() {
        for (body, arguments) in [
            (
                r#" {"arguments": {"b": 1, "a": [true, null, -1, 1e2, "x"]} } "#,
                r#"{"b": 1, "a": [true, null, -1, 1e2, "x"]}"#,
            ),
            (
                r#"{"arguments": {"a": {"k": 1}, "b": {"k": 1}}}"#,
                r#"{"a": {"k": 1}, "b": {"k": 1}}"#,
            ),
            (r#"{"arguments": {}}"#, "{}"),
            (r#"{"arguments": null}"#, "{}"),
            ("{}", "{}"),
        ] {
            assert_eq!(parse(body).unwrap(), arguments);
        }
    }

    #[test]
    fn a_body_of_another_form_is_refused() {
        for body in ["", "null", "[]", "1", r#"{"arguments": []}"#, r#"{"arguments": "x"}"#] {
            assert!(matches!(parse(body), Err(ArgumentsError::NotObject)), "{body}");
        }
        for body in [
            "{",
            r#"{"other": 1}"#,
            r#"{"arguments": {}, "other": 1}"#,
            r#"{"arguments": {}, "arguments": {}}"#,
            r#"{"arguments": {"a" 1}}"#,
            "{} {}",
        ] {
            assert!(matches!(parse(body), Err(ArgumentsError::Parse(_))), "{body}");
        }
    }

    #[test]
    fn arguments_that_can_be_read_in_two_ways_are_refused() {
        let body = r#"{"arguments": {"a": 1, "a": 2}}"#;
        assert!(matches!(parse(body), Err(ArgumentsError::Refused(_))));
    }
}
