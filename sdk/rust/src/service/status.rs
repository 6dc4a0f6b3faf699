//! Statuses whose text comes from outside: bounded, because a status travels in header fields, which are bounded too.

use std::error::Error;

use kite_api::error_chain;
use kite_proto::MAX_STATUS_MESSAGE;
use tonic::{Code, Status};

/// Stands where a text was cut.
const CUT: &str = "…";

/// What the caller sent is no good, for the reason that `error` and its causes give.
pub(super) fn invalid(error: &dyn Error) -> Status {
    of(Code::InvalidArgument, error_chain(error))
}

/// A status with as much of `text` as a status may have.
pub(super) fn of(code: Code, text: String) -> Status {
    Status::new(code, cut(text))
}

/// As much of `text` as a status may have, which is what a reason may have too.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > MAX_STATUS_MESSAGE {
        text.truncate(text.floor_char_boundary(MAX_STATUS_MESSAGE - CUT.len()));
        text.push_str(CUT);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let message = |text: String| of(Code::Internal, text).message().to_owned();
        let whole = "a".repeat(MAX_STATUS_MESSAGE);
        assert_eq!(message(whole.clone()), whole);
        let cut = message("ä".repeat(MAX_STATUS_MESSAGE));
        assert!(cut.ends_with("ä…"), "{cut}");
        assert!((MAX_STATUS_MESSAGE - 4..=MAX_STATUS_MESSAGE).contains(&cut.len()));
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("failed to climb")]
        struct Outer(#[source] std::fmt::Error);
        let status = invalid(&Outer(std::fmt::Error));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("failed to climb: "), "{status}");
    }
}
