//! The rules about the messages of one response, as pure functions of what came.

use http::Uri;
use kite_proto::{Header, HttpResponse, MAX_CHUNK, MAX_FIELDS, MAX_HEAD};
use prost::Message as _;
use tonic::Code;

use super::Exchanged;
use crate::{
    verdict::{Checked, broken, ensure},
    wire::Ended,
};

/// A rule about each message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Judge {
    HeadFirst,
    TrailersLast,
    /// At most so many bytes of data.
    Data(usize),
    Message,
    Head,
    Status,
    NoInterim,
}

/// Judges each message of a response by its place and its bytes.
pub(crate) fn judge_messages(one: &Exchanged, judge: Judge) -> Checked {
    for (place, (message, bytes)) in one.answer.messages.iter().enumerate() {
        let what = || format!("{}, message {}", one.what, place + 1);
        judge_message(place, message, *bytes, judge)
            .or_else(|(seen, expected)| broken(format!("{}: {seen}", what()), expected))?;
    }
    Ok(())
}

fn judge_message(place: usize, message: &HttpResponse, bytes: usize, judge: Judge) -> Result<(), (String, String)> {
    let most = |seen: usize, most: usize, of: &str| {
        if seen > most {
            return Err((format!("{seen} {of}"), format!("at most {most}")));
        }
        Ok(())
    };
    let status = message.head.as_ref().map(|head| head.status);
    match judge {
        Judge::HeadFirst if message.head.is_some() != (place == 0) => Err((
            String::from(if place == 0 { "no head" } else { "a head" }),
            String::from("a head in the first message, and only there"),
        )),
        Judge::TrailersLast => {
            most(message.trailers.len(), MAX_FIELDS, "trailers")?;
            if message.trailers.is_empty() || message.end {
                return Ok(());
            }
            Err((
                String::from("trailers without the end"),
                String::from("trailers with the end only"),
            ))
        }
        Judge::Data(limit) => most(message.data.len(), limit, "bytes of data"),
        Judge::Message => most(bytes, MAX_CHUNK + MAX_HEAD, "bytes"),
        Judge::Head => {
            let Some(head) = &message.head else { return Ok(()) };
            most(head.headers.len(), MAX_FIELDS, "header fields")?;
            most(head.encoded_len(), MAX_HEAD, "bytes of head")
        }
        Judge::Status if status.is_some_and(|status| !(100..=599).contains(&status)) => Err((
            format!("the status {}", status.unwrap_or_default()),
            String::from("200 to 599"),
        )),
        Judge::NoInterim if status.is_some_and(|status| (100..200).contains(&status)) => Err((
            format!("the status {}", status.unwrap_or_default()),
            String::from("a final status"),
        )),
        Judge::HeadFirst | Judge::Status | Judge::NoInterim => Ok(()),
    }
}

/// Judges each header field and each trailer of a response.
pub(crate) fn judge_fields(one: &Exchanged, is_fine: impl Fn(&Header) -> bool, expected: &str) -> Checked {
    let heads = one
        .messages()
        .flat_map(|message| message.head.iter().flat_map(|head| &head.headers));
    let trailers = one.messages().flat_map(|message| &message.trailers);
    match heads.chain(trailers).find(|field| !is_fine(field)) {
        Some(field) => {
            let value = String::from_utf8_lossy(&field.value);
            broken(format!("{}: {}: {value}", one.what, field.name), expected)
        }
        None => Ok(()),
    }
}

pub(super) fn completes(one: &Exchanged) -> Checked {
    let seen = || {
        format!(
            "{}: {} messages without an end, then {}",
            one.what,
            one.answer.messages.len(),
            one.answer.ended
        )
    };
    // A status in the place of a response is a call that failed, and not one that broke.
    let failed = matches!(&one.answer.ended, Ended::Status(status) if status.code != Code::Ok);
    let is_fine = one.is_complete() || (failed && one.answer.messages.is_empty());
    ensure(is_fine, seen, "a message that completes the response")
}

pub(super) fn ends_once(one: &Exchanged) -> Checked {
    let after = one.messages().skip_while(|message| !message.end).count();
    ensure(
        after <= 1,
        || format!("{}: a message after the end", one.what),
        "nothing after the end",
    )?;
    let ended_well = matches!(&one.answer.ended, Ended::Status(status) if status.code == Code::Ok);
    ensure(
        after == 0 || ended_well,
        || format!("{}: {} after the end", one.what, one.answer.ended),
        "the stream's end with OK",
    )
}

pub(super) fn content_length(one: &Exchanged) -> Checked {
    let (Some(said), true) = (one.content_length(), one.method != "HEAD") else {
        return Ok(());
    };
    let said = String::from_utf8_lossy(&said.value);
    let has = one.body().len();
    ensure(
        said.parse() == Ok(has),
        || format!("{}: Content-Length {said} and {has} bytes", one.what),
        "as many bytes",
    )
}

/// Whether a Location is a path alone, which is one of the plugin's own.
pub(super) fn is_inside(location: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(location) else {
        return false;
    };
    // A reference without a scheme or an authority (RFC 3986, section 4.2).
    let first = text.split(['/', '?', '#']).next().unwrap_or_default();
    let elsewhere = first.contains(':') || text.starts_with("//") || text.starts_with("/\\");
    !elsewhere && (!text.starts_with('/') || text.split('#').next().is_some_and(|path| path.parse::<Uri>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_inside_if_it_is_a_path_alone() {
        for inside in ["/", "/a?b=c#d", "a", "../a", "?b", "a/b:c"] {
            assert!(is_inside(inside.as_bytes()), "{inside}");
        }
        for outside in [
            "https://example.com/",
            "//example.com",
            "javascript:alert(1)",
            "/\\example.com",
            "/a b",
        ] {
            assert!(!is_inside(outside.as_bytes()), "{outside}");
        }
        assert!(!is_inside(b"/\xff"));
    }
}
