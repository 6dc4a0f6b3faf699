//! The arguments of a tool call, as a caller sends them.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kite_api::json_rules;
use kite_proto::MAX_ARGUMENTS;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::{BoxError, pipeline::RequestBody};

/// Why the body of a tool call is no arguments.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentsError {
    #[error("the body did not come in time")]
    Timeout,
    #[error("the body has more than {MAX_ARGUMENTS} bytes")]
    TooLarge,
    #[error("failed to read the body")]
    Read(#[source] BoxError),
    #[error("the body is not of the form {{\"arguments\": {{…}}}}")]
    NotObject,
    #[error("failed to parse the body")]
    Parse(#[source] serde_json::Error),
    #[error("failed to take the arguments")]
    Refused(#[source] serde_json::Error),
}

/// What a caller sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call<'a> {
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

/// The arguments in `body`, which has to be there within `limit`: the caller's own bytes, which nobody can read in more
/// than one way.
pub async fn arguments(body: RequestBody, limit: Duration) -> Result<Bytes, ArgumentsError> {
    // Boxed, because the compiler cannot see that this future may change threads as part of a larger one.
    let whole = Limited::new(body, MAX_ARGUMENTS).collect().boxed();
    let body = timeout(limit, whole).await.map_err(|_| ArgumentsError::Timeout)?;
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() {
            ArgumentsError::TooLarge
        } else {
            ArgumentsError::Read(error)
        }
    })?;
    parse(&body.to_bytes())
}

fn parse(body: &Bytes) -> Result<Bytes, ArgumentsError> {
    // What is derived for a struct would take a list of its fields too.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(ArgumentsError::NotObject);
    }
    let call: Call = serde_json::from_slice(body).map_err(ArgumentsError::Parse)?;
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
    use futures::{StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;

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
        for arguments in [
            r#"{"a": 1, "a": 2}"#,
            r#"{"a": 1, "\u0061": 2}"#,
            r#"{"a": [{"b": 1, "b": 1}]}"#,
            r#"{"a": "\ud800"}"#,
            r#"{"a": 1e999}"#,
        ] {
            let body = format!(r#"{{"arguments": {arguments}}}"#);
            assert!(matches!(parse(&body), Err(ArgumentsError::Refused(_))), "{arguments}");
        }
    }

    #[test]
    fn arguments_are_bounded_in_number_and_depth() {
        let many = |number| format!(r#"{{"arguments": {{"a": [{}0]}}}}"#, "0,".repeat(number - 1));
        // The object and the list are values too.
        assert!(parse(&many(json_rules::MAX_VALUES - 2)).is_ok());
        assert!(matches!(
            parse(&many(json_rules::MAX_VALUES - 1)),
            Err(ArgumentsError::Refused(_))
        ));
        let deep = |depth| {
            format!(
                r#"{{"arguments": {{"a": {}{}}}}}"#,
                "[".repeat(depth),
                "]".repeat(depth)
            )
        };
        // The object is a level too.
        assert!(parse(&deep(31)).is_ok());
        assert!(matches!(parse(&deep(32)), Err(ArgumentsError::Refused(_))));
        assert!(matches!(parse(&deep(100_000)), Err(ArgumentsError::Refused(_))));
    }

    #[tokio::test]
    async fn a_body_has_to_come_whole_and_in_time() {
        let (limit, short) = (Duration::from_secs(10), Duration::from_millis(10));
        let started = || stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from("{")))]);
        let broken = StreamBody::new(started().chain(stream::iter([Err("gone".into())]))).boxed_unsync();
        assert!(matches!(arguments(broken, limit).await, Err(ArgumentsError::Read(_))));
        let silent = StreamBody::new(started().chain(stream::pending())).boxed_unsync();
        assert!(matches!(arguments(silent, short).await, Err(ArgumentsError::Timeout)));
        let large = StreamBody::new(stream::repeat_with(|| {
            Ok(Frame::data(Bytes::from_static(&[b' '; 1024])))
        }));
        assert!(matches!(
            arguments(large.boxed_unsync(), limit).await,
            Err(ArgumentsError::TooLarge)
        ));
    }
}
