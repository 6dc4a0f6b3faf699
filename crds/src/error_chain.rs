//! An error and all that caused it, as one line.

use std::error::Error;

/// The error and its causes, each behind a colon. A cause that the text before it already tells is left out.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to climb")]
    struct Outer(#[source] std::num::ParseIntError);

    #[derive(Debug, thiserror::Error)]
    #[error("failed to climb: {0}")]
    struct Repeats(#[source] std::num::ParseIntError);

    fn cause() -> std::num::ParseIntError {
        "x".parse::<i32>().unwrap_err()
    }

    #[test]
    fn a_cause_is_told_once() {
        let whole = "failed to climb: invalid digit found in string";
        assert_eq!(error_chain(&Outer(cause())), whole);
        assert_eq!(error_chain(&Repeats(cause())), whole);
    }
}
