//! Which trace a request is a part of (W3C Trace Context, <https://www.w3.org/TR/trace-context/>).

use http::{HeaderMap, HeaderName};
use uuid::Uuid;

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");
/// Characters of a traceparent of version 00.
const LENGTH: usize = 55;
/// Most bytes of a tracestate that has to be passed on (section 3.3.1.5).
const MAX_STATE: usize = 512;

/// The caller's trace, or one that begins here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trace {
    parent: String,
    state: String,
}

impl Trace {
    /// The trace that a request says it is a part of, or a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        Self::given(headers).unwrap_or_else(Self::new)
    }

    /// The trace that a request says it is a part of, if it says so once and in the form of the standard.
    pub fn given(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(PARENT).iter();
        match (given.next().map(http::HeaderValue::to_str), given.next()) {
            (Some(Ok(parent)), None) if is_valid(parent) => Some(Self {
                parent: parent.to_owned(),
                state: state(headers),
            }),
            _ => None,
        }
    }

    /// A trace that goes on from the span that `parent` names.
    pub(crate) fn going_on(parent: String, state: String) -> Self {
        Self { parent, state }
    }

    /// A trace that nobody records yet.
    fn new() -> Self {
        // Neither is zero: a UUID of version 4 has bits that are set in both its halves.
        let (trace, (_, span)) = (Uuid::new_v4(), Uuid::new_v4().as_u64_pair());
        Self {
            parent: format!("00-{}-{span:016x}-00", trace.simple()),
            state: String::new(),
        }
    }

    pub fn parent(&self) -> &str {
        &self.parent
    }

    pub fn state(&self) -> &str {
        &self.state
    }
}

/// Version 00, and ids that are not zero (section 3.2.2). What later versions add nobody here knows.
fn is_valid(parent: &str) -> bool {
    let mut parts = parent.split('-');
    let is = |text: Option<&str>, length: usize| {
        text.is_some_and(|text| {
            text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let is_id =
        |text: Option<&str>, length| is(text, length) && text.is_some_and(|text| text.bytes().any(|b| b != b'0'));
    parent.len() == LENGTH
        && parts.next() == Some("00")
        && is_id(parts.next(), 32)
        && is_id(parts.next(), 16)
        && is(parts.next(), 2)
        && parts.next().is_none()
}

/// All of it in one text, or nothing of it where that would be too long.
fn state(headers: &HeaderMap) -> String {
    let all: Option<Vec<&str>> = headers.get_all(STATE).iter().map(|value| value.to_str().ok()).collect();
    let state = all.unwrap_or_default().join(",");
    if state.len() <= MAX_STATE { state } else { String::new() }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(parents: &[&str], states: &[&str]) -> Trace {
        let mut headers = HeaderMap::new();
        for (name, values) in [(PARENT, parents), (STATE, states)] {
            for value in values {
                headers.append(&name, HeaderValue::from_str(value).unwrap());
            }
        }
        Trace::of(&headers)
    }

    #[test]
    fn a_trace_is_carried_on() {
        let trace = of(&[GIVEN], &["a=1", "b=2"]);
        assert_eq!((trace.parent(), trace.state()), (GIVEN, "a=1,b=2"));
        assert_eq!(of(&[GIVEN], &[&"a".repeat(513)]).state(), "");
    }

    #[test]
    fn whatever_is_none_is_replaced_and_so_is_its_state() {
        for given in [
            &[][..],
            &[GIVEN, GIVEN],
            &[""],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"],
            &["00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            &["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            &["00-00000000000000000000000000000000-b7ad6b7169203331-01"],
            &["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"],
        ] {
            let trace = of(given, &["a=1"]);
            assert!(
                is_valid(trace.parent()) && trace.parent() != GIVEN,
                "{given:?}: {trace:?}"
            );
            assert_eq!(trace.state(), "");
        }
        assert_ne!(of(&[], &[]), of(&[], &[]));
    }
}
