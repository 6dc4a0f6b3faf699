//! The id that names a request in its answer, in the plugin's context and in every log.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The header that carries the id, in requests and answers.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Most characters of an id: the protocol's bound on `CallContext.request_id`.
const MAX: usize = 64;

/// Names one request: 1 to 64 printable ASCII characters without space.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id that the caller gave, if it is one and the only one, or else a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(HEADER).iter();
        match (given.next(), given.next()) {
            (Some(id), None) if is_valid(id.as_bytes()) => Self(id.clone()),
            _ => Self::new(),
        }
    }

    fn new() -> Self {
        let mut buffer = Uuid::encode_buffer();
        let text = Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
        Self(HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-")))
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_valid(id: &[u8]) -> bool {
    !id.is_empty() && id.len() <= MAX && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: &[&[u8]]) -> RequestId {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append(HEADER, HeaderValue::from_bytes(id).unwrap());
        }
        RequestId::of(&headers)
    }

    #[test]
    fn a_valid_id_is_kept() {
        assert_eq!(of(&[b"a-1"]).as_str(), "a-1");
        assert_eq!(of(&[&[b'a'; 64]]).as_str(), "a".repeat(64));
    }

    #[test]
    fn anything_else_is_replaced_by_a_uuid() {
        let refused: [&[&[u8]]; 6] = [&[], &[b""], &[b"a b"], &[&[b'a'; 65]], &[&[0xff]], &[b"a", b"b"]];
        for ids in refused {
            assert!(Uuid::parse_str(of(ids).as_str()).is_ok(), "{ids:?}");
        }
    }
}
