//! The gateway: authenticates, authorizes and proxies to plugins. [`pipeline`] has the order of all checks.

pub mod access_log;
pub mod account;
pub mod audit;
pub mod base_path;
pub mod directory;
pub mod flags;
pub mod kubernetes;
pub mod leases;
pub mod metrics;
pub mod moment;
pub mod openapi;
pub mod peer;
pub mod pipeline;
pub mod problem;
pub mod readiness;
pub mod recent;
pub mod request_id;
pub mod serve;
pub mod session;
mod shards;
pub mod slowdown;
pub mod start;
pub mod tls;
pub mod traces;
pub mod upstream;

/// An error of whatever made it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
