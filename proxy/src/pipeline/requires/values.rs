//! Where a request names something: each value is found in the one way in which every reader finds it, or not at all.

use std::borrow::Cow;

use kite_api::json_rules;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::RequiresError;
use crate::pipeline::path::check_escapes;

/// Most bytes of a caller's text in a problem.
const MAX_TEXT: usize = 100;

/// A query as it was sent, or none.
pub(super) struct Query<'a>(Option<&'a str>);

impl<'a> Query<'a> {
    pub(super) fn of(query: Option<&'a str>) -> Self {
        Self(query)
    }

    /// The value of `key`. Keys that differ in case only count as the same, and so do those that some readers take for entries of
    /// a list of that name.
    pub(super) fn value(&self, key: &str) -> Result<Option<String>, RequiresError> {
        let Some(query) = self.0 else { return Ok(None) };
        check(query)?;
        let is_it = |found: &str| {
            let found = found.trim_start_matches('[');
            let begin = found
                .get(..key.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(key));
            begin
                && found
                    .get(key.len()..)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', ']']))
        };
        let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(found, _)| is_it(found));
        match (found.next(), found.next()) {
            (Some((found, value)), None) if found == key => Ok(Some(value.into_owned())),
            // Another spelling alone is none, so that the widest right is asked for.
            (None | Some(_), None) => Ok(None),
            (_, Some(_)) => Err(RequiresError::QueryTwice(key.to_owned())),
        }
    }
}

/// Some readers take a semicolon for a separator too, and some what is no UTF-8 for something else.
fn check(query: &str) -> Result<(), RequiresError> {
    let is_plain = check_escapes(query).is_ok() && !query.contains(';');
    let decoded = percent_decode_str(query).decode_utf8().ok();
    match decoded.filter(|_| is_plain) {
        Some(text) if !text.contains('\0') => Ok(()),
        _ => Err(RequiresError::Query),
    }
}

/// The text of a segment of a normal path.
pub(super) fn decoded(segment: &str) -> String {
    percent_decode_str(segment)
        .decode_utf8()
        .map_or_else(|_| segment.to_owned(), Cow::into_owned)
}

/// The JSON object that `bytes` are.
pub(super) fn object(bytes: &[u8]) -> Result<Value, RequiresError> {
    json_rules::check(bytes).map_err(RequiresError::Json)?;
    serde_json::from_slice(bytes).map_err(RequiresError::Json)
}

/// The text at a JSON pointer (RFC 6901). What is absent or null is none, and what is no text is refused; and so is a key on the way
/// beside which there is another that some readers take for the same, as those of Go do whatever its case.
pub(super) fn text_at(json: &Value, pointer: &str) -> Result<Option<String>, RequiresError> {
    let mut found = Some(json);
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        if let Some(Value::Object(fields)) = found {
            let folded = folded(&token);
            let is_like = |key: &&String| **key != token && self::folded(key) == folded;
            if fields.contains_key(&token) && fields.keys().any(|key| is_like(&key)) {
                return Err(RequiresError::KeyTwice(pointer.to_owned()));
            }
        }
        found = match found {
            Some(Value::Object(fields)) => fields.get(&token),
            Some(Value::Array(items)) => token.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => None,
        };
    }
    match found {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(RequiresError::NotText(pointer.to_owned())),
    }
}

/// A key as those see it to whom case is nothing. The long s is one too, by Unicode's folding.
fn folded(key: &str) -> String {
    key.to_lowercase().replace('\u{17f}', "s")
}

/// Whether a Content-Type says JSON in UTF-8 (RFC 8259, section 8.1).
pub(super) fn json_text(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_utf8 = |part: &str| part.replace('"', "").eq_ignore_ascii_case("charset=utf-8");
    (media == "application/json" || (media.starts_with("application/") && media.ends_with("+json")))
        && parts.all(|part| !part.to_ascii_lowercase().starts_with("charset") || is_utf8(part))
}

/// The beginning of a caller's text, for a problem.
pub(super) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}
