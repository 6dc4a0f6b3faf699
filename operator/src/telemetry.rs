//! Logs: JSON on stderr, filtered by `RUST_LOG`. What is said while a plugin is looked at carries its name and generation, in `span`.

use tracing_subscriber::EnvFilter;

/// Makes this process log; the level is `info` where `RUST_LOG` says nothing.
pub fn install() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        // The innermost span says all that there is to say.
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
