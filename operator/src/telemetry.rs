//! Logs: JSON on stderr, filtered by `RUST_LOG`.

use std::error::Error;

use tracing_subscriber::EnvFilter;

/// Makes this process log; the level is `info` where `RUST_LOG` says nothing.
pub fn install() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

/// The error and all that caused it, in one line. A cause that the text before it already tells is left out.
pub fn chain(error: &dyn Error) -> String {
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

    #[test]
    fn the_chain_names_every_cause_once() {
        let error = Outer("x".parse::<i32>().unwrap_err());
        assert_eq!(chain(&error), "failed to climb: invalid digit found in string");
    }
}
