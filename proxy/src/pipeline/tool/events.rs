//! A tool call as server-sent events: how far the tool is, and at last its result or what went wrong.

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use kite_proto::{Progress, call_tool_response::Part};
use serde::Serialize;

use super::{Said, ToolError, answer as whole};
use crate::{
    account::Later,
    pipeline::ResponseBody,
    problem::{Refusal, bounded},
    request_id::RequestId,
};

const EVENT_STREAM: &str = "text/event-stream";
/// Most bytes of what a tool says about its progress.
const MAX_MESSAGE: usize = 1024;

/// How far a tool is.
#[derive(Serialize)]
struct Told<'a> {
    /// From 0 to 1.
    progress: f64,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

/// Whether the caller takes events: it names their media type (RFC 9110, section 12.5.1).
pub fn are_accepted(headers: &HeaderMap) -> bool {
    let values = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_it = parts
            .next()
            .is_some_and(|media| media.eq_ignore_ascii_case(EVENT_STREAM));
        is_it && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// The tool's events, read from the plugin as fast as the caller takes them.
pub(super) fn answer(said: Said, later: Later, id: RequestId) -> Response<ResponseBody> {
    let events = stream::unfold(Some((said, later)), move |going| {
        let id = id.clone();
        async move {
            let (said, later) = going?;
            let (event, going) = event(said, later, &id).await;
            Some((Ok(Frame::data(event)), going))
        }
    });
    let mut response = Response::new(StreamBody::new(Box::pin(events)).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The next event, and the tool if it may have more to say.
async fn event(mut said: Said, later: Later, id: &RequestId) -> (Bytes, Option<(Said, Later)>) {
    let ended = match said.next().await {
        Ok(Some(Part::Progress(progress))) => return (written("progress", &told(&progress)), Some((said, later))),
        Ok(Some(Part::Result(result))) => {
            said.close();
            whole(&result).map(|answer| written("result", &answer))
        }
        Ok(None) => Err(ToolError::NoResult),
        Err(error) => Err(error),
    };
    (last(ended.map_err(Refusal::Tool), later, id).await, None)
}

/// The last event, as soon as it is on record that the call ended so. What went wrong is the problem document that it would have been.
async fn last(ended: Result<Bytes, Refusal>, mut later: Later, id: &RequestId) -> Bytes {
    let told = |ended: &Result<Bytes, Refusal>| match ended {
        Ok(_) => (StatusCode::OK, None),
        Err(refusal) => (refusal.status(), Some(refusal.slug())),
    };
    let (status, problem) = told(&ended);
    let ended = match later.settle(status, problem).await {
        Ok(()) => ended,
        Err(error) => {
            let unrecorded = Err(Refusal::AuditFailed(error));
            let (status, problem) = told(&unrecorded);
            later.tell(status, problem);
            unrecorded
        }
    };
    ended.unwrap_or_else(|refusal| line("error", &refusal.document(id)))
}

fn told(progress: &Progress) -> Told<'_> {
    let fraction = progress.fraction.clamp(0.0, 1.0);
    Told {
        // What is no number is no progress.
        progress: if fraction.is_nan() { 0.0 } else { fraction },
        message: bounded(&progress.message, MAX_MESSAGE),
    }
}

fn written<T: Serialize>(event: &str, value: &T) -> Bytes {
    line(event, &serde_json::to_vec(value).unwrap_or_default())
}

/// One event (HTML, section 9.2). JSON has line ends between its tokens only, where a blank does as well.
fn line(event: &str, json: &[u8]) -> Bytes {
    let mut text = format!("event: {event}\ndata: ").into_bytes();
    text.extend(
        json.iter()
            .map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }),
    );
    text.extend(b"\n\n");
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_for_those_who_ask_for_them() {
        for (accept, accepted) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.5", true),
            ("text/event-stream;q=0", false),
            ("*/*", false),
            ("text/*", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(are_accepted(&headers), accepted, "{accept}");
        }
        assert!(!are_accepted(&HeaderMap::new()));
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        assert_eq!(line("result", b"{\"a\":\r\n1}"), "event: result\ndata: {\"a\":  1}\n\n");
        for (fraction, progress) in [(f64::NAN, 0.0), (-1.0, 0.0), (2.0, 1.0), (0.5, 0.5)] {
            let message = String::from("half\nway");
            let event = written("progress", &told(&Progress { fraction, message }));
            let expected =
                format!("event: progress\ndata: {{\"progress\":{progress:?},\"message\":\"half\\nway\"}}\n\n");
            assert_eq!(event, expected);
        }
    }
}
