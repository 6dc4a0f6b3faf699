//! Logs: JSON lines on stderr.

use std::io;

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Sends what `tracing` is told to stderr, from level info, or as `RUST_LOG` says. A subscriber that the author has
/// installed before stays.
pub(crate) fn install() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    let installed = tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .try_init();
    if installed.is_err() {
        tracing::debug!("a tracing subscriber was installed already");
    }
}
