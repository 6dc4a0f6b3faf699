//! The audit: one record for each operation of a plugin, and the trait of where they are kept.

mod record;
mod stdout;
mod trail;

use std::io;

pub(crate) use self::record::milliseconds;
pub use self::{
    record::{Kind, Outcome, Record},
    stdout::Lines,
    trail::{AuditError, Standing, Trail},
};

/// Keeps records, in a thread of its own: it may block, and whoever waits for it has a limit.
pub trait AuditSink: Send + 'static {
    /// Keeps all of `records`, and says so only when they outlast this process. One that says that it failed may be given
    /// other records, but not these again.
    fn keep(&mut self, records: &[Record]) -> impl Future<Output = Result<(), SinkError>> + Send;
}

/// Why records are not kept.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("failed to write a record as JSON")]
    Encode(#[source] serde_json::Error),
    #[error("failed to write records")]
    Write(#[source] io::Error),
}
