//! Why something failed, for people to read.

use std::error::Error;

/// The error and what caused it, each on a line of its own.
pub fn explain(error: &dyn Error) -> String {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str("\n  because: ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
