//! Header fields, between the protocol's messages and the types of the `http` crate.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use kite_proto::Header;

/// A header field is not one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the header field {0:?} is not valid")]
pub(super) struct HeaderError(String);

/// Reads fields; one that appears twice stays twice, in its order.
pub(super) fn read(fields: Vec<Header>) -> Result<HeaderMap, HeaderError> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for Header { name, value } in fields {
        let parsed = HeaderName::from_lowercase(name.as_bytes())
            .ok()
            .zip(HeaderValue::from_maybe_shared(value).ok());
        let (name, value) = parsed.ok_or(HeaderError(name))?;
        headers
            .try_append(name, value)
            .map_err(|_| HeaderError("too many".to_owned()))?;
    }
    Ok(headers)
}

/// Writes fields, each value as one.
pub(super) fn write(headers: &HeaderMap) -> Vec<Header> {
    headers
        .iter()
        .map(|(name, value)| Header {
            name: name.as_str().to_owned(),
            value: value.as_bytes().to_vec().into(),
        })
        .collect()
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
        assert_eq!(write(&read(fields.clone()).unwrap()), fields);
    }

    #[test]
    fn a_field_that_is_none_is_refused() {
        for bad in [
            field("", b"1"),
            field("A", b"1"),
            field("a b", b"1"),
            field("a", b"1\r\nb: 2"),
        ] {
            assert_eq!(read(vec![bad.clone()]), Err(HeaderError(bad.name)));
        }
    }
}
