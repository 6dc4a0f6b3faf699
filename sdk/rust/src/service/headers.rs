//! Header fields, between the protocol's messages and the types of the `http` crate.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use kite_proto::{Header, MAX_FIELDS, MAX_HEAD};
use prost::Message as _;

/// What the encoding adds to a field at most, and to all of them: marks and lengths, the status beside them, and on a stream of exchanges
/// the id, which has ten bytes at most.
const BESIDE_FIELD: usize = 4;
const BESIDE_FIELDS: usize = 48;

/// Why header fields are not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("the header field {0:?} is not valid")]
    Invalid(String),
    #[error("there are {0} header fields, the limit is {MAX_FIELDS}")]
    TooMany(usize),
    #[error("the header fields have {0} bytes, the limit is {MAX_HEAD}")]
    TooLarge(usize),
}

/// Reads fields; one that appears twice stays twice, in its order.
pub(super) fn read(fields: Vec<Header>) -> Result<HeaderMap, HeaderError> {
    if fields.len() > MAX_FIELDS {
        return Err(HeaderError::TooMany(fields.len()));
    }
    let mut headers = HeaderMap::new();
    for Header { name, value } in fields {
        let parsed = HeaderName::from_lowercase(name.as_bytes())
            .ok()
            .zip(HeaderValue::from_maybe_shared(value).ok());
        let (name, value) = parsed.ok_or(HeaderError::Invalid(name))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Writes fields, each value as one, unless they are more than a message may have.
pub(super) fn write(headers: &HeaderMap) -> Result<Vec<Header>, HeaderError> {
    if headers.len() > MAX_FIELDS {
        return Err(HeaderError::TooMany(headers.len()));
    }
    let fields = headers.iter().map(|(name, value)| Header {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec().into(),
    });
    let fields: Vec<Header> = fields.collect();
    let length = fields.iter().map(|field| field.encoded_len() + BESIDE_FIELD);
    match length.sum::<usize>() + BESIDE_FIELDS {
        length if length > MAX_HEAD => Err(HeaderError::TooLarge(length)),
        _ => Ok(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &'static [u8]) -> Header {
        Header {
            name: name.to_owned(),
            value: value.into(),
        }
    }

    #[test]
    fn fields_that_repeat_stay_repeated() {
        let fields = vec![field("a", b"1"), field("a", b"2"), field("b", b"\xff")];
        assert_eq!(write(&read(fields.clone()).unwrap()), Ok(fields));
    }

    #[test]
    fn a_field_that_is_none_is_refused() {
        for bad in [
            field("", b"1"),
            field("A", b"1"),
            field("a b", b"1"),
            field("a", b"1\r\nb: 2"),
        ] {
            assert_eq!(read(vec![bad.clone()]), Err(HeaderError::Invalid(bad.name)));
        }
    }

    #[test]
    fn more_fields_than_a_message_may_have_are_refused() {
        let fields = |count: usize| (0..count).map(|n| field(&format!("a{n}"), b"1")).collect::<Vec<_>>();
        assert_eq!(read(fields(MAX_FIELDS)).unwrap().len(), MAX_FIELDS);
        // The second is more than a map of fields can ever hold.
        for count in [MAX_FIELDS + 1, 40_000] {
            assert_eq!(read(fields(count)), Err(HeaderError::TooMany(count)));
        }
    }
}
