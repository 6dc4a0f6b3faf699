//! The gateway: authenticates, authorizes and proxies to plugins. [`pipeline`] has the order of all checks.

pub mod base_path;
pub mod directory;
pub mod flags;
pub mod kubernetes;
pub mod leases;
pub mod pipeline;
pub mod problem;
pub mod recent;
pub mod request_id;
pub mod serve;
pub mod start;
pub mod tls;
pub mod upstream;

/// An error of whatever made it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
