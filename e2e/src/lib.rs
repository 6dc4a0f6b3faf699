//! The local cluster, what is deployed on it, and what the end-to-end tests share.

pub mod bench;
pub mod cluster;
pub mod deploy;
mod explain;
pub mod lengths;
pub mod load;
pub mod stages;
pub mod target;
pub mod testing;

pub use explain::explain;
